"""Reading and writing single objects."""

import hashlib
import os
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError


def code(e):
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


SIZES = [0, 1, 5, 4096, 16383, 16384, 16385, 65536, 1 << 20, (1 << 20) + 1, (3 << 20) + 17]


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(s3, bucket, size):
    body = os.urandom(size)
    r = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert r["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    g = s3.get_object(Bucket=bucket, Key="k")
    assert g["ContentLength"] == size and g["ETag"] == r["ETag"] and g["Body"].read() == body
    h = s3.head_object(Bucket=bucket, Key="k")
    assert h["ContentLength"] == size and h["LastModified"] == g["LastModified"]
    assert h["ContentType"] == "binary/octet-stream" and h["AcceptRanges"] == "bytes"


KEYS = ["a", "a/", "a/b", "a//b", "/lead", "./x", "../up", "a/../b", "sp ace", "plus+plus", "per%20cent", "ünï/cödé", "q?uery",
        "h#ash", "am&p", "q'uote\"", "back\\slash", "new\nline", "tab\t", "~tilde*()!", "=eq", "k" * 1024, "日本" * 100, ";semi:colon@at,",
        "<xml>&amp;</xml>", "trailing ", "cr\rret"]


def test_odd_keys_are_distinct_and_listed(s3, bucket):
    for i, key in enumerate(KEYS):
        s3.put_object(Bucket=bucket, Key=key, Body=str(i).encode())
    for i, key in enumerate(KEYS):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == str(i).encode(), key
    listed = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 7})
              for o in p["Contents"]]
    assert listed == sorted(KEYS, key=lambda k: k.encode())
    r = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in KEYS]})
    assert len(r["Deleted"]) == len(KEYS) and "Errors" not in r
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_key_too_long(s3, bucket):
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=bucket, Key="k" * 1025, Body=b"")
    assert code(e) == ("KeyTooLongError", 400)


def test_missing(s3, bucket):
    for call in ("get_object", "head_object"):
        with pytest.raises(ClientError) as e:
            getattr(s3, call)(Bucket=bucket, Key="none")
        assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with pytest.raises(ClientError) as e:
        s3.get_object(Bucket=bucket, Key="none")
    assert code(e) == ("NoSuchKey", 404) and e.value.response["Error"]["Key"] == "none"
    assert e.value.response["ResponseMetadata"]["RequestId"]
    s3.delete_object(Bucket=bucket, Key="none")
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=bucket + "x", Key="k", Body=b"")
    assert code(e) == ("NoSuchBucket", 404)


def test_headers_and_metadata_come_back(s3, bucket):
    sent = dict(CacheControl="max-age=3", ContentDisposition='attachment; filename="x"', ContentEncoding="gzip",
                ContentLanguage="de", ContentType="text/x-test; charset=utf-8", Expires=datetime(2031, 5, 6, tzinfo=timezone.utc),
                Metadata={"one": "1", "Two-Case": "v  v", "empty": ""}, StorageClass="STANDARD", Tagging="a=1&b=x%20y")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **sent)
    for r in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        for name in ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType"):
            assert r[name] == sent[name]
        assert r["Metadata"] == {"one": "1", "two-case": "v  v", "empty": ""}
        assert r["ResponseMetadata"]["HTTPHeaders"]["expires"] == "Tue, 06 May 2031 00:00:00 GMT"
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 2
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "x y"}]


def test_metadata_limit(s3, bucket):
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"m": "x" * 2049})
    assert code(e) == ("MetadataTooLarge", 400)


def test_response_overrides(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    r = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseCacheControl="no-store",
                      ResponseContentDisposition="inline", ResponseContentEncoding="x", ResponseContentLanguage="fr",
                      ResponseExpires=datetime(2032, 1, 1, tzinfo=timezone.utc))
    assert (r["ContentType"], r["CacheControl"], r["ContentDisposition"], r["ContentLanguage"]) == ("a/b", "no-store", "inline", "fr")


@pytest.mark.parametrize("size", [1000, 3 << 20])
@pytest.mark.parametrize("spec,first,last", [("bytes=0-0", 0, 0), ("bytes=5-9", 5, 9), ("bytes=990-", 990, None), ("bytes=-7", -7, None),
                                             ("bytes=10-99999999999", 10, None), ("bytes=-99999999999", 0, None)])
def test_ranges(s3, bucket, size, spec, first, last):
    body = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    r = s3.get_object(Bucket=bucket, Key="k", Range=spec)
    expected = body[first:] if last is None else body[first:last + 1]
    assert r["ResponseMetadata"]["HTTPStatusCode"] == 206
    start = first if first >= 0 else size + first
    assert r["ContentRange"] == f"bytes {start}-{start + len(expected) - 1}/{size}"
    assert r["Body"].read() == expected


