"""Multipart uploads: limits, order, checksums, copies of parts."""

import base64
import hashlib
import io
import os

import pytest
from botocore.exceptions import ClientError

MiB = 1 << 20


def code(e):
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


def upload_parts(s3, bucket, key, bodies, numbers=None, **create):
    u = s3.create_multipart_upload(Bucket=bucket, Key=key, **create)["UploadId"]
    parts = []
    for n, body in zip(numbers or range(1, len(bodies) + 1), bodies):
        r = s3.upload_part(Bucket=bucket, Key=key, UploadId=u, PartNumber=n, Body=body,
                           **({"ChecksumAlgorithm": create["ChecksumAlgorithm"]} if "ChecksumAlgorithm" in create else {}))
        parts.append({"PartNumber": n, "ETag": r["ETag"], **{k: v for k, v in r.items() if k.startswith("Checksum") and k != "ChecksumType"}})
    return u, parts


def finish(s3, bucket, key, u, parts, **args):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=u, MultipartUpload={"Parts": parts}, **args)


def composite_etag(bodies):
    return f'"{hashlib.md5(b"".join(hashlib.md5(b).digest() for b in bodies)).hexdigest()}-{len(bodies)}"'


def test_whole_life(s3, bucket):
    bodies = [os.urandom(5 * MiB), os.urandom(5 * MiB + 3), b"tail"]
    u, parts = upload_parts(s3, bucket, "big", bodies, ContentType="a/b", Metadata={"m": "1"}, Tagging="t=1")
    assert u in [x["UploadId"] for x in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]]
    listed = s3.list_parts(Bucket=bucket, Key="big", UploadId=u)
    assert [(p["PartNumber"], p["Size"]) for p in listed["Parts"]] == [(1, 5 * MiB), (2, 5 * MiB + 3), (3, 4)]
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="big")
    r = finish(s3, bucket, "big", u, parts)
    assert r["ETag"] == composite_etag(bodies) and r["Bucket"] == bucket and r["Key"] == "big" and r["Location"]
    g = s3.get_object(Bucket=bucket, Key="big")
    assert g["Body"].read() == b"".join(bodies) and g["ContentType"] == "a/b" and g["Metadata"] == {"m": "1"} and g["TagCount"] == 1
    assert g["ETag"] == composite_etag(bodies)
    again = finish(s3, bucket, "big", u, parts)  # a retry after a lost answer
    assert again["ETag"] == r["ETag"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    # across part borders and by part
    whole = b"".join(bodies)
    a = 5 * MiB - 10
    assert s3.get_object(Bucket=bucket, Key="big", Range=f"bytes={a}-{a + 19}")["Body"].read() == whole[a:a + 20]
    p = s3.get_object(Bucket=bucket, Key="big", PartNumber=2)
    assert p["Body"].read() == bodies[1] and p["PartsCount"] == 3 and p["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert s3.head_object(Bucket=bucket, Key="big", PartNumber=3)["ContentLength"] == 4
    with pytest.raises(ClientError) as e:
        s3.get_object(Bucket=bucket, Key="big", PartNumber=4)
    assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] in (416, 400)


def test_subset_gaps_and_replacement(s3, bucket):
    one, two, three = os.urandom(5 * MiB), os.urandom(5 * MiB), b"end"
    u, parts = upload_parts(s3, bucket, "k", [one, b"dropped", two, three], [3, 7, 100, 10000])
    new = os.urandom(5 * MiB)
    r = s3.upload_part(Bucket=bucket, Key="k", UploadId=u, PartNumber=3, Body=new)
    parts[0]["ETag"] = r["ETag"]
    for k in list(parts[0]):
        if k.startswith("Checksum"):
            parts[0][k] = r[k]
    finish(s3, bucket, "k", u, [parts[0], parts[2], parts[3]])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == new + two + three
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=100)["PartsCount"] == 3


