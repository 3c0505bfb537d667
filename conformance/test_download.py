"""Downloads: files of a local web server become objects; what breaks, lies or redirects is handled."""

import hashlib
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import server as srv
from test_backend import ENV, MIB, s3

FILES = {f"/d/f{i}.bin": os.urandom(1000 + i) for i in range(12)} | {"/big": os.urandom(9 * MIB), "/a%20b": b"spaces", "/slow": os.urandom(200_000)}


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: dict[str, int] = {}

    def log_message(self, *a):
        pass

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        n = Web.seen[self.path] = Web.seen.get(self.path, 0) + 1
        parts = self.path.split("/")
        if self.path in FILES and self.path != "/slow":
            self.answer(200, FILES[self.path], Content_Type="x/y")
        elif self.path == "/slow":
            self.answer(200, b"", length=len(FILES["/slow"]))
            for at in range(0, len(FILES["/slow"]), 2000):
                self.wfile.write(FILES["/slow"][at:at + 2000])
                self.wfile.flush()
                time.sleep(0.1)
        elif parts[1] == "cut":  # breaks off twice, then is whole
            self.answer(200, b"x" * (10 if n < 3 else 5000), length=5000)
            self.close_connection = n < 3
        elif parts[1] == "flaky":
            self.answer(*((503, b"") if n < 3 else (200, b"at last")))
        elif parts[1] == "always":
            self.answer(200, b"short", length=50)
            self.close_connection = True
        elif parts[1] == "to":  # /to/N: N redirects
            left = int(parts[2])
            self.answer(302, Location=f"/to/{left - 1}" if left else "/d/f1.bin")
        elif parts[1] == "meta":
            self.answer(302, Location="http://169.254.169.254/latest/meta-data")
        else:
            self.answer(404, b"none")


@pytest.fixture(scope="module")
def web():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{s.server_port}"
    s.shutdown()


@pytest.fixture(scope="module")
def near():
    with srv.running(srv.Server(tls=False, extra=("--download-private", "true"))) as s:
        s3(s).create_bucket(Bucket="bkt")
        yield s


def run(server, *a):
    return subprocess.run([str(srv.binary()), "job", *a, "--data", str(server.data[0])], capture_output=True, text=True, timeout=120, env=ENV)


def download(server, **spec):
    began = run(server, "start", "download", json.dumps({"bucket": "bkt"} | spec))
    assert began.returncode == 0, began.stderr
    name = began.stdout.split()[-1]
    run(server, "wait", name)
    return json.loads(run(server, "show", name, "--json").stdout)


def body(server, key):
    return s3(server).get_object(Bucket="bkt", Key=key)["Body"].read()


def test_one_many_and_a_range(web, near):
    told = download(near, link=f"{web}/big", object_name="x/big", checksum="sha256:" + hashlib.sha256(FILES["/big"]).hexdigest())
    assert (told["ok"], told["failed"], told["bytes"]) == (1, 0, len(FILES["/big"])), told
    assert body(near, "x/big") == FILES["/big"]
    told = download(near, objects={"one": f"{web}/d/f0.bin", "two": f"{web}/a%20b"})
    assert told["ok"] == 2 and body(near, "one") == FILES["/d/f0.bin"] and body(near, "two") == b"spaces"
    assert download(near, objects=[f"{web}/a%20b?q=1#f", f"{web}/d/f2.bin"])["failed"] == 1  # the first with its query is another path
    assert body(near, "f2.bin") == FILES["/d/f2.bin"]
    told = download(near, template=web + "/d/f{0..11}.bin", subdir="sub")
    assert told["ok"] == 12, told
    for i in range(12):
        assert body(near, f"sub/f{i}.bin") == FILES[f"/d/f{i}.bin"]
    assert s3(near).head_object(Bucket="bkt", Key="sub/f0.bin")["ContentType"] == "x/y"


def test_what_breaks_is_tried_again(web, near):
    told = download(near, objects={"cut": f"{web}/cut/1", "flaky": f"{web}/flaky/1"})
    assert told["ok"] == 2 and told["failed"] == 0, told
    assert body(near, "cut") == b"x" * 5000 and body(near, "flaky") == b"at last"


def test_what_fails_is_told_and_leaves_nothing(web, near):
    told = download(near, objects={"none": f"{web}/none", "always": f"{web}/always", "sum": f"{web}/d/f1.bin"}, checksum="md5:" + "0" * 32)
    assert (told["ok"], told["failed"]) == (0, 3), told
    assert any("404" in e for e in told["parts"][0]["errors"]), told
    for key in ("none", "always", "sum"):
        with pytest.raises(s3(near).exceptions.NoSuchKey):
            body(near, key)


def test_redirects_are_followed_five_times(web, near):
    assert download(near, objects={"r5": f"{web}/to/4"})["ok"] == 1
    assert body(near, "r5") == FILES["/d/f1.bin"]
    assert download(near, objects={"r6": f"{web}/to/5"})["failed"] == 1


def test_wrong_specs_are_refused(web, near):
    for spec in ({}, {"link": "ftp://x/y"}, {"link": f"{web}/x", "template": "x"}, {"template": f"{web}/x"}, {"objects": []}, {"objects": ["/etc/passwd"]},
                 {"link": "file:///etc/passwd"}, {"link": f"{web}/x", "checksum": "md5:0"}, {"link": f"{web}/x", "surprise": 1}):
        assert run(near, "start", "download", json.dumps({"bucket": "bkt"} | spec)).returncode != 0, spec