def test_range_errors(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    s3.put_object(Bucket=bucket, Key="zero", Body=b"")
    for key, spec in [("k", "bytes=10-"), ("k", "bytes=11-20"), ("zero", "bytes=0-"), ("k", "bytes=-0")]:
        with pytest.raises(ClientError) as e:
            s3.get_object(Bucket=bucket, Key=key, Range=spec)
        assert code(e) == ("InvalidRange", 416)
        assert e.value.response["ResponseMetadata"]["HTTPHeaders"]["content-range"] == f"bytes */{10 if key == 'k' else 0}"
    for spec in ["bytes=5-3", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2"]:
        r = s3.get_object(Bucket=bucket, Key="k", Range=spec)
        assert r["ResponseMetadata"]["HTTPStatusCode"] == 200 and r["Body"].read() == b"0123456789"


def test_read_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    past, future = modified - timedelta(hours=1), modified + timedelta(hours=1)
    for ok in [dict(IfMatch=etag), dict(IfMatch="*"), dict(IfNoneMatch='"other"'), dict(IfModifiedSince=past),
               dict(IfUnmodifiedSince=modified), dict(IfMatch=etag, IfUnmodifiedSince=past), dict(IfMatch=etag.strip('"'))]:
        assert s3.get_object(Bucket=bucket, Key="k", **ok)["Body"].read() == b"x", ok
        s3.head_object(Bucket=bucket, Key="k", **ok)
    for bad in [dict(IfMatch='"other"'), dict(IfUnmodifiedSince=past)]:
        with pytest.raises(ClientError) as e:
            s3.get_object(Bucket=bucket, Key="k", **bad)
        assert code(e) == ("PreconditionFailed", 412), bad
    for same in [dict(IfNoneMatch=etag), dict(IfModifiedSince=modified), dict(IfNoneMatch="*")]:
        with pytest.raises(ClientError) as e:
            s3.get_object(Bucket=bucket, Key="k", **same)
        assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 304, same
        assert e.value.response["ResponseMetadata"]["HTTPHeaders"]["etag"] == etag
    assert s3.get_object(Bucket=bucket, Key="k", IfNoneMatch='"o"', IfModifiedSince=future)["Body"].read() == b"x"


def test_write_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    assert code(e) == ("PreconditionFailed", 412) and e.value.response["Error"]["Condition"] == "If-None-Match"
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch='"bad"')
    assert code(e) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=bucket, Key="absent", Body=b"2", IfMatch=etag)
    assert code(e) == ("NoSuchKey", 404)
    s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=etag)
    with pytest.raises(ClientError) as e:
        s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    assert code(e) == ("PreconditionFailed", 412)
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=s3.head_object(Bucket=bucket, Key="k")["ETag"])
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)  # absent: 204


def test_one_of_many_creators_wins(endpoint, bucket):
    from concurrent.futures import ThreadPoolExecutor
    client = endpoint.client(max_pool_connections=16)

    def create(i):
        try:
            client.put_object(Bucket=bucket, Key="race", Body=str(i).encode(), IfNoneMatch="*")
            return i
        except ClientError as e:
            assert e.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
            return None
    with ThreadPoolExecutor(16) as pool:
        winners = [i for i in pool.map(create, range(64)) if i is not None]
    assert len(winners) == 1
    assert client.get_object(Bucket=bucket, Key="race")["Body"].read() == str(winners[0]).encode()


def test_version_id_of_an_unversioned_bucket(s3, bucket):
    r = s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert "VersionId" not in r
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"x"
    with pytest.raises(ClientError) as e:
        s3.get_object(Bucket=bucket, Key="k", VersionId="3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY")
    assert code(e)[0] in ("NoSuchVersion", "InvalidArgument")


def test_delete_objects_variants(s3, bucket):
    for k in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=k, Body=b"x")
    r = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "missing"}]})
    assert sorted(d["Key"] for d in r["Deleted"]) == ["a", "missing"]
    r = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}], "Quiet": True})
    assert "Deleted" not in r and "Errors" not in r
    r = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "c", "ETag": '"wrong"'}]})
    assert r["Errors"][0]["Code"] == "PreconditionFailed"
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["c"]
    with pytest.raises(ClientError) as e:
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"k{i}"} for i in range(1001)]})
    assert code(e) == ("MalformedXML", 400)


def test_attributes(s3, bucket):
    body = os.urandom(1000)
    etag = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm="SHA256")["ETag"]
    r = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass", "ObjectParts"])
    assert r["ETag"] == etag.strip('"') and r["ObjectSize"] == 1000 and r["StorageClass"] == "STANDARD"
    assert r["Checksum"]["ChecksumSHA256"] and r["Checksum"]["ChecksumType"] == "FULL_OBJECT"
    assert "ObjectParts" not in r
