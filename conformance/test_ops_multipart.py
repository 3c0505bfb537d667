"""Multipart uploads: create, parts, copies of parts, complete, abort, lists, checksums."""

import base64
import hashlib
import zlib

import pytest

from expect import refused

MIB = 1 << 20
PART = bytes(range(256)) * (5 * MIB // 256)


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def composite_etag(*parts):
    return '"%s-%d"' % (hashlib.md5(b"".join(hashlib.md5(p).digest() for p in parts)).hexdigest(), len(parts))


class Upload:
    def __init__(self, s3, bucket, key="k", **options):
        self.s3 = s3
        self.at = {"Bucket": bucket, "Key": key}
        self.created = s3.create_multipart_upload(**self.at, **options)
        self.at["UploadId"] = self.created["UploadId"]
        self.parts = []

    def part(self, number, data, **options):
        got = self.s3.upload_part(**self.at, PartNumber=number, Body=data, **options)
        entry = {"PartNumber": number, "ETag": got["ETag"]}
        entry.update({k: v for k, v in got.items() if k.startswith("Checksum") and k != "ChecksumType"})
        self.parts.append(entry)
        return got

    def complete(self, parts=None, **options):
        return self.s3.complete_multipart_upload(**self.at, MultipartUpload={"Parts": self.parts if parts is None else parts}, **options)


def test_two_parts(s3, bucket):
    u = Upload(s3, bucket, ContentType="text/x", Metadata={"a": "b"}, Tagging="t=1")
    first = u.part(1, PART)
    assert first["ETag"] == '"%s"' % hashlib.md5(PART).hexdigest()
    u.part(2, b"tail")
    with refused(404):
        s3.head_object(Bucket=bucket, Key="k")
    done = u.complete()
    assert done["ETag"] == composite_etag(PART, b"tail")
    assert (done["Bucket"], done["Key"]) == (bucket, "k")
    assert done["Location"].endswith("/%s/k" % bucket)
    assert "VersionId" not in done
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == PART + b"tail"
    assert (got["ETag"], got["ContentType"], got["Metadata"], got["TagCount"]) == (done["ETag"], "text/x", {"a": "b"}, 1)
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == done["ETag"]


def test_one_small_part(s3, bucket):
    u = Upload(s3, bucket)
    u.part(1, b"x")
    assert u.complete()["ETag"] == composite_etag(b"x")


def test_subset_gaps_and_replacement(s3, bucket):
    u = Upload(s3, bucket)
    u.part(3, b"three")
    u.part(1, b"replaced" * 10)
    u.part(1, PART)
    u.part(10000, b"end")
    parts = [u.parts[2], u.parts[3]]
    u.complete(parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == PART + b"end"


def test_parts_can_be_read_by_number(s3, bucket):
    u = Upload(s3, bucket)
    u.part(1, PART)
    u.part(2, b"tail")
    done = u.complete()
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, ChecksumMode="ENABLED")
    assert got["Body"].read() == b"tail"
    assert got["PartsCount"] == 2
    assert got["ETag"] == done["ETag"]
    assert got["ContentRange"] == "bytes %d-%d/%d" % (len(PART), len(PART) + 3, len(PART) + 4)
    assert got["ChecksumCRC64NVME"] and got["ChecksumType"] == "FULL_OBJECT"
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=1)["ContentLength"] == len(PART)
    with refused(416, "InvalidPartNumber"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=3)


def test_range_over_the_seam(s3, bucket):
    u = Upload(s3, bucket)
    u.part(1, PART)
    u.part(2, b"tail")
    u.complete()
    got = s3.get_object(Bucket=bucket, Key="k", Range="bytes=%d-%d" % (len(PART) - 3, len(PART) + 1))
    assert got["Body"].read() == PART[-3:] + b"ta"


# ---- refusals


def test_small_part_in_the_middle(s3, bucket):
    u = Upload(s3, bucket)
    u.part(1, b"small")
    u.part(2, b"tail")
    with refused(400, "EntityTooSmall") as caught:
        u.complete()
    error = caught.value.response["Error"]
    assert (error["ProposedSize"], error["MinSizeAllowed"], error["PartNumber"]) == ("5", str(5 * MIB), "1")


