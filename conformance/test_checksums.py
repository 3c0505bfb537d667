"""Declared digests: right ones are kept, wrong ones refuse the object."""

import base64
import hashlib
import os
import zlib

import pytest
from botocore.exceptions import ClientError

try:
    import awscrt.checksums  # noqa: F401  SDK support for CRC32C, CRC64NVME
    CRT = True
except ImportError:
    CRT = False

SDK_ALGORITHMS = ["CRC32", "SHA1", "SHA256"] + (["CRC32C", "CRC64NVME"] if CRT else [])


def b64(raw):
    return base64.b64encode(raw).decode()


def code(e):
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("alg", SDK_ALGORITHMS)
@pytest.mark.parametrize("size", [0, 10, 100000, 2 << 20])
def test_sdk_computed(s3, bucket, alg, size):
    body = os.urandom(size)
    r = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=alg)
    name = f"Checksum{alg}"
    h = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert r[name] == h[name] and h["ChecksumType"] == "FULL_OBJECT"
    assert name not in s3.head_object(Bucket=bucket, Key="k")
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == body
    if size:
        assert name not in s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-3", ChecksumMode="ENABLED")


GIVEN = {
    "CRC32": lambda b: zlib.crc32(b).to_bytes(4, "big"),
    "SHA1": lambda b: hashlib.sha1(b).digest(),
    "SHA256": lambda b: hashlib.sha256(b).digest(),
    "SHA512": lambda b: hashlib.sha512(b).digest(),
    "MD5": lambda b: hashlib.md5(b).digest(),
}
KNOWN = {  # of b"123456789"
    "CRC32C": bytes.fromhex("e3069283"), "CRC64NVME": bytes.fromhex("ae8b14860a799888"),
    "XXHASH64": bytes.fromhex("8cb841db40e6ae83"), "XXHASH3": bytes.fromhex("72dcde3fbd6db8d5"),
    "XXHASH128": None,
}


@pytest.mark.parametrize("alg", list(GIVEN) + ["CRC32C", "CRC64NVME"])
def test_given_in_a_header(s3, bucket, alg):
    body = b"123456789"
    digest = GIVEN[alg](body) if alg in GIVEN else KNOWN[alg]

    def put(value):
        def add(request, **_):
            request.headers[f"x-amz-checksum-{alg.lower()}"] = value
        client = s3
        client.meta.events.register("before-sign.s3.PutObject", add, unique_id="given")
        try:
            return client.put_object(Bucket=bucket, Key=alg, Body=body, ContentMD5=b64(hashlib.md5(body).digest()))
        finally:
            client.meta.events.unregister("before-sign.s3.PutObject", unique_id="given")
    s3 = s3
    s3.meta.config.request_checksum_calculation = "when_required"
    r = put(b64(digest))
    assert r["ResponseMetadata"]["HTTPHeaders"][f"x-amz-checksum-{alg.lower()}"] == b64(digest)
    with pytest.raises(ClientError) as e:
        put(b64(bytes(len(digest))))
    assert code(e) == ("BadDigest", 400)
    with pytest.raises(ClientError) as e:
        put("not base64!")
    assert code(e) == ("InvalidRequest", 400)
    assert s3.get_object(Bucket=bucket, Key=alg)["Body"].read() == body


def test_content_md5(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept", ContentMD5=b64(hashlib.md5(b"kept").digest()))
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", ContentMD5=b64(hashlib.md5(b"x").digest()))
    assert code(e) == ("BadDigest", 400)
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", ContentMD5="AAAA")
    assert code(e) == ("InvalidDigest", 400)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_crc64nvme_when_nothing_is_sent(endpoint, bucket):
    s3 = endpoint.client(request_checksum_calculation="when_required")
    s3.put_object(Bucket=bucket, Key="k", Body=b"A" * (5 << 20))
    h = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert h["ChecksumCRC64NVME"] == "L/E4WYn8v98=" and h["ChecksumType"] == "FULL_OBJECT"


def test_full_object_crc64nvme_of_parts(endpoint, bucket):
    s3 = endpoint.client(request_checksum_calculation="when_required")
    u = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    parts = []
    for i, letter in enumerate(b"ABC"):
        r = s3.upload_part(Bucket=bucket, Key="k", UploadId=u, PartNumber=i + 1, Body=bytes([letter]) * (5 << 20))
        parts.append({"PartNumber": i + 1, "ETag": r["ETag"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=u, MultipartUpload={"Parts": parts})
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == "i+6LR0y3eFo="


def test_copy_keeps_and_changes_algorithms(s3, bucket):
    r = s3.put_object(Bucket=bucket, Key="k", Body=b"copy me", ChecksumAlgorithm="SHA1")
    src = {"Bucket": bucket, "Key": "k"}
    c = s3.copy_object(Bucket=bucket, Key="same", CopySource=src)
    assert c["CopyObjectResult"]["ChecksumSHA1"] == r["ChecksumSHA1"]
    c = s3.copy_object(Bucket=bucket, Key="other", CopySource=src, ChecksumAlgorithm="SHA256")
    assert c["CopyObjectResult"]["ChecksumSHA256"] == b64(hashlib.sha256(b"copy me").digest())
    assert s3.get_object(Bucket=bucket, Key="other", ChecksumMode="ENABLED")["Body"].read() == b"copy me"
