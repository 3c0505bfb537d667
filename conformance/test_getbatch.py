"""GetBatch, natively and over S3: exact order, formats, ranges, members, what is missing, and what is ours. Raw requests, read by Python's
own tarfile and zipfile; with the AIStore SDK where it is installed."""

import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
import time
import zipfile

import boto3
import pytest

import server as srv
from wire import Signer

UNSIGNED = "UNSIGNED-PAYLOAD"


def batch(endpoint, path, document, query="", method="GET"):
    """(status, headers, body) of a signed request with a JSON body; a body that is cut off is None."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = Signer(endpoint).headers(method, path, UNSIGNED, query=query)
    connection = endpoint.connection()
    connection.putrequest(method, path + ("?" + query if query else ""), skip_host=True, skip_accept_encoding=True)
    for name, value in headers + [("Content-Length", str(len(body))), ("Content-Type", "application/json")]:
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    try:
        answer = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    except Exception:
        answer = response.status, {k.lower(): v for k, v in response.getheaders()}, None
    connection.close()
    return answer


def members(tar: bytes, mode="r|*"):
    with tarfile.open(fileobj=io.BytesIO(tar), mode=mode) as t:
        return [(m.name, t.extractfile(m).read()) for m in t if m.isreg()]


def parts(headers, body):
    boundary = re.search(r"boundary=([^;,\s]+)", headers["content-type"]).group(1).encode()
    assert body.startswith(b"--" + boundary + b"\r\n") and body.endswith(b"\r\n--" + boundary + b"--\r\n")
    pieces = body[:-len(boundary) - 8].split(b"--" + boundary + b"\r\n")[1:]
    out = {}
    for piece in pieces:
        head, content = piece.split(b"\r\n\r\n", 1)
        name = re.search(rb'name="(\w+)"', head).group(1).decode()
        out[name] = head, content[:-2] if name == "metadata" else content
    return json.loads(out["metadata"][1]), out["archive"][1]


CONTENT = {f"dir/{i:03d}.bin": bytes([i % 251]) * size
           for i, size in enumerate([0, 1, 511, 512, 513, 10240, 16384, 16385, 65536, 65537, 100000, 300000, 1 << 20, 3 << 20])}


@pytest.fixture
def filled(s3, bucket):
    for key, content in CONTENT.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    return bucket


def entries(keys):
    return [{"objname": k} for k in keys]


def test_stream_is_in_request_order(endpoint, filled):
    keys = list(reversed(CONTENT)) + ["dir/005.bin"] * 3
    for path in (f"/v1/ml/moss/{filled}", "/v1/ml/moss"):
        document = {"in": entries(keys), "strm": True}
        if path == "/v1/ml/moss":
            for e in document["in"]:
                e.update(bucket=filled, provider="ais")
        for method in ("GET", "POST"):
            status, headers, body = batch(endpoint, path, document, "provider=ais", method)
            assert (status, headers["content-type"]) == (200, "application/x-tar")
            assert "content-encoding" not in headers
            assert members(body) == [(f"{filled}/{k}", CONTENT[k]) for k in keys]
            assert members(body, "r:") == members(body)


@pytest.mark.parametrize("mime", [".tar", ".tgz", ".tar.gz", ".zip", ".tar.lz4", ".tar.zst", "application/x-tar"])
def test_formats(endpoint, filled, mime, tmp_path):
    status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", {"in": entries(CONTENT), "mime": mime, "strm": True, "onob": True})
    assert status == 200
    if mime == ".zip":
        with zipfile.ZipFile(io.BytesIO(body)) as z:
            assert z.testzip() is None
            assert [(i.filename, z.read(i)) for i in z.infolist()] == list(CONTENT.items())
        return
    if mime in (".tar.lz4", ".tar.zst"):
        tool = {".tar.lz4": "lz4", ".tar.zst": "zstd"}[mime]
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
        body = subprocess.run([tool, "-dc"], input=body, capture_output=True, check=True).stdout
    elif "gz" in mime:
        assert gzip.decompress(body)
    assert members(body) == list(CONTENT.items())


def test_missing_with_coer_is_an_empty_member(endpoint, filled):
    document = {"in": entries(["dir/001.bin", "nowhere", "dir/002.bin"]), "strm": True, "coer": True}
    status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", document)
    assert status == 200
    assert members(body) == [(f"{filled}/dir/001.bin", CONTENT["dir/001.bin"]), (f"__404__/{filled}/nowhere", b""),
                             (f"{filled}/dir/002.bin", CONTENT["dir/002.bin"])]


def test_missing_without_coer_is_404_before_the_stream(endpoint, filled):
    for strm in (True, False):
        document = {"in": entries(["dir/001.bin", "nowhere"]), "strm": strm}
        status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", document)
        assert status == 404 and f"ais://{filled}/nowhere does not exist" in json.loads(body)["message"]


def test_missing_bucket_is_404(endpoint, filled):
    document = {"in": [{"objname": "x", "bucket": "no-such-bucket-here", "provider": "ais"}], "coer": True, "strm": True}
    status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", document)
    assert status == 404 and "does not exist" in json.loads(body)["message"]


def test_multipart_has_metadata_first(endpoint, filled):
    rows = [{"objname": "dir/005.bin", "opaque": "YWJjLV8="}, {"objname": "nowhere", "bucket": filled, "provider": "ais"},
            {"objname": "dir/006.bin", "start": 10, "length": 20}, {"objname": "dir/006.bin", "start": 16000, "length": -1}]
    status, headers, body = batch(endpoint, f"/v1/ml/moss/{filled}", {"in": rows, "coer": True, "strm": False, "mime": ".tar"})
    assert status == 200 and headers["content-type"].startswith("multipart/mixed; boundary=")
    metadata, archive = parts(headers, body)
    assert metadata["uuid"]
    out = metadata["out"]
    assert [o["objname"] for o in out] == [r["objname"] for r in rows]
    assert [o["size"] for o in out] == [10240, 0, 20, 384]
    assert [bool(o.get("err_msg")) for o in out] == [False, True, False, False]
    assert out[0]["opaque"] == "YWJjLV8=" and "opaque" not in out[1]
    assert all(o["bucket"] == filled and o["provider"] == "ais" for o in out)
    assert [len(c) for _, c in members(archive)] == [10240, 0, 20, 384]


def test_ranges(endpoint, filled):
    key, content = "dir/011.bin", CONTENT["dir/011.bin"]
    rows = [{"objname": key, "start": 0, "length": 0}, {"objname": key, "start": 0, "length": 1},
            {"objname": key, "start": 100, "length": 200000}, {"objname": key, "start": 299999, "length": -1},
            {"objname": key, "start": 0, "length": -1}, {"objname": "dir/000.bin", "start": 0, "length": -1}]
    status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", {"in": rows, "strm": True})
    assert status == 200
    assert [c for _, c in members(body)] == [content, content[:1], content[100:200100], content[-1:], content, b""]
    for bad in ({"start": 300000, "length": -1}, {"start": 299999, "length": 2}):
        document = {"in": [{"objname": key, **bad}], "strm": True}
        assert batch(endpoint, f"/v1/ml/moss/{filled}", document)[0] == 416
        status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", {**document, "coer": True})
        assert status == 200 and members(body) == [(f"__404__/{filled}/{key}", b"")]
    for bad in ({"start": 5}, {"start": -1, "length": 3}, {"length": -2}, {"start": 2 ** 63 - 1, "length": 2 ** 63 - 1}):
        assert batch(endpoint, f"/v1/ml/moss/{filled}", {"in": [{"objname": key, **bad}]})[0] == 400


@pytest.mark.parametrize("document", [
    b"", b"{", b"[]", {}, {"in": []}, {"in": {}}, {"in": [1]}, {"in": [{}]}, {"in": [{"objname": 5}]},
    {"in": [{"objname": "a"}], "mime": ".rar"}, {"in": [{"objname": "a"}], "coer": "yes"}, {"in": [{"objname": "a"}], "coloc": 3},
    {"in": [{"objname": "a"}], "order": "ready"}, {"in": [{"objname": "a"}], "order": "any", "strm": True},
    {"in": [{"objname": "a", "archregx": "x"}]}, {"in": [{"objname": "a", "archregx": "x", "archmode": "glob"}]},
    {"in": [{"objname": "a", "archregx": "x", "archmode": "prefix", "archpath": "y"}]}])
def test_wrong_documents_are_400(endpoint, filled, document):
    status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", document)
    assert status == 400 and json.loads(body)["message"]


def test_neither_path_nor_entry_names_a_bucket(endpoint):
    assert batch(endpoint, "/v1/ml/moss", {"in": [{"objname": "a"}]})[0] == 400


def test_names_that_lead_outside_never_get_into_an_archive(endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a/..hidden", Body=b"fine")
    document = {"in": entries(["../../etc/passwd", "/absolute", "a/..hidden"]), "strm": True, "coer": True, "onob": True}
    status, _, body = batch(endpoint, f"/v1/ml/moss/{bucket}", document)
    names = [n for n, _ in members(body)]
    assert status == 200 and names[2] == "a/..hidden"
    assert not any(".." in n.split("/") or n.startswith("/") for n in names)


def test_status_member(endpoint, filled):
    document = {"in": entries(["dir/005.bin", "nowhere", "dir/001.bin"]), "strm": True, "coer": True, "status": True}
    status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", document)
    got = members(body)
    assert status == 200 and got[-1][0] == "__status__.json" and len(got) == 4
    rows = json.loads(got[-1][1])
    assert [(r["name"], r["size"], r["error"]) for r in rows] == [
        (f"{filled}/dir/005.bin", 10240, None), (f"{filled}/nowhere", 0, "NoSuchKey"), (f"{filled}/dir/001.bin", 1, None)]


def test_order_ready_has_all(endpoint, filled):
    status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", {"in": entries(CONTENT), "strm": True, "order": "ready", "onob": True})
    assert status == 200 and dict(members(body)) == CONTENT


def test_many_buckets(endpoint, s3, filled):
    others = [f"{filled[:40]}-{i}" for i in range(3)]
    for name in others:
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="k", Body=name.encode())
    try:
        rows = [{"objname": "k", "bucket": b} for b in others] + [{"objname": "dir/001.bin"},
                                                                  {"objname": "k", "uname": f"ais/@#/{others[1]}/k"}]
        status, _, body = batch(endpoint, f"/v1/ml/moss/{filled}", {"in": rows, "strm": True})
        assert status == 200
        assert members(body) == [(f"{b}/k", b.encode()) for b in others] + [
            (f"{filled}/dir/001.bin", CONTENT["dir/001.bin"]), (f"{others[1]}/k", others[1].encode())]
    finally:
        for name in others:
            s3.delete_object(Bucket=name, Key="k")
            s3.delete_bucket(Bucket=name)


def test_a_thousand_small_objects(endpoint, s3, bucket):
    keys = [f"s{i:04d}" for i in range(1000)]
    for k in keys:
        s3.put_object(Bucket=bucket, Key=k, Body=k.encode() * 100)
    status, _, body = batch(endpoint, f"/v1/ml/moss/{bucket}", {"in": entries(keys), "strm": True, "onob": True})
    assert status == 200 and members(body) == [(k, k.encode() * 100) for k in keys]


def make_shard(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            t.addfile(info, io.BytesIO(content))
    return out.getvalue()


SHARD = {"a/1.jpg": b"one" * 1000, "a/1.cls": b"1", "b/2.jpg": b"two" * 50000, "b/2.cls": b"2", "readme": b""}


def test_members_of_archives(endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="s.tar", Body=make_shard(SHARD))
    rows = [{"objname": "s.tar", "archpath": n} for n in reversed(SHARD)] + [
        {"objname": "s.tar", "archpath": "/b/2.jpg", "start": 3, "length": 6}, {"objname": "s.tar", "archpath": "nothing"},
        {"objname": "s.tar"}]
    status, _, body = batch(endpoint, f"/v1/ml/moss/{bucket}", {"in": rows, "strm": True, "coer": True, "onob": True})
    assert status == 200
    assert members(body) == [(f"s.tar/{n}", SHARD[n]) for n in reversed(SHARD)] + [
        ("s.tar/b/2.jpg", b"twotwo"), ("__404__/s.tar/nothing", b""), ("s.tar", make_shard(SHARD))]
    metadata, archive = parts(*batch(endpoint, f"/v1/ml/moss/{bucket}", {"in": rows, "coer": True})[1:])
    assert [o["size"] for o in metadata["out"]] == [len(c) for _, c in members(archive)]
    assert metadata["out"][0]["archpath"] == "readme"
    assert batch(endpoint, f"/v1/ml/moss/{bucket}", {"in": rows, "strm": True})[0] == 404


@pytest.mark.parametrize("mode,pattern,expected", [
    ("regexp", "[0-9]+\\.jpg$", ["a/1.jpg", "b/2.jpg"]), ("prefix", "a/", ["a/1.jpg", "a/1.cls"]), ("suffix", ".cls", ["a/1.cls", "b/2.cls"]),
    ("substr", "2.", ["b/2.jpg", "b/2.cls"]), ("wdskey", "b/2", ["b/2.jpg", "b/2.cls"]), ("prefix", "*", list(SHARD))])
def test_selections_by_pattern(endpoint, s3, bucket, mode, pattern, expected):
    s3.put_object(Bucket=bucket, Key="s.tar", Body=make_shard(SHARD))
    rows = [{"objname": "s.tar", "archregx": pattern, "archmode": mode}, {"objname": "s.tar", "archregx": "nothing-of-it", "archmode": "prefix"}]
    status, _, body = batch(endpoint, f"/v1/ml/moss/{bucket}", {"in": rows, "strm": True, "coer": True, "onob": True})
    assert status == 200
    assert members(body) == [(f"s.tar/{n}", SHARD[n]) for n in expected] + [("__404__/s.tar", b"")]
    metadata, archive = parts(*batch(endpoint, f"/v1/ml/moss/{bucket}", {"in": rows, "coer": True})[1:])
    assert [o.get("archpath") for o in metadata["out"]] == expected + [None]


def test_over_s3(endpoint, s3, filled):
    document = {"in": entries(CONTENT), "strm": True, "onob": True}
    status, headers, body = batch(endpoint, f"/{filled}", document, "batch=", "POST")
    assert (status, headers["content-type"]) == (200, "application/x-tar")
    assert members(body) == list(CONTENT.items())
    status, _, body = batch(endpoint, f"/{filled}", {"in": entries(["nowhere"]), "strm": True}, "batch=", "POST")
    assert status == 404 and b"<Code>NoSuchKey</Code>" in body and b"<Key>nowhere</Key>" in body
    assert batch(endpoint, f"/{filled}", b"{", "batch=", "POST")[0] == 400
    assert batch(endpoint, "/no-such-bucket-here", document, "batch=", "POST")[0] == 404


def test_over_s3_needs_a_signature(endpoint, filled):
    connection = endpoint.connection()
    connection.request("POST", f"/{filled}?batch=", b"{}")
    assert connection.getresponse().status == 403


def test_who_goes_away_leaves_nothing_behind(endpoint, filled):
    keys = list(CONTENT) * 20
    for format in (".tar", ".tgz", ".zip"):
        body = json.dumps({"in": entries(keys), "strm": True, "mime": format}).encode()
        for read in (0, 1, 100000, 1 << 20):
            connection = endpoint.connection()
            connection.putrequest("GET", f"/v1/ml/moss/{filled}", skip_host=True, skip_accept_encoding=True)
            for name, value in Signer(endpoint).headers("GET", f"/v1/ml/moss/{filled}", UNSIGNED) + [("Content-Length", str(len(body)))]:
                connection.putheader(name, value)
            connection.endheaders(body)
            if read:
                assert connection.getresponse().read(read)
            connection.sock.close()
            connection.close()
    assert batch(endpoint, f"/v1/ml/moss/{filled}", {"in": entries(keys[:14]), "strm": True})[0] == 200


def test_too_many_batches_are_told_to_come_again(tmp_path):
    """One at a time may run; a slow reader holds it."""
    server = srv.Server(tls=False, env={"SLUICE_BATCH_RUNNING_MAX": "1", "SLUICE_BATCH_SOFT_ERRORS_MAX": "2"}).start()
    try:
        from conftest import Endpoint

        class One(Endpoint):
            def __init__(self):
                self.server, self.scheme, self.url = server, "http", server.http
                self.host, self.port, self.ca = f"127.0.0.1:{server.port}", server.port, None
                self.access_key, self.secret_key, self.alternates = srv.ACCESS_KEY, srv.SECRET_KEY, False

        endpoint = One()
        s3 = endpoint.client()
        slow = None
        s3.create_bucket(Bucket="many")
        s3.put_object(Bucket="many", Key="large", Body=bytes(8 << 20))
        document = {"in": entries(["large"] * 20), "strm": True}
        body = json.dumps(document).encode()
        slow = endpoint.connection()
        slow.putrequest("GET", "/v1/ml/moss/many", skip_host=True, skip_accept_encoding=True)
        for name, value in Signer(endpoint).headers("GET", "/v1/ml/moss/many", UNSIGNED) + [("Content-Length", str(len(body)))]:
            slow.putheader(name, value)
        slow.endheaders(body)
        response = slow.getresponse()
        assert response.status == 200 and response.read(1000)
        status, headers, _ = batch(endpoint, "/v1/ml/moss/many", document)
        assert status == 429 and int(headers["retry-after"]) > 0
        status, headers, _ = batch(endpoint, "/many", document, "batch=", "POST")
        assert status == 503 and int(headers["retry-after"]) > 0
        response.close()
        slow.close()
        for _ in range(100):
            status = batch(endpoint, "/v1/ml/moss/many", {"in": entries(["large"]), "strm": True})[0]
            if status == 200:
                break
            time.sleep(0.05)
        assert status == 200
        # not more missing entries than the administrator allows
        missing = {"in": entries(["a", "b", "large"]), "coer": True}
        assert batch(endpoint, "/v1/ml/moss/many", missing)[0] == 200
        missing["in"] += entries(["c"])
        assert batch(endpoint, "/v1/ml/moss/many", missing)[0] == 400
        assert batch(endpoint, "/v1/ml/moss/many", {**missing, "strm": True})[2] is None
    finally:
        if slow:
            slow.close()
        srv.end(server)


@pytest.fixture(scope="module")
def sdk_client():
    sdk = pytest.importorskip("aistore.sdk", reason="the aistore package is not installed")
    with srv.running(srv.Server(tls=False, extra=("--auth", "none"))) as server:
        s3 = boto3.client("s3", endpoint_url=server.http, aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1")
        s3.create_bucket(Bucket="batches")
        for key, content in {**CONTENT, "s.tar": make_shard(SHARD)}.items():
            s3.put_object(Bucket="batches", Key=key, Body=content)
        yield sdk.Client(server.http)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("format", [".tar", ".tgz", ".zip"])
def test_with_the_sdk(sdk_client, streaming, format):
    bucket = sdk_client.bucket("batches")
    work = sdk_client.batch(bucket=bucket, output_format=format, streaming_get=streaming)
    for key in CONTENT:
        work.add(key)
    work.add("nowhere")
    work.add("s.tar", archpath="b/2.jpg")
    work.add(bucket.object("dir/011.bin"), opaque=b"id-7")
    got = list(work.get())
    assert [content for _, content in got] == list(CONTENT.values()) + [b"", SHARD["b/2.jpg"], CONTENT["dir/011.bin"]]
    assert [info.obj_name for info, _ in got] == list(CONTENT) + ["nowhere", "s.tar", "dir/011.bin"]
