"""Buckets with a remote S3 bucket behind them: two servers, one the remote of the other."""

import hashlib
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import server as srv

MIB = 1 << 20
ENV = {k: v for k, v in os.environ.items() if not k.startswith("SLUICE_") or k == "SLUICE_BIN"}


def s3(server, **kw):
    return boto3.client("s3", endpoint_url=server.http, aws_access_key_id=srv.ACCESS_KEY,
                        aws_secret_access_key=srv.SECRET_KEY, region_name="us-east-1",
                        config=Config(retries={"max_attempts": 1}, read_timeout=120, s3={"addressing_style": "path"}, **kw))


def settings(remote, /, remote_bucket, prefix="", **kw):
    conf = {"endpoint": remote.http, "bucket": remote_bucket, "region": "us-east-1", "access_key": srv.ACCESS_KEY,
            "secret_key": srv.SECRET_KEY, "prefix": prefix} | kw
    return json.dumps({"backend": conf})


def create(client, name, text):
    def add(request, **kw):
        request.headers["x-sluice-settings"] = text
    client.meta.events.register_first("before-sign.s3.CreateBucket", add)
    try:
        client.create_bucket(Bucket=name)
    finally:
        client.meta.events.unregister("before-sign.s3.CreateBucket", add)


def gets(server):
    """Objects read from the disks of a server so far."""
    return server.metrics().get('sluice_store_seconds_count{store="local",method="obj_get"}', 0)


def error_of(what, *args, **kw):
    with pytest.raises(ClientError) as e:
        what(*args, **kw)
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


def job(server, kind, spec=None):
    """Runs a job to its end; what `sluice job show` says of it."""
    if not isinstance(server, srv.Server):
        pytest.skip("jobs are started at one server")
    at = ["--data", str(server.data[0])]
    run = lambda *a: subprocess.run([str(srv.binary()), "job", *a, *at], capture_output=True, text=True, timeout=120, env=ENV)
    began = run("start", kind, *([json.dumps(spec)] if spec is not None else []))
    assert began.returncode == 0, began.stdout + began.stderr
    name = began.stdout.split()[-1]
    ended = run("wait", name)
    return ended.returncode, run("show", name, "--json").stdout + ended.stderr


def native(server, method, path, body=None):
    """Status, headers and answer of a call of the native API."""
    data = json.dumps(body).encode() if body is not None else b""
    signed = AWSRequest(method, f"{server.http}/v1/{path}", data=data, headers={"Content-Type": "application/json"})
    S3SigV4Auth(Credentials(srv.ACCESS_KEY, srv.SECRET_KEY), "s3", "us-east-1").add_auth(signed)
    try:
        with urllib.request.urlopen(urllib.request.Request(signed.url, method=method, data=data or None, headers=dict(signed.headers))) as r:
            return r.status, r.headers, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()


class Pair:
    def __init__(self, new_server):
        self.remote = srv.Server(tls=False).start()
        self.near = new_server().start()
        self.there, self.here = s3(self.remote), s3(self.near)
        self.n = 0

    def bucket(self, prefix=""):
        self.n += 1
        name = f"cached-{self.n}"
        self.there.create_bucket(Bucket=name)
        create(self.here, name, settings(self.remote, name, prefix))
        return name

    def close(self):
        srv.end(self.near)
        srv.end(self.remote)


@pytest.fixture(scope="module")
def pair(new_server):
    p = Pair(new_server)
    yield p
    p.close()