def test_part_numbers_end_at_10000(s3, bucket):
    u = Upload(s3, bucket)
    for number in (0, 10001):
        with refused(400, "InvalidArgument"):
            u.part(number, b"x")


def test_bad_lists_of_parts(s3, bucket):
    u = Upload(s3, bucket)
    u.part(1, PART)
    u.part(2, b"x")
    with refused(400, "InvalidPartOrder"):
        u.complete(u.parts[::-1])
    with refused(400, "InvalidPart"):
        u.complete(u.parts[:1] + [{"PartNumber": 9, "ETag": '"abc"'}])
    with refused(400, "InvalidPart"):
        u.complete([{"PartNumber": 1, "ETag": '"ffffffffffffffffffffffffffffffff"'}])
    with refused(400, "MalformedXML"):
        s3.complete_multipart_upload(**u.at)
    u.complete()


def test_unknown_upload(s3, bucket):
    at = {"Bucket": bucket, "Key": "k", "UploadId": "0" * 32}
    with refused(404, "NoSuchUpload"):
        s3.upload_part(**at, PartNumber=1, Body=b"x")
    with refused(404, "NoSuchUpload"):
        s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]})
    with refused(404, "NoSuchUpload"):
        s3.abort_multipart_upload(**at)
    with refused(404, "NoSuchUpload"):
        s3.list_parts(**at)


def test_complete_can_be_repeated(s3, bucket):
    u = Upload(s3, bucket)
    u.part(1, b"x")
    assert u.complete()["ETag"] == u.complete()["ETag"]


def test_abort(s3, bucket):
    u = Upload(s3, bucket)
    u.part(1, b"x")
    assert s3.abort_multipart_upload(**u.at)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(404, "NoSuchUpload"):
        u.part(2, b"x")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_conditional_complete(s3, bucket):
    u = Upload(s3, bucket)
    u.part(1, b"new")
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"]
    with refused(412, "PreconditionFailed"):
        u.complete(IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        u.complete(IfMatch='"abc"')
    u.complete(IfMatch=old)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_object_size_is_checked(s3, bucket):
    u = Upload(s3, bucket)
    u.part(1, b"12345")
    with refused(400, "InvalidRequest"):
        u.complete(MpuObjectSize=6)
    u.complete(MpuObjectSize=5)


# ---- checksums


def test_composite_crc32(s3, bucket):
    u = Upload(s3, bucket, ChecksumAlgorithm="CRC32")
    assert (u.created["ChecksumAlgorithm"], u.created["ChecksumType"]) == ("CRC32", "COMPOSITE")
    u.part(1, PART)
    u.part(2, b"tail")
    raw = b"".join(zlib.crc32(p).to_bytes(4, "big") for p in (PART, b"tail"))
    done = u.complete()
    assert done["ChecksumCRC32"] == crc32(raw) + "-2"
    assert done["ChecksumType"] == "COMPOSITE"
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == done["ChecksumCRC32"]


def test_full_object_crc32(s3, bucket):
    u = Upload(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    u.part(1, PART)
    u.part(2, b"tail")
    with refused(400, "BadDigest"):
        u.complete(ChecksumCRC32=crc32(b"other"), ChecksumType="FULL_OBJECT")
    done = u.complete(ChecksumCRC32=crc32(PART + b"tail"), ChecksumType="FULL_OBJECT")
    assert done["ChecksumCRC32"] == crc32(PART + b"tail")
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["ChecksumType"] == "FULL_OBJECT"
    assert got["Body"].read() == PART + b"tail"


def test_full_object_crc64nvme_of_three_parts(endpoint, bucket):
    plain = endpoint.client(request_checksum_calculation="when_required")
    u = Upload(plain, bucket)
    for number, letter in ((1, b"A"), (2, b"B"), (3, b"C")):
        u.part(number, letter * (5 * MIB))
    u.complete()
    head = plain.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == "i+6LR0y3eFo="
    assert head["ChecksumType"] == "FULL_OBJECT"


def test_checksum_rules(s3, bucket):
    with refused(400, "InvalidRequest"):
        Upload(s3, bucket, ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")
    with refused(400, "InvalidRequest"):
        Upload(s3, bucket, ChecksumAlgorithm="CRC64NVME", ChecksumType="COMPOSITE")
    u = Upload(s3, bucket, ChecksumAlgorithm="SHA256")
    with refused(400, "InvalidRequest"):
        u.part(1, b"x", ChecksumAlgorithm="CRC32")
    u.part(1, b"x", ChecksumAlgorithm="SHA256")
    with refused(400):
        u.complete([{"PartNumber": 1, "ETag": u.parts[0]["ETag"], "ChecksumSHA256": base64.b64encode(b"0" * 32).decode()}])
    u.complete()


def test_object_attributes_of_parts(s3, bucket):
    u = Upload(s3, bucket, ChecksumAlgorithm="SHA256")
    for number in (1, 2):
        u.part(number, PART, ChecksumAlgorithm="SHA256")
    u.part(3, b"tail", ChecksumAlgorithm="SHA256")
    done = u.complete()
    names = ["ETag", "Checksum", "ObjectParts", "ObjectSize"]
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=names)
    parts = got["ObjectParts"]
    assert got["Checksum"]["ChecksumSHA256"] + "-3" == done["ChecksumSHA256"] or got["Checksum"]["ChecksumSHA256"] == done["ChecksumSHA256"]
    assert parts["TotalPartsCount"] == 3
    assert [p["Size"] for p in parts["Parts"]] == [len(PART), len(PART), 4]
    assert parts["Parts"][2]["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"tail").digest()).decode()
    page = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=names, MaxParts=1)["ObjectParts"]
    assert (page["IsTruncated"], page["NextPartNumberMarker"], page["MaxParts"]) == (True, 1, 1)
    page = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=names, PartNumberMarker=1)["ObjectParts"]
    assert (page["IsTruncated"], page["NextPartNumberMarker"], len(page["Parts"])) == (False, 3, 2)


def test_checksum_of_a_part(s3, bucket):
    u = Upload(s3, bucket, ChecksumAlgorithm="CRC32")
    u.part(1, PART)
    u.part(2, b"tail")
    u.complete()
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, ChecksumMode="ENABLED")
    assert (got["ChecksumCRC32"], got["ChecksumType"]) == (crc32(b"tail"), "COMPOSITE")
    assert got["Body"].read() == b"tail"


