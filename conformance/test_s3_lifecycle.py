"""Lifecycle rules: put and refused, told in answers, and carried out by the job; a day is a second long here."""

import datetime
import time
import uuid

import pytest
from botocore.exceptions import ClientError

import server as srv
from conftest import Endpoint, empty_bucket
from version_model import empty, listing

DAY = 1


@pytest.fixture(scope="module")
def quick(new_server):
    with srv.running(new_server(env={"SLUICE_LIFECYCLE_DAY": f"{DAY}s"})) as s:
        yield Endpoint(s, "http")


@pytest.fixture
def s3(quick):
    return quick.client()


@pytest.fixture
def bucket(s3):
    name = "life-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    yield name
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


def put_rules(s3, bucket, *rules):
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def rule(days=1, **more):
    return {"ID": "r", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": days}} | more


def keys(s3, bucket):
    return {o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


def eventually(what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, value
        time.sleep(0.1)
    return value


def test_rules_are_kept(s3, bucket):
    with pytest.raises(ClientError) as e:
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert e.value.response["Error"]["Code"] == "NoSuchLifecycleConfiguration"
    date = datetime.datetime(2049, 1, 1, tzinfo=datetime.timezone.utc)
    rules = [rule(1000, ID="a", Filter={"And": {"Prefix": "x/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5}}),
             {"ID": "b", "Prefix": "old style", "Status": "Disabled", "Expiration": {"Date": date}},
             {"ID": "c", "Filter": {"Prefix": "u"}, "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 9}}]
    put_rules(s3, bucket, *rules)
    eventually(lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules)
    s3.delete_bucket_lifecycle(Bucket=bucket)
    with pytest.raises(ClientError):
        eventually(lambda: not s3.get_bucket_lifecycle_configuration(Bucket=bucket), 2)


@pytest.mark.parametrize("bad, code", [(rule(0), "InvalidArgument"), ({"Filter": {}, "Status": "Enabled"}, "InvalidRequest"),
                                       (rule(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]), "NotImplemented"),
                                       (rule(Expiration={"Days": 1, "Date": datetime.datetime(2040, 1, 1)}), "MalformedXML"),
                                       (rule(ID="x" * 256), "InvalidArgument"), (rule(Status="enabled"), "MalformedXML")])
def test_bad_rules_are_refused(s3, bucket, bad, code):
    with pytest.raises(ClientError) as e:
        put_rules(s3, bucket, bad)
    assert e.value.response["Error"]["Code"] == code


def test_objects_end_when_their_time_has_come(s3, bucket):
    for key in ("tmp/a", "tmp/tagged", "tmp/other tag", "kept", "tmp/large"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * (100 if "large" in key else 1), Tagging="keep=no" if "tagged" in key else "keep=yes" if "tag" in key else "")
    put_rules(s3, bucket, rule(Filter={"And": {"Prefix": "tmp/", "ObjectSizeLessThan": 50, "Tags": [{"Key": "keep", "Value": "no"}]}}),
              rule(ID="exact", Filter={"Prefix": "tmp/a"}))
    eventually(lambda: keys(s3, bucket) == {"tmp/other tag", "kept", "tmp/large"})
    time.sleep(DAY)
    assert keys(s3, bucket) == {"tmp/other tag", "kept", "tmp/large"}


def test_a_new_write_is_a_new_age(s3, bucket):
    put_rules(s3, bucket, rule(4))
    began = time.monotonic()
    while time.monotonic() - began < 6 * DAY:  # longer than four days and what is rounded
        s3.put_object(Bucket=bucket, Key="k", Body=str(time.monotonic()))
        time.sleep(0.5)
    assert keys(s3, bucket) == {"k"}
    eventually(lambda: keys(s3, bucket) == set())


def test_uploads_are_given_up(s3, bucket):
    up = [s3.create_multipart_upload(Bucket=bucket, Key=k)["UploadId"] for k in ("u/1", "other")]
    s3.upload_part(Bucket=bucket, Key="u/1", UploadId=up[0], PartNumber=1, Body=b"x" * 100)
    put_rules(s3, bucket, {"ID": "r", "Filter": {"Prefix": "u/"}, "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}})
    eventually(lambda: [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])] == ["other"])


def test_answers_tell_when(s3, bucket):
    put_rules(s3, bucket, rule(100000, ID="the rule", Filter={"Prefix": "x"}))
    eventually(lambda: "Expiration" in s3.put_object(Bucket=bucket, Key="x", Body=b"1"))
    head = s3.head_object(Bucket=bucket, Key="x")
    assert 'rule-id="the%20rule"' in head["Expiration"] and 'expiry-date="' in head["Expiration"]
    ends = datetime.datetime.strptime(head["Expiration"].split('"')[1], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=datetime.timezone.utc)
    assert 0 <= (ends - head["LastModified"]).total_seconds() - 100000 * DAY <= DAY
    s3.put_object(Bucket=bucket, Key="y", Body=b"1")
    assert "Expiration" not in s3.get_object(Bucket=bucket, Key="y")


@pytest.fixture
def vb(s3):
    name = "life-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    yield name
    s3.delete_bucket_lifecycle(Bucket=name)
    empty(s3, name, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=name)


def versions(s3, bucket, key):
    """Newest first: the body, or None of a marker."""
    while True:
        rows = sorted((r for r in listing(s3, bucket)[0] if r[0] == key), key=lambda r: not r[3])
        try:
            return [None if r[4] else s3.get_object(Bucket=bucket, Key=key, VersionId=r[2])["Body"].read() for r in rows]
        except ClientError as e:
            if e.response["Error"]["Code"] != "NoSuchVersion":  # it ended since it was listed
                raise


def put_all(s3, bucket, key, bodies, **kw):
    for b in bodies:
        s3.put_object(Bucket=bucket, Key=key, Body=b, **kw)


def test_older_versions_end(s3, vb):
    put_all(s3, vb, "k", [b"1", b"2", b"3"])
    put_all(s3, vb, "tagged", [b"1", b"2"], Tagging="keep=yes")
    put_all(s3, vb, "locked", [b"1"], ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=datetime.datetime(2040, 1, 1))
    put_all(s3, vb, "locked", [b"2"])
    put_all(s3, vb, "other", [b"1", b"2"])
    for k in ("k", "kept"):
        s3.put_object(Bucket=vb, Key=k, Body=b"last")
    older = {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}, "Status": "Enabled"}
    put_rules(s3, vb, {"ID": "a", "Filter": {"Prefix": "k"}, **older}, {"ID": "l", "Filter": {"Prefix": "locked"}, **older},
              {"ID": "t", "Filter": {"And": {"Prefix": "tagged", "Tags": [{"Key": "keep", "Value": "no"}]}}, **older})
    eventually(lambda: versions(s3, vb, "k") == [b"last"])
    time.sleep(2 * DAY)
    assert versions(s3, vb, "kept") == [b"last"] and len(versions(s3, vb, "tagged")) == 2
    assert len(versions(s3, vb, "locked")) == 2 and len(versions(s3, vb, "other")) == 2


def test_the_newest_of_them_are_kept(s3, vb):
    put_all(s3, vb, "k", [b"%d" % i for i in range(6)])
    put_rules(s3, vb, {"ID": "a", "Filter": {"Prefix": ""}, "Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}})
    eventually(lambda: sorted(versions(s3, vb, "k")) == [b"3", b"4", b"5"])
    time.sleep(2 * DAY)
    assert sorted(versions(s3, vb, "k")) == [b"3", b"4", b"5"]


def test_idle_markers_end(s3, vb):
    put_all(s3, vb, "k", [b"1"])
    s3.delete_object(Bucket=vb, Key="k")
    s3.delete_object(Bucket=vb, Key="never")
    put_rules(s3, vb, {"ID": "m", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"ExpiredObjectDeleteMarker": True}})
    eventually(lambda: versions(s3, vb, "never") == [])
    time.sleep(2 * DAY)
    assert versions(s3, vb, "k") == [None, b"1"]  # it hides something
    put_rules(s3, vb, {"ID": "m", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"ExpiredObjectDeleteMarker": True},
                       "NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
    eventually(lambda: versions(s3, vb, "k") == [])


def test_what_ends_in_a_bucket_with_versions_is_only_hidden(s3, vb):
    put_all(s3, vb, "k", [b"1"])
    put_rules(s3, vb, rule())
    eventually(lambda: keys(s3, vb) == set())
    assert versions(s3, vb, "k") == [None, b"1"]