def test_cold_get_is_the_remotes_object_and_is_fetched_once(pair):
    b = pair.bucket()
    body = os.urandom(3 * MIB + 17)
    put = pair.there.put_object(Bucket=b, Key="dir/key +%?é", Body=body, ContentType="image/x", Metadata={"a": "b"})
    before = gets(pair.remote)
    head = pair.here.head_object(Bucket=b, Key="dir/key +%?é")
    assert head["ETag"] == put["ETag"] and head["ContentLength"] == len(body) and head["Metadata"] == {"a": "b"}
    assert gets(pair.remote) == before
    for _ in range(3):
        got = pair.here.get_object(Bucket=b, Key="dir/key +%?é")
        assert got["Body"].read() == body
        assert got["ETag"] == put["ETag"] and got["ContentType"] == "image/x" and got["Metadata"] == {"a": "b"}
        assert got["LastModified"] == pair.there.head_object(Bucket=b, Key="dir/key +%?é")["LastModified"]
        assert not [h for h in got["ResponseMetadata"]["HTTPHeaders"] if "sluice-remote" in h]
    assert gets(pair.remote) == before + 1


def test_many_at_once_are_one_fetch(pair):
    b = pair.bucket()
    body = os.urandom(20 * MIB)
    pair.there.put_object(Bucket=b, Key="k", Body=body)
    before = gets(pair.remote)
    bad = []

    def get():
        if s3(pair.near).get_object(Bucket=b, Key="k")["Body"].read() != body:
            bad.append(1)

    threads = [threading.Thread(target=get) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not bad and gets(pair.remote) == before + 1


def test_ranges_and_conditions_of_what_is_cold(pair):
    b = pair.bucket()
    body = os.urandom(5 * MIB)
    for i, (r, want) in enumerate([("bytes=0-0", body[:1]), ("bytes=-7", body[-7:]), ("bytes=4194304-", body[4 * MIB:]),
                                   ("bytes=100-2000000", body[100:2000001]), (f"bytes={len(body) - 1}-", body[-1:])]):
        pair.there.put_object(Bucket=b, Key=f"k{i}", Body=body)
        got = pair.here.get_object(Bucket=b, Key=f"k{i}", Range=r)
        assert got["Body"].read() == want and got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert pair.here.get_object(Bucket=b, Key=f"k{i}")["Body"].read() == body
    etag = pair.there.put_object(Bucket=b, Key="c", Body=b"x")["ETag"]
    assert error_of(pair.here.get_object, Bucket=b, Key="c", IfNoneMatch=etag)[1] == 304
    assert error_of(pair.here.get_object, Bucket=b, Key="c", IfMatch='"00"')[1] == 412
    assert error_of(pair.here.get_object, Bucket=b, Key="c", Range="bytes=5-")[1] == 416
    assert pair.here.get_object(Bucket=b, Key="c", IfMatch=etag)["Body"].read() == b"x"
    assert error_of(pair.here.get_object, Bucket=b, Key="c", IfNoneMatch=etag)[1] == 304
    assert error_of(pair.here.get_object, Bucket=b, Key="none") == ("NoSuchKey", 404)
    assert error_of(pair.here.head_object, Bucket=b, Key="none")[1] == 404


def test_a_multipart_object_keeps_its_etag(pair):
    b = pair.bucket()
    parts, body = [], b""
    up = pair.there.create_multipart_upload(Bucket=b, Key="m")["UploadId"]
    for n in (1, 2, 3):
        piece = os.urandom(5 * MIB + n)
        body += piece
        parts.append({"PartNumber": n, "ETag": pair.there.upload_part(Bucket=b, Key="m", UploadId=up, PartNumber=n, Body=piece)["ETag"]})
    etag = pair.there.complete_multipart_upload(Bucket=b, Key="m", UploadId=up, MultipartUpload={"Parts": parts})["ETag"]
    for _ in range(2):
        got = pair.here.get_object(Bucket=b, Key="m", IfMatch=etag)
        assert got["Body"].read() == body and got["ETag"] == etag and etag.endswith('-3"')
    assert pair.here.get_object(Bucket=b, Key="m", Range="bytes=9-99")["Body"].read() == body[9:100]


def test_writes_go_through(pair):
    b = pair.bucket()
    body = os.urandom(2 * MIB)
    put = pair.here.put_object(Bucket=b, Key="w/1", Body=body, Metadata={"x": "y"}, ContentType="a/b")
    there = pair.there.get_object(Bucket=b, Key="w/1")
    assert there["Body"].read() == body and there["ETag"] == put["ETag"] and there["Metadata"] == {"x": "y"} and there["ContentType"] == "a/b"
    before = gets(pair.remote)
    assert pair.here.get_object(Bucket=b, Key="w/1")["Body"].read() == body
    assert gets(pair.remote) == before, "what was written is cached"
    pair.here.put_object(Bucket=b, Key="empty", Body=b"")
    assert pair.there.get_object(Bucket=b, Key="empty")["Body"].read() == b""
    # conditions are the remote's: it has an object that was never here
    pair.there.put_object(Bucket=b, Key="theirs", Body=b"1")
    assert error_of(pair.here.put_object, Bucket=b, Key="theirs", Body=b"2", IfNoneMatch="*")[1] == 412
    assert pair.here.get_object(Bucket=b, Key="theirs")["Body"].read() == b"1"
    pair.here.copy_object(Bucket=b, Key="copy", CopySource={"Bucket": b, "Key": "w/1"})
    assert pair.there.get_object(Bucket=b, Key="copy")["Body"].read() == body
    pair.here.create_bucket(Bucket=f"plain-{b}")
    pair.here.copy_object(Bucket=f"plain-{b}", Key="copy", CopySource={"Bucket": b, "Key": "theirs"})
    got = pair.here.get_object(Bucket=f"plain-{b}", Key="copy")
    assert got["Body"].read() == b"1" and not [h for h in got["ResponseMetadata"]["HTTPHeaders"] if "sluice-remote" in h]


def test_a_multipart_upload_goes_through(pair):
    b = pair.bucket()
    parts, body = [], b""
    up = pair.here.create_multipart_upload(Bucket=b, Key="m", Metadata={"q": "r"})["UploadId"]
    for n in (2, 5, 9):
        piece = os.urandom(5 * MIB + n)
        body += piece
        parts.append({"PartNumber": n, "ETag": pair.here.upload_part(Bucket=b, Key="m", UploadId=up, PartNumber=n, Body=piece)["ETag"]})
    assert error_of(pair.there.head_object, Bucket=b, Key="m")[1] == 404
    etag = pair.here.complete_multipart_upload(Bucket=b, Key="m", UploadId=up, MultipartUpload={"Parts": parts})["ETag"]
    there = pair.there.get_object(Bucket=b, Key="m")
    assert there["Body"].read() == body and there["ETag"] == etag and there["Metadata"] == {"q": "r"}
    assert "Uploads" not in pair.there.list_multipart_uploads(Bucket=b)
    assert pair.here.get_object(Bucket=b, Key="m")["Body"].read() == body


def test_deletes_take_place_in_both(pair):
    b = pair.bucket()
    pair.here.put_object(Bucket=b, Key="k", Body=b"1")
    pair.there.put_object(Bucket=b, Key="cold", Body=b"1")
    for key in ("k", "cold", "never"):
        pair.here.delete_object(Bucket=b, Key=key)
        assert error_of(pair.there.head_object, Bucket=b, Key=key)[1] == 404
        assert error_of(pair.here.get_object, Bucket=b, Key=key)[0] == "NoSuchKey"
    assert "Contents" not in pair.there.list_objects_v2(Bucket=b)


@pytest.mark.parametrize("prefix", ["", "deep/down "])
def test_listings_are_the_remotes(pair, prefix):
    b = pair.bucket(prefix)
    keys = sorted(["a", "b/1", "b/2", "b/c/3", "d e+f%é", "z"] + [f"many/{i:04}" for i in range(1200)], key=lambda k: k.encode())
    pair.there.put_object(Bucket=b, Key="aaa-outside", Body=b"")
    threads = [threading.Thread(target=lambda part: [s.put_object(Bucket=b, Key=prefix + k, Body=k.encode()) for s in [s3(pair.remote)] for k in part],
                                args=(keys[i::4],)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    want = keys if prefix else sorted(keys + ["aaa-outside"])
    listed = [o["Key"] for p in pair.here.get_paginator("list_objects_v2").paginate(Bucket=b) for o in p.get("Contents", [])]
    assert listed == want
    page = pair.here.list_objects_v2(Bucket=b, Delimiter="/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["b/", "many/"]
    seen, token = [], {}
    while True:  # a token that names a common prefix skips what is under it
        page = pair.here.list_objects_v2(Bucket=b, Delimiter="/", MaxKeys=1, **token)
        seen += [o["Key"] for o in page.get("Contents", [])] + [o["Prefix"] for o in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert seen == sorted({k.split("/")[0] + ("/" if "/" in k else "") for k in want})
    assert [o["Key"] for o in pair.here.list_objects_v2(Bucket=b, Prefix="b/", StartAfter="b/1")["Contents"]] == ["b/2", "b/c/3"]
    entry = pair.here.list_objects_v2(Bucket=b, Prefix="d e")["Contents"][0]
    there = pair.there.list_objects_v2(Bucket=b, Prefix=prefix + "d e")["Contents"][0]
    assert (entry["Size"], entry["ETag"], entry["LastModified"]) == (there["Size"], there["ETag"], there["LastModified"])
    assert pair.here.get_object(Bucket=b, Key="d e+f%é")["Body"].read() == "d e+f%é".encode()


def test_without_the_remote_what_is_cached_is_served(pair):
    b = pair.bucket()
    pair.there.put_object(Bucket=b, Key="warm", Body=b"1")
    pair.there.put_object(Bucket=b, Key="cold", Body=b"2")
    assert pair.here.get_object(Bucket=b, Key="warm")["Body"].read() == b"1"
    pair.remote.stop()
    try:
        assert pair.here.get_object(Bucket=b, Key="warm")["Body"].read() == b"1"
        began = time.monotonic()
        for what in (lambda: pair.here.get_object(Bucket=b, Key="cold"), lambda: pair.here.list_objects_v2(Bucket=b),
                     lambda: pair.here.put_object(Bucket=b, Key="new", Body=b"3"), lambda: pair.here.delete_object(Bucket=b, Key="warm")):
            assert error_of(what) == ("ServiceUnavailable", 503)
        assert time.monotonic() - began < 60
        assert pair.here.get_object(Bucket=b, Key="warm")["Body"].read() == b"1"
    finally:
        pair.remote.start()
    assert error_of(pair.here.get_object, Bucket=b, Key="new")[0] == "NoSuchKey"
    assert pair.here.get_object(Bucket=b, Key="cold")["Body"].read() == b"2"


def test_wrong_settings_are_refused(pair):
    for bad in ({"endpoint": "ftp://x"}, {"endpoint": "http://user@h/"}, {"bucket": ""}, {"region": "a/b"}, {"secret_key": ""},
                {"credentials": "env:HOME"}, {"surprise": "1"}, {"endpoint": "http://h/path"}):
        assert error_of(create, pair.here, "wrong", settings(pair.remote, "x", **bad))[1] == 400
    create(pair.here, "wrong-keys", settings(pair.remote, "cached-1", secret_key="not the secret"))
    assert error_of(pair.here.list_objects_v2, Bucket="wrong-keys") == ("AccessDenied", 403)
    create(pair.here, "no-bucket", settings(pair.remote, "there-is-none"))
    assert error_of(pair.here.list_objects_v2, Bucket="no-bucket") == ("NoSuchBucket", 404)
    assert srv.SECRET_KEY not in pair.near.logs()


def test_prefetch_and_evict(pair):
    b = pair.bucket()
    for i in range(12):
        pair.there.put_object(Bucket=b, Key=f"p/{i:02}", Body=b"%d" % i)
    code, told = job(pair.near, "prefetch-list", {"bucket": b, "template": "p/{00..04}"})
    assert code == 0, told
    before = gets(pair.remote)
    for i in range(5):
        assert pair.here.get_object(Bucket=b, Key=f"p/{i:02}")["Body"].read() == b"%d" % i
    assert gets(pair.remote) == before
    assert job(pair.near, "prefetch-list", {"bucket": b, "prefix": "p/"})[0] == 0
    assert gets(pair.remote) == before + 7, "what is here is not fetched again"
    assert job(pair.near, "evict-list", {"bucket": b, "names": ["p/00", "p/01"]})[0] == 0
    assert pair.here.get_object(Bucket=b, Key="p/00")["Body"].read() == b"0"
    assert pair.here.get_object(Bucket=b, Key="p/02")["Body"].read() == b"2"
    assert gets(pair.remote) == before + 8
    assert job(pair.near, "evict-list", {"bucket": b, "prefix": ""})[0] == 0
    assert len(pair.there.list_objects_v2(Bucket=b)["Contents"]) == 12, "nothing is deleted there"
    assert len(pair.here.list_objects_v2(Bucket=b)["Contents"]) == 12
    assert pair.here.get_object(Bucket=b, Key="p/02")["Body"].read() == b"2"
    assert gets(pair.remote) == before + 9
    # the remote changed an object: `latest` sees it
    pair.there.put_object(Bucket=b, Key="p/02", Body=b"new")
    assert pair.here.get_object(Bucket=b, Key="p/02")["Body"].read() == b"2"
    assert job(pair.near, "prefetch-list", {"bucket": b, "names": ["p/02"], "latest": True})[0] == 0
    assert pair.here.get_object(Bucket=b, Key="p/02")["Body"].read() == b"new"
    # of a bucket without a remote nothing may be evicted
    pair.here.create_bucket(Bucket=f"own-{b}")
    pair.here.put_object(Bucket=f"own-{b}", Key="k", Body=b"1")
    assert job(pair.near, "evict-list", {"bucket": f"own-{b}", "names": ["k"]})[0] != 0
    assert pair.here.get_object(Bucket=f"own-{b}", Key="k")["Body"].read() == b"1"


def test_the_native_api_tells_what_is_here(pair):
    b = pair.bucket()
    for k in ("a", "b", "c"):
        pair.there.put_object(Bucket=b, Key=k, Body=k.encode())
    assert pair.here.get_object(Bucket=b, Key="b")["Body"].read() == b"b"

    def listed(flags=0):
        status, _, text = native(pair.near, "GET", f"buckets/{b}?provider=aws", {"action": "list", "value": {"flags": str(flags)}})
        assert status == 200, text
        return {e["name"]: int(e.get("flags", 0)) & 64 for e in json.loads(text)["entries"]}

    assert listed() == {"a": 0, "b": 64, "c": 0}
    assert listed(1) == {"b": 64}
    assert {"name": b, "provider": "aws"}.items() <= next(x for x in json.loads(native(pair.near, "GET", "buckets", {"action": "list"})[2]) if x["name"] == b).items()
    status, headers, text = native(pair.near, "HEAD", f"buckets/{b}?provider=aws")
    assert status == 200 and srv.SECRET_KEY not in str(headers)
    assert native(pair.near, "POST", f"objects/{b}/b?provider=aws", {"action": "check-lock"})[0] == 200
    assert native(pair.near, "DELETE", f"buckets/{b}?provider=aws&keep_bck_md=true", {"action": "evict-remote-bck"})[0] == 200
    assert listed() == {"a": 0, "b": 0, "c": 0}
    assert pair.here.put_object(Bucket=b, Key="d", Body=b"d") and listed()["d"] == 64
    assert native(pair.near, "DELETE", f"buckets/{b}?provider=aws&keep_bck_md=False", {"action": "evict-remote-bck"})[0] == 200
    assert error_of(pair.here.list_objects_v2, Bucket=b)[0] == "NoSuchBucket"
    assert len(pair.there.list_objects_v2(Bucket=b)["Contents"]) == 4
    own = f"own-native-{b}"
    pair.here.create_bucket(Bucket=own)
    assert native(pair.near, "DELETE", f"buckets/{own}", {"action": "evict-remote-bck"})[0] == 400
    conf = {"sluice": json.loads(settings(pair.remote, b))}
    assert native(pair.near, "POST", f"buckets/{b}", {"action": "create-bck", "value": conf})[0] == 200
    assert pair.here.get_object(Bucket=b, Key="c")["Body"].read() == b"c"
    conf["sluice"]["backend"]["endpoint"] = "nonsense"
    assert native(pair.near, "POST", f"buckets/x{b}", {"action": "create-bck", "value": conf})[0] == 400


def test_least_recently_used_copies_are_evicted(pair):
    near = srv.Server(tls=False, extra=("--space-low", "0", "--space-high", "100")).start()
    try:
        here = s3(near)
        pair.there.create_bucket(Bucket="lru")
        create(here, "lru", settings(pair.remote, "lru"))
        here.create_bucket(Bucket="own")
        here.put_object(Bucket="own", Key="k", Body=b"stays")
        for i in range(4):
            here.put_object(Bucket="lru", Key=f"k{i}", Body=b"x" * 1000)
        before = gets(pair.remote)
        assert job(near, "lru")[0] == 0
        assert here.get_object(Bucket="own", Key="k")["Body"].read() == b"stays"
        for i in range(4):
            assert here.get_object(Bucket="lru", Key=f"k{i}")["Body"].read() == b"x" * 1000
        assert gets(pair.remote) == before + 4
        near.stop()
        near.extra = ["--space-low", "0", "--space-high", "1"]
        near.start()
        deadline = time.monotonic() + 30  # due by itself
        while gets(pair.remote) == before + 4 and time.monotonic() < deadline:
            time.sleep(0.5)
            assert here.get_object(Bucket="lru", Key="k0")["Body"].read() == b"x" * 1000
        assert gets(pair.remote) > before + 4
    finally:
        near.stop()
        near.clean()


def test_a_client_that_leaves_does_not_end_the_fetch(pair):
    b = pair.bucket()
    body = os.urandom(24 * MIB)
    pair.there.put_object(Bucket=b, Key="k", Body=body)
    before = gets(pair.remote)
    got = pair.here.get_object(Bucket=b, Key="k")
    got["Body"].read(1000)
    got["Body"].close()
    assert pair.here.get_object(Bucket=b, Key="k")["Body"].read() == body
    assert gets(pair.remote) == before + 1


def test_a_large_cold_get_takes_little_memory(pair):
    size = int(os.environ.get("SLUICE_BACKEND_BYTES", 1 << 30))
    b = pair.bucket()
    piece = os.urandom(8 * MIB)
    up = pair.there.create_multipart_upload(Bucket=b, Key="big")["UploadId"]
    parts, whole = [], hashlib.md5()
    for n in range(size // (64 * MIB)):
        parts.append({"PartNumber": n + 1, "ETag": pair.there.upload_part(
            Bucket=b, Key="big", UploadId=up, PartNumber=n + 1, Body=piece * 8)["ETag"]})
        whole.update(piece * 8)
    pair.there.complete_multipart_upload(Bucket=b, Key="big", UploadId=up, MultipartUpload={"Parts": parts})

    def rss():
        return next(int(line.split()[1]) for line in open(f"/proc/{pair.near.process.pid}/status") if line.startswith("VmHWM")) / 1024

    before = rss()
    got, md5 = pair.here.get_object(Bucket=b, Key="big")["Body"], hashlib.md5()
    for chunk in got.iter_chunks(MIB):
        md5.update(chunk)
    assert md5.digest() == whole.digest()
    print(f"peak memory {before:.0f} -> {rss():.0f} MiB")
    # AddressSanitizer keeps what was freed for a while
    assert rss() - before < (512 if "debug" in str(srv.binary()) else 96)
    pair.here.delete_object(Bucket=b, Key="big")
