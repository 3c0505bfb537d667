"""Server access logs: a line per request, delivered into a bucket (docs/logging.md)."""

import re
import time
import uuid

import pytest
import requests
from botocore.exceptions import ClientError

import server as srv
from conftest import Endpoint
from test_identities import allow, client, code, doc, remove_user
from version_model import empty

LINE = re.compile(r'^(\S+) (\S+) \[([^\]]+)\] (\S+) (\S+) (\S+) (\S+) (\S+) "([^"]*)" (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) "([^"]*)" "([^"]*)" (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+)$')
FIELDS = ("owner bucket time ip requester id operation key request status error sent size took turnaround referer agent version host_id "
          "signature cipher auth host tls access_point acl").split()


@pytest.fixture(scope="module")
def logged(new_server):
    with srv.running(new_server(env={"SLUICE_LOGGING_FLUSH": "500ms"})) as s:
        yield Endpoint(s, "http")


@pytest.fixture
def s3(logged):
    return logged.client()


@pytest.fixture
def bucket(s3):
    name = "logged-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def target(s3):
    name = "logs-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    yield name
    time.sleep(1)  # what still comes
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def enable(s3, bucket, target, prefix="access/", **more):
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix} | more})
    time.sleep(0.5)  # of a cluster: until every gateway knows


def objects(s3, target):
    return {o["Key"]: s3.get_object(Bucket=target, Key=o["Key"])["Body"].read().decode() for o in s3.list_objects_v2(Bucket=target).get("Contents", [])}


def lines(s3, target):
    found = []
    for text in objects(s3, target).values():
        assert text.endswith("\n")
        for line in text.splitlines():
            m = LINE.match(line)
            assert m, line
            found.append(dict(zip(FIELDS, m.groups())))
    return found


def wait_for(s3, target, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while True:
        found = [f for f in lines(s3, target) if what(f)]
        if found:
            return found
        assert time.monotonic() < deadline, lines(s3, target)
        time.sleep(0.2)


def test_a_line_says_what_was_asked(s3, logged, bucket, target):
    enable(s3, bucket, target)
    answer = s3.put_object(Bucket=bucket, Key="dir/a b.txt", Body=b"12345")
    s3.get_object(Bucket=bucket, Key="dir/a b.txt")["Body"].read()
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key="missing")
    [put] = wait_for(s3, target, lambda f: f["operation"] == "REST.PUT.OBJECT")
    assert put["owner"] == put["requester"] == s3.list_buckets()["Owner"]["ID"]
    assert put["bucket"] == bucket and put["key"] == "dir/a%20b.txt" and put["request"] == f"PUT /{bucket}/dir/a%20b.txt HTTP/1.1"
    assert put["status"] == "200" and put["error"] == "-" and put["sent"] == "-" and put["size"] == "5"
    assert put["id"] == answer["ResponseMetadata"]["RequestId"] and put["host_id"] == answer["ResponseMetadata"]["HostId"]
    assert put["ip"] == "127.0.0.1" and put["agent"].startswith("Boto3") and put["referer"] == "-"
    assert (put["signature"], put["auth"], put["tls"], put["host"]) == ("SigV4", "AuthHeader", "-", logged.host)
    assert abs(time.mktime(time.strptime(put["time"], "%d/%b/%Y:%H:%M:%S +0000")) - time.mktime(time.gmtime())) < 60
    [get] = wait_for(s3, target, lambda f: f["operation"] == "REST.GET.OBJECT" and f["status"] == "200")
    assert get["sent"] == "5" and get["size"] == "5"
    [missing] = wait_for(s3, target, lambda f: f["status"] == "404")
    assert missing["error"] == "NoSuchKey" and missing["key"] == "missing" and int(missing["sent"]) > 0
    assert all(re.fullmatch(r"access/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}", k) for k in objects(s3, target))
    assert s3.head_object(Bucket=target, Key=next(iter(objects(s3, target))))["ContentType"] == "text/plain"


def test_operations_have_names(s3, logged, bucket, target):
    enable(s3, bucket, target)
    s3.list_objects_v2(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "k"})
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": []})
    up = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="m", UploadId=up, PartNumber=1, Body=b"p")
    s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=up)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "c"}]})
    s3.get_bucket_versioning(Bucket=bucket)
    expected = {"REST.GET.BUCKET", "REST.PUT.OBJECT", "REST.COPY.OBJECT", "REST.PUT.OBJECT_TAGGING", "REST.POST.UPLOADS", "REST.PUT.PART", "REST.DELETE.UPLOAD",
                "REST.POST.MULTI_OBJECT_DELETE", "REST.GET.VERSIONING"}
    deadline = time.monotonic() + 20
    while not expected <= {f["operation"] for f in lines(s3, target)}:
        assert time.monotonic() < deadline, expected - {f["operation"] for f in lines(s3, target)}
        time.sleep(0.2)


