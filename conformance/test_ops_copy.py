"""CopyObject."""

import datetime
import hashlib

import pytest

from expect import refused


@pytest.fixture
def source(s3, bucket):
    s3.put_object(Bucket=bucket, Key="s", Body=b"content", ContentType="text/plain", CacheControl="no-cache", Metadata={"a": "1"},
                  Tagging="t=1", StorageClass="STANDARD_IA", WebsiteRedirectLocation="/x")
    return {"Bucket": bucket, "Key": "s"}


def test_copy_keeps_content_and_headers(s3, bucket, source):
    got = s3.copy_object(Bucket=bucket, Key="d", CopySource=source)["CopyObjectResult"]
    assert got["ETag"] == '"%s"' % hashlib.md5(b"content").hexdigest()
    assert got["LastModified"]
    assert got["ChecksumCRC32"] and got["ChecksumType"] == "FULL_OBJECT"
    copy = s3.get_object(Bucket=bucket, Key="d")
    assert copy["Body"].read() == b"content"
    assert (copy["ContentType"], copy["CacheControl"], copy["Metadata"], copy["TagCount"]) == ("text/plain", "no-cache", {"a": "1"}, 1)


def test_storage_class_and_redirect_are_not_copied(s3, bucket, source):
    s3.copy_object(Bucket=bucket, Key="d", CopySource=source)
    head = s3.head_object(Bucket=bucket, Key="d")
    assert "StorageClass" not in head and "WebsiteRedirectLocation" not in head
    s3.copy_object(Bucket=bucket, Key="d", CopySource=source, StorageClass="GLACIER_IR", WebsiteRedirectLocation="/y")
    head = s3.head_object(Bucket=bucket, Key="d")
    assert (head["StorageClass"], head["WebsiteRedirectLocation"], head["Metadata"]) == ("GLACIER_IR", "/y", {"a": "1"})


def test_replace_drops_everything_old(s3, bucket, source):
    s3.copy_object(Bucket=bucket, Key="d", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}, TaggingDirective="REPLACE",
                   Tagging="x=1&y=2")
    head = s3.head_object(Bucket=bucket, Key="d")
    assert head["Metadata"] == {"b": "2"}
    assert head["ContentType"] == "binary/octet-stream"
    assert "CacheControl" not in head
    assert head["TagCount"] == 2


def test_metadata_without_replace_is_ignored(s3, bucket, source):
    s3.copy_object(Bucket=bucket, Key="d", CopySource=source, Metadata={"b": "2"}, ContentType="image/png")
    head = s3.head_object(Bucket=bucket, Key="d")
    assert (head["Metadata"], head["ContentType"]) == ({"a": "1"}, "text/plain")


def test_copy_onto_itself(s3, bucket, source):
    with refused(400, "InvalidRequest"):
        s3.copy_object(Bucket=bucket, Key="s", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="s", CopySource=source, MetadataDirective="REPLACE", Metadata={"mode": "33188"})
    got = s3.get_object(Bucket=bucket, Key="s")
    assert (got["Metadata"], got["Body"].read()) == ({"mode": "33188"}, b"content")


def test_invalid_directives(s3, bucket, source):
    with refused(400, "InvalidArgument"):
        s3.copy_object(Bucket=bucket, Key="d", CopySource=source, MetadataDirective="MERGE")
    with refused(400, "InvalidArgument"):
        s3.copy_object(Bucket=bucket, Key="d", CopySource=source, TaggingDirective="MERGE")


@pytest.mark.parametrize("key", ["a b+c%41/é~*'()", "//x", "q?versionId=abc"])
def test_odd_keys_of_the_source(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.copy_object(Bucket=bucket, Key="d", CopySource={"Bucket": bucket, "Key": key, "VersionId": "null"})
    assert s3.get_object(Bucket=bucket, Key="d")["Body"].read() == b"x"


def test_sources_that_are_not_there(s3, bucket):
    with refused(404, "NoSuchKey"):
        s3.copy_object(Bucket=bucket, Key="d", CopySource={"Bucket": bucket, "Key": "absent"})
    with refused(404, "NoSuchBucket"):
        s3.copy_object(Bucket=bucket, Key="d", CopySource={"Bucket": bucket + "x", "Key": "absent"})
    s3.put_object(Bucket=bucket, Key="s", Body=b"x")
    with refused(400, "InvalidArgument"):
        s3.copy_object(Bucket=bucket, Key="d", CopySource={"Bucket": bucket, "Key": "s", "VersionId": "abc"})
    with refused(400, "InvalidArgument"):
        s3.copy_object(Bucket=bucket, Key="d", CopySource="nothing")


def test_source_conditions(s3, bucket, source):
    etag = s3.head_object(Bucket=bucket, Key="s")["ETag"]
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
    to = {"Bucket": bucket, "Key": "d", "CopySource": source}
    s3.copy_object(**to, CopySourceIfMatch=etag)
    s3.copy_object(**to, CopySourceIfNoneMatch='"x"')
    s3.copy_object(**to, CopySourceIfModifiedSince=past)
    for bad in ({"CopySourceIfMatch": '"x"'}, {"CopySourceIfNoneMatch": etag}, {"CopySourceIfUnmodifiedSince": past}):
        with refused(412, "PreconditionFailed"):
            s3.copy_object(**to, **bad)


def test_destination_conditions(s3, bucket, source):
    to = {"Bucket": bucket, "Key": "d", "CopySource": source}
    s3.copy_object(**to, IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        s3.copy_object(**to, IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        s3.copy_object(**to, IfMatch='"x"')
    s3.copy_object(**to, IfMatch=s3.head_object(Bucket=bucket, Key="d")["ETag"])


def test_checksum_algorithm_can_change(s3, bucket, source):
    got = s3.copy_object(Bucket=bucket, Key="d", CopySource=source, ChecksumAlgorithm="SHA256")["CopyObjectResult"]
    assert got["ChecksumSHA256"]
    head = s3.head_object(Bucket=bucket, Key="d", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == got["ChecksumSHA256"]
    assert "ChecksumCRC32" not in head


def test_copy_of_a_multipart_object(s3, bucket):
    data = hashlib.shake_128(b"copy").digest(11 << 20)
    s3.upload_fileobj(__import__("io").BytesIO(data), bucket, "s")
    s3.copy_object(Bucket=bucket, Key="d", CopySource={"Bucket": bucket, "Key": "s"})
    assert s3.get_object(Bucket=bucket, Key="d")["Body"].read() == data


def test_copy_to_another_bucket(s3, bucket, source):
    other = bucket + "-other"
    s3.create_bucket(Bucket=other)
    s3.copy_object(Bucket=other, Key="d", CopySource=source)
    s3.delete_object(Bucket=bucket, Key="s")
    assert s3.get_object(Bucket=other, Key="d")["Body"].read() == b"content"
    s3.delete_object(Bucket=other, Key="d")
    s3.delete_bucket(Bucket=other)
