"""Tags of objects: put, replaced, deleted, counted; nothing else of the object changes."""

import os
import time

import pytest
import requests
from botocore.exceptions import ClientError

TAGS = [{"Key": "class", "Value": "cat + dog @home"}, {"Key": "ü/+ =", "Value": ""}]


def code(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response["Error"]["Code"]


def put(s3, bucket, key, tags=TAGS):
    return s3.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": tags})


def tags_of(s3, bucket, key):
    return s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
def test_tags_change_and_nothing_else(s3, bucket, size):
    body = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=body, ContentType="image/x", Metadata={"a": "b"}, Tagging="old=1")
    before = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    time.sleep(max(0, 1.05 - time.time() % 1))  # into the next second: Last-Modified would tell
    put(s3, bucket, "k")
    assert tags_of(s3, bucket, "k") == TAGS
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == body and got["TagCount"] == 2
    for what in ("ETag", "LastModified", "ContentType", "Metadata", "ContentLength", "ChecksumCRC32"):
        assert got[what] == before[what], what
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert tags_of(s3, bucket, "k") == [] and "TagCount" not in s3.get_object(Bucket=bucket, Key="k")
    assert s3.head_object(Bucket=bucket, Key="k")["LastModified"] == before["LastModified"]


def test_parts_stay_parts(s3, bucket):
    u = s3.create_multipart_upload(Bucket=bucket, Key="k", Tagging="a=1")["UploadId"]
    parts = [{"PartNumber": n, "ETag": s3.upload_part(Bucket=bucket, Key="k", UploadId=u, PartNumber=n, Body=os.urandom(5 << 20))["ETag"]} for n in (1, 2)]
    etag = s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=u, MultipartUpload={"Parts": parts})["ETag"]
    put(s3, bucket, "k")
    head = s3.head_object(Bucket=bucket, Key="k", PartNumber=2)
    assert head["ETag"] == etag and head["PartsCount"] == 2 and head["ContentLength"] == 5 << 20
    assert tags_of(s3, bucket, "k") == TAGS


@pytest.mark.parametrize("tags", [[{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}], [{"Key": "aws:a", "Value": ""}],
                                  [{"Key": "k" * 129, "Value": ""}], [{"Key": "k", "Value": "v" * 257}], [{"Key": f"{i}", "Value": ""} for i in range(11)]])
def test_bad_tags_change_nothing(s3, bucket, tags):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
    assert code(put, s3=s3, bucket=bucket, key="k", tags=tags) == "InvalidTag"
    assert tags_of(s3, bucket, "k") == [{"Key": "a", "Value": "1"}]


def test_of_what_is_not_there(s3, bucket):
    assert code(put, s3=s3, bucket=bucket, key="missing") == "NoSuchKey"
    assert code(s3.delete_object_tagging, Bucket=bucket, Key="missing") == "NoSuchKey"
    assert code(s3.get_object_tagging, Bucket=bucket, Key="missing") == "NoSuchKey"


@pytest.mark.parametrize("body", [b"", b"<Tagging/>", b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", b"<Other><TagSet/></Other>", b"<Tagging>"])
def test_malformed(endpoint, s3, bucket, body):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    url = s3.generate_presigned_url("put_object_tagging", Params={"Bucket": bucket, "Key": "k", "Tagging": {"TagSet": []}}, HttpMethod="PUT")
    r = requests.put(url, data=body, verify=endpoint.ca or True, timeout=30)
    assert r.status_code == 400 and "MalformedXML" in r.text, r.text


def test_copies_keep_or_replace_them(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put(s3, bucket, "k")
    s3.copy_object(Bucket=bucket, Key="same", CopySource={"Bucket": bucket, "Key": "k"})
    s3.copy_object(Bucket=bucket, Key="other", CopySource={"Bucket": bucket, "Key": "k"}, TaggingDirective="REPLACE", Tagging="n=1")
    assert tags_of(s3, bucket, "same") == TAGS and tags_of(s3, bucket, "other") == [{"Key": "n", "Value": "1"}]