def test_errors(s3, bucket):
    u, parts = upload_parts(s3, bucket, "k", [b"small", b"x"])
    with pytest.raises(ClientError) as e:
        finish(s3, bucket, "k", u, parts)
    assert code(e) == ("EntityTooSmall", 400)
    with pytest.raises(ClientError) as e:
        finish(s3, bucket, "k", u, list(reversed(parts)))
    assert code(e) == ("InvalidPartOrder", 400)
    with pytest.raises(ClientError) as e:
        finish(s3, bucket, "k", u, [{"PartNumber": 1, "ETag": '"0123456789abcdef0123456789abcdef"'}])
    assert code(e) == ("InvalidPart", 400)
    with pytest.raises(ClientError) as e:
        finish(s3, bucket, "k", u, [{**parts[0], "PartNumber": 9}])
    assert code(e) == ("InvalidPart", 400)
    with pytest.raises(ClientError) as e:
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=u, MultipartUpload={"Parts": []})
    assert code(e)[1] == 400
    for n in (0, 10001):
        with pytest.raises(ClientError) as e:
            s3.upload_part(Bucket=bucket, Key="k", UploadId=u, PartNumber=n, Body=b"x")
        assert code(e) == ("InvalidArgument", 400)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=u)
    for call, args in [("upload_part", {"PartNumber": 1, "Body": b"x"}), ("list_parts", {}), ("abort_multipart_upload", {}),
                       ("complete_multipart_upload", {"MultipartUpload": {"Parts": parts}})]:
        with pytest.raises(ClientError) as e:
            getattr(s3, call)(Bucket=bucket, Key="k", UploadId=u, **args)
        assert code(e) == ("NoSuchUpload", 404), call