def test_checksum_of_a_part(s3, bucket):
    u = Upload(s3, bucket, ChecksumAlgorithm="CRC32")
    u.part(1, PART)
    u.part(2, b"tail")
    u.complete()
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, ChecksumMode="ENABLED")
    assert (got["ChecksumCRC32"], got["ChecksumType"]) == (crc32(b"tail"), "COMPOSITE")
    assert got["Body"].read() == b"tail"


# ---- lists


def test_list_parts(s3, bucket):
    u = Upload(s3, bucket, ChecksumAlgorithm="CRC32", StorageClass="STANDARD_IA")
    for number in (1, 2, 7):
        u.part(number, b"x" * number)
    got = s3.list_parts(**u.at)
    assert [(p["PartNumber"], p["Size"]) for p in got["Parts"]] == [(1, 1), (2, 2), (7, 7)]
    assert got["Parts"][0]["ETag"] == u.parts[0]["ETag"]
    assert got["Parts"][0]["ChecksumCRC32"] == crc32(b"x")
    assert (got["IsTruncated"], got["StorageClass"], got["ChecksumAlgorithm"]) == (False, "STANDARD_IA", "CRC32")
    assert got["Owner"]["ID"] and got["Initiator"]["ID"]
    page = s3.list_parts(**u.at, MaxParts=2)
    assert (page["IsTruncated"], page["NextPartNumberMarker"], page["MaxParts"]) == (True, 2, 2)
    page = s3.list_parts(**u.at, MaxParts=2, PartNumberMarker=2)
    assert [p["PartNumber"] for p in page["Parts"]] == [7]


