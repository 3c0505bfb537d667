"""What went wrong elsewhere, by the numbers under which it was published: each must not go wrong here."""

import datetime
import json
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


@pytest.fixture
def s3(http_endpoint):
    return http_endpoint.client()


@pytest.fixture
def nobody(http_endpoint):
    client = boto3.client("s3", endpoint_url=http_endpoint.url, region_name="us-east-1",
                          config=Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, retries={"max_attempts": 0}))
    if http_endpoint.alternates:
        client.meta.events.register("before-send.s3", close_connection)
    return client


@pytest.fixture
def bucket(s3):
    name = "cve-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    yield name
    s3.delete_bucket_policy(Bucket=name)
    eventually(lambda: empty_bucket(s3, name))
    s3.delete_bucket(Bucket=name)


def eventually(what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return what()
        except (AssertionError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def put_policy(s3, bucket, *statements):
    """Statements with "*" as principal, about the bucket and all in it where they don't say. Waits until every gateway knows."""
    filled = [{"Effect": "Allow", "Principal": "*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]} | s for s in statements]
    text = json.dumps({"Version": "2012-10-17", "Id": uuid.uuid4().hex, "Statement": filled})
    s3.put_bucket_policy(Bucket=bucket, Policy=text)

    def there():
        for _ in range(6):
            assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text

    eventually(there)


# ---- policies ----


def test_rustfs_ghsa_6r96_headers_named_like_condition_keys_are_not_them(http_endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for key, value in (("aws:SourceIp", "192.0.2.1"), ("aws:username", "root"), ("aws:PrincipalArn", "arn:aws:iam::000000000000:root"),
                       ("aws:SecureTransport", "true"), ("s3:authType", "REST-HEADER"), ("s3:ExistingObjectTag/team", "red")):
        operator = "IpAddress" if key == "aws:SourceIp" else "StringEquals"
        put_policy(s3, bucket, {"Action": "s3:GetObject", "Condition": {operator: {key: value}}})
        name = key.split(":")[1]
        for sent in ({key: value}, {name: value}, {f"x-amz-{name}": value}, {f"X-Amz-Meta-{name}": value}):
            sent = {k.replace(":", "-").replace("/", "-"): v for k, v in sent.items()}
            assert requests.get(f"{http_endpoint.url}/{bucket}/k", headers=sent, timeout=30).status_code == 403, (key, sent)
        assert requests.get(f"{http_endpoint.url}/{bucket}/k", params={key: value, name: value}, timeout=30).status_code == 403, key


def test_rustfs_ghsa_fc6g_the_source_ip_is_that_of_the_connection(http_endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put_policy(s3, bucket, {"Action": "s3:GetObject", "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}})
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP"):
        value = "for=192.0.2.1" if name == "Forwarded" else "192.0.2.1"
        assert requests.get(f"{http_endpoint.url}/{bucket}/k", headers={name: value}, timeout=30).status_code == 403, name


def test_rustfs_ghsa_v9cp_sets_of_values_and_negation(s3, nobody, bucket):
    def tries(operator, values):
        put_policy(s3, bucket, {"Action": ["s3:PutObject", "s3:PutObjectTagging"], "Condition": {operator: {"s3:RequestObjectTagKeys": values}}})
        outcome = []
        for tags in ("", "a=1", "a=1&b=2", "b=2"):
            try:
                nobody.put_object(Bucket=bucket, Key="k", Body=b"", **({"Tagging": tags} if tags else {}))
                outcome.append(True)
            except ClientError:
                outcome.append(False)
        return outcome

    assert tries("ForAllValues:StringEquals", ["a"]) == [True, True, False, False]
    assert tries("ForAnyValue:StringEquals", ["a"]) == [False, True, True, False]
    assert tries("ForAllValues:StringNotEquals", ["a"]) == [True, False, False, True]
    assert tries("ForAnyValue:StringNotEquals", ["a"]) == [False, False, True, True]


def test_rustfs_ghsa_3ppv_a_version_needs_the_permission_for_versions(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put_policy(s3, bucket, {"Action": ["s3:GetObject", "s3:DeleteObject", "s3:GetObjectTagging"]})
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    for call in (lambda: nobody.get_object(Bucket=bucket, Key="k", VersionId="null"), lambda: nobody.head_object(Bucket=bucket, Key="k", VersionId="null"),
                 lambda: nobody.get_object_tagging(Bucket=bucket, Key="k", VersionId="null"), lambda: nobody.delete_object(Bucket=bucket, Key="k", VersionId="null")):
        with refused(403):
            call()
    r = nobody.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": "null"}]})
    assert [e["Code"] for e in r["Errors"]] == ["AccessDenied"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def purge(s3, bucket, **kw):
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for v in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=v["Key"], VersionId=v["VersionId"], **kw)


def test_rustfs_ghsa_3ppv_an_older_version_is_not_read_as_the_current_one(s3, nobody, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old", Tagging="shown=no")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"new", Tagging="shown=yes")
    put_policy(s3, bucket, {"Action": ["s3:GetObject", "s3:PutObject"]})
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"
    with refused(403):
        nobody.get_object(Bucket=bucket, Key="k", VersionId=old)
    with refused(403):
        nobody.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k?versionId={old}", TaggingDirective="REPLACE")
    put_policy(s3, bucket, {"Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], "Condition": {"StringEqualsIfExists": {"s3:ExistingObjectTag/shown": "yes"}}})
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"
    for call in (lambda: nobody.get_object(Bucket=bucket, Key="k", VersionId=old), lambda: nobody.head_object(Bucket=bucket, Key="k", VersionId=old),
                 lambda: nobody.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k?versionId={old}", TaggingDirective="REPLACE")):
        with refused(403):
            call()
    s3.delete_bucket_policy(Bucket=bucket)
    eventually(lambda: purge(s3, bucket))


def test_cve_2023_25812_a_deny_of_bypassing_governance_is_not_ignored(s3):
    name = "cve-lock-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    version = s3.put_object(Bucket=name, Key="k", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)["VersionId"]
    put_policy(s3, name, {"Effect": "Deny", "Action": "s3:BypassGovernanceRetention", "Resource": f"arn:aws:s3:::{name}/*"})
    with refused(403, "AccessDenied"):
        s3.delete_object(Bucket=name, Key="k", VersionId=version, BypassGovernanceRetention=True)
    r = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "k", "VersionId": version}]}, BypassGovernanceRetention=True)
    assert [e["Code"] for e in r["Errors"]] == ["AccessDenied"]
    with refused(403, "AccessDenied"):
        s3.put_object_retention(Bucket=name, Key="k", VersionId=version, Retention={}, BypassGovernanceRetention=True)
    assert s3.get_object(Bucket=name, Key="k", VersionId=version)["Body"].read() == b"x"
    s3.delete_bucket_policy(Bucket=name)
    eventually(lambda: purge(s3, name, BypassGovernanceRetention=True))
    s3.delete_bucket(Bucket=name)


def test_rustfs_ghsa_x298_versions_are_not_listed_by_who_may_list_keys(s3, nobody, bucket):
    put_policy(s3, bucket, {"Action": "s3:ListBucket"})
    assert nobody.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    with refused(403, "AccessDenied"):
        nobody.list_object_versions(Bucket=bucket)
    with refused(403, "AccessDenied"):
        nobody.list_multipart_uploads(Bucket=bucket)


def test_rustfs_ghsa_mx42_parts_are_not_copied_from_what_one_may_not_read(s3, nobody, bucket):
    other = bucket + "-secret"
    s3.create_bucket(Bucket=other)
    try:
        s3.put_object(Bucket=other, Key="k", Body=b"secret")
        put_policy(s3, bucket, {"Action": "s3:*"})
        upload = nobody.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
        with refused(403, "AccessDenied"):
            nobody.upload_part_copy(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, CopySource=f"{other}/k")
        with refused(403, "AccessDenied"):
            nobody.copy_object(Bucket=bucket, Key="c", CopySource=f"{other}/k")
        assert "Parts" not in s3.list_parts(Bucket=bucket, Key="m", UploadId=upload)
    finally:
        s3.delete_object(Bucket=other, Key="k")
        s3.delete_bucket(Bucket=other)


@pytest.mark.parametrize("source", ["{b}/../{o}/k", "{b}/%2e%2e/{o}/k", "{b}/..%2f{o}/k", "/{b}//../{o}/k", "{b}/a/../../{o}/k", "{b}%2f..%2f{o}%2fk"])
def test_cve_2026_55874_a_copy_source_stays_in_its_bucket(http_endpoint, s3, bucket, source):
    other = bucket + "-secret"
    s3.create_bucket(Bucket=other)
    try:
        s3.put_object(Bucket=other, Key="k", Body=b"secret")
        put_policy(s3, bucket, {"Action": "s3:*"})
        r = requests.put(f"{http_endpoint.url}/{bucket}/c", headers={"x-amz-copy-source": source.format(b=bucket, o=other)}, timeout=30)
        assert 400 <= r.status_code < 500, r.text
        with refused(404):
            s3.head_object(Bucket=bucket, Key="c")
    finally:
        s3.delete_object(Bucket=other, Key="k")
        s3.delete_bucket(Bucket=other)


def test_cve_2024_47866_an_empty_copy_source_is_an_error(http_endpoint, s3, bucket):
    put_policy(s3, bucket, {"Action": "s3:*"})
    for source in ("", "/", "//", "?", "?versionId=null", "/?versionId=null", bucket, bucket + "/"):
        r = requests.put(f"{http_endpoint.url}/{bucket}/c", headers={"x-amz-copy-source": source}, timeout=30)
        assert 400 <= r.status_code < 500, (source, r.status_code)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_cve_2024_36107_conditions_tell_nothing_of_what_one_may_not_read(http_endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    etag = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    answers = []
    for key in ("k", "missing"):
        for headers in ({"If-Modified-Since": "Wed, 01 Jan 2098 00:00:00 GMT"}, {"If-Unmodified-Since": "Wed, 01 Jan 1998 00:00:00 GMT"},
                        {"If-None-Match": etag}, {"If-Match": etag}, {"If-Match": '"0"'}, {"Range": "bytes=100-"}):
            for method in ("GET", "HEAD"):
                r = requests.request(method, f"{http_endpoint.url}/{bucket}/{key}", headers=headers, timeout=30)
                answers.append((r.status_code, "ETag" in r.headers, "Last-Modified" in r.headers))
    assert set(answers) == {(403, False, False)}


def test_cve_2021_21362_and_cve_2023_43040_forms_are_bound_by_policies(http_endpoint, s3, bucket):
    """A signed form of the owner's is refused where a policy denies, and an unsigned one where none allows, whatever the form itself says."""
    form = http_endpoint.client(region="eu-central-1").generate_presigned_post(bucket, "deny/k")

    def send(fields, **more):
        return requests.post(form["url"], data=fields | more, files={"file": ("f", b"data")}, timeout=30)

    put_policy(s3, bucket, {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/deny/*"})
    assert send(form["fields"]).status_code == 403
    assert send({"key": "other"}).status_code == 403
    put_policy(s3, bucket, {"Action": "s3:GetObject"})
    assert send({"key": "deny/k"}).status_code == 403
    assert send({"key": "deny/k", "bucket": "another"}).status_code == 403
    assert send(form["fields"]).status_code == 204


def test_cve_2023_28434_a_form_does_not_reach_another_bucket(http_endpoint, s3, bucket):
    other = bucket + "-other"
    s3.create_bucket(Bucket=other)
    try:
        form = http_endpoint.client(region="eu-central-1").generate_presigned_post(bucket, "k")
        r = requests.post(f"{http_endpoint.url}/{other}", data=form["fields"], files={"file": ("f", b"data")}, timeout=30)
        assert r.status_code in (400, 403), r.text
        assert s3.list_objects_v2(Bucket=other)["KeyCount"] == 0
    finally:
        s3.delete_bucket(Bucket=other)


def test_names_of_users_are_no_wildcards_in_variables(s3, nobody, bucket):
    """Seen in several policy engines: ${...} is filled in before wildcards are looked for."""
    s3.put_object(Bucket=bucket, Key="someone/k", Body=b"x")
    put_policy(s3, bucket, {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/${{aws:UserAgent}}/*"})
    nobody.meta.events.register("before-send.s3", lambda request, **_: request.headers.__setitem__("User-Agent", "*"))
    with refused(403, "AccessDenied"):
        nobody.get_object(Bucket=bucket, Key="someone/k")


def test_redos_a_policy_full_of_stars_answers_at_once(http_endpoint, s3, bucket):
    key = "a" * 1000
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    put_policy(s3, bucket, *[{"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/" + "*a" * 400 + "*b"} for _ in range(15)])
    begun = time.monotonic()
    assert requests.get(f"{http_endpoint.url}/{bucket}/{key}", timeout=30).status_code == 403
    assert time.monotonic() - begun < 5
