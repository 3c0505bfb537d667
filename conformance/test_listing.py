"""Listings against a model that lists by brute force."""

import random

import pytest
from botocore.exceptions import ClientError


KEYS = sorted({"foo-bar", "foo/", "foo/a", "foo/b/c", "foo+1/x", "foo+1/y", "foo.txt", "a", "a b", "z/1", "z/2", "z/3/4", "é", "日本/x", "ab/ab/ab",
               "dir/%", "dir/+", "dir/&", "q uux/abc"} | {f"n/{i:03d}" for i in range(25)}, key=lambda k: k.encode())


@pytest.fixture(scope="module")
def filled(server):
    from conftest import Endpoint, empty_bucket, new_bucket_name
    s3 = Endpoint(server, "http").client()
    name = new_bucket_name()
    s3.create_bucket(Bucket=name)
    for k in KEYS:
        s3.put_object(Bucket=name, Key=k, Body=k.encode())
    yield name
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


def model(prefix="", delimiter="", after=""):
    """(keys, common prefixes) in S3's order as one list."""
    out = []
    for k in KEYS:
        if not k.startswith(prefix) or k.encode() <= after.encode():
            continue
        cut = k.find(delimiter, len(prefix)) if delimiter else -1
        item = (k[:cut + len(delimiter)], True) if cut >= 0 else (k, False)
        if not out or out[-1] != item:
            out.append(item)
    return out


def walk(s3, bucket, version, size, **args):
    """All pages of a listing as one list of (name, is_prefix); checks each page's bounds."""
    out, token = [], None
    while True:
        if version == 2:
            r = s3.list_objects_v2(Bucket=bucket, MaxKeys=size, **args, **({"ContinuationToken": token} if token else {}))
            assert r["KeyCount"] == len(r.get("Contents", [])) + len(r.get("CommonPrefixes", []))
        else:
            r = s3.list_objects(Bucket=bucket, MaxKeys=size, **args, **({"Marker": token} if token else {}))
        page = [(o["Key"], False) for o in r.get("Contents", [])] + [(p["Prefix"], True) for p in r.get("CommonPrefixes", [])]
        assert len(page) <= size
        out += sorted(page, key=lambda e: e[0].encode())
        if not r["IsTruncated"]:
            assert "NextContinuationToken" not in r and "NextMarker" not in r
            return out
        assert len(page) == size
        new = r["NextContinuationToken"] if version == 2 else r.get("NextMarker") or page[-1][0]
        assert new != token
        token = new


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("prefix,delimiter", [("", ""), ("", "/"), ("foo", "/"), ("foo/", "/"), ("foo", ""), ("n/", ""), ("", "o"), ("ab/", "ab"),
                                              ("none", "/"), ("日本", "/"), ("", "/x"), ("dir/", "%"), ("", " ")])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_pages_agree_with_the_model(s3, filled, version, prefix, delimiter, size):
    args = {"Prefix": prefix}
    if delimiter:
        args["Delimiter"] = delimiter
    assert walk(s3, filled, version, size, **args) == model(prefix, delimiter)


def test_random_listings(s3, filled):
    rnd = random.Random(7)
    for _ in range(60):
        k = rnd.choice(KEYS)
        prefix = k[:rnd.randrange(len(k))]
        after = rnd.choice(KEYS + ["", "f", "foo/zzz", "n/0", "zzzz"])
        r = s3.list_objects_v2(Bucket=filled, Prefix=prefix, StartAfter=after)
        assert [o["Key"] for o in r.get("Contents", [])] == [k for k, _ in model(prefix, "", after)]


def test_echo_fields(s3, filled):
    r = s3.list_objects_v2(Bucket=filled, Prefix="foo", Delimiter="/", StartAfter="f", MaxKeys=5)
    assert (r["Name"], r["Prefix"], r["Delimiter"], r["StartAfter"], r["MaxKeys"]) == (filled, "foo", "/", "f", 5)
    assert "ContinuationToken" not in r
    one = s3.list_objects_v2(Bucket=filled, MaxKeys=1, FetchOwner=True)["Contents"][0]
    assert one["Owner"]["ID"] and one["StorageClass"] == "STANDARD" and one["ETag"].startswith('"') and one["Size"] == len(one["Key"])
    assert "Owner" not in s3.list_objects_v2(Bucket=filled, MaxKeys=1)["Contents"][0]
    assert s3.list_objects(Bucket=filled, MaxKeys=1)["Contents"][0]["Owner"]["ID"]
    assert s3.head_object(Bucket=filled, Key=one["Key"])["LastModified"] == one["LastModified"]


def test_limits(s3, filled):
    r = s3.list_objects_v2(Bucket=filled, MaxKeys=0)
    assert r["KeyCount"] == 0 and not r["IsTruncated"]
    assert s3.list_objects_v2(Bucket=filled, MaxKeys=5000)["MaxKeys"] in (1000, 5000)
    for bad in [dict(MaxKeys=-1), dict(ContinuationToken="nonsense")]:
        with pytest.raises(ClientError) as e:
            s3.list_objects_v2(Bucket=filled, **bad)
        assert e.value.response["Error"]["Code"] == "InvalidArgument"


def test_versions_of_an_unversioned_bucket(s3, filled):
    seen = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=filled, PaginationConfig={"PageSize": 10}):
        for v in page["Versions"]:
            assert v["VersionId"] == "null" and v["IsLatest"]
            seen.append(v["Key"])
    assert seen == KEYS


def test_tokens_survive_a_restart(new_server):
    from conftest import Endpoint
    server = new_server().start()
    try:
        s3 = Endpoint(server, "http").client()
        s3.create_bucket(Bucket="tokens")
        for i in range(10):
            s3.put_object(Bucket="tokens", Key=f"k{i}", Body=b"")
        r = s3.list_objects_v2(Bucket="tokens", MaxKeys=4)
        assert server.stop() == 0
        server.start()
        rest = s3.list_objects_v2(Bucket="tokens", ContinuationToken=r["NextContinuationToken"])
        assert [o["Key"] for o in rest["Contents"]] == [f"k{i}" for i in range(4, 10)]
    finally:
        server.stop()
        server.clean()
