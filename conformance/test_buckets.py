"""Buckets as boto3 sees them."""

import pytest
from botocore.exceptions import ClientError

from conftest import new_bucket_name


def code(e):
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_life_of_a_bucket(s3):
    name = new_bucket_name()
    r = s3.create_bucket(Bucket=name)
    assert r["Location"] == f"/{name}"
    assert s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"]
    assert name in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert not s3.get_bucket_location(Bucket=name).get("LocationConstraint")
    s3.delete_bucket(Bucket=name)
    with pytest.raises(ClientError) as e:
        s3.head_bucket(Bucket=name)
    assert code(e) == ("404", 404)
    with pytest.raises(ClientError) as e:
        s3.delete_bucket(Bucket=name)
    assert code(e) == ("NoSuchBucket", 404)


def test_recreating_keeps_contents(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    s3.create_bucket(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"v"


def test_location_constraint_is_kept(s3):
    name = new_bucket_name()
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-1"
    with pytest.raises(ClientError) as e:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert code(e) == ("BucketAlreadyOwnedByYou", 409)
    s3.delete_bucket(Bucket=name)


def test_a_full_bucket_is_not_deleted(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    with pytest.raises(ClientError) as e:
        s3.delete_bucket(Bucket=bucket)
    assert code(e) == ("BucketNotEmpty", 409)
    s3.put_object(Bucket=bucket, Key="k2", Body=b"v")  # still writable


def test_deleted_bucket_comes_back_empty(s3):
    name = new_bucket_name()
    s3.create_bucket(Bucket=name)
    upload = s3.create_multipart_upload(Bucket=name, Key="left")
    s3.upload_part(Bucket=name, Key="left", UploadId=upload["UploadId"], PartNumber=1, Body=b"x")
    s3.delete_bucket(Bucket=name)
    s3.create_bucket(Bucket=name)
    assert "Contents" not in s3.list_objects_v2(Bucket=name)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=name)
    s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("name", ["ab", "Upper-case", "under_score", "-dash", "dash-", "dot..dot", "192.168.0.1", "xn--abc",
                                  "x" * 64, "a.-b", "name-s3alias"])
def test_bad_names_are_refused(endpoint, name):
    s3 = endpoint.client()
    s3.meta.events.unregister("before-parameter-build.s3", __import__("botocore.handlers").handlers.validate_bucket_name)
    with pytest.raises(ClientError) as e:
        s3.create_bucket(Bucket=name)
    assert code(e) == ("InvalidBucketName", 400)


def redundancy_of(s3, name):
    return s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"].get("x-sluice-redundancy")


def create_with(endpoint, name, redundancy):
    s3 = endpoint.client()
    s3.meta.events.register("before-sign.s3.CreateBucket",
                            lambda request, **_: request.headers.add_header("x-sluice-redundancy", redundancy))
    return s3.create_bucket(Bucket=name)


def test_redundancy_is_refused_by_name(endpoint, s3):
    name = new_bucket_name()
    for text, error in [("raid5", "InvalidArgument"), ("replicas=1", "InvalidArgument"), ("ec=4", "InvalidArgument"),
                        ("replicas=8", "InvalidRequest"), ("ec=20+4", "InvalidRequest")]:
        with pytest.raises(ClientError) as e:
            create_with(endpoint, name, text)
        assert code(e) == (error, 400), text
        assert "replicas=" in str(e.value) or text in str(e.value)
    create_with(endpoint, name, "none")
    assert redundancy_of(s3, name) is None
    with pytest.raises(ClientError) as e:
        create_with(endpoint, name, "replicas=2")  # for one server: not possible; in a cluster: not what it is
    assert code(e) == ("InvalidRequest", 400)
    s3.delete_bucket(Bucket=name)


def test_list_buckets_pages_and_prefix(s3):
    stem = new_bucket_name()
    names = [f"{stem}-{i}" for i in range(5)]
    for n in names:
        s3.create_bucket(Bucket=n)
    seen, token = [], None
    while True:
        args = {"Prefix": stem, "MaxBuckets": 2}
        if token:
            args["ContinuationToken"] = token
        r = s3.list_buckets(**args)
        assert len(r["Buckets"]) <= 2 and r["Owner"]["ID"]
        seen += [b["Name"] for b in r["Buckets"]]
        token = r.get("ContinuationToken")
        if not token:
            break
    assert seen == names
    for n in names:
        s3.delete_bucket(Bucket=n)


def test_configuration_reads_say_that_there_is_none(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    grants = s3.get_bucket_acl(Bucket=bucket)["Grants"]
    assert [g["Permission"] for g in grants] == ["FULL_CONTROL"]
    for call, expected in [("get_bucket_policy", "NoSuchBucketPolicy"), ("get_bucket_cors", "NoSuchCORSConfiguration"),
                           ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
                           ("get_bucket_tagging", "NoSuchTagSet"), ("get_bucket_website", "NoSuchWebsiteConfiguration")]:
        with pytest.raises(ClientError) as e:
            getattr(s3, call)(Bucket=bucket)
        assert code(e) == (expected, 404)


def test_unbuilt_operations_say_so_and_touch_nothing(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    for call, args in [
        ("get_bucket_analytics_configuration", {"Id": "x"}),
        ("get_object_torrent", {"Key": "k"}),
        ("restore_object", {"Key": "k", "RestoreRequest": {"Days": 1}}),
        ("select_object_content", {"Key": "k", "Expression": "select *", "ExpressionType": "SQL",
                                   "InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}),
    ]:
        with pytest.raises(ClientError) as e:
            getattr(s3, call)(Bucket=bucket, **args)
        assert code(e) in [("NotImplemented", 501), ("MethodNotAllowed", 405)], call
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"v"
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 1


def test_expected_bucket_owner(s3, bucket):
    with pytest.raises(ClientError) as e:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner="111122223333")
    assert code(e)[1] == 403
