"""The audit: a line of JSON for each request that changes how something is set up, or for all of them."""

import json
import os
import time
import uuid

import pytest
import requests

import server as srv
from conftest import Endpoint
from test_identities import allow, client, code, doc


class Audit:
    def __init__(self, path):
        self.path = path

    def lines(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def wait(self, **wanted):
        """The first line that has all of these."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for line in self.lines():
                if all(line.get(k) == v for k, v in wanted.items()):
                    return line
            time.sleep(0.02)
        raise AssertionError((wanted, self.lines()))


@pytest.fixture
def audited(tmp_path, request):
    extra = ("--audit-file", str(tmp_path / "audit"), *getattr(request, "param", ()))
    with srv.running(srv.Server(extra=extra)) as s:
        yield Endpoint(s, "http"), Audit(tmp_path / "audit")


def test_changes_are_told(audited):
    endpoint, audit = audited
    s3, iam = client(endpoint, "s3"), client(endpoint, "iam")
    s3.create_bucket(Bucket="audited")
    line = audit.wait(action="CreateBucket")
    assert line | {"id": 0, "time": 0, "peer": 0, "us": 0} == {
        "id": 0, "time": 0, "peer": 0, "us": 0, "api": "s3", "key": endpoint.access_key, "who": "arn:aws:iam::000000000000:root", "method": "PUT",
        "path": "/audited", "action": "CreateBucket", "bucket": "audited", "status": 200, "bytes": 0}
    s3.put_object(Bucket="audited", Key="k", Body=b"x")
    s3.get_object(Bucket="audited", Key="k")
    s3.delete_objects(Bucket="audited", Delete={"Objects": [{"Key": "k"}]})
    assert code(s3.put_bucket_policy, Bucket="audited", Policy="{") == "MalformedPolicy"
    assert audit.wait(action="PutBucketPolicy")["error"] == "MalformedPolicy"
    iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=doc(allow("s3:Get*")))
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    hers = client(endpoint, "s3", key)
    assert code(hers.create_bucket, Bucket="not-hers") == "AccessDenied"
    line = audit.wait(action="CreateBucket", status=403)
    assert line["who"].endswith(":user/ann") and line["key"] == key["AccessKeyId"] and line["error"] == "AccessDenied"
    assert audit.wait(action="CreateAccessKey")["object"] == "ann"
    s3.delete_bucket(Bucket="audited")
    audit.wait(action="DeleteBucket")
    assert not {"PutObject", "GetObject", "DeleteObjects", "ListUsers"} & {x["action"] for x in audit.lines()}
    assert key["SecretAccessKey"] not in audit.path.read_text()


def test_calls_of_the_native_api(audited):
    endpoint, audit = audited
    url = f"{endpoint.url}/v1/buckets/native"
    assert requests.post(url, json={"action": "create-bck"}, timeout=30).status_code == 401  # told as well
    line = audit.wait(api="native", status=401)
    assert line["method"] == "POST" and "key" not in line


@pytest.mark.parametrize("audited", [("--audit-all", "true")], indirect=True)
def test_all_requests_without_what_is_secret(audited):
    endpoint, audit = audited
    s3 = client(endpoint, "s3")
    s3.create_bucket(Bucket="audited")
    s3.put_object(Bucket="audited", Key='a"\n\x01\u00fc', Body=b"0123456789")
    assert audit.wait(action="PutObject")["object"] == 'a"\n\x01\u00fc'
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "audited", "Key": 'a"\n\x01\u00fc'})
    assert requests.get(url, timeout=30).content == b"0123456789"
    assert audit.wait(action="GetObject")["bytes"] == 10
    token = client(endpoint, "sts").get_session_token()["Credentials"]
    client(endpoint, "s3", token).list_buckets()
    audit.wait(action="ListBuckets", key=token["AccessKeyId"])
    text = audit.path.read_text()
    assert "Signature" not in text and token["SessionToken"] not in text and token["SecretAccessKey"] not in text
    # whoever rotates moves the file away
    os.rename(audit.path, audit.path.with_suffix(".1"))
    name = "after-" + uuid.uuid4().hex[:6]
    s3.create_bucket(Bucket=name)
    audit.wait(action="CreateBucket", bucket=name)


def test_a_file_that_can_not_be_made():
    server = srv.Server(extra=("--audit-file", "/nowhere/audit"))
    try:
        with pytest.raises(Exception):
            server.start()
        assert "audit.file: /nowhere/audit" in server.logs()
    finally:
        server.clean()


def test_a_disk_that_is_full_stops_nobody(tmp_path):
    with srv.running(srv.Server(extra=("--audit-file", "/dev/full"))) as s:
        client(Endpoint(s, "http"), "s3").create_bucket(Bucket="still-made")
        deadline = time.monotonic() + 20
        while s.metrics().get("sluice_audit_dropped_total", 0) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "the audit can't be written" in s.logs()
