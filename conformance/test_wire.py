"""Payload modes, framing and broken bodies, byte by byte."""

import base64
import datetime
import os
import time
import zlib

import pytest
from botocore.exceptions import ClientError

import wire

SIZES = [0, 1, 65535, 65536, 65537, 300000, 2 << 20]


def crc32(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def put(endpoint, bucket, key, mode, body, *, frames=None, declared=None, te=False, headers=(), trailer_name="x-amz-checksum-crc32",
        trailer_value=None, mangle=None, query=""):
    """A PUT in one of the aws-chunked modes, optionally nested in HTTP chunking, optionally damaged."""
    signer = wire.Signer(endpoint)
    path = wire.key_path(bucket, key)
    extra = [("x-amz-decoded-content-length", str(len(body) if declared is None else declared)), *headers]
    trailer = None
    if mode.endswith("TRAILER"):
        extra.append(("x-amz-trailer", "x-amz-checksum-crc32"))
        trailer = (trailer_name, trailer_value if trailer_value is not None else crc32(body))
    h = signer.headers("PUT", path, mode, extra, query=query)
    path += f"?{query}" if query else ""
    raw = wire.unsigned_chunks(body, trailer=trailer) if "UNSIGNED" in mode else signer.signed_chunks(body, trailer=trailer)
    if mangle:
        raw = mangle(raw)
    if te:
        raw = wire.http_chunks(raw, 777 if len(raw) < 100000 else 60001)
        h.append(("Transfer-Encoding", "chunked"))
    else:
        h.append(("Content-Length", str(len(raw))))
    return wire.ask(endpoint, wire.head("PUT", path, h) + raw, "PUT")


MODES = ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("te", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_chunked_modes(endpoint, s3, bucket, mode, te, size):
    body = os.urandom(size)
    r = put(endpoint, bucket, "k", mode, body, te=te, headers=[("content-encoding", "gzip, aws-chunked")])
    assert r.status == 200, r.body
    g = s3.get_object(Bucket=bucket, Key="k")
    assert g["Body"].read() == body and g["ContentEncoding"] == "gzip"


def flip(at):
    def f(raw):
        b = bytearray(raw)
        b[at] ^= 1
        return bytes(b)
    return f


@pytest.mark.parametrize("mode,damage,codes", [
    (MODES[0], flip(100), ("SignatureDoesNotMatch",)),                     # a data byte
    (MODES[0], flip(30), ("SignatureDoesNotMatch", "InvalidRequest", "IncompleteBody", "InvalidArgument")),  # a signature digit
    (MODES[1], flip(100), ("SignatureDoesNotMatch",)),
    (MODES[1], flip(-8), ("SignatureDoesNotMatch", "MalformedTrailerError", "InvalidRequest")),
    (MODES[2], flip(100), ("BadDigest",)),
    (MODES[2], lambda r: r[:-60] + b"\r\n", None),
    (MODES[0], lambda r: b"fffffffffffffffff" + r, None),                   # a size that does not fit
    (MODES[2], lambda r: b"-5\r\n" + r, None),
    (MODES[2], lambda r: r.replace(b"\r\n", b"\r\r", 1), None),
])
def test_damaged_chunks_leave_the_object(endpoint, s3, bucket, mode, damage, codes):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    r = put(endpoint, bucket, "k", mode, os.urandom(70000), mangle=damage)
    assert r.status in (400, 403), r.body
    if codes:
        assert r.code in codes
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


def test_wrong_trailers(endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    body = os.urandom(1000)
    assert put(endpoint, bucket, "k", MODES[2], body, trailer_value=crc32(b"x")).code == "BadDigest"
    assert put(endpoint, bucket, "k", MODES[1], body, trailer_value=crc32(b"x")).code == "BadDigest"
    assert put(endpoint, bucket, "k", MODES[2], body, trailer_name="x-amz-checksum-sha1").status == 400
    assert put(endpoint, bucket, "k", MODES[2], body, trailer_value="??").status == 400
    assert put(endpoint, bucket, "k", MODES[2], body, declared=999).status == 400
    assert put(endpoint, bucket, "k", MODES[0], body, declared=1001).status == 400
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


def test_part_of_another_algorithm_and_part_with_a_bad_trailer_say_what_is_wrong(endpoint, s3, bucket):
    u = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")["UploadId"]
    query = f"partNumber=1&uploadId={u}"
    r = put(endpoint, bucket, "k", MODES[2], b"x" * 1000, query=query)
    assert (r.status, r.code) == (400, "InvalidRequest") and b"Checksum Type mismatch" in r.body
    u = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32")["UploadId"]
    query = f"partNumber=1&uploadId={u}"
    r = put(endpoint, bucket, "k", MODES[2], b"x" * 1000, trailer_value="??", query=query)
    assert r.status == 400 and b"mismatch" not in r.body, r.body
    assert put(endpoint, bucket, "k", MODES[2], b"x" * 1000, query=query).status == 200


def test_decoded_length_is_required(endpoint, bucket):
    signer = wire.Signer(endpoint)
    path = wire.key_path(bucket, "k")
    h = signer.headers("PUT", path, MODES[0])
    raw = signer.signed_chunks(b"abc")
    r = wire.ask(endpoint, wire.head("PUT", path, h + [("Content-Length", len(raw))]) + raw, "PUT")
    assert (r.status, r.code) == (411, "MissingContentLength")


def test_signed_digest_is_checked(endpoint, s3, bucket):
    path = wire.key_path(bucket, "k")
    h = wire.Signer(endpoint).headers("PUT", path, wire.EMPTY)
    r = wire.ask(endpoint, wire.head("PUT", path, h + [("Content-Length", "3")]) + b"abc", "PUT")
    assert (r.status, r.code) == (400, "XAmzContentSHA256Mismatch")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_no_length_is_refused(endpoint, bucket):
    path = wire.key_path(bucket, "k")
    h = wire.Signer(endpoint).headers("PUT", path, "UNSIGNED-PAYLOAD")
    r = wire.ask(endpoint, wire.head("PUT", path, h), "PUT")
    assert r.status in (411, 200)  # a PUT without any framing has an empty body (RFC 9112 6.3)


def test_expect_continue(endpoint, bucket):
    """The refusal comes before the body; an accepted body is asked for."""
    path = wire.key_path(bucket, "k")
    good = wire.Signer(endpoint).headers("PUT", path, "UNSIGNED-PAYLOAD") + [("Content-Length", "5"), ("Expect", "100-continue")]
    with wire.connect(endpoint) as s:
        s.sendall(wire.head("PUT", path, good))
        f = s.makefile("rb")
        assert f.readline().startswith(b"HTTP/1.1 100")
        f.readline()
        s.sendall(b"hello")
        assert wire.read_answer(f, "PUT").status == 200
    bad = [(k, v.replace("Signature=", "Signature=0") if k == "Authorization" else v) for k, v in good]
    with wire.connect(endpoint) as s:
        s.sendall(wire.head("PUT", path, bad))
        line = s.makefile("rb").readline()
        assert b" 403 " in line or b" 400 " in line, line  # and no 100
    with wire.connect(endpoint) as s:
        s.sendall(wire.head("PUT", wire.key_path(bucket + "none", "k"),
                            wire.Signer(endpoint).headers("PUT", wire.key_path(bucket + "none", "k"), "UNSIGNED-PAYLOAD")
                            + [("Content-Length", "5"), ("Expect", "100-continue")]))
        line = s.makefile("rb").readline()
        assert b" 404 " in line, line


@pytest.mark.parametrize("at", [0, 1, 100, 8191, 100000, 299999])
@pytest.mark.parametrize("size", [300000])
def test_vanishing_uploaders_leave_nothing(server, endpoint, s3, bucket, at, size):
    before = server.open_files()
    path = wire.key_path(bucket, "gone")
    h = wire.Signer(endpoint).headers("PUT", path, "UNSIGNED-PAYLOAD") + [("Content-Length", str(size))]
    for _ in range(5):
        s = wire.connect(endpoint)
        s.sendall(wire.head("PUT", path, h) + bytes(at))
        s.close()
    deadline = time.monotonic() + 10
    while server.open_files() > before + 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    for d in server.data:
        assert [p for p in (d / "staging").rglob("*") if p.is_file()] == []


def test_vanishing_readers_leave_nothing(server, endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="big", Body=bytes(8 << 20))
    path = wire.key_path(bucket, "big")
    h = wire.head("GET", path, wire.Signer(endpoint).headers("GET", path, wire.EMPTY))
    before = server.open_files()
    for n in (0, 1, 500, 70000, 3 << 20):
        s = wire.connect(endpoint)
        s.sendall(h)
        got = 0
        while got < n:
            got += len(s.recv(min(65536, n - got)))
        s.close()
    deadline = time.monotonic() + 10
    while server.open_files() > before + 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.open_files() <= before + 3
    assert s3.head_object(Bucket=bucket, Key="big")["ContentLength"] == 8 << 20


@pytest.mark.parametrize("raw", [
    b"GET / HTTP/1.1\r\n\r\n",                                                   # no Host
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",                          # obs-fold
    b"GET / HTTP/1.1\nHost: a\n\n",                                              # bare LF
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(2000)) + b"\r\n",
    b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
])
def test_ambiguous_requests_are_refused_and_cut(endpoint, raw):
    with wire.connect(endpoint) as s:
        try:
            s.sendall(raw + b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        except OSError:
            pass
        f = s.makefile("rb")
        r = wire.read_answer(f)
        assert r.status in (400, 417, 431, 501, 505), r.status
        assert f.read(1) == b""  # closed: nothing behind it is answered


def test_pipelining(endpoint, s3, bucket):
    for i in range(20):
        s3.put_object(Bucket=bucket, Key=f"p{i}", Body=str(i).encode() * (i * 1000))
    raw = b""
    for i in range(20):
        path = wire.key_path(bucket, f"p{i}")
        raw += wire.head("GET", path, wire.Signer(endpoint).headers("GET", path, wire.EMPTY))
    with wire.connect(endpoint) as s:
        s.sendall(raw)
        f = s.makefile("rb")
        for i in range(20):
            assert wire.read_answer(f).body == str(i).encode() * (i * 1000)


def signed_get(endpoint, bucket, key, now=None, change=None, query=""):
    path = wire.key_path(bucket, key)
    h = wire.Signer(endpoint, now).headers("GET", path, wire.EMPTY, query=query)
    if change:
        h = change(h)
    return wire.ask(endpoint, wire.head("GET", path, h))


def test_signatures(endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret")
    assert signed_get(endpoint, bucket, "k").body == b"secret"
    now = datetime.datetime.now(datetime.timezone.utc)
    for minutes in (-20, 20):
        r = signed_get(endpoint, bucket, "k", now + datetime.timedelta(minutes=minutes))
        assert (r.status, r.code) == (403, "RequestTimeTooSkewed")
    cases = {
        "SignatureDoesNotMatch": lambda h: [(k, v[:-1] + ("0" if v[-1] != "0" else "1") if k == "Authorization" else v) for k, v in h],
        "InvalidAccessKeyId": lambda h: [(k, v.replace(endpoint.access_key, "nobody") if k == "Authorization" else v) for k, v in h],
        "AuthorizationHeaderMalformed": lambda h: [(k, v.split(",")[0] if k == "Authorization" else v) for k, v in h],
        "AccessDenied": lambda h: [(k, v) for k, v in h if k != "Authorization"],
    }
    for expected, change in cases.items():
        r = signed_get(endpoint, bucket, "k", change=change)
        assert r.code == expected and b"secret" not in r.body
    r = signed_get(endpoint, bucket, "k", change=lambda h: h + [("x-amz-meta-sneaked", "in")])
    assert r.status == 403
    r = signed_get(endpoint, bucket, "k", change=lambda h: [(k, v) for k, v in h if k != "x-amz-date"])
    assert r.status in (400, 403)
    r = wire.ask(endpoint, wire.head("GET", f"/{bucket}/k?X-Amz-Credential={endpoint.access_key}/20260101/us-east-1/s3/aws4_request", [("Host", endpoint.host)]))
    assert r.status in (400, 403)  # CVE-2026-41145: credentials without a signature


def test_authorisation_does_not_stick_to_a_connection(endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret")
    path = wire.key_path(bucket, "k")
    with wire.connect(endpoint) as s:
        f = s.makefile("rb")
        s.sendall(wire.head("GET", path, wire.Signer(endpoint).headers("GET", path, wire.EMPTY)))
        assert wire.read_answer(f).status == 200
        s.sendall(wire.head("GET", path, [("Host", endpoint.host)]))
        assert wire.read_answer(f).status == 403
        s.sendall(wire.head("PUT", path, [("Host", endpoint.host), ("x-amz-content-sha256", MODES[2]), ("Content-Length", "0")]))
        assert wire.read_answer(f).status == 403
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"secret"


def test_request_ids(endpoint, bucket):
    r = signed_get(endpoint, bucket, "none")
    assert r.status == 404 and r.headers["x-amz-request-id"] in r.body.decode() and r.headers["x-amz-id-2"]
    assert r.headers["content-type"] == "application/xml"


def test_virtual_host_style(server, s3, bucket):
    import socket as so
    import boto3
    from botocore.config import Config
    import server as srv
    s3.put_object(Bucket=bucket, Key="dir/k", Body=b"v")
    real = so.getaddrinfo
    so.getaddrinfo = lambda host, *a, **k: real("127.0.0.1" if str(host).endswith("s3.localhost") else host, *a, **k)
    try:
        c = boto3.client("s3", endpoint_url=f"http://s3.localhost:{server.port}", aws_access_key_id=srv.ACCESS_KEY, region_name="us-east-1",
                         aws_secret_access_key=srv.SECRET_KEY, config=Config(s3={"addressing_style": "virtual"}))
        assert c.get_object(Bucket=bucket, Key="dir/k")["Body"].read() == b"v"
        assert [o["Key"] for o in c.list_objects_v2(Bucket=bucket)["Contents"]] == ["dir/k"]
        c.put_object(Bucket=bucket, Key="/x", Body=b"y")
        assert s3.get_object(Bucket=bucket, Key="/x")["Body"].read() == b"y"
    finally:
        so.getaddrinfo = real
