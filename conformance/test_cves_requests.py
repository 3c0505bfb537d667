"""Ways past the signature that were found elsewhere, tried against every route, generated from s3api/routes.def; and requests that were too much."""

import re
import urllib.parse
import uuid
from pathlib import Path

import pytest

import wire
from conftest import empty_bucket

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "s3api/routes.def").read_text()
SUBS = dict(re.findall(r'^SUB_ROW\((\w+), "([^"]*)"\)', TEXT, re.M))
VALUES = {"uploadId": "0" * 32, "partNumber": "1"}
PAYLOADS = ["UNSIGNED-PAYLOAD", wire.EMPTY, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"]


def routes():
    found = []
    for method, level, must, name in re.findall(r"^ROUTE\((\w+), (\w+), (.*?), (?:[^,]*), (\w+), \w+, \w+\)", TEXT, re.M):
        if name == "PreflightOptions":  # open to all
            continue
        keys = [SUBS[s] for s in re.findall(r"SUB\((\w+)\)", must)]
        found.append((method, level, keys, name))
    return found


ROUTES = routes()


def test_the_matrix_has_the_routes():
    assert len(ROUTES) > 60 and {"PutObject", "UploadPart", "CopyObject", "DeleteObjects", "PutBucketPolicy"} <= {r[3] for r in ROUTES}


@pytest.fixture
def s3(http_endpoint):
    return http_endpoint.client()


@pytest.fixture
def bucket(s3):
    name = "way-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"secret", Tagging="a=1")
    yield name
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


def untouched(s3, bucket):
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"secret"
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}]


def query_of(keys):
    return "&".join(sorted(f"{k}={urllib.parse.quote(VALUES.get(k, ''))}" for k in keys if k))


def target(level, bucket, name):
    if level == "SERVICE":
        return "/"
    if level == "BUCKET":
        return f"/{bucket}" if name != "CreateBucket" else "/way-never-made"
    return f"/{bucket}/k"


def extra_of(keys, name, bucket):
    out = [("Content-Length", "0")]
    if "" in keys and "Copy" in name:
        out.append(("x-amz-copy-source", f"{bucket}/k"))
    return out


@pytest.mark.parametrize("payload", PAYLOADS)
def test_cve_2025_31489_and_cve_2026_40344_a_wrong_signature_is_one_for_every_route_and_payload(http_endpoint, s3, bucket, payload):
    for method, level, keys, name in ROUTES:
        if method == "POST" and name == "PostObject":
            continue
        path, query = target(level, bucket, name), query_of(keys)
        signer = wire.Signer(http_endpoint)
        signer.key = b"x" * 32
        headers = signer.headers(method, path, payload, extra_of(keys, name, bucket), query=query)
        answer = wire.ask(http_endpoint, wire.head(method, path + ("?" + query if query else ""), headers), method)
        assert answer.status == 403, (name, payload, answer.status, answer.body)
        assert method == "HEAD" or answer.code == "SignatureDoesNotMatch", (name, answer.body)
        assert b"secret" not in answer.body
    untouched(s3, bucket)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_cve_2026_41145_credentials_in_the_query_are_no_signature(http_endpoint, s3, bucket, payload):
    credential = urllib.parse.quote(f"{http_endpoint.access_key}/20260101/us-east-1/s3/aws4_request", safe="")
    for method, level, keys, name in ROUTES:
        if name == "PostObject":  # a form: what it says of itself is in its fields
            continue
        for parts in ([f"X-Amz-Credential={credential}"], ["X-Amz-Algorithm=AWS4-HMAC-SHA256", f"X-Amz-Credential={credential}"],
                      [f"AWSAccessKeyId={http_endpoint.access_key}"]):
            query = "&".join(x for x in [query_of(keys), *parts] if x)
            headers = [("Host", http_endpoint.host), ("x-amz-content-sha256", payload), *extra_of(keys, name, bucket)]
            answer = wire.ask(http_endpoint, wire.head(method, f"{target(level, bucket, name)}?{query}", headers), method)
            assert answer.status in (400, 403), (name, parts, answer.status, answer.body)
            assert b"secret" not in answer.body
    untouched(s3, bucket)


def test_nobody_gets_anything_by_any_route(http_endpoint, s3, bucket):
    for method, level, keys, name in ROUTES:
        if name == "PostObject":
            continue
        headers = [("Host", http_endpoint.host), *extra_of(keys, name, bucket)]
        query = query_of(keys)
        answer = wire.ask(http_endpoint, wire.head(method, target(level, bucket, name) + ("?" + query if query else ""), headers), method)
        assert answer.status in (400, 403), (name, answer.status, answer.body)
    untouched(s3, bucket)


# ---- paths ----


def signed(endpoint, method, path, query="", extra=(), body=b""):
    headers = wire.Signer(endpoint).headers(method, path, "UNSIGNED-PAYLOAD", [("Content-Length", str(len(body))), *extra], query=query)
    return wire.ask(endpoint, wire.head(method, path + ("?" + query if query else ""), headers) + body, method)


@pytest.mark.parametrize("way", ["../{0}/k", "%2e%2e/{0}/k", "..%2F{0}%2Fk", "a/../../{0}/k", "./../{0}/k", "..\\{0}\\k", "%5c..%5c{0}%5ck", "/{0}/k", "//{0}//k",
                                 "%252e%252e/{0}/k", ".sys/k", "%00", "k%00/../../{0}/k"])