def test_addresses_of_the_machine_are_refused(web):
    s = srv.Server(tls=False).start()
    try:
        s3(s).create_bucket(Bucket="bkt")
        before = dict(Web.seen)
        port = web.rsplit(":", 1)[1]
        links = [f"http://{h}:{port}/d/f0.bin" for h in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "169.254.169.254", "10.0.0.1")]
        told = download(s, objects={str(i): link for i, link in enumerate(links)})
        assert told["failed"] == len(links) and Web.seen == before, told
        assert all("not a public one" in e for e in told["parts"][0]["errors"]), told
    finally:
        assert s.stop() == 0
        s.clean()


def test_a_stopped_download_ends_and_a_limit_holds(web, near):
    began = run(near, "start", "download", json.dumps({"bucket": "bkt", "link": f"{web}/slow"}))
    name = began.stdout.split()[-1]
    deadline = time.monotonic() + 20
    while " bytes" not in run(near, "show", name, "--json").stdout and time.monotonic() < deadline:
        time.sleep(0.2)
    assert run(near, "stop", name).returncode == 0
    run(near, "wait", name)
    told = json.loads(run(near, "show", name, "--json").stdout)
    assert told["state"] == "stopped" and told["ok"] == 0, told
    with pytest.raises(s3(near).exceptions.NoSuchKey):
        body(near, "slow")
    began = time.monotonic()
    assert download(near, objects=[f"{web}/d/f{i}.bin" for i in range(4)], bytes_per_hour=4000 * 3600 // 2, connections=1)["ok"] == 4
    assert 1.5 < time.monotonic() - began < 10


def test_a_download_goes_on_after_a_restart(web, near):
    began = run(near, "start", "download", json.dumps({"bucket": "bkt", "template": web + "/d/f{0..11}.bin", "subdir": "again", "connections": 1, "bytes_per_hour": 3000 * 3600}))
    name = began.stdout.split()[-1]
    time.sleep(1.5)
    near.stop()
    near.start()
    run(near, "wait", name)
    told = json.loads(run(near, "show", name, "--json").stdout)
    assert told["state"] == "done" and told["ok"] >= 12, told
    for i in range(12):
        assert body(near, f"again/f{i}.bin") == FILES[f"/d/f{i}.bin"]


def native(server, method, path, body=None):
    data = json.dumps(body).encode() if body is not None else b""
    signed = AWSRequest(method, f"{server.http}/v1/{path}", data=data, headers={"Content-Type": "application/json"})
    S3SigV4Auth(Credentials(srv.ACCESS_KEY, srv.SECRET_KEY), "s3", "us-east-1").add_auth(signed)
    with urllib.request.urlopen(urllib.request.Request(signed.url, method=method, data=data or None, headers=dict(signed.headers))) as r:
        text = r.read()
        return json.loads(text) if text else None


def ended(server, name):
    deadline = time.monotonic() + 60
    while (told := native(server, "GET", "download", {"id": name}))["running"] and time.monotonic() < deadline:
        time.sleep(0.2)
    return told


def test_the_native_calls(web, near):
    bck = {"bucket": {"name": "bkt", "provider": "ais"}}
    name = native(near, "POST", "download", bck | {"type": "single", "link": f"{web}/d/f3.bin", "object_name": "n3"})["id"]
    told = ended(near, name)
    assert (told["finished_cnt"], told["total_cnt"], told["error_cnt"], told["aborted"]) == (1, 1, 0, False), told
    assert body(near, "n3") == FILES["/d/f3.bin"]
    name = native(near, "POST", "download", bck | {"type": "range", "template": web + "/d/f{8..14}.bin", "subdir": "nr", "description": "range",
                                                   "limits": {"connections": 2}, "timeout": "1m"})["id"]
    told = ended(near, name)
    assert (told["finished_cnt"], told["error_cnt"]) == (4, 3) and len(told["download_errors"]) == 3, told
    assert told["download_errors"][0]["name"].startswith("nr/f")
    name = native(near, "POST", "download", bck | {"type": "multi", "objects": {"m1": f"{web}/d/f1.bin", "m2": f"{web}/slow"}})["id"]
    deadline = time.monotonic() + 20
    told = native(near, "GET", "download", {"id": name})
    while not any(t["total"] for t in told["current_tasks"]) and time.monotonic() < deadline:
        time.sleep(0.2)
        told = native(near, "GET", "download", {"id": name})
    assert told["current_tasks"][0]["name"] == "m2" and told["current_tasks"][0]["total"] == len(FILES["/slow"]), told
    assert name in [j["id"] for j in native(near, "GET", "download")]
    native(near, "DELETE", "download/abort", {"id": name})
    assert ended(near, name)["aborted"]
    for bad, status in ((bck, 400), ({"type": "single", "link": "x"}, 400), (bck | {"type": "single", "link": "file:///x"}, 400),
                        (bck | {"type": "backend"}, 400), (bck | {"link": f"{web}/x", "headers": {"a": "b"}}, 501)):
        with pytest.raises(urllib.error.HTTPError) as e:
            native(near, "POST", "download", bad)
        assert e.value.code == status
    with pytest.raises(urllib.error.HTTPError) as e:
        native(near, "GET", "download", {"id": "dnl-none"})
    assert e.value.code == 404
