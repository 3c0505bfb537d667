"""Inventories: listings of a bucket, put into another one each day (docs/inventory.md); a day is some seconds long here."""

import csv
import gzip
import hashlib
import io
import json
import os
import re
import time
import urllib.parse
import uuid

import pytest
from botocore.exceptions import ClientError

import server as srv
from conftest import Endpoint
from test_identities import allow, client, code, doc, remove_user
from version_model import empty

DAY = 3


@pytest.fixture(scope="module")
def quick(new_server):
    with srv.running(new_server(env={"SLUICE_LIFECYCLE_DAY": f"{DAY}s"})) as s:
        yield Endpoint(s, "http")


@pytest.fixture
def s3(quick):
    return quick.client()


def made(s3, prefix):
    name = prefix + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    yield name
    for c in s3.list_bucket_inventory_configurations(Bucket=name).get("InventoryConfigurationList", []):
        s3.delete_bucket_inventory_configuration(Bucket=name, Id=c["Id"])
    time.sleep(1)  # what still comes
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def target(s3):
    yield from made(s3, "lists-")


@pytest.fixture
def bucket(s3):
    yield from made(s3, "listed-")


def configuration(target, id="all", versions="Current", fields=("Size", "ETag", "LastModifiedDate"), **more):
    to = {"Bucket": f"arn:aws:s3:::{target}", "Format": "CSV", "Prefix": "inv"}
    return {"Id": id, "IsEnabled": True, "IncludedObjectVersions": versions, "Schedule": {"Frequency": "Daily"},
            "Destination": {"S3BucketDestination": to}, "OptionalFields": list(fields)} | more


def ask(s3, bucket, conf):
    s3.put_bucket_inventory_configuration(Bucket=bucket, Id=conf["Id"], InventoryConfiguration=conf)
    return time.time()


def manifests(s3, target, after=0.0):
    """By time, each with its rows."""
    found = []
    for o in s3.list_objects_v2(Bucket=target).get("Contents", []):
        if not o["Key"].endswith("/manifest.checksum"):
            continue
        at = o["Key"].removesuffix("manifest.checksum") + "manifest.json"
        text = s3.get_object(Bucket=target, Key=at)["Body"].read()
        if s3.get_object(Bucket=target, Key=o["Key"])["Body"].read().decode() != hashlib.md5(text).hexdigest():
            continue  # a later one of the same minute takes its place now
        m = json.loads(text)
        if int(m["creationTimestamp"]) / 1000 < after:
            continue
        names = m["fileSchema"].split(", ")
        m["rows"] = []
        for f in m["files"]:
            body = s3.get_object(Bucket=target, Key=f["key"])["Body"].read()
            assert len(body) == f["size"] and hashlib.md5(body).hexdigest() == f["MD5checksum"]
            m["rows"] += [dict(zip(names, row, strict=True)) for row in csv.reader(io.StringIO(gzip.decompress(body).decode()))]
        m["at"] = at
        found.append(m)
    return sorted(found, key=lambda m: int(m["creationTimestamp"]))


def next_one(s3, target, after, seconds=40.0):
    deadline = time.monotonic() + seconds
    while not (found := manifests(s3, target, after)):
        assert time.monotonic() < deadline, "no inventory came"
        time.sleep(0.3)
    return found[-1]