def test_cve_2026_54917_a_key_is_a_key_and_no_path(http_endpoint, s3, bucket, way):
    other = "way-other-" + uuid.uuid4().hex[:8]
    s3.create_bucket(Bucket=other)
    path = f"/{other}/" + way.format(bucket)
    try:
        read = signed(http_endpoint, "GET", path)
        assert b"secret" not in read.body and read.status in (400, 403, 404), read.body
        put = signed(http_endpoint, "PUT", path, body=b"evil")
        assert put.status in (200, 400, 403), put.body
        untouched(s3, bucket)
        assert len(s3.list_objects_v2(Bucket=other).get("Contents", [])) == (put.status == 200)
        if put.status == 200:  # it is a key as any other
            assert signed(http_endpoint, "GET", path).body == b"evil"
    finally:
        empty_bucket(s3, other)
        s3.delete_bucket(Bucket=other)


# ---- too much, and nothing ----


@pytest.mark.parametrize("keys", ["0", "1001", "2147483647", "2147483648", "4294967297", "18446744073709551617", "-1", "x", "1e3"])
def test_cve_2018_16846_max_keys(http_endpoint, bucket, keys):
    answer = signed(http_endpoint, "GET", f"/{bucket}", query=f"list-type=2&max-keys={keys}")
    assert answer.status in (200, 400), answer.body
    if answer.status == 200:
        assert int(re.search(rb"<MaxKeys>(\d+)<", answer.body)[1]) <= 1000


BOMB = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">' + b"".join(
    b'<!ENTITY %c "&%c;&%c;&%c;&%c;&%c;&%c;&%c;&%c;">' % ((98 + i,) + (97 + i,) * 8) for i in range(20)) + b"]><Tagging><TagSet><Tag><Key>&u;</Key><Value/></Tag></TagSet></Tagging>"
FILE = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><Tagging><TagSet><Tag><Key>a</Key><Value>&a;</Value></Tag></TagSet></Tagging>'


@pytest.mark.parametrize("body", [b"", b"\0", b"<Tagging/>", b"<Tagging>\0</Tagging>", BOMB, FILE, b"<a>" * 100_000, b"<Tagging " + b'a="b" ' * 10_000 + b"/>"],
                         ids=["empty", "nul", "no set", "nul inside", "entities", "files", "deep", "attributes"])
def test_cve_2020_12059_tagging_takes_no_other_document(http_endpoint, s3, bucket, body):
    answer = signed(http_endpoint, "PUT", f"/{bucket}/k", query="tagging=", body=body)
    assert 400 <= answer.status < 500 and b"root:" not in answer.body, answer.body
    untouched(s3, bucket)


@pytest.mark.parametrize("name", ["response-content-type", "response-cache-control", "response-content-disposition"])
@pytest.mark.parametrize("value", ["a%0D%0AX-Evil%3A%201", "a%0AX-Evil%3A%201", "a%00b"])
def test_cve_2021_3524_answers_are_not_split_by_what_is_asked(http_endpoint, bucket, name, value):
    answer = signed(http_endpoint, "GET", f"/{bucket}/k", query=f"{name}={value}")
    assert answer.status == 400 and "x-evil" not in answer.headers


def test_cve_2020_10753_exposed_headers_do_not_split_answers(http_endpoint, bucket):
    rule = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><ExposeHeader>a&#13;&#10;X-Evil: 1</ExposeHeader></CORSRule></CORSConfiguration>"
    put = signed(http_endpoint, "PUT", f"/{bucket}", query="cors=", body=rule.encode())
    answer = signed(http_endpoint, "GET", f"/{bucket}/k", extra=[("Origin", "http://x")])
    assert put.status == 400 and "x-evil" not in answer.headers


@pytest.mark.parametrize("request_line", ["GET  HTTP/1.1", "GET", "GET /", "PUT \0 HTTP/1.1", "POST ? HTTP/1.1", "GET //?x HTTP/1.1", "GET http:// HTTP/1.1"])
def test_cve_2022_3854_odd_targets_are_answered_or_cut(http_endpoint, s3, bucket, request_line):
    try:
        answer = wire.ask(http_endpoint, f"{request_line}\r\nHost: x\r\n\r\n".encode())
        assert 400 <= answer.status < 500, answer.body
    except (ConnectionError, TimeoutError):
        pass
    untouched(s3, bucket)


@pytest.mark.parametrize("path", ["/minio/bootstrap/v1/verify", "/minio/admin/v3/info", "/v1/cluster", "/v1/daemon?what=config", "/v1/health", "/v1/metrics", "/v1/env", "/debug/pprof/"])
def test_cve_2023_28432_no_page_tells_secrets(http_endpoint, path):
    for method in ("GET", "POST"):
        answer = wire.ask(http_endpoint, wire.head(method, path, [("Host", http_endpoint.host), ("Content-Length", "0"), ("Connection", "close")]), method)
        assert http_endpoint.secret_key.encode() not in answer.body and b"SECRET_KEY" not in answer.body


def test_cve_2018_16889_secrets_are_not_logged(http_endpoint, s3, bucket):
    signed(http_endpoint, "GET", f"/{bucket}/k", extra=[("x-amz-server-side-encryption-customer-key", "c2VjcmV0LWN1c3RvbWVyLWtleQ==")])
    logs = http_endpoint.server.logs()
    assert "c2VjcmV0LWN1c3RvbWVyLWtleQ" not in logs and http_endpoint.secret_key not in logs


@pytest.mark.parametrize("header", ["algorithm", "key", "key-md5"])
def test_keys_for_what_is_not_encrypted_are_refused(http_endpoint, bucket, header):
    answer = signed(http_endpoint, "GET", f"/{bucket}/k", extra=[(f"x-amz-server-side-encryption-customer-{header}", "AES256")])
    assert (answer.status, answer.code) == (400, "InvalidRequest")
