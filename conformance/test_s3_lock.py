"""Object Lock: what is locked can't be deleted in any way; everything else can."""

import datetime
import time

import pytest
import requests
from botocore.exceptions import ClientError

from conftest import new_bucket_name
from version_model import empty, set_status

BYPASS = {"BypassGovernanceRetention": True}


def soon(**kw):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**kw)


def error(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def lb(s3):
    name = new_bucket_name()
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    yield name
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        for v in page.get("Versions", []):
            if s3.head_object(Bucket=name, Key=v["Key"], VersionId=v["VersionId"]).get("ObjectLockLegalHoldStatus") == "ON":
                s3.put_object_legal_hold(Bucket=name, Key=v["Key"], VersionId=v["VersionId"], LegalHold={"Status": "OFF"})
    empty(s3, name, **BYPASS)
    s3.delete_bucket(Bucket=name)


def put(s3, bucket, key="k", body=b"x", **kw):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **kw)["VersionId"]


def test_of_the_bucket(s3, lb, bucket):
    assert s3.get_bucket_versioning(Bucket=lb)["Status"] == "Enabled"
    assert s3.get_object_lock_configuration(Bucket=lb)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
    assert error(s3.put_bucket_versioning, Bucket=lb, VersioningConfiguration={"Status": "Suspended"}) == ("InvalidBucketState", 409)
    assert error(s3.get_object_lock_configuration, Bucket=bucket)[0] == "ObjectLockConfigurationNotFoundError"
    conf = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    assert error(s3.put_object_lock_configuration, Bucket=bucket, ObjectLockConfiguration=conf) == ("InvalidBucketState", 409)
    s3.put_object_lock_configuration(Bucket=lb, ObjectLockConfiguration=conf)
    assert s3.get_object_lock_configuration(Bucket=lb)["ObjectLockConfiguration"] == conf
    for bad in ({"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, {"Mode": "GOVERNANCE"}, {"Mode": "SOMETHING", "Days": 1}, {"Mode": "COMPLIANCE", "Days": 0}):
        assert error(s3.put_object_lock_configuration, Bucket=lb, ObjectLockConfiguration={**conf, "Rule": {"DefaultRetention": bad}})[1] == 400
    assert s3.get_object_lock_configuration(Bucket=lb)["ObjectLockConfiguration"] == conf


def test_an_existing_bucket_gets_locks(s3, bucket):
    set_status(s3, bucket, "Enabled")
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    v = put(s3, bucket, ObjectLockLegalHoldStatus="ON")
    assert error(s3.delete_object, Bucket=bucket, Key="k", VersionId=v) == ("AccessDenied", 403)
    s3.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": "OFF"})
    empty(s3, bucket)


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_retention(s3, lb, mode):
    until = soon(seconds=4)
    v = put(s3, lb, ObjectLockMode=mode, ObjectLockRetainUntilDate=until)
    head = s3.head_object(Bucket=lb, Key="k")
    assert head["ObjectLockMode"] == mode and abs(head["ObjectLockRetainUntilDate"] - until) < datetime.timedelta(seconds=1)
    assert s3.get_object_retention(Bucket=lb, Key="k")["Retention"]["Mode"] == mode
    assert error(s3.delete_object, Bucket=lb, Key="k", VersionId=v) == ("AccessDenied", 403)
    d = s3.delete_objects(Bucket=lb, Delete={"Objects": [{"Key": "k", "VersionId": v}]})
    assert d["Errors"][0]["Code"] == "AccessDenied" and "Deleted" not in d
    if mode == "COMPLIANCE":
        assert error(s3.delete_object, Bucket=lb, Key="k", VersionId=v, **BYPASS) == ("AccessDenied", 403)
    marker = s3.delete_object(Bucket=lb, Key="k")["VersionId"]  # hides it, deletes nothing
    put(s3, lb, body=b"another")
    assert error(s3.delete_object, Bucket=lb, Key="k", VersionId=v) == ("AccessDenied", 403)
    assert s3.get_object(Bucket=lb, Key="k", VersionId=v)["Body"].read() == b"x" and marker
    if mode == "GOVERNANCE":
        s3.delete_object(Bucket=lb, Key="k", VersionId=v, **BYPASS)
    else:
        time.sleep(max(0, (until - soon()).total_seconds()) + 1)
        s3.delete_object(Bucket=lb, Key="k", VersionId=v)
    assert error(s3.get_object, Bucket=lb, Key="k", VersionId=v)[0] == "NoSuchVersion"


def test_legal_hold(s3, lb):
    v = put(s3, lb, ObjectLockLegalHoldStatus="ON")
    assert s3.get_object_legal_hold(Bucket=lb, Key="k")["LegalHold"] == {"Status": "ON"}
    assert error(s3.delete_object, Bucket=lb, Key="k", VersionId=v, **BYPASS) == ("AccessDenied", 403)
    put(s3, lb, body=b"2")
    s3.put_object_legal_hold(Bucket=lb, Key="k", VersionId=v, LegalHold={"Status": "OFF"})
    assert s3.head_object(Bucket=lb, Key="k", VersionId=v)["ObjectLockLegalHoldStatus"] == "OFF"
    s3.delete_object(Bucket=lb, Key="k", VersionId=v)
    assert error(s3.get_object_legal_hold, Bucket=lb, Key="k") == ("NoSuchObjectLockConfiguration", 404)


def test_retention_changes_one_way(s3, lb):
    def change(mode, **kw):
        s3.put_object_retention(Bucket=lb, Key="k", Retention={"Mode": mode, "RetainUntilDate": soon(**kw)})

    def refused(mode, extra=None, **kw):
        return error(s3.put_object_retention, Bucket=lb, Key="k", Retention={"Mode": mode, "RetainUntilDate": soon(**kw)}, **(extra or {}))

    v = put(s3, lb, Metadata={"a": "b"})
    before = s3.head_object(Bucket=lb, Key="k")
    change("GOVERNANCE", minutes=10)
    assert refused("GOVERNANCE", minutes=5) == ("AccessDenied", 403)
    change("GOVERNANCE", minutes=20)
    s3.put_object_retention(Bucket=lb, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon(minutes=5)}, **BYPASS)
    s3.put_object_retention(Bucket=lb, Key="k", Retention={}, **BYPASS)
    assert error(s3.get_object_retention, Bucket=lb, Key="k") == ("NoSuchObjectLockConfiguration", 404)
    assert refused("GOVERNANCE", minutes=-1) == ("InvalidArgument", 400)
    change("COMPLIANCE", seconds=4)
    assert refused("COMPLIANCE", BYPASS, seconds=1) == refused("GOVERNANCE", BYPASS, minutes=5) == ("AccessDenied", 403)
    after = s3.head_object(Bucket=lb, Key="k")
    assert after["VersionId"] == before["VersionId"] == v and after["LastModified"] == before["LastModified"] and after["Metadata"] == {"a": "b"}
    time.sleep(5)


def test_defaults(s3, lb):
    s3.put_object_lock_configuration(Bucket=lb, ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}})
    u = s3.create_multipart_upload(Bucket=lb, Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket=lb, Key="parts", UploadId=u, PartNumber=1, Body=b"1")["ETag"]
    s3.complete_multipart_upload(Bucket=lb, Key="parts", UploadId=u, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    put(s3, lb)
    s3.copy_object(Bucket=lb, Key="copy", CopySource={"Bucket": lb, "Key": "k"})
    put(s3, lb, "own", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=soon(seconds=2))
    for key in ("k", "parts", "copy"):
        head = s3.head_object(Bucket=lb, Key=key)
        assert head["ObjectLockMode"] == "GOVERNANCE" and soon(days=1.9) < head["ObjectLockRetainUntilDate"] < soon(days=2.1)
        assert error(s3.delete_object, Bucket=lb, Key=key, VersionId=head["VersionId"]) == ("AccessDenied", 403)
    assert s3.head_object(Bucket=lb, Key="own")["ObjectLockMode"] == "COMPLIANCE"
    time.sleep(3)


def test_bad_requests(s3, lb, bucket):
    assert error(s3.put_object, Bucket=bucket, Key="k", ObjectLockLegalHoldStatus="ON") == ("InvalidRequest", 400)
    assert error(s3.put_object, Bucket=lb, Key="k", ObjectLockMode="GOVERNANCE") == ("InvalidArgument", 400)
    assert error(s3.put_object, Bucket=lb, Key="k", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(days=-1)) == ("InvalidArgument", 400)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert error(s3.put_object_retention, Bucket=bucket, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon(days=1)}) == ("InvalidRequest", 400)
    assert error(s3.get_object_legal_hold, Bucket=bucket, Key="k") == ("InvalidRequest", 400)
    assert error(s3.put_object_retention, Bucket=lb, Key="none", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon(days=1)})[0] == "NoSuchKey"


def test_the_native_api_deletes_nothing_locked(open_server):
    from conftest import Endpoint
    s3, name = Endpoint(open_server, "http").client(), new_bucket_name()
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    v = put(s3, name, body=b"kept", ObjectLockLegalHoldStatus="ON")
    r = requests.delete(f"{open_server.http}/v1/buckets/{name}", json={"action": "destroy-bck"}, timeout=30)
    assert r.status_code == 409, r.text
    requests.delete(f"{open_server.http}/v1/objects/{name}/k", timeout=30)
    requests.put(f"{open_server.http}/v1/objects/{name}/k", data=b"other", timeout=30)
    assert s3.get_object(Bucket=name, Key="k", VersionId=v)["Body"].read() == b"kept"
    s3.put_object_legal_hold(Bucket=name, Key="k", VersionId=v, LegalHold={"Status": "OFF"})
    empty(s3, name)
    s3.delete_bucket(Bucket=name)