def test_current_objects(s3, bucket, target):
    written = {}
    for key in ("a", "dir/b c,\"d\"", "dir/ü+&.jpg", "z"):
        written[key] = s3.put_object(Bucket=bucket, Key=key, Body=b"x" * (len(key) * 10))["ETag"].strip('"')
    up = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=up, PartNumber=1, Body=b"p")
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    fields = ("StorageClass", "Size", "ETag", "LastModifiedDate", "IsMultipartUploaded", "ChecksumAlgorithm")
    m = next_one(s3, target, ask(s3, bucket, configuration(target, fields=fields)))
    assert m["sourceBucket"] == bucket and m["destinationBucket"] == f"arn:aws:s3:::{target}" and m["version"] == "2016-11-30" and m["fileFormat"] == "CSV"
    assert m["fileSchema"] == "Bucket, Key, Size, LastModifiedDate, ETag, StorageClass, IsMultipartUploaded, ChecksumAlgorithm"
    assert re.fullmatch(rf"inv/{bucket}/all/\d{{4}}-\d\d-\d\dT\d\d-\d\dZ/manifest.json", m["at"])
    assert all(re.fullmatch(rf"inv/{bucket}/all/data/[0-9a-f-]{{36}}\.csv\.gz", f["key"]) for f in m["files"])
    rows = {urllib.parse.unquote(r["Key"]): r for r in m["rows"]}
    assert set(rows) == set(written) | {"parts"} and len(m["rows"]) == len(rows)
    listed = {o["Key"]: o for o in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    for key, row in rows.items():
        o = listed[key]
        assert row["Bucket"] == bucket and int(row["Size"]) == o["Size"] and row["ETag"] == o["ETag"].strip('"') and row["StorageClass"] == "STANDARD"
        assert row["LastModifiedDate"] == o["LastModified"].strftime("%Y-%m-%dT%H:%M:%S.000Z")
        assert row["IsMultipartUploaded"] == ("true" if key == "parts" else "false") and row["ChecksumAlgorithm"]


def test_a_filter_and_an_empty_bucket(s3, bucket, target):
    began = ask(s3, bucket, configuration(target, fields=(), Filter={"Prefix": "in/"}))
    assert next_one(s3, target, began)["files"] == []
    for key in ("in/1", "out", "in/2", "in"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    m = next_one(s3, target, time.time())
    assert m["fileSchema"] == "Bucket, Key" and [r["Key"] for r in m["rows"]] == ["in/1", "in/2"]


@pytest.mark.skipif("SLUICE_REDUNDANCY" in os.environ, reason="no versions where there are slices")
def test_all_versions(s3, bucket, target):
    s3.put_object(Bucket=bucket, Key="before", Body=b"null")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for key in ("a", "b", "before", "c"):
        for n in range(3):
            s3.put_object(Bucket=bucket, Key=key, Body=b"x" * n)
    s3.delete_object(Bucket=bucket, Key="b")
    s3.delete_object(Bucket=bucket, Key="c")
    s3.put_object(Bucket=bucket, Key="c", Body=b"back")
    m = next_one(s3, target, ask(s3, bucket, configuration(target, versions="All")))
    assert m["fileSchema"].startswith("Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size")
    answer = s3.list_object_versions(Bucket=bucket)
    expected = {(v["Key"], v["VersionId"], v["IsLatest"], False, str(v["Size"])) for v in answer["Versions"]}
    expected |= {(v["Key"], v["VersionId"], v["IsLatest"], True, "") for v in answer["DeleteMarkers"]}
    found = [(r["Key"], r["VersionId"], r["IsLatest"] == "true", r["IsDeleteMarker"] == "true", r["Size"]) for r in m["rows"]]
    assert set(found) == expected and len(found) == len(expected)


def test_many_objects(s3, bucket, target):
    """More than a page."""
    for i in range(1200):
        s3.put_object(Bucket=bucket, Key=f"k{i:05}", Body=b"")
    m = next_one(s3, target, ask(s3, bucket, configuration(target)))
    assert [r["Key"] for r in m["rows"]] == [f"k{i:05}" for i in range(1200)]


def test_configurations(s3, bucket, target):
    assert "InventoryConfigurationList" not in s3.list_bucket_inventory_configurations(Bucket=bucket)
    off = configuration(target, id="off.1_a-b", IsEnabled=False)
    weekly = configuration(target, id="weekly", versions="All", Schedule={"Frequency": "Weekly"}, Filter={"Prefix": "x"}, IsEnabled=False)
    for c in (off, weekly):
        ask(s3, bucket, c)
    deadline = time.monotonic() + 10
    while len(s3.list_bucket_inventory_configurations(Bucket=bucket).get("InventoryConfigurationList", [])) < 2:
        assert time.monotonic() < deadline
    time.sleep(0.5)
    listed = s3.list_bucket_inventory_configurations(Bucket=bucket)
    assert listed["InventoryConfigurationList"] == [off, weekly] and listed["IsTruncated"] is False
    assert s3.get_bucket_inventory_configuration(Bucket=bucket, Id="weekly")["InventoryConfiguration"] == weekly
    s3.delete_bucket_inventory_configuration(Bucket=bucket, Id="weekly")
    time.sleep(1)
    assert code(s3.get_bucket_inventory_configuration, Bucket=bucket, Id="weekly") == "NoSuchConfiguration"
    assert code(s3.delete_bucket_inventory_configuration, Bucket=bucket, Id="weekly") == "NoSuchConfiguration"
    assert "Contents" not in s3.list_objects_v2(Bucket=target)


def test_what_is_refused(s3, bucket, target):
    def to(**more):
        return {"Destination": {"S3BucketDestination": {"Bucket": f"arn:aws:s3:::{target}", "Format": "CSV"} | more}}

    for change, expected in ((to(Format="ORC"), "NotImplemented"), (to(Format="Parquet"), "NotImplemented"), (to(Bucket="arn:aws:s3:::nobody-has-this"), "InvalidArgument"),
                             (to(Bucket=target), "InvalidArgument"), (to(Encryption={"SSES3": {}}), "NotImplemented"), ({"OptionalFields": ["ObjectOwner"]}, "NotImplemented"),
                             ({"Id": "a b"}, "InvalidArgument"), ({"Id": "x" * 65}, "InvalidArgument")):
        assert code(ask, s3=s3, bucket=bucket, conf=configuration(target) | change) == expected, change
    assert code(s3.put_bucket_inventory_configuration, Bucket=bucket, Id="other", InventoryConfiguration=configuration(target)) == "InvalidArgument"
    assert "InventoryConfigurationList" not in s3.list_bucket_inventory_configurations(Bucket=bucket)


def test_no_way_to_write_elsewhere(s3, quick, bucket, target):
    iam = client(quick, "iam")
    user = "u-" + uuid.uuid4().hex[:8]
    iam.create_user(UserName=user)
    try:
        hers = client(quick, "s3", iam.create_access_key(UserName=user)["AccessKey"])
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=doc(allow("s3:*", [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])))
        deadline = time.monotonic() + 10
        while True:
            try:
                hers.list_bucket_inventory_configurations(Bucket=bucket)
                break
            except ClientError:
                assert time.monotonic() < deadline
        assert code(ask, s3=hers, bucket=bucket, conf=configuration(target)) == "AccessDenied"
    finally:
        remove_user(iam, user)
