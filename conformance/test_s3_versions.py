"""Versions of objects: what is kept, found, listed and deleted, against a model of what S3 does."""

import os
import shutil
import subprocess

import pytest
from botocore.exceptions import ClientError

import server as srv
from conftest import Endpoint, new_bucket_name
from version_model import History, empty, listing, set_status


def error(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response


def code(call, **kw):
    return error(call, **kw)["Error"]["Code"]


@pytest.fixture
def vb(s3):
    """A bucket with versions."""
    if os.environ.get("SLUICE_REDUNDANCY"):
        pytest.skip("versions of objects with copies or slices are not implemented")
    name = new_bucket_name()
    s3.create_bucket(Bucket=name)
    set_status(s3, name, "Enabled")
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def put(s3, bucket, key, body=b"x", **kw):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **kw)["VersionId"]


def read(s3, bucket, key, **kw):
    return s3.get_object(Bucket=bucket, Key=key, **kw)["Body"].read()


def test_state(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    for value in ("Enabled", "Suspended", "Enabled"):
        set_status(s3, bucket, value)
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == value
    assert code(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Off"}) == "MalformedXML"
    assert code(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"}, MFA="1 2") == "NotImplemented"
    empty(s3, bucket)


@pytest.mark.parametrize("size", [0, 100, 100_000, 3 << 20])
def test_older_versions_are_read(s3, vb, size):
    bodies = [os.urandom(size) + bytes([i]) for i in range(3)]
    ids = [put(s3, vb, "k", b, Metadata={"n": str(i)}) for i, b in enumerate(bodies)]
    assert len(set(ids)) == 3 and "null" not in ids
    assert read(s3, vb, "k") == bodies[2]
    for i, (b, v) in enumerate(zip(bodies, ids)):
        got = s3.get_object(Bucket=vb, Key="k", VersionId=v)
        assert got["Body"].read() == b and got["VersionId"] == v and got["Metadata"] == {"n": str(i)}
        head = s3.head_object(Bucket=vb, Key="k", VersionId=v)
        assert head["VersionId"] == v and head["ContentLength"] == len(b) and head["ETag"] == got["ETag"]
        assert read(s3, vb, "k", VersionId=v, Range=f"bytes={size // 2}-{size // 2}") == b[size // 2:size // 2 + 1]
        assert s3.get_object_attributes(Bucket=vb, Key="k", VersionId=v, ObjectAttributes=["ObjectSize"])["ObjectSize"] == len(b)
    assert s3.head_object(Bucket=vb, Key="k")["VersionId"] == ids[2]
    assert error(s3.get_object, Bucket=vb, Key="k", VersionId=ids[0], IfNoneMatch=s3.head_object(Bucket=vb, Key="k", VersionId=ids[0])["ETag"])["ResponseMetadata"]["HTTPStatusCode"] == 304


def test_unknown_versions(s3, vb, bucket):
    v = put(s3, vb, "k")
    other = put(s3, vb, "other")
    assert code(s3.get_object, Bucket=vb, Key="k", VersionId=other) == "NoSuchVersion"
    assert code(s3.get_object, Bucket=vb, Key="k", VersionId="null") == "NoSuchVersion"
    assert code(s3.get_object, Bucket=vb, Key="k", VersionId="no id") == "InvalidArgument"
    assert code(s3.get_object, Bucket=vb, Key="none", VersionId=v) == "NoSuchVersion"
    s3.delete_object(Bucket=vb, Key="k", VersionId=other)
    assert read(s3, vb, "k") == b"x"
    s3.put_object(Bucket=bucket, Key="k", Body=b"y")
    assert read(s3, bucket, "k", VersionId="null") == b"y"
    assert code(s3.get_object, Bucket=bucket, Key="k", VersionId=v) == "NoSuchVersion"


def test_delete_markers(s3, vb):
    v = put(s3, vb, "k", b"1")
    d = s3.delete_object(Bucket=vb, Key="k")
    assert d["DeleteMarker"] is True and d["VersionId"] != v
    for call in (s3.get_object, s3.head_object):
        e = error(call, Bucket=vb, Key="k")["ResponseMetadata"]
        assert e["HTTPStatusCode"] == 404 and e["HTTPHeaders"]["x-amz-delete-marker"] == "true"
        assert e["HTTPHeaders"]["x-amz-version-id"] == d["VersionId"]
        e = error(call, Bucket=vb, Key="k", VersionId=d["VersionId"])["ResponseMetadata"]
        assert e["HTTPStatusCode"] == 405 and e["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    assert "Contents" not in s3.list_objects_v2(Bucket=vb)
    assert read(s3, vb, "k", VersionId=v) == b"1"
    again = s3.delete_object(Bucket=vb, Key="k")  # one more marker
    assert again["DeleteMarker"] is True and again["VersionId"] != d["VersionId"]
    assert s3.delete_object(Bucket=vb, Key="k", VersionId=again["VersionId"])["DeleteMarker"] is True
    assert code(s3.get_object, Bucket=vb, Key="k") == "NoSuchKey"
    s3.delete_object(Bucket=vb, Key="k", VersionId=d["VersionId"])
    assert read(s3, vb, "k") == b"1" and s3.head_object(Bucket=vb, Key="k")["VersionId"] == v
    s3.delete_object(Bucket=vb, Key="never")
    assert [r[4] for r in listing(s3, vb, Prefix="never")[0]] == [True]


def test_deleting_the_current_one_brings_back_the_one_before(s3, vb):
    bodies = [os.urandom(200_000), b"small", os.urandom(10)]
    ids = [put(s3, vb, "k", b) for b in bodies]
    for i in (2, 1):
        assert s3.delete_object(Bucket=vb, Key="k", VersionId=ids[i])["VersionId"] == ids[i]
        assert read(s3, vb, "k") == bodies[i - 1] and s3.head_object(Bucket=vb, Key="k")["VersionId"] == ids[i - 1]
    s3.delete_object(Bucket=vb, Key="k", VersionId=ids[0])
    assert code(s3.get_object, Bucket=vb, Key="k") == "NoSuchKey" and listing(s3, vb)[0] == []


def test_null_versions(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    set_status(s3, bucket, "Enabled")
    v = put(s3, bucket, "k", b"versioned")
    assert read(s3, bucket, "k", VersionId="null") == b"before"
    set_status(s3, bucket, "Suspended")
    assert put(s3, bucket, "k", b"suspended") == "null"
    assert read(s3, bucket, "k", VersionId="null") == read(s3, bucket, "k") == b"suspended"
    assert read(s3, bucket, "k", VersionId=v) == b"versioned"
    assert [r[2] for r in listing(s3, bucket)[0]] == ["null", v]
    d = s3.delete_object(Bucket=bucket, Key="k")
    assert d["VersionId"] == "null" and d["DeleteMarker"] is True
    assert [(r[2], r[4]) for r in sorted(listing(s3, bucket)[0], key=lambda r: r[4])] == [(v, False), ("null", True)]
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId="null")["DeleteMarker"] is True
    assert read(s3, bucket, "k") == b"versioned"
    empty(s3, bucket)


def test_copies(s3, vb, bucket):
    first, second = put(s3, vb, "k", b"1" * 50_000, Metadata={"a": "1"}), put(s3, vb, "k", b"2")
    c = s3.copy_object(Bucket=vb, Key="copy", CopySource={"Bucket": vb, "Key": "k", "VersionId": first})
    assert c["CopySourceVersionId"] == first and c["VersionId"] not in (first, second)
    assert read(s3, vb, "copy") == b"1" * 50_000
    c = s3.copy_object(Bucket=vb, Key="k", CopySource={"Bucket": vb, "Key": "k", "VersionId": first})  # brings it back
    got = s3.get_object(Bucket=vb, Key="k")
    assert got["VersionId"] == c["VersionId"] and got["Body"].read() == b"1" * 50_000 and got["Metadata"] == {"a": "1"}
    s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": vb, "Key": "k", "VersionId": second})
    assert read(s3, bucket, "k") == b"2"
    s3.copy_object(Bucket=vb, Key="k", CopySource={"Bucket": vb, "Key": "k"}, MetadataDirective="REPLACE", Metadata={"b": "2"})
    assert len(listing(s3, vb, Prefix="k")[0]) == 4
    marker = s3.delete_object(Bucket=vb, Key="k")["VersionId"]
    assert code(s3.copy_object, Bucket=vb, Key="x", CopySource={"Bucket": vb, "Key": "k", "VersionId": marker}) == "InvalidRequest"
    assert code(s3.copy_object, Bucket=vb, Key="x", CopySource={"Bucket": vb, "Key": "k"}) == "NoSuchKey"
    assert code(s3.copy_object, Bucket=vb, Key="x", CopySource={"Bucket": vb, "Key": "k", "VersionId": "null"}) == "NoSuchVersion"
    u = s3.create_multipart_upload(Bucket=vb, Key="parts")["UploadId"]
    etag = s3.upload_part_copy(Bucket=vb, Key="parts", UploadId=u, PartNumber=1, CopySource={"Bucket": vb, "Key": "k", "VersionId": first})["CopyPartResult"]["ETag"]
    done = s3.complete_multipart_upload(Bucket=vb, Key="parts", UploadId=u, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert read(s3, vb, "parts", VersionId=done["VersionId"]) == b"1" * 50_000


def test_tags_belong_to_a_version(s3, vb):
    first, second = put(s3, vb, "k", b"1", Tagging="a=1"), put(s3, vb, "k", b"2")

    def tags(**kw):
        return {t["Key"]: t["Value"] for t in s3.get_object_tagging(Bucket=vb, Key="k", **kw)["TagSet"]}

    assert tags() == {} and tags(VersionId=first) == {"a": "1"}
    s3.put_object_tagging(Bucket=vb, Key="k", VersionId=first, Tagging={"TagSet": [{"Key": "b", "Value": "2"}]})
    s3.put_object_tagging(Bucket=vb, Key="k", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    assert tags(VersionId=first) == {"b": "2"} and tags(VersionId=second) == tags() == {"c": "3"}
    assert [r[2] for r in listing(s3, vb)[0]] == [second, first]
    s3.delete_object_tagging(Bucket=vb, Key="k", VersionId=second)
    assert tags() == {} and read(s3, vb, "k", VersionId=first) == b"1" and read(s3, vb, "k") == b"2"
    s3.delete_object(Bucket=vb, Key="k", VersionId=second)
    assert tags() == {"b": "2"} and s3.head_object(Bucket=vb, Key="k")["VersionId"] == first


def test_conditions(s3, vb):
    put(s3, vb, "k", b"1")
    etag = s3.head_object(Bucket=vb, Key="k")["ETag"]
    assert code(s3.put_object, Bucket=vb, Key="k", Body=b"2", IfNoneMatch="*") == "PreconditionFailed"
    assert code(s3.put_object, Bucket=vb, Key="k", Body=b"2", IfMatch='"0"') == "PreconditionFailed"
    put(s3, vb, "k", b"2", IfMatch=etag)
    s3.delete_object(Bucket=vb, Key="k")
    put(s3, vb, "k", b"3", IfNoneMatch="*")  # a marker is no object
    assert read(s3, vb, "k") == b"3"


def test_a_bucket_of_old_versions_is_not_empty(s3):
    name = new_bucket_name()
    s3.create_bucket(Bucket=name)
    set_status(s3, name, "Enabled")
    v = put(s3, name, "k")
    marker = s3.delete_object(Bucket=name, Key="k")["VersionId"]
    assert code(s3.delete_bucket, Bucket=name) == "BucketNotEmpty"
    s3.delete_object(Bucket=name, Key="k", VersionId=v)
    assert code(s3.delete_bucket, Bucket=name) == "BucketNotEmpty"
    put(s3, name, "still", b"works")
    empty(s3, name)
    assert marker and s3.delete_bucket(Bucket=name)


def test_delete_objects(s3, vb):
    a, b = put(s3, vb, "a"), put(s3, vb, "b")
    d = s3.delete_objects(Bucket=vb, Delete={"Objects": [{"Key": "a"}, {"Key": "b", "VersionId": b}, {"Key": "b", "VersionId": "?"}]})
    made = {x["Key"]: x for x in d["Deleted"]}
    assert made["a"]["DeleteMarker"] is True and made["a"]["DeleteMarkerVersionId"] != a
    assert made["b"]["VersionId"] == b and "DeleteMarker" not in made["b"]
    assert [e["Code"] for e in d["Errors"]] == ["InvalidArgument"]
    d = s3.delete_objects(Bucket=vb, Delete={"Objects": [{"Key": "a", "VersionId": made["a"]["DeleteMarkerVersionId"]}]})["Deleted"][0]
    assert d["DeleteMarker"] is True and d["DeleteMarkerVersionId"] == d["VersionId"] == made["a"]["DeleteMarkerVersionId"]
    assert read(s3, vb, "a") == b"x"


def test_pages_prefixes_and_delimiters(s3, vb):
    keys = ["a/1", "a/2", "a0", "b", "b/x", "c d/é", "ü"]
    made = {}
    for _ in range(3):
        for k in keys:
            made.setdefault(k, []).insert(0, put(s3, vb, k))
    for k in ("a/1", "b"):
        made[k].insert(0, s3.delete_object(Bucket=vb, Key=k)["VersionId"])
    expected = [(k, v) for k in sorted(keys, key=str.encode) for v in made[k]]
    for size in (1, 2, 3, 1000):
        rows, latest = [], set()
        kw = {}
        while True:
            page = s3.list_object_versions(Bucket=vb, MaxKeys=size, **kw)
            mixed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            assert len(mixed) <= size
            rows += [(x["Key"], x["VersionId"]) for x in mixed]
            latest |= {(x["Key"], x["VersionId"]) for x in mixed if x["IsLatest"]}
            if not page["IsTruncated"]:
                break
            kw = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        assert len(rows) == len(expected) and set(rows) == set(expected)
        assert latest == {(k, v[0]) for k, v in made.items()}
    _, prefixes = listing(s3, vb, Delimiter="/")
    assert prefixes == ["a/", "b/", "c d/"]
    got, prefixes = listing(s3, vb, Delimiter="/", Prefix="b")
    assert prefixes == ["b/"] and {r[2] for r in got} == set(made["b"])
    for marker, first in (("a/", "a/1"), ("a/2", "a0"), ("b", "b/x")):
        page = s3.list_object_versions(Bucket=vb, KeyMarker=marker)
        assert min((x["Key"] for x in page["Versions"]), key=str.encode) == first
    page = s3.list_object_versions(Bucket=vb, Delimiter="/", KeyMarker="a/")
    assert "a/" not in [p["Prefix"] for p in page["CommonPrefixes"]]
    page = s3.list_object_versions(Bucket=vb, KeyMarker="b", VersionIdMarker=made["b"][1])
    assert {x["VersionId"] for x in page["Versions"] if x["Key"] == "b"} == set(made["b"][2:])
    assert not any(x["IsLatest"] for x in page["Versions"] if x["Key"] == "b")
    assert code(s3.list_object_versions, Bucket=vb, KeyMarker="b", VersionIdMarker="?") == "InvalidArgument"
    rest = s3.list_object_versions(Bucket=vb, KeyMarker="b", VersionIdMarker="null")  # there is none: behind all of the key
    assert "b" not in {x["Key"] for x in rest["Versions"]}


@pytest.mark.parametrize("seed", range(4))
def test_random_histories(s3, bucket, seed):
    h = History(s3, bucket, seed, ["k", "k/1", "k0", "é"])
    for _ in range(150):
        h.step()
    h.check()
    empty(s3, bucket)


def test_writers_together_lose_nothing(s3, vb, run_together):
    bodies = [b"%d" % i for i in range(16)]
    ids = run_together(*[lambda b=b: put(s3, vb, "k", b) for b in bodies])
    assert len(set(ids)) == 16
    assert sorted(read(s3, vb, "k", VersionId=v) for v in ids) == sorted(bodies)
    assert {r[2] for r in listing(s3, vb)[0]} == set(ids)


def fsck(server, *flags):
    args = [str(srv.binary()), "fsck", *flags, *[x for d in server.data for x in ("--data", str(d))]]
    r = subprocess.run(args, capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


@pytest.fixture
def own_server(request):
    if request.config.getoption("--cluster"):
        pytest.skip("about one machine's disks")
    s = srv.Server(tls=False).start()
    yield s
    if s.process:
        s.kill()
    s.clean()


def test_a_crash_loses_no_version(own_server):
    s3 = Endpoint(own_server, "http").client()
    s3.create_bucket(Bucket="crash")
    h = History(s3, "crash", 1, ["a", "b", "c"])
    h.set_state("Enabled")
    for _ in range(3):
        for _ in range(40):
            h.step()
        own_server.kill()
        own_server.start()
        h.check()
    own_server.stop()
    assert "inconsistent" not in fsck(own_server)
    own_server.start()
    h.check()


def test_a_rebuild_knows_which_is_current(own_server):
    s3 = Endpoint(own_server, "http").client()
    s3.create_bucket(Bucket="rebuild")
    set_status(s3, "rebuild", "Enabled")
    bodies = [os.urandom(50_000 + i) for i in range(4)]
    ids = [put(s3, "rebuild", "k", b) for b in bodies]
    gone = put(s3, "rebuild", "gone", bodies[0])
    s3.delete_object(Bucket="rebuild", Key="gone")
    before = sorted(listing(s3, "rebuild")[0])
    own_server.stop()
    fsck(own_server, "--rebuild")  # of an index that has all: nothing comes back
    own_server.start()
    assert sorted(listing(s3, "rebuild")[0]) == before and code(s3.get_object, Bucket="rebuild", Key="gone") == "NoSuchKey"
    own_server.stop()
    shutil.rmtree(own_server.data[0] / "index")
    fsck(own_server, "--rebuild")
    own_server.start()
    assert read(s3, "rebuild", "k") == bodies[-1] and read(s3, "rebuild", "gone", VersionId=gone) == bodies[0]
    assert [read(s3, "rebuild", "k", VersionId=v) for v in ids] == bodies
