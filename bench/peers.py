"""Servers and clients that a measurement compares: sluice, nginx, wrk, a sendfile uploader."""

import hashlib
import http.client
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "conformance"))

import server as srv  # noqa: E402
import wire  # noqa: E402

SERVER_CPU, CLIENT_CPU = "0", "1"


class Here:
    """What conformance/wire.py wants to know of an endpoint."""

    scheme, ca = "http", None
    access_key, secret_key = srv.ACCESS_KEY, srv.SECRET_KEY

    def __init__(self, port):
        self.port, self.host, self.url = port, f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"


class Sluice(srv.Server):
    def __init__(self, data, cpu=None, **kw):
        super().__init__(data=[data], tls=False, **kw)
        self.cpu = cpu

    def command(self):
        pin = ["taskset", "-c", self.cpu] if self.cpu else []
        return pin + super().command()

    @property
    def here(self):
        return Here(self.port)


class Nginx:
    """nginx with sendfile and an open file cache over a directory; PUT through its dav module."""

    location, more = "dav_methods PUT; create_full_put_path on;", ""

    def __init__(self, home: Path, root: Path, workers: int, cpu=None):
        self.port = srv.free_port()
        self.home = home
        conf = home / "nginx.conf"
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        conf.write_text(f"""
worker_processes {workers};
error_log stderr error;
pid {home}/nginx.pid;
daemon off;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=10000 inactive=600s;
    open_file_cache_valid 600s;
    keepalive_requests 100000000;
    client_max_body_size 0;
    client_body_temp_path {home}/tmp;
    proxy_temp_path {home}/tmp;
    {self.more}
    server {{
        listen 127.0.0.1:{self.port} reuseport;
        root {root};
        location / {{ {self.location} }}
    }}
}}
""")
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        pin = ["taskset", "-c", cpu] if cpu else []
        self.process = subprocess.Popen([*pin, "nginx", "-c", str(conf), "-p", str(home), *user], stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("nginx did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()


class NginxProxy(Nginx):
    """nginx in front of another server, on kept connections, with buffers for large bodies."""

    location = ('proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; '
                "proxy_buffers 8 256k; proxy_buffer_size 256k; proxy_max_temp_file_size 0;")

    def __init__(self, home: Path, origin_port: int, cpu=None):
        self.more = f"upstream origin {{ server 127.0.0.1:{origin_port}; keepalive 64; }}"
        super().__init__(home, home, 1, cpu)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its threads and its children."""
    children = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(cpu_seconds(c) for c in children)


def wrk(port, path, seconds, connections=16, threads=1, headers=(), script=None, cpu=CLIENT_CPU, method=None) -> dict:
    args = ["taskset", "-c", cpu] if cpu else []
    args += ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    for k, v in headers:
        args += ["-H", f"{k}: {v}"]
    if script:
        args += ["-s", str(script)]
    out = subprocess.run([*args, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    size = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?)B", out)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: (.*)", out)
    if bad:
        raise RuntimeError(f"{bad[1]} answers were not 2xx: {path}\n{out}")
    return {"rate": rate, "mb_s": float(size[1]) * {"": 1e-6, "K": 1.024e-3, "M": 1.048576, "G": 1073.741824}[size[2]], "errors": errors and errors[1]}


def signed_headers(here, method, path, payload=wire.EMPTY, extra=()):
    return [h for h in wire.Signer(here).headers(method, path, payload, extra) if h[0] != "Host"]


def put_file(port, path, file: Path, headers=()) -> float:
    """Seconds of one PUT of a file sent with sendfile, answer included."""
    size = file.stat().st_size
    head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {size}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n"
    with open(file, "rb") as f, socket.create_connection(("127.0.0.1", port)) as s:
        began = time.perf_counter()
        s.sendall(head.encode())
        sent = 0
        while sent < size:
            sent += os.sendfile(s.fileno(), f.fileno(), sent, min(1 << 20, size - sent))
        line = s.recv(4096)
        took = time.perf_counter() - began
    if line.split()[1] not in (b"200", b"201", b"204"):
        raise RuntimeError(line.decode(errors="replace"))
    return took


class Receiver:
    """tool_receive: receives, hashes and writes a PUT and does nothing else."""

    def __init__(self, home: Path, hashes: str):
        self.port = srv.free_port()
        tool = srv.binary().parent / "bench" / "tool_receive"
        self.process = subprocess.Popen([str(tool), str(self.port), str(home / f"received-{hashes}"), hashes])
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("tool_receive does not listen")

    def stop(self):
        self.process.kill()
        self.process.wait()


def request(port, method, path, body=None, headers=()):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    c.request(method, path, body=body, headers=dict(headers))
    r = c.getresponse()
    data = r.read()
    if r.status >= 300:
        raise RuntimeError(f"{method} {path}: {r.status} {data[:300]!r}")
    return r, data


def cp_fsync(source: Path, target: Path) -> float:
    began = time.perf_counter()
    subprocess.run(["cp", str(source), str(target)], check=True)
    fd = os.open(target, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    took = time.perf_counter() - began
    target.unlink()
    return took


def digest_rate(names, mib=256) -> dict:
    """MB/s of one core for each hash."""
    data, out = os.urandom(1 << 20), {}
    for name in names:
        h = hashlib.new(name)
        began = time.perf_counter()
        for _ in range(mib):
            h.update(data)
        out[name] = mib * 1.048576 / (time.perf_counter() - began)
    return out
