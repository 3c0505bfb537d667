"""Archives whose members are changed by the native API, as S3 clients see them afterwards."""

import hashlib
import io
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "faults"))

import appends  # noqa: E402
import test_archives  # noqa: E402
from test_archives import archive, samples  # noqa: E402


@pytest.fixture
def native(http_endpoint):
    return appends.Native(http_endpoint.url)


def archpath(s3, bucket, key, member):
    return test_archives.archpath(s3, bucket, key, member)["Body"].read()


def put(native, bucket, key, member, body, pine="1", query=""):
    return native.call("PUT", f"/v1/objects/{bucket}/{key}?archpath={appends.quote(member, safe='')}{query}", body, {"Ais-Pine": pine})


def delete(native, bucket, key, member):
    return native.call("DELETE", f"/v1/objects/{bucket}/{key}?archpath={appends.quote(member, safe='')}")


def read(s3, bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def names(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as tar:
        return [m.name for m in tar]


def test_an_appended_tar_is_an_object_as_any_other(s3, bucket, native):
    before, extra = archive(".tar", samples(40)), os.urandom(100_000)
    s3.put_object(Bucket=bucket, Key="s.tar", Body=before, ContentType="application/x-tar", Metadata={"a": "b"}, Tagging="t=1")
    etag = s3.head_object(Bucket=bucket, Key="s.tar")["ETag"]
    assert put(native, bucket, "s.tar", "extra", extra)[0] == 200
    data = read(s3, bucket, "s.tar")
    assert names(data) == names(before) + ["extra"]
    head = s3.head_object(Bucket=bucket, Key="s.tar", ChecksumMode="ENABLED")
    assert head["ETag"] != etag and "-" in head["ETag"] and head["ContentLength"] == len(data)
    assert head["ContentType"] == "application/x-tar" and head["Metadata"] == {"a": "b"}
    assert not [k for k in head if k.startswith("Checksum")] and "PartsCount" not in head
    assert s3.get_object_tagging(Bucket=bucket, Key="s.tar")["TagSet"] == [{"Key": "t", "Value": "1"}]
    assert s3.head_object(Bucket=bucket, Key="s.tar", PartNumber=1)["ContentLength"] == len(data)
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="s.tar", PartNumber=2)
    attributes = s3.get_object_attributes(Bucket=bucket, Key="s.tar", ObjectAttributes=["ETag", "ObjectParts", "ObjectSize", "Checksum"])
    assert attributes["ObjectSize"] == len(data) and "ObjectParts" not in attributes
    assert read(s3, bucket, "s.tar") == data
    middle = s3.get_object(Bucket=bucket, Key="s.tar", Range=f"bytes={len(before) - 5000}-{len(data) - 700}")["Body"].read()
    assert middle == data[len(before) - 5000:len(data) - 699]
    assert archpath(s3, bucket, "s.tar", "extra") == extra
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert listed["Size"] == len(data) and listed["ETag"] == head["ETag"]


def test_an_appended_tar_is_copied_and_overwritten(s3, bucket, native):
    s3.put_object(Bucket=bucket, Key="s.tar", Body=archive(".tar", samples(40)))
    assert put(native, bucket, "s.tar", "one", b"1" * 70_000)[0] == 200
    s3.copy_object(Bucket=bucket, Key="c.tar", CopySource={"Bucket": bucket, "Key": "s.tar"})
    assert put(native, bucket, "s.tar", "two", b"2" * 70_000)[0] == 200
    assert put(native, bucket, "c.tar", "three", b"3" * 70_000)[0] == 200
    assert names(read(s3, bucket, "s.tar"))[-2:] == ["one", "two"]
    assert names(read(s3, bucket, "c.tar"))[-2:] == ["one", "three"]
    s3.delete_object(Bucket=bucket, Key="s.tar")
    assert names(read(s3, bucket, "c.tar"))[-2:] == ["one", "three"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="u")["UploadId"]
    part = s3.upload_part_copy(Bucket=bucket, Key="u", UploadId=upload, PartNumber=1, CopySource={"Bucket": bucket, "Key": "c.tar"})
    s3.complete_multipart_upload(Bucket=bucket, Key="u", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]})
    assert read(s3, bucket, "u") == read(s3, bucket, "c.tar")
    s3.put_object(Bucket=bucket, Key="c.tar", Body=b"x")
    assert read(s3, bucket, "c.tar") == b"x"


@pytest.mark.parametrize("ext", [".tar", ".tgz", ".zip", ".tar.lz4", ".tar.zst"])
def test_members_come_and_go(s3, bucket, native, ext):
    key = "s" + ext
    assert put(native, bucket, key, "a", b"a")[0] == 404
    assert put(native, bucket, key, "a", b"a", pine="2")[0] == 200
    assert put(native, bucket, key, "dir/b", b"b" * 5000, pine="2")[0] == 200
    assert put(native, bucket, key, "a", b"other", query="&archmode-put=add")[0] == 409
    assert put(native, bucket, key, "a", b"other", query="&archmode-put=replace")[0] == 200
    assert archpath(s3, bucket, key, "a") == b"other"
    assert delete(native, bucket, key, "dir/b")[0] == 200
    assert delete(native, bucket, key, "dir/b")[0] == 404
    with pytest.raises(ClientError):
        archpath(s3, bucket, key, "dir/b")
    if ext in (".tar", ".tgz"):
        assert names(read(s3, bucket, key)) == ["a"]
    if ext == ".zip":
        assert zipfile.ZipFile(io.BytesIO(read(s3, bucket, key))).namelist() == ["a"]
    assert put(native, bucket, key, "only", b"o", pine="0")[0] == 200
    assert archpath(s3, bucket, key, "only") == b"o"


def test_what_is_refused(s3, bucket, native):
    s3.put_object(Bucket=bucket, Key="s.tar", Body=archive(".tar", samples(3)))
    before = read(s3, bucket, "s.tar")
    for member in ("../x", "/", "a/../b"):
        assert put(native, bucket, "s.tar", member, b"x")[0] == 400
    assert put(native, bucket, "s.tar", "x", b"x", pine="7")[0] == 400
    assert put(native, bucket, "s.tar", "x", b"x", query="&archmode-put=maybe")[0] == 400
    assert put(native, bucket, "s.tar", "x", b"x", query="&archmime=text%2Fplain")[0] == 400
    s3.put_object(Bucket=bucket, Key="bad.tar", Body=b"no archive" * 1000)
    status, text = put(native, bucket, "bad.tar", "x", b"x")
    assert status == 400 and b"bad.tar" in text
    assert hashlib.md5(read(s3, bucket, "s.tar")).digest() == hashlib.md5(before).digest()
