"""Starts a real `sluice serve` on free ports and stops it; shared by conformance and fault tests."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ACCESS_KEY = "conformancekey000001"
SECRET_KEY = "conformance/secret+key0000000000000000001"
ENCRYPTION_KEY = "conformance-master-key-00000000000001"


def binary() -> Path:
    return Path(os.environ.get("SLUICE_BIN", ROOT / "build" / "release" / "sluice"))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_certificate(directory: Path) -> tuple[Path, Path]:
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,DNS:*.s3.localhost,IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True)
    return cert, key


class Server:
    """One `sluice serve` process with a plain and a TLS listener over a directory that outlives restarts."""

    def __init__(self, data: list[Path] | None = None, tls: bool = True, env: dict | None = None, extra: tuple = ()):
        self.home = Path(tempfile.mkdtemp(prefix="sluice-test-"))
        self.data = data or [self.home / "data"]
        self.port = free_port()
        self.tls_port = free_port() if tls else None
        self.cert, self.key = make_certificate(self.home) if tls else (None, None)
        self.extra = list(extra)
        self.env = env or {}
        self.log_path = self.home / "server.log"
        self.process: subprocess.Popen | None = None

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def https(self) -> str:
        return f"https://localhost:{self.tls_port}"

    def command(self) -> list[str]:
        args = [str(binary()), "serve", "--listen", f"127.0.0.1:{self.port}"]
        for d in self.data:
            args += ["--data", str(d)]
        if self.tls_port:
            args += ["--tls-listen", f"127.0.0.1:{self.tls_port}", "--tls-cert", str(self.cert), "--tls-key", str(self.key)]
        return args + self.extra

    def start(self, wait: float = 60.0) -> "Server":
        around = {k: v for k, v in os.environ.items() if k != "SLUICE_REDUNDANCY"}  # which only a cluster can keep
        env = {**around, "SLUICE_ACCESS_KEY": ACCESS_KEY, "SLUICE_SECRET_KEY": SECRET_KEY,
               "SLUICE_DOMAINS": "s3.localhost", "SLUICE_ENCRYPTION_KEY": ENCRYPTION_KEY, **self.env}
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log, env=env, cwd=self.home)
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as s:
                    s.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    if b" 200 " in s.recv(4096):
                        return self
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"the server did not become ready:\n{self.tail()}")

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM and wait; returns the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"the server did not end after SIGTERM:\n{self.tail()}")
        self.log.close()
        self.process = None
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.process = None

    def clean(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def logs(self) -> str:
        return self.log_path.read_text(errors="replace")

    def tail(self, n: int = 60) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-n:])

    def metrics(self) -> dict[str, float]:
        import urllib.request
        with urllib.request.urlopen(f"{self.http}/v1/metrics", timeout=10) as r:
            text = r.read().decode()
        return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z_]+(?:\{[^}]*\})?) ([-+0-9.e]+)$", text, re.M)}

    def rss(self) -> int:
        """Resident bytes of the process."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def assert_clean(log: str) -> None:
    """Nothing that a sanitizer has found."""
    assert "ERROR: AddressSanitizer" not in log and "runtime error:" not in log and "LeakSanitizer" not in log, log[-8000:]


def end(server) -> None:
    """Of a Server, or a cluster that looks like one: it must end in order."""
    code, log = server.stop(), server.logs()
    server.clean()
    assert code == 0, f"the server ended with {code}:\n{log[-4000:]}"
    assert_clean(log)


@contextlib.contextmanager
def running(server):
    server.start()
    try:
        yield server
    finally:
        end(server)