def test_one_small_part_is_enough(s3, bucket):
    u, parts = upload_parts(s3, bucket, "k", [b"only"])
    assert finish(s3, bucket, "k", u, parts)["ETag"] == composite_etag([b"only"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"only"


def test_conditions_on_complete(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"]
    u, parts = upload_parts(s3, bucket, "k", [b"new"])
    with pytest.raises(ClientError) as e:
        finish(s3, bucket, "k", u, parts, IfNoneMatch="*")
    assert code(e) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as e:
        finish(s3, bucket, "k", u, parts, IfMatch='"bad"')
    assert code(e) == ("PreconditionFailed", 412)
    finish(s3, bucket, "k", u, parts, IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_declared_object_size(s3, bucket):
    u, parts = upload_parts(s3, bucket, "k", [b"12345"])
    with pytest.raises(ClientError) as e:
        finish(s3, bucket, "k", u, parts, MpuObjectSize=6)
    assert code(e)[1] == 400
    finish(s3, bucket, "k", u, parts, MpuObjectSize=5)


def test_paging_of_uploads_and_parts(s3, bucket):
    made = []
    for key in ("a", "a", "b/1", "b/2", "c"):
        made.append((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]))
    seen, markers = [], {}
    while True:
        r = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **markers)
        seen += [(u["Key"], u["UploadId"]) for u in r.get("Uploads", [])]
        if not r["IsTruncated"]:
            break
        markers = {"KeyMarker": r["NextKeyMarker"], "UploadIdMarker": r["NextUploadIdMarker"]}
    assert sorted(seen) == sorted(made) and [k for k, _ in seen] == ["a", "a", "b/1", "b/2", "c"]
    r = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [u["Key"] for u in r["Uploads"]] == ["a", "a", "c"] and [p["Prefix"] for p in r["CommonPrefixes"]] == ["b/"]
    key, u = made[-1]
    for n in range(1, 8):
        s3.upload_part(Bucket=bucket, Key=key, UploadId=u, PartNumber=n * 2, Body=b"x" * n)
    numbers, marker = [], 0
    while True:
        r = s3.list_parts(Bucket=bucket, Key=key, UploadId=u, MaxParts=3, PartNumberMarker=marker)
        numbers += [p["PartNumber"] for p in r["Parts"]]
        if not r["IsTruncated"]:
            break
        marker = r["NextPartNumberMarker"]
    assert numbers == [2, 4, 6, 8, 10, 12, 14]


def test_upload_part_copy(s3, bucket):
    source = os.urandom(6 * MiB)
    s3.put_object(Bucket=bucket, Key="src +%", Body=source)
    u = s3.create_multipart_upload(Bucket=bucket, Key="dst")["UploadId"]
    src = {"Bucket": bucket, "Key": "src +%"}
    a = s3.upload_part_copy(Bucket=bucket, Key="dst", UploadId=u, PartNumber=1, CopySource=src, CopySourceRange=f"bytes=0-{5 * MiB - 1}")
    b = s3.upload_part_copy(Bucket=bucket, Key="dst", UploadId=u, PartNumber=2, CopySource=src)
    parts = [{"PartNumber": i + 1, **{k: v for k, v in r["CopyPartResult"].items() if k == "ETag" or k.startswith("Checksum")}} for i, r in enumerate((a, b))]
    finish(s3, bucket, "dst", u, parts)
    assert s3.get_object(Bucket=bucket, Key="dst")["Body"].read() == source[:5 * MiB] + source
    u = s3.create_multipart_upload(Bucket=bucket, Key="dst")["UploadId"]
    with pytest.raises(ClientError) as e:
        s3.upload_part_copy(Bucket=bucket, Key="dst", UploadId=u, PartNumber=1, CopySource=src, CopySourceRange="bytes=0-99999999")
    assert code(e)[0] in ("InvalidRange", "InvalidArgument")
    with pytest.raises(ClientError) as e:
        s3.upload_part_copy(Bucket=bucket, Key="dst", UploadId=u, PartNumber=1, CopySource=src, CopySourceRange="0-2")
    assert code(e) == ("InvalidArgument", 400)


@pytest.mark.parametrize("alg,kind", [("CRC32", "COMPOSITE"), ("CRC32C", "COMPOSITE"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE"),
                                      ("CRC32", "FULL_OBJECT"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT")])
def test_multipart_checksums(s3, bucket, alg, kind):
    bodies = [os.urandom(5 * MiB), os.urandom(123)]
    u, parts = upload_parts(s3, bucket, "k", bodies, ChecksumAlgorithm=alg, ChecksumType=kind)
    name = f"Checksum{alg}"
    assert all(p[name] for p in parts)
    r = finish(s3, bucket, "k", u, parts, **({"ChecksumType": kind} if kind == "FULL_OBJECT" else {}))
    h = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert r[name] == h[name] and h["ChecksumType"] == kind == r["ChecksumType"]
    if kind == "FULL_OBJECT":
        single = s3.put_object(Bucket=bucket, Key="single", Body=b"".join(bodies), ChecksumAlgorithm=alg)
        assert single[name] == h[name]
    else:
        digest = hashlib.new(alg) if alg.startswith("SHA") else None
        assert h[name].endswith("-2")
        if digest:
            for p in parts:
                digest.update(base64.b64decode(p[name]))
            assert h[name] == base64.b64encode(digest.digest()).decode() + "-2"
        attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts", "Checksum"])
        assert [p[name] for p in attributes["ObjectParts"]["Parts"]] == [p[name] for p in parts]
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read()
    assert got == b"".join(bodies)


def test_wrong_part_checksum_at_complete(s3, bucket):
    u, parts = upload_parts(s3, bucket, "k", [b"abc"], ChecksumAlgorithm="SHA256")
    with pytest.raises(ClientError) as e:
        finish(s3, bucket, "k", u, [{**parts[0], "ChecksumSHA256": base64.b64encode(b"0" * 32).decode()}])
    assert code(e)[0] in ("InvalidPart", "BadDigest")


def test_transfer_manager(endpoint, bucket, tmp_path):
    from boto3.s3.transfer import TransferConfig
    s3 = endpoint.client()
    body = os.urandom(21 * MiB + 5)
    s3.upload_fileobj(io.BytesIO(body), bucket, "up", Config=TransferConfig(multipart_threshold=5 * MiB, multipart_chunksize=5 * MiB))
    target = tmp_path / "down"
    s3.download_file(bucket, "up", str(target), Config=TransferConfig(multipart_threshold=5 * MiB, multipart_chunksize=5 * MiB))
    assert target.read_bytes() == body
    s3.copy({"Bucket": bucket, "Key": "up"}, bucket, "copy", Config=TransferConfig(multipart_threshold=5 * MiB, multipart_chunksize=5 * MiB))
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == body


def test_complete_of_a_hundred_parts(http_endpoint):
    """Content of many parts stays in order; bench/ times the completion of 1,000."""
    import time
    from concurrent.futures import ThreadPoolExecutor
    from conftest import empty_bucket, new_bucket_name
    s3 = http_endpoint.client(max_pool_connections=8)
    name = new_bucket_name()
    s3.create_bucket(Bucket=name)
    u = s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    src = os.urandom(5 * MiB)
    s3.put_object(Bucket=name, Key="src", Body=src)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: s3.upload_part_copy(Bucket=name, Key="k", UploadId=u, PartNumber=n,
                                                               CopySource={"Bucket": name, "Key": "src"}), range(1, 101)))
    parts = [{"PartNumber": i + 1, "ETag": r["CopyPartResult"]["ETag"]} for i, r in enumerate(results)]
    began = time.monotonic()
    finish(s3, name, "k", u, parts)
    print(f"complete of 100 parts: {(time.monotonic() - began) * 1000:.1f} ms")
    assert s3.head_object(Bucket=name, Key="k")["ContentLength"] == 100 * len(src)
    assert s3.get_object(Bucket=name, Key="k", Range=f"bytes={99 * len(src)}-")["Body"].read() == src
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)