def test_who_it_was(s3, logged, bucket, target):
    iam = client(logged, "iam")
    user = "u-" + uuid.uuid4().hex[:8]
    iam.create_user(UserName=user)
    try:
        hers = client(logged, "s3", iam.create_access_key(UserName=user)["AccessKey"])
        enable(s3, bucket, target)
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        deadline = time.monotonic() + 10
        while code(hers.get_object, Bucket=bucket, Key="k") != "AccessDenied":
            assert time.monotonic() < deadline
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        assert requests.get(url, timeout=30, headers={"User-Agent": 'evil" 200 - "\t', "Referer": "http://x/\"y"}).status_code == 200
        assert requests.get(f"{logged.url}/{bucket}/k", timeout=30).status_code == 403
        [denied, *_] = wait_for(s3, target, lambda f: f["requester"].startswith("arn:"))
        assert denied["requester"].endswith(f":user/{user}") and denied["status"] == "403" and denied["error"] == "AccessDenied"
        [signed] = wait_for(s3, target, lambda f: f["auth"] == "QueryString")
        assert "ignature=" in signed["request"] and re.search(r"Signature=([^& ]*)", signed["request"])[1] == "..."
        assert signed["agent"] == "evil%22 200 - %22" and signed["referer"] == "http://x/%22y"
        [nobody] = wait_for(s3, target, lambda f: f["requester"] == "-")
        assert nobody["status"] == "403" and nobody["signature"] == "-"
    finally:
        remove_user(iam, user)


def test_a_partitioned_prefix(s3, bucket, target):
    enable(s3, bucket, target, prefix="p/", TargetObjectKeyFormat={"PartitionedPrefix": {"PartitionDateSource": "EventTime"}})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    wait_for(s3, target, lambda f: f["operation"] == "REST.PUT.OBJECT")
    assert all(re.fullmatch(rf"p/000000000000/us-east-1/{bucket}/\d{{4}}/\d\d/\d\d/\d{{4}}-\d\d-\d\d-00-00-00-[0-9A-F]{{16}}", k) for k in objects(s3, target))


def test_the_configuration(s3, bucket, target):
    enable(s3, bucket, target)
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == {"TargetBucket": target, "TargetPrefix": "access/"}
    for enabled, expected in (({"TargetBucket": "nobody-has-this", "TargetPrefix": ""}, "InvalidTargetBucketForLogging"), ({"TargetBucket": "X", "TargetPrefix": ""}, "InvalidTargetBucketForLogging"),
                              ({"TargetBucket": target, "TargetPrefix": "", "TargetGrants": [{"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}, "Permission": "READ"}]},
                               "NotImplemented"),
                              ({"TargetBucket": target, "TargetPrefix": "x" * 600}, "InvalidArgument")):
        assert code(s3.put_bucket_logging, Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled}) == expected, enabled
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    time.sleep(2)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    before = len(lines(s3, target))
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    time.sleep(1.5)
    assert len(lines(s3, target)) == before


def test_no_way_to_write_elsewhere(s3, logged, bucket, target):
    """Who may configure a bucket can't make the server write where they may not."""
    iam = client(logged, "iam")
    user = "u-" + uuid.uuid4().hex[:8]
    iam.create_user(UserName=user)
    try:
        hers = client(logged, "s3", iam.create_access_key(UserName=user)["AccessKey"])
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=doc(allow("s3:*", [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])))
        deadline = time.monotonic() + 10
        while True:
            try:
                hers.get_bucket_logging(Bucket=bucket)
                break
            except ClientError:
                assert time.monotonic() < deadline
        status = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "a/"}}
        assert code(hers.put_bucket_logging, Bucket=bucket, BucketLoggingStatus=status) == "AccessDenied"
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=doc(allow("s3:*", [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{target}/a/*"])))
        deadline = time.monotonic() + 10
        while True:
            try:
                hers.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=status)
                break
            except ClientError:
                assert time.monotonic() < deadline
    finally:
        remove_user(iam, user)


def test_lines_outlive_an_end_in_order_and_a_lost_target():
    server = srv.Server(tls=False)  # which would wait for a minute
    server.start()
    s3 = Endpoint(server, "http").client()
    for name in ("source-b", "logs-b", "gone-b", "other-b"):
        s3.create_bucket(Bucket=name)
    enable(s3, "source-b", "logs-b")
    enable(s3, "other-b", "gone-b")
    for i in range(20):
        s3.put_object(Bucket="source-b", Key=f"k{i}", Body=b"x")
    s3.put_object(Bucket="other-b", Key="k", Body=b"x")
    s3.delete_bucket(Bucket="gone-b")
    assert server.stop() == 0
    server.start()
    s3 = Endpoint(server, "http").client()
    assert {f["key"] for f in lines(s3, "logs-b") if f["operation"] == "REST.PUT.OBJECT"} == {f"k{i}" for i in range(20)}
    assert "an access log can't be written" in server.logs() and "target=gone-b" in server.logs()
    srv.end(server)
