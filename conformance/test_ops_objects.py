"""PutObject, GetObject, HeadObject, DeleteObject(s), GetObjectAttributes."""

import base64
import binascii
import datetime
import hashlib
import io
import zlib

import pytest

from expect import refused

BODY = bytes(range(256)) * 40


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


# ---- put, get, head


def test_put_then_get_round_trips(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    assert put["ETag"] == '"%s"' % hashlib.md5(BODY).hexdigest()
    assert "VersionId" not in put
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == BODY
    assert got["ETag"] == put["ETag"]
    assert got["ContentLength"] == len(BODY)
    assert got["ContentType"] == "binary/octet-stream"
    assert got["AcceptRanges"] == "bytes"
    assert abs(datetime.datetime.now(datetime.timezone.utc) - got["LastModified"]).total_seconds() < 60


def test_empty_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b""
    assert got["ContentLength"] == 0
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 0


def test_large_object_round_trips(s3, bucket):
    data = hashlib.shake_128(b"seed").digest(20 << 20)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data


def test_overwrite_replaces_all(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"one", ContentType="text/plain", Metadata={"a": "1"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"two!")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"two!"
    assert got["Metadata"] == {}
    assert got["ContentType"] == "binary/octet-stream"


@pytest.mark.parametrize("key", ["a b+c%d/é~*'()", "//x", "a/../b", "./a", "end/", "q?a=1&b#c", "new\nline", "a" * 1024, "\u20ac" * 341])
def test_odd_keys(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"v")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"v"
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    with refused(404):
        s3.head_object(Bucket=bucket, Key=key)


def test_key_and_its_children_coexist(s3, bucket):
    for key in ("a", "a/", "a/b", "a//b"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ("a", "a/", "a/b", "a//b"):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()


def test_key_longer_than_1024_bytes_is_refused(s3, bucket):
    with refused(400, "KeyTooLongError"):
        s3.put_object(Bucket=bucket, Key="k" * 1025, Body=b"")


def test_missing_key_and_bucket(s3, bucket):
    with refused(404, "NoSuchKey") as caught:
        s3.get_object(Bucket=bucket, Key="absent")
    assert caught.value.response["Error"]["Key"] == "absent"
    with refused(404, "NoSuchBucket"):
        s3.get_object(Bucket=bucket + "-absent", Key="k")
    with refused(404, "NoSuchBucket"):
        s3.put_object(Bucket=bucket + "-absent", Key="k", Body=b"x")
    with refused(404, "404"):
        s3.head_object(Bucket=bucket, Key="absent")


def test_headers_and_metadata_round_trip(s3, bucket):
    headers = {
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="x y"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de-DE",
        "ContentType": "text/plain; charset=utf-8",
        "WebsiteRedirectLocation": "/elsewhere",
        "StorageClass": "STANDARD_IA",
    }
    expires = datetime.datetime(2031, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    metadata = {"simple": "value", "UPPER-case": "Kept As Is", "empty": ""}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata=metadata, Expires=expires, **headers)
    for got in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        for name, value in headers.items():
            assert got[name] == value, name
        assert got["Metadata"] == {k.lower(): v for k, v in metadata.items()}
        assert got["ExpiresString"] == "Sat, 03 Feb 2031 04:05:06 GMT" or "2031" in got["ExpiresString"]


def test_standard_storage_class_is_not_echoed(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="STANDARD")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")
    with refused(400, "InvalidStorageClass"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="MARBLE")


def test_metadata_over_2_kib_is_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"k": "v" * 2047})
    with refused(400, "MetadataTooLarge"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"k": "v" * 2048})


def test_tags_are_counted_and_checked(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=two%20words")
    assert s3.head_object(Bucket=bucket, Key="k")["TagCount"] == 2
    for bad in ("a=1&a=2", "&".join("k%d=v" % i for i in range(11)), "k" * 129 + "=v", "k=" + "v" * 257):
        with refused(400, "InvalidTag"):
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging=bad)


@pytest.mark.parametrize(
    "extra",
    [
        {"ServerSideEncryption": "aws:kms"},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32},
    ],
)
def test_unsupported_headers_are_named(s3, bucket, extra):
    with refused(501, "NotImplemented") as caught:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", **extra)
    assert "x-amz-" in caught.value.response["Error"]["Message"]


