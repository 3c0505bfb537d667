"""Bucket policies: what they let in and keep out, by principal, action, resource and condition; and what blocks public ones."""

import datetime
import io
import json
import tarfile
import time
import uuid

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import close_connection, empty_bucket
from expect import refused
from wire import Signer


@pytest.fixture
def s3(http_endpoint):
    return http_endpoint.client()


@pytest.fixture
def nobody(http_endpoint):
    """Who has no credentials."""
    client = boto3.client("s3", endpoint_url=http_endpoint.url, region_name="us-east-1",
                          config=Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, retries={"max_attempts": 0}))
    if http_endpoint.alternates:
        client.meta.events.register("before-send.s3", close_connection)
    return client


@pytest.fixture
def bucket(s3):
    name = "policy-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    yield name
    s3.delete_bucket_policy(Bucket=name)
    eventually(lambda: empty_bucket(s3, name))
    s3.delete_bucket(Bucket=name)


def eventually(what, seconds=20.0):
    """Another gateway may know a moment later."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return what()
        except (AssertionError, ClientError, pytest.fail.Exception):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def allow(bucket, action, resource="/*", principal="*", effect="Allow", **more):
    resources = [f"arn:aws:s3:::{bucket}{r}" for r in ([resource] if isinstance(resource, str) else resource)]
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resources} | more


def deny(bucket, action, resource="/*", **more):
    return allow(bucket, action, resource, effect="Deny", **more)


def put(s3, bucket, *statements, version="2012-10-17"):
    """And waits until every gateway knows."""
    text = json.dumps({"Version": version, "Id": uuid.uuid4().hex, "Statement": list(statements)})
    s3.put_bucket_policy(Bucket=bucket, Policy=text)

    def there():
        for _ in range(6):
            assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text

    eventually(there)
    return text


def code(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response["Error"]["Code"]


# ---- the document ----


def test_put_get_delete(s3, bucket):
    assert code(s3.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"
    assert code(s3.get_bucket_policy_status, Bucket=bucket) == "NoSuchBucketPolicy"
    put(s3, bucket, allow(bucket, "s3:GetObject"))
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    put(s3, bucket, allow(bucket, "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}))
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)

    def gone():
        for _ in range(4):
            assert code(s3.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"

    eventually(gone)


@pytest.mark.parametrize("change, why", [
    ({"Action": "sts:AssumeRole"}, "invalid action"), ({"Action": "GetObject"}, "invalid action"),
    ({"Resource": "arn:aws:s3:::another-bucket/*"}, "invalid resource"), ({"Resource": "x"}, "invalid resource"),
    ({"Principal": "me"}, "Invalid principal"), ({"Principal": {"AWS": "arn:aws:iam::1:user/x"}}, "Invalid principal"),
    ({"Effect": "Perhaps"}, "Invalid effect"), ({"Color": "red"}, "Unknown field Color"),
    ({"Condition": {"StringSame": {"aws:Referer": "x"}}}, "Invalid Condition type"),
    ({"Condition": {"StringEquals": {"s3:no-such-key": "x"}}}, "invalid condition key"),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/40"}}}, "Invalid value"),
    ({"Principal": None}, "Invalid principal"), ({"Resource": "BUCKET"}, "Action does not apply"),
    ({"Action": "s3:ListBucket"}, "Action does not apply"), ({"Action": ["s3:PutBucketTagging", "s3:List*"]}, None), ({"Action": "s3:SomethingNew", "Resource": "BUCKET"}, None),
    ({"Action": "s3:DeleteObject", "Condition": {"StringEquals": {"s3:ExistingObjectTag/a": "b"}}}, "Conditions do not apply"),
    ({"Condition": {"StringEquals": {"s3:prefix": "x"}}}, "Conditions do not apply"), ({"Action": "s3:*", "Condition": {"StringEquals": {"s3:prefix": "x"}}}, None),
    ({"Condition": {"StringLike": {"aws:SourceArn": "${s3:x-amz-copy-source}"}}}, "Conditions do not apply")])
def test_malformed_policies_are_refused(s3, bucket, change, why):
    text = json.dumps({"Version": "2012-10-17", "Statement": [allow(bucket, "s3:GetObject") | change]}).replace("BUCKET", f"arn:aws:s3:::{bucket}")
    if why is None:
        s3.put_bucket_policy(Bucket=bucket, Policy=text)
        return
    with refused(400, "MalformedPolicy") as e:
        s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert why in e.value.response["Error"]["Message"]
    assert code(s3.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"


@pytest.mark.parametrize("text", ["", "x", "[]", "{", "{}", '{"Statement":[]}', '{"Version":"2012-10-17","Statement":{}}', "{" + "[" * 19000, "{" + " " * 20480 + "}"])
def test_what_is_no_policy_is_refused(s3, bucket, text):
    url = s3.generate_presigned_url("put_bucket_policy", Params={"Bucket": bucket, "Policy": "{}"}, HttpMethod="PUT")
    r = requests.put(url, data=text.encode(), timeout=30)
    assert r.status_code == 400 and "<Code>MalformedPolicy</Code>" in r.text, r.text


# ---- who ----


def test_nobody_reads_without_a_policy(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for call in (lambda: nobody.get_object(Bucket=bucket, Key="k"), lambda: nobody.head_object(Bucket=bucket, Key="k"),
                 lambda: nobody.list_objects_v2(Bucket=bucket), lambda: nobody.get_bucket_policy(Bucket=bucket),
                 lambda: nobody.put_object(Bucket=bucket, Key="n", Body=b""), lambda: nobody.delete_object(Bucket=bucket, Key="k"),
                 lambda: nobody.get_object(Bucket="no-such-bucket-at-all", Key="k"), lambda: nobody.list_buckets(),
                 lambda: nobody.create_bucket(Bucket=bucket + "-new"), lambda: nobody.get_object_tagging(Bucket=bucket, Key="k")):
        with refused(403):
            call()


def test_everybody_reads_what_a_policy_shows(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="open/a", Body=b"shown")
    s3.put_object(Bucket=bucket, Key="closed/a", Body=b"hidden")
    put(s3, bucket, allow(bucket, "s3:GetObject", "/open/*"))
    assert nobody.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"shown"
    assert nobody.head_object(Bucket=bucket, Key="open/a")["ContentLength"] == 5
    assert nobody.get_object(Bucket=bucket, Key="open/a", Range="bytes=1-2")["Body"].read() == b"ho"
    for call in (lambda: nobody.get_object(Bucket=bucket, Key="closed/a"), lambda: nobody.list_objects_v2(Bucket=bucket),
                 lambda: nobody.put_object(Bucket=bucket, Key="open/b", Body=b""), lambda: nobody.delete_object(Bucket=bucket, Key="open/a"),
                 lambda: nobody.copy_object(Bucket=bucket, Key="open/c", CopySource=f"{bucket}/open/a"),
                 lambda: nobody.get_bucket_location(Bucket=bucket), lambda: nobody.get_object_attributes(Bucket=bucket, Key="open/a", ObjectAttributes=["ETag"])):
        with refused(403):
            call()
    with refused(400, "InvalidRequest"):
        nobody.get_object(Bucket=bucket, Key="open/a", ResponseContentType="text/html")
    put(s3, bucket, allow(bucket, "s3:GetObject", "/closed/*"))
    with refused(403, "AccessDenied"):
        nobody.get_object(Bucket=bucket, Key="open/a")


def test_a_missing_key_is_told_only_to_who_may_list(s3, nobody, bucket):
    put(s3, bucket, allow(bucket, "s3:GetObject"))
    with refused(403, "AccessDenied"):
        nobody.get_object(Bucket=bucket, Key="missing")
    with refused(403):
        nobody.head_object(Bucket=bucket, Key="missing")
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="missing")
    put(s3, bucket, allow(bucket, "s3:GetObject"), allow(bucket, "s3:ListBucket", ""))
    with refused(404, "NoSuchKey"):
        nobody.get_object(Bucket=bucket, Key="missing")


def test_everybody_writes_where_a_policy_says(s3, nobody, bucket):
    put(s3, bucket, allow(bucket, ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], "/in/*"))
    nobody.put_object(Bucket=bucket, Key="in/a", Body=b"dropped")
    u = nobody.create_multipart_upload(Bucket=bucket, Key="in/b")["UploadId"]
    part = nobody.upload_part(Bucket=bucket, Key="in/b", UploadId=u, PartNumber=1, Body=b"part")
    assert len(nobody.list_parts(Bucket=bucket, Key="in/b", UploadId=u)["Parts"]) == 1
    nobody.complete_multipart_upload(Bucket=bucket, Key="in/b", UploadId=u, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert s3.get_object(Bucket=bucket, Key="in/b")["Body"].read() == b"part"
    for call in (lambda: nobody.put_object(Bucket=bucket, Key="out", Body=b""), lambda: nobody.get_object(Bucket=bucket, Key="in/a"),
                 lambda: nobody.create_multipart_upload(Bucket=bucket, Key="out"), lambda: nobody.delete_object(Bucket=bucket, Key="in/a"),
                 lambda: nobody.put_object(Bucket=bucket, Key="in/t", Body=b"", Tagging="a=b"),
                 lambda: nobody.put_object_tagging(Bucket=bucket, Key="in/a", Tagging={"TagSet": []})):
        with refused(403, "AccessDenied"):
            call()


def test_the_owner_is_bound_by_a_deny_but_not_locked_out(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put(s3, bucket, deny(bucket, "s3:*", ["", "/*"]))
    for call in (lambda: s3.get_object(Bucket=bucket, Key="k"), lambda: s3.list_objects_v2(Bucket=bucket), lambda: s3.delete_object(Bucket=bucket, Key="k"),
                 lambda: s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []}), lambda: s3.delete_bucket(Bucket=bucket)):
        with refused(403, "AccessDenied"):
            call()
    put(s3, bucket, deny(bucket, "s3:DeleteObject"))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_deny_wins(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="a/k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="b/k", Body=b"y")
    put(s3, bucket, deny(bucket, "s3:Get*", "/a/*"), allow(bucket, "s3:GetObject"))
    with refused(403, "AccessDenied"):
        nobody.get_object(Bucket=bucket, Key="a/k")
    assert nobody.get_object(Bucket=bucket, Key="b/k")["Body"].read() == b"y"


def test_not_action_not_resource_not_principal(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="a/k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="b/k", Body=b"y")
    put(s3, bucket, {"Effect": "Allow", "Principal": "*", "NotAction": "s3:Put*", "NotResource": f"arn:aws:s3:::{bucket}/a/*"})
    assert nobody.get_object(Bucket=bucket, Key="b/k")["Body"].read() == b"y"
    with refused(403):
        nobody.get_object(Bucket=bucket, Key="a/k")
    with refused(403):
        nobody.put_object(Bucket=bucket, Key="b/k", Body=b"")
    put(s3, bucket, allow(bucket, "s3:GetObject"),
        {"Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/a/*"})
    assert s3.get_object(Bucket=bucket, Key="a/k")["Body"].read() == b"x"
    with refused(403):
        nobody.get_object(Bucket=bucket, Key="a/k")


def test_delete_objects_asks_for_each_key(s3, nobody, bucket):
    for k in ("a/1", "a/2", "b/1"):
        s3.put_object(Bucket=bucket, Key=k, Body=b"")
    put(s3, bucket, allow(bucket, "s3:DeleteObject", "/a/*"))
    r = nobody.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in ("a/1", "b/1", "a/2")]})
    assert sorted(d["Key"] for d in r["Deleted"]) == ["a/1", "a/2"]
    assert [(e["Key"], e["Code"]) for e in r["Errors"]] == [("b/1", "AccessDenied")]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["b/1"]


def test_a_copy_needs_its_source_and_its_tags(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="src/plain", Body=b"p")
    s3.put_object(Bucket=bucket, Key="src/tagged", Body=b"t", Tagging="a=b")
    put(s3, bucket, allow(bucket, "s3:PutObject", "/dst/*"))
    with refused(403):
        nobody.copy_object(Bucket=bucket, Key="dst/x", CopySource=f"{bucket}/src/plain")
    u = s3.create_multipart_upload(Bucket=bucket, Key="dst/m")["UploadId"]
    with refused(403):
        nobody.upload_part_copy(Bucket=bucket, Key="dst/m", UploadId=u, PartNumber=1, CopySource=f"{bucket}/src/plain")
    put(s3, bucket, allow(bucket, "s3:PutObject", "/dst/*"), allow(bucket, "s3:GetObject", "/src/*"))
    nobody.copy_object(Bucket=bucket, Key="dst/x", CopySource=f"{bucket}/src/plain")
    with refused(403):
        nobody.copy_object(Bucket=bucket, Key="dst/y", CopySource=f"{bucket}/src/missing")  # may not list
    with refused(403):
        nobody.copy_object(Bucket=bucket, Key="dst/y", CopySource=f"{bucket}/src/tagged")
    nobody.copy_object(Bucket=bucket, Key="dst/y", CopySource=f"{bucket}/src/tagged", TaggingDirective="REPLACE")
    assert s3.get_object_tagging(Bucket=bucket, Key="dst/y")["TagSet"] == []


def test_a_denied_archive_is_not_read_by_its_members(s3):
    """In buckets that show members as keys (x-sluice-members)."""
    name = "policy-members-" + uuid.uuid4().hex[:10]

    def header(params, **_):
        params["headers"]["x-sluice-members"] = "true"

    s3.meta.events.register("before-call.s3.CreateBucket", header)
    s3.create_bucket(Bucket=name)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as t:
        member = tarfile.TarInfo("m.txt")
        member.size = 4
        t.addfile(member, io.BytesIO(b"text"))
    for key in ("closed.tar", "open.tar"):
        s3.put_object(Bucket=name, Key=key, Body=packed.getvalue(), Tagging="team=" + key.split(".")[0])
    for condition in ({}, {"Condition": {"StringEquals": {"s3:ExistingObjectTag/team": "closed"}}}):
        put(s3, name, deny(name, "s3:GetObject", "/closed.tar" if not condition else "/*", **condition))
        assert s3.get_object(Bucket=name, Key="open.tar/m.txt")["Body"].read() == b"text"
        for key in ("closed.tar", "closed.tar/m.txt"):
            with refused(403, "AccessDenied"):
                s3.get_object(Bucket=name, Key=key)
        with refused(403):
            s3.copy_object(Bucket=name, Key="copy", CopySource=f"{name}/closed.tar/m.txt")
    s3.delete_bucket_policy(Bucket=name)
    for key in ("closed.tar", "open.tar"):
        s3.delete_object(Bucket=name, Key=key)
    s3.delete_bucket(Bucket=name)


# ---- conditions ----


CONDITIONS = [  # of a GET over http from this host without credentials
    ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True), ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
    ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, True), ({"Bool": {"aws:SecureTransport": "false"}}, True),
    ({"Bool": {"aws:SecureTransport": "true"}}, False), ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
    ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False), ({"NumericGreaterThan": {"aws:EpochTime": "1600000000"}}, True),
    ({"StringLike": {"aws:Referer": "https://site.example/*"}}, True), ({"StringLike": {"aws:Referer": "https://other.example/*"}}, False),
    ({"StringEquals": {"aws:UserAgent": "tester/1"}}, True), ({"StringEquals": {"aws:PrincipalType": "Anonymous"}}, True),
    ({"StringEquals": {"aws:userid": "anonymous"}}, True), ({"Null": {"aws:username": "true"}}, True),
    ({"Null": {"s3:authType": "false"}}, False), ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, False),
    ({"Null": {"s3:VersionId": "true"}}, True), ({"StringEqualsIfExists": {"s3:x-amz-acl": "private"}}, True),
    ({"StringEquals": {"s3:prefix": "x"}}, False), ({"StringEquals": {"s3:ExistingObjectTag/team": "red"}}, True),
    ({"StringEquals": {"s3:ExistingObjectTag/team": "blue"}}, False), ({"StringLike": {"s3:ExistingObjectTag/Team": "*"}}, False),
]


def test_conditions_of_a_read(http_endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="team=red")
    for i, (condition, holds) in enumerate(CONDITIONS):
        put(s3, bucket, allow(bucket, ["s3:GetObject", "s3:ListBucket"], ["", "/*"], Condition=condition))
        r = requests.get(f"{http_endpoint.url}/{bucket}/k?prefix=x", headers={"Referer": "https://site.example/page", "User-Agent": "tester/1"}, timeout=30)
        assert r.status_code == (200 if holds else 403), (condition, r.text)


def test_conditions_of_a_listing(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="pub/k", Body=b"x")
    put(s3, bucket, allow(bucket, ["s3:ListBucket"], "", Condition={"StringLike": {"s3:prefix": "pub/*"}, "NumericLessThanEqualsIfExists": {"s3:max-keys": "10"},
                                                                   "StringEqualsIfExists": {"s3:delimiter": "/"}}))
    assert nobody.list_objects_v2(Bucket=bucket, Prefix="pub/")["KeyCount"] == 1
    assert nobody.list_objects(Bucket=bucket, Prefix="pub/", Delimiter="/", MaxKeys=10)["Contents"][0]["Key"] == "pub/k"
    for kw in ({}, {"Prefix": ""}, {"Prefix": "p"}, {"Prefix": "pub/", "MaxKeys": 11}, {"Prefix": "pub/", "Delimiter": "x"}):
        with refused(403, "AccessDenied"):
            nobody.list_objects_v2(Bucket=bucket, **kw)
    with refused(403):
        nobody.list_object_versions(Bucket=bucket, Prefix="pub/")
    with refused(403):
        nobody.list_multipart_uploads(Bucket=bucket, Prefix="pub/")


def test_conditions_of_a_write(s3, nobody, bucket):
    put(s3, bucket, allow(bucket, ["s3:PutObject", "s3:PutObjectTagging"], Condition={
        "StringEquals": {"s3:RequestObjectTag/team": "red", "s3:x-amz-storage-class": "STANDARD"}, "ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["team", "more"]}}))
    nobody.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="team=red&more=1", StorageClass="STANDARD")
    for kw in ({"Tagging": "team=red"}, {"StorageClass": "STANDARD"}, {"Tagging": "team=blue", "StorageClass": "STANDARD"},
               {"Tagging": "team=red&other=1", "StorageClass": "STANDARD"}):
        with refused(403, "AccessDenied"):
            nobody.put_object(Bucket=bucket, Key="k2", Body=b"", **kw)


def test_conditions_on_the_tags_of_a_document(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    put(s3, bucket, allow(bucket, "s3:PutObjectTagging", Condition={"StringEquals": {"s3:RequestObjectTag/team": "red"}}))
    nobody.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "team", "Value": "red"}]})
    with refused(403, "AccessDenied"):
        nobody.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "team", "Value": "blue"}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "team", "Value": "red"}]


def test_conditions_on_locks(s3):
    name = "policy-lock-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    version = s3.put_object(Bucket=name, Key="k", Body=b"x")["VersionId"]
    put(s3, name, deny(name, ["s3:PutObject", "s3:PutObjectRetention"], Condition={"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}}),
        deny(name, ["s3:PutObject", "s3:PutObjectRetention"], Condition={"StringEquals": {"s3:object-lock-mode": "COMPLIANCE"}}),
        deny(name, ["s3:PutObject", "s3:PutObjectLegalHold"], Condition={"StringEquals": {"s3:object-lock-legal-hold": "ON"}}))

    def until(days):
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)

    for mode, days in (("COMPLIANCE", 1), ("GOVERNANCE", 11)):
        with refused(403, "AccessDenied"):
            s3.put_object_retention(Bucket=name, Key="k", Retention={"Mode": mode, "RetainUntilDate": until(days)})
        with refused(403, "AccessDenied"):
            s3.put_object(Bucket=name, Key="n", Body=b"", ObjectLockMode=mode, ObjectLockRetainUntilDate=until(days))
    for call in (lambda: s3.put_object_legal_hold(Bucket=name, Key="k", LegalHold={"Status": "ON"}), lambda: s3.put_object(Bucket=name, Key="n", Body=b"", ObjectLockLegalHoldStatus="ON")):
        with refused(403, "AccessDenied"):
            call()
    s3.put_object_legal_hold(Bucket=name, Key="k", LegalHold={"Status": "OFF"})
    s3.put_object_retention(Bucket=name, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until(9)})
    assert s3.get_object_retention(Bucket=name, Key="k")["Retention"]["Mode"] == "GOVERNANCE"
    s3.delete_bucket_policy(Bucket=name)
    eventually(lambda: s3.delete_object(Bucket=name, Key="k", VersionId=version, BypassGovernanceRetention=True))
    s3.delete_bucket(Bucket=name)


def test_conditions_on_the_tags_of_a_source(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="red", Body=b"r", Tagging="team=red")
    s3.put_object(Bucket=bucket, Key="blue", Body=b"b", Tagging="team=blue")
    put(s3, bucket, allow(bucket, "s3:PutObject", "/dst"), allow(bucket, "s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/team": "red"}}))
    nobody.copy_object(Bucket=bucket, Key="dst", CopySource=f"{bucket}/red", TaggingDirective="REPLACE")
    with refused(403):
        nobody.copy_object(Bucket=bucket, Key="dst", CopySource=f"{bucket}/blue", TaggingDirective="REPLACE")
    put(s3, bucket, deny(bucket, "s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/team": "red"}}))
    with refused(403):
        s3.get_object(Bucket=bucket, Key="red")
    assert s3.get_object(Bucket=bucket, Key="blue")["Body"].read() == b"b"


def test_conditions_on_the_source_of_a_copy(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="a/k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="b/k", Body=b"x")
    put(s3, bucket, allow(bucket, "s3:GetObject"),
        allow(bucket, "s3:PutObject", "/dst", Condition={"StringLike": {"s3:x-amz-copy-source": f"{bucket}/a/*"}, "StringEquals": {"s3:x-amz-metadata-directive": "COPY"}}))
    nobody.copy_object(Bucket=bucket, Key="dst", CopySource=f"{bucket}/a/k", MetadataDirective="COPY")
    for kw in ({"CopySource": f"{bucket}/b/k", "MetadataDirective": "COPY"}, {"CopySource": f"{bucket}/a/k"},
               {"CopySource": f"{bucket}/a/k", "MetadataDirective": "REPLACE"}):
        with refused(403):
            nobody.copy_object(Bucket=bucket, Key="dst", **kw)
    with refused(403):
        nobody.put_object(Bucket=bucket, Key="dst", Body=b"")


def test_conditions_on_the_signature(http_endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    presigned = http_endpoint.client(region="eu-central-1").generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    put(s3, bucket, deny(bucket, "s3:GetObject", Condition={"StringNotEquals": {"s3:authType": "REST-QUERY-STRING"}}))
    with refused(403):
        s3.get_object(Bucket=bucket, Key="k")
    assert requests.get(presigned, timeout=30).content == b"x"
    put(s3, bucket, deny(bucket, "s3:GetObject", Condition={"NumericGreaterThan": {"s3:signatureAge": "600000"}}))
    assert requests.get(presigned, timeout=30).content == b"x"
    put(s3, bucket, deny(bucket, "s3:GetObject", Condition={"NumericGreaterThanEquals": {"s3:signatureAge": "0"}}))
    assert requests.get(presigned, timeout=30).status_code == 403
    put(s3, bucket, deny(bucket, "s3:GetObject", Condition={"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}))
    assert requests.get(presigned, timeout=30).status_code == 403
    assert http_endpoint.client(signature_version="s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_conditions_on_the_connection(endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put(s3, bucket, deny(bucket, "s3:*", Condition={"Bool": {"aws:SecureTransport": "false"}}))
    get = endpoint.client().get_object
    if endpoint.scheme == "https":
        assert get(Bucket=bucket, Key="k")["Body"].read() == b"x"
    else:
        with refused(403):
            get(Bucket=bucket, Key="k")
    put(s3, bucket, deny(bucket, "s3:*", Condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}}))
    assert get(Bucket=bucket, Key="k")["Body"].read() == b"x"
    put(s3, bucket, deny(bucket, "s3:GetObject", Condition={"NumericGreaterThanEquals": {"s3:TlsVersion": "1.2"}}))
    with refused(403) if endpoint.scheme == "https" else refused(404):
        get(Bucket=bucket, Key="k" if endpoint.scheme == "https" else "missing")


def test_variables(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="anonymous/k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="${aws:userid}/k", Body=b"y")
    put(s3, bucket, allow(bucket, "s3:GetObject", "/${aws:userid}/*"))
    assert nobody.get_object(Bucket=bucket, Key="anonymous/k")["Body"].read() == b"x"
    with refused(403):
        nobody.get_object(Bucket=bucket, Key="${aws:userid}/k")
    put(s3, bucket, allow(bucket, "s3:GetObject", "/${aws:userid}/*"), version="2008-10-17")
    assert nobody.get_object(Bucket=bucket, Key="${aws:userid}/k")["Body"].read() == b"y"


# ---- forms ----


def post(http_endpoint, bucket, key, **fields):
    return requests.post(f"{http_endpoint.url}/{bucket}", files=[(k, (None, v)) for k, v in (fields | {"key": key}).items()] + [("file", ("f", b"data"))], timeout=30)


def test_forms_without_a_signature(http_endpoint, s3, bucket):
    assert post(http_endpoint, bucket, "in/k").status_code == 403
    put(s3, bucket, allow(bucket, "s3:PutObject", "/in/*", Condition={"StringEquals": {"s3:x-amz-storage-class": "STANDARD"}}))
    assert post(http_endpoint, bucket, "in/k").status_code == 403
    assert post(http_endpoint, bucket, "out", **{"x-amz-storage-class": "STANDARD"}).status_code == 403
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    assert post(http_endpoint, bucket, "in/k", **{"x-amz-storage-class": "STANDARD", "tagging": tags}).status_code == 403
    r = post(http_endpoint, bucket, "in/k", **{"x-amz-storage-class": "STANDARD"})
    assert r.status_code == 204, r.text
    assert s3.get_object(Bucket=bucket, Key="in/k")["Body"].read() == b"data"


# ---- what blocks public access ----


FLAGS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def block(s3, bucket, **flags):
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=flags)

    def there():
        for _ in range(6):
            assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == dict.fromkeys(FLAGS, False) | flags

    eventually(there)


def test_block_public_policy(s3, bucket):
    with refused(404, "NoSuchPublicAccessBlockConfiguration"):
        s3.get_public_access_block(Bucket=bucket)
    block(s3, bucket, **dict.fromkeys(FLAGS, False) | {"BlockPublicPolicy": True})
    with refused(403, "AccessDenied"):
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [allow(bucket, "s3:GetObject")]}))
    put(s3, bucket, allow(bucket, "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}))
    s3.delete_public_access_block(Bucket=bucket)
    s3.delete_public_access_block(Bucket=bucket)

    def gone():
        put(s3, bucket, allow(bucket, "s3:GetObject"))

    eventually(gone)


def test_restrict_public_buckets(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put(s3, bucket, allow(bucket, "s3:GetObject"))
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    block(s3, bucket, **dict.fromkeys(FLAGS, False) | {"RestrictPublicBuckets": True})
    with refused(403, "AccessDenied"):
        nobody.get_object(Bucket=bucket, Key="k")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    put(s3, bucket, allow(bucket, "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}))
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"  # that policy is not public


def test_a_malformed_block_is_refused(http_endpoint, s3, bucket):
    for body in ("<PublicAccessBlockConfiguration><Other>true</Other></PublicAccessBlockConfiguration>",
                 "<PublicAccessBlockConfiguration><BlockPublicAcls>yes</BlockPublicAcls></PublicAccessBlockConfiguration>", "<X/>"):
        headers = Signer(http_endpoint).headers("PUT", f"/{bucket}", "UNSIGNED-PAYLOAD", query="publicAccessBlock=")
        r = requests.put(f"{http_endpoint.url}/{bucket}?publicAccessBlock", data=body, headers=dict(headers), timeout=30)
        assert r.status_code == 400 and "MalformedXML" in r.text, r.text
