"""ETLs for tests: where their programs are, how they are made, and what is left of them."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.parse
import uuid
from pathlib import Path

import pytest
import requests

import cluster as cl

PROGRAMS = Path(__file__).resolve().parent / "etl"
EXAMPLES = Path(__file__).resolve().parent.parent / "etl" / "examples"
PYTHON = "/usr/bin/python3"  # what needs nothing but the standard library starts faster with it
NOBODY = 65534
_names = itertools.count()


def new_name(kind: str) -> str:
    return f"{kind}-{next(_names)}-{uuid.uuid4().hex[:6]}"


def nobody_runs(*command) -> bool:
    """Whether sidecars can run that, who are nobody when the server is root's."""
    who = dict(user=NOBODY, group=NOBODY, extra_groups=[]) if os.geteuid() == 0 else {}
    return subprocess.run(command, capture_output=True, cwd="/", **who).returncode == 0


def need(*modules):
    """Skips by name when the sidecars' Python has not all of these, or can't be used by them."""
    for m in modules:
        pytest.importorskip(m, reason=f"{m} is not installed")
    imports = "; ".join(f"import {m}" for m in modules)
    if not nobody_runs(sys.executable, "-c", imports) or not nobody_runs("test", "-r", str(PROGRAMS / "transforms.py")):
        pytest.skip(f"{sys.executable} or {PROGRAMS} can't be read by the user of sidecars")


COMMANDS = {
    "fastapi": [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--app-dir", str(PROGRAMS), "--host", "0.0.0.0", "--port", "8000",
                "--ws-max-size", "17179869184", "--no-access-log"],
    "flask": [sys.executable, "-m", "gunicorn", "flask_app:app", "--chdir", str(PROGRAMS), "--bind", "0.0.0.0:8000", "--threads", "4"],
    "http": [sys.executable, str(PROGRAMS / "http_app.py")],
    "rename": [sys.executable, "-m", "uvicorn", "rename_app:app", "--app-dir", str(PROGRAMS), "--host", "0.0.0.0", "--port", "8000"],
}


class Etls:
    """What a server is asked about ETLs by plain requests."""

    def __init__(self, server, headers=None):
        self.server, self.url, self.headers = server, server.http, headers or {}
        self.is_cluster = isinstance(server, cl.ClusterServer)

    def ask(self, method, path, body=None, timeout=60, **query):
        return requests.request(method, self.url + path, data=body, params=query, headers=self.headers, timeout=timeout)

    def put(self, spec) -> requests.Response:
        """A specification as a dict or as text."""
        return self.ask("PUT", "/v1/etl", json.dumps(spec) if isinstance(spec, dict) else spec)

    def make(self, spec) -> str:
        r = self.put(spec)
        assert r.status_code == 200, r.text
        return r.text

    def look(self, name) -> dict:
        r = self.ask("GET", f"/v1/etl/{name}")
        assert r.status_code == 200, r.text
        return r.json()

    def nodes(self, name, what) -> list:
        r = self.ask("GET", f"/v1/etl/{name}/{what}")
        assert r.status_code == 200, r.text
        return r.json()

    def total(self, name, what) -> int:
        return sum(n[what] for n in self.nodes(name, "metrics"))

    def delete(self, name):
        r = self.ask("DELETE", f"/v1/etl/{name}")
        assert r.status_code in (200, 404), r.text

    @contextlib.contextmanager
    def etl(self, kind, command, comm="io", env=None, **spec):
        """Its name."""
        name = new_name(kind)
        runtime = {"command": command, "env": [{"name": k, "value": v} for k, v in (env or {}).items()]}
        self.make({"name": name, "communication": comm + "://", "runtime": runtime | spec.pop("runtime", {}), **spec})
        try:
            yield name
        finally:
            self.delete(name)

    def get(self, bucket, key, timeout=60, **query) -> requests.Response:
        return self.ask("GET", f"/{bucket}/{urllib.parse.quote(key)}", timeout=timeout, **query)

    def read(self, bucket, key, **query) -> bytes:
        r = self.get(bucket, key, **query)
        assert r.status_code == 200, (r.status_code, r.text)
        return r.content

    def store(self, bucket, key, content) -> None:
        r = self.ask("PUT", f"/{bucket}/{urllib.parse.quote(key)}", content)
        assert r.status_code == 200, r.text

    def keys(self, bucket) -> list[str]:
        found, after = [], ""
        while True:
            r = requests.get(f"{self.url}/v1/buckets/{bucket}", json={"action": "list", "value": {"continuation_token": after}},
                             headers=self.headers, timeout=60)
            assert r.status_code == 200, r.text
            page = r.json()
            found += [e["name"] for e in page.get("entries") or []]
            after = page.get("continuation_token", "")
            if not after:
                return found

    @contextlib.contextmanager
    def bucket(self, **settings):
        name = new_name("bck")
        value = {"sluice": settings} if settings else None
        r = requests.post(f"{self.url}/v1/buckets/{name}", json={"action": "create-bck", "value": value}, headers=self.headers, timeout=60)
        assert r.status_code == 200, r.text
        try:
            yield name
        finally:
            requests.delete(f"{self.url}/v1/buckets/{name}", json={"action": "destroy-bck"}, headers=self.headers, timeout=60)


# ---- what is left of sidecars ----


def server_pids(server) -> list[int]:
    return [n.pid for n in [*server.targets, *server.gateways]] if isinstance(server, cl.ClusterServer) else [server.process.pid]


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def processes(server) -> int:
    """That its sidecars consist of."""
    return sum(len(descendants(p)) for p in server_pids(server))


def eventually(what, seconds=15.0):
    """Asks until it is true, or says what it was."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, value
        time.sleep(0.05)
    return value


def channels(server) -> int:
    """Descriptors of pipes, sockets and such, but for connections between nodes. Files are no measure: index and content are kept open for later."""
    count, public = 0, {server.port, server.tls_port}
    for pid in server_pids(server):
        internal = cl.internal_sockets(pid, public) if isinstance(server, cl.ClusterServer) else set()
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                link = os.readlink(fd)
                count += not link.startswith("/") and link not in internal
    return count


@contextlib.contextmanager
def nothing_left(server, files=4):
    """What happens inside leaves no process, and no descriptor but a few kept connections, behind."""
    before, open_before = processes(server), channels(server)
    files *= len(server_pids(server))
    for _ in range(12 if isinstance(server, cl.ClusterServer) else 0):  # until the nodes' sidecars are all there
        time.sleep(0.1)
        before = max(before, processes(server))
    yield
    with contextlib.suppress(AssertionError):
        eventually(lambda: processes(server) <= before and channels(server) <= open_before + files, 10)
    left = processes(server), channels(server)
    assert left[0] <= before and left[1] <= open_before + files, (left, before, open_before)