def test_private_acl_is_accepted(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="private")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    with refused(400, "AccessControlListNotSupported"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    with refused(400, "InvalidArgument"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", GrantRead="id=1")
    with refused(400, "InvalidArgument"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="nonsense")


def test_version_null_is_accepted_and_others_are_not_found(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"x"
    with refused(404, "NoSuchVersion"):
        s3.get_object(Bucket=bucket, Key="k", VersionId="18b5e3a2c4d6f8010")
    with refused(400, "InvalidArgument"):
        s3.get_object(Bucket=bucket, Key="k", VersionId="3sL4kqtJlcpXroDTDmJ")


# ---- ranges and parts


@pytest.mark.parametrize(
    "spec,first,last", [("bytes=0-0", 0, 0), ("bytes=5-99", 5, 99), ("bytes=10000-", 10000, 10239), ("bytes=-7", 10233, 10239),
                        ("bytes=0-99999999", 0, 10239), ("bytes=-99999", 0, 10239)]
)
def test_ranges(s3, bucket, spec, first, last):
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    got = s3.get_object(Bucket=bucket, Key="k", Range=spec)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == "bytes %d-%d/%d" % (first, last, len(BODY))
    assert got["Body"].read() == BODY[first : last + 1]
    head = s3.head_object(Bucket=bucket, Key="k", Range=spec)
    assert head["ContentLength"] == last + 1 - first


@pytest.mark.parametrize("spec", ["bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2"])
def test_bad_ranges_are_ignored(s3, bucket, spec):
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    got = s3.get_object(Bucket=bucket, Key="k", Range=spec)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert got["Body"].read() == BODY


def test_range_past_the_end_is_416(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    with refused(416, "InvalidRange") as caught:
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=10240-")
    assert caught.value.response["Error"]["ActualObjectSize"] == "10240"
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["content-range"] == "bytes */10240"
    for spec in ("bytes=0-", "bytes=-5", "bytes=0-0"):
        with refused(416, "InvalidRange"):
            s3.get_object(Bucket=bucket, Key="empty", Range=spec)


def test_part_of_a_single_put(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert got["Body"].read() == BODY
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert "PartsCount" not in got
    with refused(416, "InvalidPartNumber"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    with refused(400, "InvalidRequest"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1")
    with refused(400, "InvalidArgument"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=10001)


def test_response_overrides(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain", CacheControl="no-store")
    got = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="image/png", ResponseContentDisposition="inline",
                        ResponseContentLanguage="fr", ResponseContentEncoding="br", ResponseCacheControl="max-age=1")
    assert (got["ContentType"], got["ContentDisposition"], got["ContentLanguage"]) == ("image/png", "inline", "fr")
    assert (got["ContentEncoding"], got["CacheControl"]) == ("br", "max-age=1")
    with refused(400, "InvalidArgument"):
        s3.get_object(Bucket=bucket, Key="k", ResponseContentType="a\r\nX-Evil: 1")


# ---- conditions


def test_read_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x", CacheControl="max-age=5")["ETag"]
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
    now = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    for name in ("get_object", "head_object"):
        call = getattr(s3, name)
        call(Bucket=bucket, Key="k", IfMatch=etag)
        call(Bucket=bucket, Key="k", IfMatch=etag.strip('"'))
        call(Bucket=bucket, Key="k", IfModifiedSince=past)
        call(Bucket=bucket, Key="k", IfUnmodifiedSince=now)
        call(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=past)
        with refused(412):
            call(Bucket=bucket, Key="k", IfMatch='"0123"')
        with refused(412):
            call(Bucket=bucket, Key="k", IfUnmodifiedSince=past)
        with refused(304) as caught:
            call(Bucket=bucket, Key="k", IfNoneMatch=etag)
        headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["etag"] == etag
        assert headers["cache-control"] == "max-age=5"
        assert "last-modified" in headers
        with refused(304):
            call(Bucket=bucket, Key="k", IfModifiedSince=now)


def test_put_if_none_match(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")
    with refused(412, "PreconditionFailed") as caught:
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    assert caught.value.response["Error"]["Condition"] == "If-None-Match"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"


def test_put_if_match(s3, bucket):
    with refused(404, "NoSuchKey"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfMatch='"abc"')
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch='"abc"')
    s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"3"


def test_only_one_of_many_creators_wins(endpoint, s3, bucket, run_together):
    clients = [endpoint.client() for _ in range(8)]

    def create(i):
        return clients[i].put_object(Bucket=bucket, Key="k", Body=b"%d" % i * 100000, IfNoneMatch="*")

    results = run_together(*[lambda i=i: create(i) for i in range(8)])
    won = [i for i, r in enumerate(results) if isinstance(r, dict)]
    assert len(won) == 1
    for i, r in enumerate(results):
        if i not in won:
            assert r.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"%d" % won[0] * 100000


# ---- checksums


def test_default_checksum_is_kept_and_returned_on_demand(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    assert put["ChecksumCRC32"] == crc32(BODY)
    assert put["ChecksumType"] == "FULL_OBJECT"
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == crc32(BODY)
    assert "ChecksumCRC32" not in s3.head_object(Bucket=bucket, Key="k")
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=0-9")
    assert "ChecksumCRC32" not in got


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"])
def test_every_algorithm(s3, bucket, algorithm):
    try:
        put = s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm=algorithm)
    except Exception as e:
        if "response" in dir(e):
            raise
        pytest.skip("this client can't compute it: %s" % e)
    name = "Checksum" + algorithm
    assert put[name]
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got[name] == put[name]
    assert got["Body"].read() == BODY


def test_object_without_client_checksum_gets_crc64nvme(endpoint, bucket):
    plain = endpoint.client(request_checksum_calculation="when_required")
    assert len(plain.put_object(Bucket=bucket, Key="k", Body=b"A" * (5 << 20))["ChecksumCRC64NVME"]) == 12
    head = plain.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == "L/E4WYn8v98="
    assert head["ChecksumType"] == "FULL_OBJECT"


def test_wrong_digests_are_refused_and_nothing_is_stored(s3, bucket):
    with refused(400, "BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ChecksumCRC32=crc32(b"y"))
    with refused(400, "BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=base64.b64encode(hashlib.md5(b"y").digest()).decode())
    with refused(400, "InvalidDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5="bm90IG1kNQ==")
    with refused(404):
        s3.head_object(Bucket=bucket, Key="k")


# ---- attributes


def test_object_attributes_of_a_single_put(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=BODY)["ETag"]
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"])
    assert got["ETag"] == etag.strip('"')
    assert got["Checksum"] == {"ChecksumCRC32": crc32(BODY), "ChecksumType": "FULL_OBJECT"}
    assert got["ObjectSize"] == len(BODY)
    assert got["StorageClass"] == "STANDARD"
    assert "ObjectParts" not in got
    with refused(404, "NoSuchKey"):
        s3.get_object_attributes(Bucket=bucket, Key="absent", ObjectAttributes=["ETag"])
    with refused(400, "InvalidArgument"):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Colour"])


# ---- deletes


def test_delete_is_idempotent(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for _ in range(2):
        assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId="null")["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_conditional_delete(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.delete_object(Bucket=bucket, Key="k", IfMatch='"other"')
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)


def test_delete_many(s3, bucket):
    keys = ["k%03d&<>\r\n" % i for i in range(200)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    got = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys + ["absent"]]})
    assert [d["Key"] for d in got["Deleted"]] == keys + ["absent"]
    assert "Errors" not in got
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_delete_many_quiet_and_errors(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    s3.put_object(Bucket=bucket, Key="b", Body=b"x")
    got = s3.delete_objects(
        Bucket=bucket,
        Delete={"Quiet": True, "Objects": [{"Key": "a", "ETag": etag}, {"Key": "b", "ETag": '"no"'}, {"Key": "v", "VersionId": "nope"}]},
    )
    assert "Deleted" not in got
    assert {e["Key"]: e["Code"] for e in got["Errors"]} == {"b": "PreconditionFailed", "v": "InvalidArgument"}
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["b"]


def test_delete_more_than_1000_is_refused(s3, bucket):
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k%d" % i} for i in range(1000)]})
    with refused(400, "MalformedXML"):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k%d" % i} for i in range(1001)]})


# ---- wire


def test_head_errors_have_no_body(endpoint, s3, bucket, http_request):
    status, headers, body = http_request("HEAD", endpoint.presigned("head_object", Bucket=bucket, Key="absent"))
    assert (status, body) == (404, b"")
    assert headers["x-amz-request-id"]


def test_put_without_length_is_411(endpoint, bucket, http_request):
    status, _, body = http_request("PUT", endpoint.presigned("put_object", Bucket=bucket, Key="k"), headers={"Connection": "close"})
    assert status == 411
    assert b"<Code>MissingContentLength</Code>" in body


def test_put_over_5_gib_is_refused_before_the_body(endpoint, bucket, http_request):
    url = endpoint.presigned("put_object", Bucket=bucket, Key="k")
    status, _, body = http_request("PUT", url, headers={"Content-Length": str((5 << 30) + 1), "Expect": "100-continue"})
    assert status == 400
    assert b"<Code>EntityTooLarge</Code>" in body


def test_aws_chunked_is_not_kept(s3, endpoint, bucket, http_request):
    url = endpoint.presigned("put_object", Bucket=bucket, Key="k")
    assert http_request("PUT", url, b"x", {"Content-Encoding": "gzip, aws-chunked"})[0] == 200
    status, headers, _ = http_request("GET", endpoint.presigned("get_object", Bucket=bucket, Key="k"))
    assert status == 200
    assert headers["content-encoding"] == "gzip"


def test_upload_fileobj_and_download_fileobj(s3, bucket):
    data = hashlib.shake_128(b"transfer").digest(18 << 20)
    s3.upload_fileobj(io.BytesIO(data), bucket, "k")
    out = io.BytesIO()
    s3.download_fileobj(bucket, "k", out)
    assert out.getvalue() == data
    assert binascii.crc32(out.getvalue()) == binascii.crc32(data)