def test_list_uploads(s3, bucket):
    ids = {key: [Upload(s3, bucket, key).at["UploadId"] for _ in range(2)] for key in ("a", "dir/b", "dir/c", "e f+")}
    got = s3.list_multipart_uploads(Bucket=bucket)
    assert [(u["Key"], u["UploadId"]) for u in got["Uploads"]] == [(k, i) for k in sorted(ids) for i in ids[k]]
    assert not got["IsTruncated"]
    got = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in got["CommonPrefixes"]] == ["dir/"]
    assert {u["Key"] for u in got["Uploads"]} == {"a", "e f+"}
    assert {u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket, Prefix="dir/c")["Uploads"]} == {"dir/c"}
    seen, marker = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=3, **marker)
        seen += [(u["Key"], u["UploadId"]) for u in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert seen == [(k, i) for k in sorted(ids) for i in ids[k]]


# ---- copies of parts


def test_upload_part_copy(s3, bucket):
    source = hashlib.shake_128(b"source").digest(6 * MIB)
    s3.put_object(Bucket=bucket, Key="a b+%41/é", Body=source)
    at = {"Bucket": bucket, "Key": "a b+%41/é"}
    u = Upload(s3, bucket)
    got = s3.upload_part_copy(**u.at, PartNumber=1, CopySource=at, CopySourceRange="bytes=0-%d" % (5 * MIB - 1))["CopyPartResult"]
    assert got["ETag"] == '"%s"' % hashlib.md5(source[: 5 * MIB]).hexdigest()
    parts = [{"PartNumber": 1, "ETag": got["ETag"]}]
    got = s3.upload_part_copy(**u.at, PartNumber=2, CopySource=at)["CopyPartResult"]
    parts.append({"PartNumber": 2, "ETag": got["ETag"]})
    for entry, part in zip(parts, s3.list_parts(**u.at)["Parts"]):
        entry.update({k: v for k, v in part.items() if k.startswith("Checksum")})
    u.complete(parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == source[: 5 * MIB] + source


def test_append_by_part_copy_of_itself(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=PART)
    u = Upload(s3, bucket)
    first = s3.upload_part_copy(**u.at, PartNumber=1, CopySource={"Bucket": bucket, "Key": "k"}, CopySourceRange="bytes=0-%d" % (len(PART) - 1))
    u.parts = [{"PartNumber": 1, "ETag": first["CopyPartResult"]["ETag"]}]
    u.parts[0].update({k: v for k, v in first["CopyPartResult"].items() if k.startswith("Checksum")})
    u.part(2, b"!!")
    u.complete()
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == PART + b"!!"


def test_empty_source_of_a_part(s3, bucket):
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    u = Upload(s3, bucket)
    s3.upload_part_copy(**u.at, PartNumber=1, CopySource={"Bucket": bucket, "Key": "empty"})
    assert s3.list_parts(**u.at)["Parts"][0]["Size"] == 0


@pytest.mark.parametrize("spec", ["0-2", "bytes=0", "bytes=hello-world", "bytes=0-bar", "bytes=hello-", "bytes=0-2,3-5", "bytes=2-0"])
def test_improper_copy_ranges(s3, bucket, spec):
    s3.put_object(Bucket=bucket, Key="s", Body=b"12345")
    u = Upload(s3, bucket)
    with refused(400, "InvalidArgument"):
        s3.upload_part_copy(**u.at, PartNumber=1, CopySource={"Bucket": bucket, "Key": "s"}, CopySourceRange=spec)


def test_refused_part_copies(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="s", Body=b"12345")["ETag"]
    u = Upload(s3, bucket)
    at = {"Bucket": bucket, "Key": "s"}
    with refused(416, "InvalidRange"):
        s3.upload_part_copy(**u.at, PartNumber=1, CopySource=at, CopySourceRange="bytes=0-5")
    with refused(412, "PreconditionFailed"):
        s3.upload_part_copy(**u.at, PartNumber=1, CopySource=at, CopySourceIfNoneMatch=etag)
    with refused(412, "PreconditionFailed"):
        s3.upload_part_copy(**u.at, PartNumber=1, CopySource=at, CopySourceIfMatch='"x"')
    with refused(404, "NoSuchKey"):
        s3.upload_part_copy(**u.at, PartNumber=1, CopySource={"Bucket": bucket, "Key": "absent"})
    with refused(404, "NoSuchBucket"):
        s3.upload_part_copy(**u.at, PartNumber=1, CopySource={"Bucket": bucket + "x", "Key": "s"})
    with refused(404, "NoSuchUpload"):
        s3.upload_part_copy(Bucket=bucket, Key="k", UploadId="0" * 32, PartNumber=1, CopySource=at)
