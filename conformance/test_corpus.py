"""The corpus of requests (corpus.py), asked over kept-alive connections."""

import datetime
import hashlib
import socket
import urllib.parse
import uuid
import xml.etree.ElementTree as ET

import pytest

import corpus
import wire
from conftest import empty_bucket


@pytest.fixture(scope="module")
def site(server):
    from conftest import Endpoint

    endpoint = Endpoint(server, "http")
    s3, name = endpoint.client(), "corpus-" + uuid.uuid4().hex[:8]
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=corpus.BODY)
    s3.put_object(Bucket=name, Key="k2", Body=corpus.BODY)
    yield endpoint, name
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


class Connection:
    def __init__(self, endpoint):
        self.endpoint, self.file = endpoint, None

    def ask(self, raw, method):
        for fresh in (False, True):
            if self.file is None or fresh:
                self.sock = socket.create_connection(("127.0.0.1", self.endpoint.port), timeout=30)
                self.file = self.sock.makefile("rb")
            try:
                self.sock.sendall(raw)
                answer = wire.read_answer(self.file, method)
            except ConnectionError:  # closed after the answer before
                if fresh:
                    raise
                continue
            if answer.headers.get("connection") == "close":
                self.sock.close()
                self.file = None
            return answer


def signed(endpoint, case, bucket):
    path, query = case.path.replace("{b}", bucket), case.query
    headers = [(k, v.replace("{b}", bucket)) for k, v in case.headers]
    sha = case.sha or hashlib.sha256(case.body).hexdigest()
    if case.body or case.method in ("PUT", "POST"):
        headers.append(("Content-Length", str(len(case.body))))
    if case.sign == "none":
        made = [("Host", endpoint.host), *headers]
    else:
        now = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1 if case.sign == "skewed" else 0)
        s = wire.Signer(endpoint, now)
        if case.sign == "unknown":
            s.access = "NOBODYSKEY"
        if case.sign == "wrong":
            s.key = b"x" * 32
        if case.sign == "scope":
            s.scope = s.scope.replace("/s3/", "/ec2/")
        # S3 API, "Signature Calculations": the decoded path encoded again, headers with single spaces
        canonical = path if case.sign == "raw" else urllib.parse.quote(urllib.parse.unquote_to_bytes(path), safe="/-._~")
        made = s.headers(case.method, canonical, sha, [(k, " ".join(v.split())) for k, v in headers], query=query)
        made[len(made) - len(headers):] = headers
        if case.sign == "uncovered":
            made.append(("x-amz-meta-added", "later"))
        if case.sign == "garbled":
            made = [(k, v.replace("Credential=", "Cred=") if k == "Authorization" else v) for k, v in made]
    target = path + ("?" + query if query else "")
    return f"{case.method} {target} HTTP/1.1\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in made) + b"\r\n" + case.body


def generic(case, answer):
    """What must be so of every answer."""
    h = answer.headers
    assert h.get("x-amz-request-id") and h.get("date"), "no request id or date"
    if answer.status in (204, 304):
        return
    if answer.status >= 400 and case.method != "HEAD":
        assert h["content-type"] == "application/xml", h
        root = ET.fromstring(answer.body)
        found = {e.tag: e.text for e in root}
        assert root.tag == "Error" and found.get("Code") and found.get("Message") and found.get("RequestId") == h["x-amz-request-id"], answer.body
    if case.method == "HEAD":
        assert answer.body == b""


def check(case, answer):
    generic(case, answer)
    assert answer.status in case.status, f"status {answer.status}, not {case.status}: {answer.body[:300]}"
    if case.code and answer.status >= 400 and case.method != "HEAD":
        assert answer.code in case.code, f"code {answer.code}, not {case.code}"
    if case.root and case.method != "HEAD":
        assert ET.fromstring(answer.body).tag == f"{{{corpus.NS}}}{case.root}", answer.body[:300]
    for name, value in case.expect:
        assert answer.headers.get(name) == value, f"{name}: {answer.headers.get(name)!r}, not {value!r}"
    if case.content is not None and case.method != "HEAD":
        assert answer.body == case.content, f"content {answer.body[:100]!r}"


def test_there_are_enough():
    assert sum(len(list(f())) for f in corpus.FAMILIES.values()) >= 2000


@pytest.mark.parametrize("family", corpus.FAMILIES)
def test_answers(site, family):
    endpoint, bucket = site
    connection, wrong = Connection(endpoint), []
    for case in corpus.FAMILIES[family]():
        answer = connection.ask(signed(endpoint, case, bucket), case.method)
        try:
            check(case, answer)
        except (AssertionError, ET.ParseError) as e:
            wrong.append(f"{case}\n    {e}")
    assert not wrong, f"{len(wrong)} disagreements:\n" + "\n".join(wrong[:60])
