"""docs/s3-compatibility.md is true: it has every operation of routes.def once, those that it says are not there say so, the others do something."""

import re
from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parent.parent
TABLE = dict(re.findall(r"^\| (\w+) \| (supported|fixed|NotImplemented) \|", (ROOT / "docs/s3-compatibility.md").read_text(), re.M))
ROUTES = [(kind, row.split(", ")[4]) for kind, row in re.findall(r"^(ROUTE|UNBUILT)\((.*?)\)(?:$| /\*)", (ROOT / "s3api/routes.def").read_text(), re.M)]
MODEL = botocore.session.get_session().get_service_model("s3")
NOT_BOTOS = {"PreflightOptions", "PostObject", "PostBatch", "AppendObject"}
OLD = {"GetBucketLifecycle", "PutBucketLifecycle", "GetBucketNotification", "PutBucketNotification", "ListBucketAnalyticsConfigurations",
       "ListBucketIntelligentTieringConfigurations", "ListBucketInventoryConfigurations", "ListBucketMetricsConfigurations",
       "ListObjectAnnotations"}  # other names of the same requests
ELSEWHERE = {"WriteGetObjectResponse", "ListDirectoryBuckets"}  # sent to other hosts, or indistinguishable from ListBuckets
SAMPLES = {"PartNumber": 1, "CopySource": "no-such-bucket-at-all/k", "UploadId": "0" * 32, "MaxParts": 1, "RenameSource": "k2",
           "Payer": "BucketOwner", "ObjectEncryption": {"SSEKMS": {"KMSKeyArn": "arn:aws:kms:x:1:key/1"}},
           "InventoryConfiguration": {"Id": "x", "IsEnabled": False, "IncludedObjectVersions": "All", "Schedule": {"Frequency": "Daily"}, "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::x", "Format": "CSV"}}},
           "Delete": {"Objects": [{"Key": "k"}]}, "ObjectAttributes": ["ETag"], "Id": "x", "Policy": "{}"}


def test_the_table_has_every_route_once():
    built = {name: kind for kind, name in ROUTES}
    assert set(TABLE) == set(built)
    for name, state in TABLE.items():
        assert (state == "NotImplemented") == (built[name] == "UNBUILT"), name


def test_every_operation_of_the_sdk_is_in_it():
    assert set(MODEL.operation_names) - OLD - ELSEWHERE <= set(TABLE)


def sample(shape, name=""):
    """The least that the SDK takes."""
    if name in SAMPLES:
        return SAMPLES[name]
    if shape.type_name == "structure":
        return {k: sample(s, k) for k, s in shape.members.items() if k in shape.required_members}
    if shape.type_name == "list":
        return [sample(shape.member, name)]
    if shape.type_name == "string":
        return (getattr(shape, "enum", None) or ["x"])[0]
    return {"integer": 1, "long": 1, "boolean": False, "timestamp": "2040-01-01T00:00:00Z", "blob": b"x", "map": {}}[shape.type_name]


def ask(s3, bucket, name):
    """The error's code, or none."""
    params = {k: sample(s, k) for k, s in MODEL.operation_model(name).input_shape.members.items()
              if k in MODEL.operation_model(name).input_shape.required_members} if MODEL.operation_model(name).input_shape else {}
    params.update({k: v for k, v in (("Bucket", bucket), ("Key", "k")) if k in params})
    client_method = next(m for m, op in s3.meta.method_to_api_mapping.items() if op == name)
    try:
        getattr(s3, client_method)(**params)
    except ClientError as e:
        return e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]
    return None, 200


@pytest.mark.parametrize("name", sorted(set(TABLE) - NOT_BOTOS))
def test_an_operation(http_endpoint, name):
    s3 = http_endpoint.client()
    bucket = "table-" + re.sub(r"[^a-z]", "", name.lower())[:50]
    if name != "CreateBucket":
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    try:
        code, status = ask(s3, bucket, name)
        if TABLE[name] == "NotImplemented":
            assert (code, status) == ("NotImplemented", 501)
        else:
            assert code != "NotImplemented" and status < 500, code
        if TABLE[name] == "NotImplemented":
            assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    finally:
        for o in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=o["Key"])
        for u in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=u["Key"], UploadId=u["UploadId"])
        s3.delete_bucket(Bucket=bucket)
