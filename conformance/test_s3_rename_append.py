"""RenameObject, and PutObject at an offset, which appends."""

import hashlib
import os
import threading
import uuid

import pytest
from botocore.exceptions import ClientError


def code(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response["Error"]["Code"]


def body_of(s3, bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def exists(s3, bucket, key):
    try:
        s3.head_object(Bucket=bucket, Key=key)
        return True
    except ClientError as e:
        assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return False


def rename(s3, bucket, source, key, token=None, **kw):
    return s3.rename_object(Bucket=bucket, Key=key, RenameSource=source, ClientToken=token or uuid.uuid4().hex, **kw)


def append(s3, bucket, key, offset, body, **kw):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, WriteOffsetBytes=offset, **kw)


# ---- rename ----


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
@pytest.mark.parametrize("form", ["/{bucket}/dir/a b%2Bü", "{bucket}/dir/a b%2Bü", "/dir/a b%2Bü"])
def test_rename(size, form, s3, bucket):
    source, body = "dir/a b+ü", os.urandom(size)
    s3.put_object(Bucket=bucket, Key=source, Body=body, ContentType="image/x", Metadata={"a": "b"}, Tagging="t=1")
    before = s3.head_object(Bucket=bucket, Key=source)
    rename(s3, bucket, form.format(bucket=bucket).replace(" ", "%20").replace("ü", "%C3%BC"), "moved")
    assert not exists(s3, bucket, source)
    got = s3.get_object(Bucket=bucket, Key="moved")
    assert got["Body"].read() == body and got["TagCount"] == 1
    for what in ("ETag", "ContentType", "Metadata", "ContentLength"):
        assert got[what] == before[what], what
    assert not [h for h in got["ResponseMetadata"]["HTTPHeaders"] if h.startswith("x-sluice-")]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["moved"]


def test_there_and_back_many_times(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k0", Body=b"x" * 100_000)
    for i in range(10):
        rename(s3, bucket, f"{bucket}/k{i % 3}", f"k{(i + 1) % 3}")
    assert body_of(s3, bucket, "k1") == b"x" * 100_000
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_onto_another_and_its_copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"a" * 50_000)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a"})
    s3.put_object(Bucket=bucket, Key="b", Body=b"b" * 60_000)
    rename(s3, bucket, f"{bucket}/a", "b")
    rename(s3, bucket, f"{bucket}/b", "copy")  # both have the same content
    assert body_of(s3, bucket, "copy") == b"a" * 50_000 and not exists(s3, bucket, "b")
    s3.delete_object(Bucket=bucket, Key="copy")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_conditions_of_both_ends(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    etag = s3.put_object(Bucket=bucket, Key="b", Body=b"b")["ETag"]
    src = f"{bucket}/a"
    refused = [{"DestinationIfNoneMatch": "*"}, {"DestinationIfMatch": "\"0\""}, {"SourceIfMatch": etag}]
    for kw in refused:
        assert code(rename, s3=s3, bucket=bucket, source=src, key="b", **kw) == "PreconditionFailed", kw
    assert code(rename, s3=s3, bucket=bucket, source=src, key="b", SourceIfUnmodifiedSince=1_000_000_000) == "PreconditionFailed"
    assert code(rename, s3=s3, bucket=bucket, source=src, key="b", DestinationIfUnmodifiedSince=1_000_000_000) == "PreconditionFailed"
    assert code(rename, s3=s3, bucket=bucket, source=src, key="c", DestinationIfModifiedSince=1_000_000_000) == "PreconditionFailed"
    assert body_of(s3, bucket, "a") == b"a" and body_of(s3, bucket, "b") == b"b"
    rename(s3, bucket, src, "b", DestinationIfMatch=etag, DestinationIfModifiedSince=1_000_000_000)
    assert body_of(s3, bucket, "b") == b"a" and not exists(s3, bucket, "a")


def test_what_can_not_be_renamed(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    assert code(rename, s3=s3, bucket=bucket, source=f"{bucket}/none", key="b") == "NoSuchKey"
    assert code(rename, s3=s3, bucket=bucket, source=f"{bucket}/a", key="a") == "InvalidRequest"
    assert code(rename, s3=s3, bucket=bucket, source="/", key="b") == "InvalidArgument"
    assert code(rename, s3=s3, bucket=bucket, source=f"{bucket}/a", key="b", token="x" * 65) == "InvalidArgument"
    assert body_of(s3, bucket, "a") == b"a"


def test_a_repeated_request_changes_nothing(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"first")
    rename(s3, bucket, f"{bucket}/a", "b", token="once")
    rename(s3, bucket, f"{bucket}/a", "b", token="once")
    s3.put_object(Bucket=bucket, Key="a", Body=b"second")
    rename(s3, bucket, f"{bucket}/a", "b", token="once")
    assert body_of(s3, bucket, "b") == b"first" and body_of(s3, bucket, "a") == b"second"
    assert code(rename, s3=s3, bucket=bucket, source=f"{bucket}/other", key="b", token="once") == "IdempotencyParameterMismatch"
    rename(s3, bucket, f"{bucket}/a", "b", token="twice")
    assert body_of(s3, bucket, "b") == b"second"


def test_readers_see_one_of_the_two(s3, bucket, request):
    """Whoever looks at both while one becomes the other, the new one last, finds the object."""
    s3.put_object(Bucket=bucket, Key="a", Body=b"x" * 20_000)
    stop, lost = threading.Event(), []

    def read():
        while not stop.is_set():
            seen = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
            if not seen or (len(seen) > 1 and not request.config.getoption("--cluster")):
                lost.append(seen)

    t = threading.Thread(target=read)
    t.start()
    for i in range(30):
        rename(s3, bucket, f"{bucket}/{'ab'[i % 2]}", "ab"[(i + 1) % 2])
    stop.set()
    t.join()
    assert not lost


# ---- append ----


def test_append(s3, bucket):
    parts = [b"", b"one", b"", os.urandom(300_000), b"two", os.urandom(3 << 20), b"x"]
    whole = b""
    for p in parts:
        r = append(s3, bucket, "log", len(whole), p)
        whole += p
        assert r["Size"] == len(whole)
        head = s3.head_object(Bucket=bucket, Key="log")
        assert head["ContentLength"] == len(whole) and head["ETag"] == r["ETag"]
    assert body_of(s3, bucket, "log") == whole


def test_append_keeps_what_the_object_has(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"ab", ContentType="text/x", Metadata={"m": "1"}, Tagging="t=1")
    append(s3, bucket, "k", 2, b"cd")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"], got["TagCount"]) == (b"abcd", "text/x", {"m": "1"}, 1)
    for kw in ({"Metadata": {"m": "2"}}, {"Tagging": "t=2"}):
        assert code(append, s3=s3, bucket=bucket, key="k", offset=4, body=b"x", **kw) == "InvalidRequest"
    assert body_of(s3, bucket, "k") == b"abcd"


def test_wrong_offsets(s3, bucket, http_request, endpoint):
    assert code(append, s3=s3, bucket=bucket, key="k", offset=1, body=b"x") == "InvalidWriteOffset"
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc")
    for offset in (0, 2, 4, 1 << 60):
        assert code(append, s3=s3, bucket=bucket, key="k", offset=offset, body=b"x") == "InvalidWriteOffset"
    assert code(append, s3=s3, bucket=bucket, key="k", offset=-1, body=b"x") == "InvalidArgument"
    assert body_of(s3, bucket, "k") == b"abc"


def test_append_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"abc")["ETag"]
    assert code(append, s3=s3, bucket=bucket, key="k", offset=3, body=b"x", IfMatch='"0"') == "PreconditionFailed"
    assert code(append, s3=s3, bucket=bucket, key="k", offset=3, body=b"x", IfNoneMatch="*") == "PreconditionFailed"
    append(s3, bucket, "k", 3, b"d", IfMatch=etag)
    append(s3, bucket, "new", 0, b"d", IfNoneMatch="*")
    assert body_of(s3, bucket, "k") == b"abcd"


def test_a_bad_digest_appends_nothing(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc")
    assert code(append, s3=s3, bucket=bucket, key="k", offset=3, body=b"x" * 100_000, ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==") == "BadDigest"
    assert code(append, s3=s3, bucket=bucket, key="k", offset=3, body=b"x", ChecksumSHA256="A" * 43 + "=") == "BadDigest"
    assert body_of(s3, bucket, "k") == b"abc"
    body = os.urandom(70_000)
    append(s3, bucket, "k", 3, body, ChecksumAlgorithm="SHA256")
    assert body_of(s3, bucket, "k") == b"abc" + body


def test_appending_to_an_object_of_parts(s3, bucket):
    u = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    data = [os.urandom(5 << 20), os.urandom(1000)]
    parts = [{"PartNumber": n, "ETag": s3.upload_part(Bucket=bucket, Key="k", UploadId=u, PartNumber=n, Body=d)["ETag"]} for n, d in enumerate(data, 1)]
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=u, MultipartUpload={"Parts": parts})
    append(s3, bucket, "k", (5 << 20) + 1000, b"end")
    assert hashlib.md5(body_of(s3, bucket, "k")).digest() == hashlib.md5(b"".join(data) + b"end").digest()


def test_one_of_two_appenders_at_an_offset_wins(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc")
    results = []

    def go(letter):
        try:
            append(s3, bucket, "k", 3, letter * 50_000)
            results.append(letter)
        except ClientError as e:
            assert e.response["Error"]["Code"] in ("InvalidWriteOffset", "OperationAborted")

    threads = [threading.Thread(target=go, args=(bytes([65 + i]),)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(results) == 1 and body_of(s3, bucket, "k") == b"abc" + results[0] * 50_000


@pytest.fixture
def wide_bucket(s3, request):
    """One whose objects are not spliced: each of them is written anew."""
    name = f"wide-{uuid.uuid4().hex[:10]}"
    kind = "replicas=2" if request.config.getoption("--cluster") else "mirror=2"

    def header(params, **_):
        params["headers"]["x-sluice-redundancy"] = kind

    s3.meta.events.register("before-call.s3.CreateBucket", header)
    try:
        s3.create_bucket(Bucket=name)
    except ClientError as e:
        pytest.skip(f"no copies here: {e}")
    finally:
        s3.meta.events.unregister("before-call.s3.CreateBucket", header)
    yield name
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in s3.list_objects_v2(Bucket=name).get("Contents", [])]})
    s3.delete_bucket(Bucket=name)


def test_where_objects_have_several_copies(s3, wide_bucket):
    whole = b""
    for p in (b"", b"a" * 10, os.urandom(200_000), b"b"):
        append(s3, wide_bucket, "k", len(whole), p)
        whole += p
    assert code(append, s3=s3, bucket=wide_bucket, key="k", offset=len(whole), body=b"x" * 10, ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==") == "BadDigest"
    assert body_of(s3, wide_bucket, "k") == whole
    rename(s3, wide_bucket, f"{wide_bucket}/k", "moved")
    assert body_of(s3, wide_bucket, "moved") == whole and not exists(s3, wide_bucket, "k")
