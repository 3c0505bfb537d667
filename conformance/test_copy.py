"""CopyObject: directives, conditions, awkward sources."""

import os

import pytest
from botocore.exceptions import ClientError


def code(e):
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("size", [0, 100, 20000, 3 << 20])
def test_copies_are_independent(s3, bucket, size):
    body = os.urandom(size)
    etag = s3.put_object(Bucket=bucket, Key="a", Body=body, ContentType="x/y", Metadata={"m": "1"}, Tagging="t=1")["ETag"]
    r = s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    assert r["CopyObjectResult"]["ETag"] == etag and r["CopyObjectResult"]["LastModified"]
    s3.put_object(Bucket=bucket, Key="a", Body=b"changed")
    g = s3.get_object(Bucket=bucket, Key="b")
    assert g["Body"].read() == body and g["ContentType"] == "x/y" and g["Metadata"] == {"m": "1"} and g["TagCount"] == 1
    s3.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "b"})
    s3.delete_object(Bucket=bucket, Key="b")
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == body


def test_replace(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", ContentType="x/y", Metadata={"m": "1"}, Tagging="t=1")
    s3.copy_object(Bucket=bucket, Key="a", CopySource={"Bucket": bucket, "Key": "a"}, MetadataDirective="REPLACE", Metadata={"n": "2"},
                   TaggingDirective="REPLACE", Tagging="p=1&q=2")
    g = s3.get_object(Bucket=bucket, Key="a")
    assert g["Metadata"] == {"n": "2"} and g["ContentType"] == "binary/octet-stream" and g["TagCount"] == 2 and g["Body"].read() == b"x"
    with pytest.raises(ClientError) as e:
        s3.copy_object(Bucket=bucket, Key="a", CopySource={"Bucket": bucket, "Key": "a"})
    assert code(e) == ("InvalidRequest", 400)


def test_multipart_source(s3, bucket):
    u = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    bodies = [os.urandom(5 << 20), os.urandom(77)]
    parts = [{"PartNumber": i + 1, "ETag": s3.upload_part(Bucket=bucket, Key="m", UploadId=u, PartNumber=i + 1, Body=b)["ETag"]}
             for i, b in enumerate(bodies)]
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=u, MultipartUpload={"Parts": parts})
    s3.copy_object(Bucket=bucket, Key="n", CopySource={"Bucket": bucket, "Key": "m"})
    s3.delete_object(Bucket=bucket, Key="m")
    assert s3.get_object(Bucket=bucket, Key="n")["Body"].read() == b"".join(bodies)


def test_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    src = {"Bucket": bucket, "Key": "a"}
    for bad in [dict(CopySourceIfMatch='"no"'), dict(CopySourceIfNoneMatch=etag)]:
        with pytest.raises(ClientError) as e:
            s3.copy_object(Bucket=bucket, Key="b", CopySource=src, **bad)
        assert code(e) == ("PreconditionFailed", 412)
    s3.copy_object(Bucket=bucket, Key="b", CopySource=src, CopySourceIfMatch=etag)
    with pytest.raises(ClientError) as e:
        s3.copy_object(Bucket=bucket, Key="b", CopySource=src, IfNoneMatch="*")
    assert code(e) == ("PreconditionFailed", 412)


def test_sources(s3, bucket):
    for key in ["a b+c%d/é~*'().txt", "q?m", "x//y"]:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": key})
        assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == key.encode()
    with pytest.raises(ClientError) as e:
        s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "none"})
    assert code(e) == ("NoSuchKey", 404)
    with pytest.raises(ClientError) as e:
        s3.copy_object(Bucket=bucket, Key="to", CopySource="nonesuch-bucket-x/none")
    assert code(e) == ("NoSuchBucket", 404)
    for bad in ["", "justbucket", f"{bucket}/../../etc/passwd"]:
        with pytest.raises(ClientError) as e:
            s3.copy_object(Bucket=bucket, Key="to", CopySource=bad)
        assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 404)
