"""A Docker Engine of the tests' own, apart from the machine's: its files, its socket, no change to the machine's firewall. Images are made of
static programs, so nothing is pulled. SLUICE_TEST_DOCKER names the socket of another one to use instead, for instance Podman's. By hand:
`python3 docker_engine.py` runs one until it is interrupted."""

import contextlib
import http.client
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.parse
from pathlib import Path

import pytest

SIDECAR = Path(__file__).resolve().parent.parent / "tests" / "unit" / "etl" / "docker_sidecar.c"
LABEL = "sluice.node"


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("docker", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class DockerEngine:
    def __init__(self):
        self.home = Path(tempfile.mkdtemp(prefix="sluice-docker-"))
        self.given = os.environ.get("SLUICE_TEST_DOCKER")
        self.socket = self.given or str(self.home / "d.sock")
        self.process = None

    def start(self, wait=60.0) -> "DockerEngine":
        if self.given:
            return self
        program = shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if not program or os.geteuid() != 0:
            raise RuntimeError("dockerd is not installed" if not program else "dockerd needs root")
        self.log = open(self.home / "log", "ab")
        pool = f"base=10.{random.randrange(1, 255)}.0.0/16,size=24"  # several engines, and the machine's, must not meet
        self.process = subprocess.Popen(
            [program, "--data-root", self.home / "data", "--exec-root", self.home / "exec", "--pidfile", self.home / "pid", "-H", f"unix://{self.socket}",
             "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--default-address-pool", pool],
            stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.ask("GET", "/version")[0] == 200:
                    return self
            time.sleep(0.1)
        said = (self.home / "log").read_text(errors="replace").splitlines()[-5:]
        self.stop()
        raise RuntimeError("dockerd can't run here: " + " | ".join(said))

    def stop(self):
        if self.process and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.clear()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def ask(self, method, path, body=None, timeout=60.0):
        connection = _Connection(self.socket, timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def json(self, path, **query):
        status, text = self.ask("GET", f"{path}?{urllib.parse.urlencode(query)}")
        assert status == 200, text
        return json.loads(text)

    def containers(self) -> list[dict]:
        return self.json("/containers/json", all="true")

    def networks(self) -> list[str]:
        return [n["Name"] for n in self.json("/networks") if LABEL in (n["Labels"] or {})]

    def clear(self):
        for c in self.containers():
            self.ask("DELETE", f"/containers/{c['Id']}?force=true&v=true")
        for n in self.networks():
            self.ask("DELETE", f"/networks/{n}")

    def image(self, name, files: dict[str, bytes | Path], *changes):
        """Of programs and other files by their paths: what they hold, or files of this machine, which keep their time. `changes` as in a Dockerfile:
        'CMD ["/sidecar"]'."""
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as t:
            for path, content in files.items():
                info = tarfile.TarInfo(path.lstrip("/"))
                if isinstance(content, Path):
                    info.mtime, content = int(content.stat().st_mtime), content.read_bytes()
                info.size, info.mode = len(content), 0o755
                t.addfile(info, io.BytesIO(content))
        query = urllib.parse.urlencode([("fromSrc", "-"), ("repo", name), *(("changes", c) for c in changes)])
        status, text = self.ask("POST", f"/images/create?{query}", tar.getvalue())
        assert status == 200 and b'"error"' not in text, text

    def sidecar(self, name="sluice-test/sidecar:1") -> str:
        """An image with the program of the unit tests, /sidecar: an HTTP server, or a filter, that turns objects to upper case."""
        program = self.home / "sidecar"
        if not program.exists():
            subprocess.run(["cc", "-O1", "-static", "-o", program, SIDECAR], check=True, capture_output=True)
        self.image(name, {"sidecar": program.read_bytes()}, 'CMD ["/sidecar","serve"]')
        return name


@pytest.fixture(scope="session")
def docker_engine():
    engine = DockerEngine()
    try:
        engine.start()
    except RuntimeError as e:
        shutil.rmtree(engine.home, ignore_errors=True)
        pytest.skip(str(e))
    yield engine
    engine.stop()


if __name__ == "__main__":
    e = DockerEngine().start()
    e.sidecar()
    print(f"--etl-runtime docker --etl-docker-socket {e.socket}", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        e.stop()
