"""Requests by hand: sockets, SigV4 and the aws-chunked framings, so that tests can break each of them."""

import datetime
import hashlib
import hmac
import socket
import ssl
from urllib.parse import quote

EMPTY = hashlib.sha256(b"").hexdigest()
REGION = "us-east-1"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Signer:
    def __init__(self, endpoint, now=None, region=REGION):
        self.access, self.secret, self.host, self.region = endpoint.access_key, endpoint.secret_key, endpoint.host, region
        self.now = now or datetime.datetime.now(datetime.timezone.utc)
        self.stamp = self.now.strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.stamp[:8]}/{region}/s3/aws4_request"
        k = _hmac(("AWS4" + self.secret).encode(), self.stamp[:8])
        for part in (region, "s3", "aws4_request"):
            k = _hmac(k, part)
        self.key = k
        self.signature = None

    def headers(self, method, path, payload, extra=(), query="", signed_extra=True) -> list[tuple[str, str]]:
        """Headers with Authorization for an already encoded path; `extra` headers are signed too."""
        h = {"host": self.host, "x-amz-date": self.stamp, "x-amz-content-sha256": payload}
        if signed_extra:
            h.update({k.lower(): v for k, v in extra})
        names = ";".join(sorted(h))
        canonical = "\n".join([method, path, query, *[f"{k}:{h[k].strip()}" for k in sorted(h)], "", names, payload])
        sts = "\n".join(["AWS4-HMAC-SHA256", self.stamp, self.scope, hashlib.sha256(canonical.encode()).hexdigest()])
        self.signature = hmac.new(self.key, sts.encode(), hashlib.sha256).hexdigest()
        auth = f"AWS4-HMAC-SHA256 Credential={self.access}/{self.scope}, SignedHeaders={names}, Signature={self.signature}"
        out = [("Host", self.host), ("x-amz-date", self.stamp), ("x-amz-content-sha256", payload), ("Authorization", auth)]
        return out + list(extra)

    def chunk(self, data: bytes, previous: str) -> tuple[bytes, str]:
        sts = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", self.stamp, self.scope, previous, EMPTY, hashlib.sha256(data).hexdigest()])
        sig = hmac.new(self.key, sts.encode(), hashlib.sha256).hexdigest()
        return f"{len(data):x};chunk-signature={sig}\r\n".encode() + data + (b"\r\n" if data else b""), sig

    def signed_chunks(self, body: bytes, size: int = 65536, trailer: tuple[str, str] | None = None) -> bytes:
        out, previous = b"", self.signature
        for i in range(0, len(body), size):
            frame, previous = self.chunk(body[i:i + size], previous)
            out += frame
        frame, previous = self.chunk(b"", previous)
        out += frame
        if trailer:
            line = f"{trailer[0]}:{trailer[1]}\n"
            sts = "\n".join(["AWS4-HMAC-SHA256-TRAILER", self.stamp, self.scope, previous, hashlib.sha256(line.encode()).hexdigest()])
            sig = hmac.new(self.key, sts.encode(), hashlib.sha256).hexdigest()
            out += f"{trailer[0]}:{trailer[1]}\r\nx-amz-trailer-signature:{sig}\r\n".encode()
        return out + b"\r\n"


def unsigned_chunks(body: bytes, size: int = 65536, trailer: tuple[str, str] | None = None) -> bytes:
    out = b"".join(f"{len(body[i:i + size]):x}\r\n".encode() + body[i:i + size] + b"\r\n" for i in range(0, len(body), size))
    out += b"0\r\n"
    if trailer:
        out += f"{trailer[0]}:{trailer[1]}\r\n".encode()
    return out + b"\r\n"


def http_chunks(raw: bytes, size: int = 1000) -> bytes:
    out = b"".join(f"{len(raw[i:i + size]):x}\r\n".encode() + raw[i:i + size] + b"\r\n" for i in range(0, len(raw), size))
    return out + b"0\r\n\r\n"


def connect(endpoint, timeout=20) -> socket.socket:
    s = socket.create_connection(("127.0.0.1", endpoint.port), timeout=timeout)
    if endpoint.scheme == "https":
        context = ssl.create_default_context(cafile=endpoint.ca)
        s = context.wrap_socket(s, server_hostname="localhost")
    return s


def head(method, target, headers) -> bytes:
    return f"{method} {target} HTTP/1.1\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers) + b"\r\n"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self) -> str:
        text = self.body.decode(errors="replace")
        return text.split("<Code>")[1].split("</Code>")[0] if "<Code>" in text else ""


def read_answer(f, method="GET") -> Answer:
    """One response from a buffered socket file; skips 100 Continue."""
    while True:
        line = f.readline()
        if not line:
            raise ConnectionError("no response")
        status = int(line.split()[1])
        headers = {}
        while (h := f.readline()) not in (b"\r\n", b""):
            k, v = h.decode("latin-1").split(":", 1)
            headers[k.lower()] = v.strip()
        if status != 100:
            break
    if method == "HEAD" or status in (204, 304):
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while (n := int(f.readline().split(b";")[0], 16)):
            body += f.read(n)
            f.readline()
        f.readline()
    else:
        body = f.read(int(headers.get("content-length", 0)))
    return Answer(status, headers, body)


def ask(endpoint, raw: bytes, method="GET") -> Answer:
    with connect(endpoint) as s:
        s.sendall(raw)
        return read_answer(s.makefile("rb"), method)


def key_path(bucket, key) -> str:
    return f"/{bucket}/" + quote(key, safe="/~-._")
