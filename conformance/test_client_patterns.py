"""What programs do that can't be had here, by the calls that they make; and further commands of those that can."""

import json
import os
import subprocess
import threading
import uuid

import pytest
from botocore.exceptions import ClientError

import tree
from conftest import empty_bucket
from test_clients import NEW_AWS, need, run
from test_identities import client, code
from test_s3_policy import eventually


@pytest.fixture
def s3(http_endpoint):
    return http_endpoint.client()


@pytest.fixture
def bucket(s3):
    name = "pattern-" + uuid.uuid4().hex[:8]
    s3.create_bucket(Bucket=name)
    yield name
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


# ---- Terraform: aws_s3_bucket and what belongs to it ----

# what the provider reads of a bucket, and the error that it takes for "none"
READS = {"get_bucket_acl": None, "get_bucket_location": None, "get_bucket_versioning": None, "get_bucket_accelerate_configuration": None, "get_bucket_request_payment": None, "get_bucket_logging": None,
         "get_bucket_notification_configuration": None, "get_bucket_policy": "NoSuchBucketPolicy", "get_bucket_cors": "NoSuchCORSConfiguration", "get_bucket_website": "NoSuchWebsiteConfiguration",
         "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration", "get_bucket_replication": "ReplicationConfigurationNotFoundError",
         "get_bucket_encryption": "ServerSideEncryptionConfigurationNotFoundError", "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError", "get_bucket_tagging": "NoSuchTagSet",
         "get_bucket_ownership_controls": "OwnershipControlsNotFoundError", "get_public_access_block": "NoSuchPublicAccessBlockConfiguration", "get_bucket_policy_status": "NoSuchBucketPolicy"}
# a resource: how it is made, read and removed, and its content
RESOURCES = [("put_bucket_cors", "get_bucket_cors", "delete_bucket_cors", {"CORSConfiguration": {"CORSRules": [{"AllowedHeaders": ["*"], "AllowedMethods": ["PUT", "POST"], "AllowedOrigins": ["https://a.test"],
                                                                                                       "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 3000}]}}, lambda g: {"CORSConfiguration": {"CORSRules": g["CORSRules"]}}),
             ("put_bucket_website", "get_bucket_website", "delete_bucket_website", {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "i.html"}, "ErrorDocument": {"Key": "e.html"}}},
              lambda g: {"WebsiteConfiguration": {k: g[k] for k in ("IndexDocument", "ErrorDocument")}}),
             ("put_bucket_tagging", "get_bucket_tagging", "delete_bucket_tagging", {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}, lambda g: {"Tagging": {"TagSet": g["TagSet"]}}),
             ("put_public_access_block", "get_public_access_block", "delete_public_access_block",
              {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}},
              lambda g: {"PublicAccessBlockConfiguration": g["PublicAccessBlockConfiguration"]}),
             ("put_bucket_ownership_controls", "get_bucket_ownership_controls", "delete_bucket_ownership_controls", {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
              lambda g: {"OwnershipControls": g["OwnershipControls"]})]


def test_terraform_reads_a_new_bucket(s3, bucket):
    s3.head_bucket(Bucket=bucket)
    for call, none in READS.items():
        if none:
            assert code(getattr(s3, call), Bucket=bucket) == none, call
        else:
            getattr(s3, call)(Bucket=bucket)


def test_terraform_finds_no_drift(s3, bucket):
    for put, get, delete, content, read in RESOURCES:
        getattr(s3, put)(Bucket=bucket, **content)
        eventually(lambda: read(getattr(s3, get)(Bucket=bucket)) == content or pytest.fail(f"{get}: {getattr(s3, get)(Bucket=bucket)}"))
        getattr(s3, put)(Bucket=bucket, **content)  # applying again changes nothing
        assert read(getattr(s3, get)(Bucket=bucket)) == content
        getattr(s3, delete)(Bucket=bucket)
        eventually(lambda: code(getattr(s3, get), Bucket=bucket) == READS[get] or pytest.fail())
        getattr(s3, delete)(Bucket=bucket)  # and destroying again


def test_terraform_reads_of_a_bucket_that_is_gone(s3):
    for call in READS:
        assert code(getattr(s3, call), Bucket="gone-" + uuid.uuid4().hex[:8]) == "NoSuchBucket", call


# ---- Hadoop S3A and its committers ----


def start(s3, bucket, key, data):
    """A task's output: uploaded, not completed."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=data)["ETag"]
    return {"key": key, "upload": upload, "parts": [{"PartNumber": 1, "ETag": etag}]}


def test_magic_committer(s3, bucket):
    base = "out/__magic/job-1"
    s3.put_object(Bucket=bucket, Key=f"{base}/", Body=b"")  # a marker
    pending = [start(s3, bucket, f"out/part-{i:05}", b"%d" % i * 100) for i in range(12)]
    for i, p in enumerate(pending):
        s3.put_object(Bucket=bucket, Key=f"{base}/task-{i % 3}/part-{i:05}.pending", Body=json.dumps(p).encode())
    # nothing shows before the commit
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="out/part-").get("Contents", [])] == []
    assert s3.list_objects_v2(Bucket=bucket, Prefix="out/", Delimiter="/").get("CommonPrefixes") == [{"Prefix": "out/__magic/"}]
    # the last task failed: its uploads are found and aborted
    failed = {p["key"] for i, p in enumerate(pending) if i % 3 == 2}
    uploads = s3.list_multipart_uploads(Bucket=bucket, Prefix="out/part-")["Uploads"]
    assert len(uploads) == 12 and [u["Key"] for u in uploads] == sorted(u["Key"] for u in uploads)
    for u in uploads:
        if u["Key"] in failed:
            s3.abort_multipart_upload(Bucket=bucket, Key=u["Key"], UploadId=u["UploadId"])
    # the job commits what the others left, read back from its files
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{base}/task-")["Contents"]
    for o in listed:
        p = json.loads(s3.get_object(Bucket=bucket, Key=o["Key"])["Body"].read())
        if p["key"] in failed:
            assert code(s3.complete_multipart_upload, Bucket=bucket, Key=p["key"], UploadId=p["upload"], MultipartUpload={"Parts": p["parts"]}) == "NoSuchUpload"
        else:
            s3.complete_multipart_upload(Bucket=bucket, Key=p["key"], UploadId=p["upload"], MultipartUpload={"Parts": p["parts"]})
    s3.put_object(Bucket=bucket, Key="out/_SUCCESS", Body=b"{}")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": o["Key"]} for o in s3.list_objects_v2(Bucket=bucket, Prefix="out/__magic/")["Contents"]], "Quiet": True})
    found = s3.list_objects_v2(Bucket=bucket, Prefix="out/")
    assert [o["Key"] for o in found["Contents"]] == ["out/_SUCCESS"] + [p["key"] for p in pending if p["key"] not in failed]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket, Prefix="out/")


def test_completes_that_race(s3, http_endpoint, bucket):
    """Two drivers commit the same upload: one object, and nobody is told that nothing happened."""
    p = start(s3, bucket, "race", b"x" * 1000)
    codes = []

    def commit():
        try:
            http_endpoint.client().complete_multipart_upload(Bucket=bucket, Key="race", UploadId=p["upload"], MultipartUpload={"Parts": p["parts"]})
            codes.append("done")
        except ClientError as e:
            codes.append(e.response["Error"]["Code"])

    threads = [threading.Thread(target=commit) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert "done" in codes and set(codes) <= {"done", "NoSuchUpload", "SlowDown", "OperationAborted"}, codes
    assert s3.get_object(Bucket=bucket, Key="race")["Body"].read() == b"x" * 1000


def test_directories_of_s3a(s3, bucket):
    """getFileStatus: HEAD, HEAD with a slash, a listing of one; rename: copies and a bulk deletion."""
    for i in range(30):
        s3.put_object(Bucket=bucket, Key=f"d/sub/f{i:02}", Body=b"x")
    s3.put_object(Bucket=bucket, Key="empty/", Body=b"")
    assert code(s3.head_object, Bucket=bucket, Key="d") == "404" and code(s3.head_object, Bucket=bucket, Key="d/") == "404"
    assert s3.list_objects_v2(Bucket=bucket, Prefix="d/", Delimiter="/", MaxKeys=2)["CommonPrefixes"] == [{"Prefix": "d/sub/"}]
    assert s3.head_object(Bucket=bucket, Key="empty/")["ContentLength"] == 0
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="empty/", MaxKeys=2)["Contents"]] == ["empty/"]
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="d/", StartAfter="d/sub/f09")["Contents"]]
    assert keys[0] == "d/sub/f10" and len(keys) == 20
    for i in range(30):
        s3.copy_object(Bucket=bucket, Key=f"e/sub/f{i:02}", CopySource={"Bucket": bucket, "Key": f"d/sub/f{i:02}"})
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"d/sub/f{i:02}"} for i in range(30)] + [{"Key": "d/"}]})
    assert len(gone["Deleted"]) == 31 and "Errors" not in gone
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="d/")


# ---- rclone ----


def test_more_of_rclone(http_endpoint, s3, bucket, tmp_path):
    need("rclone")
    e = http_endpoint
    env = e.env(ca=False) | dict(RCLONE_CONFIG="/dev/null", RCLONE_CONFIG_M_TYPE="s3", RCLONE_CONFIG_M_PROVIDER="Other", RCLONE_CONFIG_M_ENDPOINT=e.url,
                                 RCLONE_CONFIG_M_ACCESS_KEY_ID=e.access_key, RCLONE_CONFIG_M_SECRET_ACCESS_KEY=e.secret_key)

    def rclone(*args, data=None, check=True):
        r = subprocess.run(["rclone", *map(str, args), "--retries", "1"], env=env, input=data, capture_output=True, timeout=300)
        assert not check or r.returncode == 0, r.stderr
        return r.stdout

    src = tree.make(tmp_path / "src")
    rclone("copy", src, f"m:{bucket}/t")
    rclone("check", "--download", src, f"m:{bucket}/t")
    assert sorted(rclone("lsf", "-R", "--files-only", f"m:{bucket}/t").decode().split("\n")[:-1]) == sorted(tree.digest(src))
    info = {x["Path"]: x for x in json.loads(rclone("lsjson", "-R", "--hash", f"m:{bucket}/t"))}
    assert info["big.bin"]["Size"] == (9 << 20) + 11
    rclone("rcat", "--size", 3, f"m:{bucket}/r/known", data=b"abc")
    rclone("rcat", "--streaming-upload-cutoff", "1K", f"m:{bucket}/r/stream", data=b"z" * (6 << 20))
    assert rclone("cat", f"m:{bucket}/r/known") == b"abc" and rclone("cat", "--offset", 5, "--count", 10, f"m:{bucket}/r/stream") == b"z" * 10
    rclone("moveto", f"m:{bucket}/r/known", f"m:{bucket}/r/moved")
    rclone("copyto", f"m:{bucket}/r/moved", f"m:{bucket}/r/copied")
    assert sorted(rclone("lsf", f"m:{bucket}/r").decode().split()) == ["copied", "moved", "stream"]
    rclone("touch", "-t", "2020-01-02T03:04:05", f"m:{bucket}/r/moved")
    assert json.loads(rclone("lsjson", f"m:{bucket}/r/moved"))[0]["ModTime"].startswith("2020-01-02T03:04:05")
    assert rclone("md5sum", f"m:{bucket}/r/copied").split()[0] == b"900150983cd24fb0d6963f7d28e17f72"
    assert json.loads(rclone("size", "--json", f"m:{bucket}/r"))["count"] == 3
    link = rclone("link", "--expire", "1h", f"m:{bucket}/r/copied").decode().strip()
    assert run(["curl", "-sS", link]).stdout == "abc"
    start(s3, bucket, "left/behind", b"x")
    assert b"left/behind" in rclone("backend", "list-multipart-uploads", f"m:{bucket}")
    rclone("backend", "cleanup", "-o", "max-age=0s", f"m:{bucket}")
    assert b"left/behind" not in rclone("backend", "list-multipart-uploads", f"m:{bucket}")
    rclone("deletefile", f"m:{bucket}/r/moved")
    rclone("delete", f"m:{bucket}/r")
    assert rclone("lsf", f"m:{bucket}/r", check=False) == b""
    (src / "small.txt").write_bytes(b"changed here")
    (src / "a").unlink()
    rclone("sync", src, f"m:{bucket}/t")
    assert rclone("cat", f"m:{bucket}/t/small.txt") == b"changed here" and b"a\n" not in rclone("lsf", f"m:{bucket}/t")
    rclone("purge", f"m:{bucket}/t")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="t/")


# ---- what the documents say to type ----


@pytest.mark.parametrize("era", ["new", "debian"])
def test_aws_iam_and_sts(http_endpoint, bucket, era):
    aws = NEW_AWS if era == "new" else "/usr/bin/aws"
    if not aws or not os.path.exists(aws):
        pytest.skip(f"the {era} aws-cli is not installed")
    env = http_endpoint.env() | ({"PATH": "/usr/bin:/bin"} if era == "debian" else {})

    def cli(*args, key=None):
        own = env | (dict(AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"], AWS_SESSION_TOKEN=key.get("SessionToken", "")) if key else {})
        out = run([aws, "--endpoint-url", http_endpoint.url, *args, "--output", "json"], env=own).stdout
        return json.loads(out) if out.strip() else None

    name, role = "cli-" + uuid.uuid4().hex[:8], "cli-role-" + uuid.uuid4().hex[:8]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}
    cli("iam", "create-user", "--user-name", name)
    cli("iam", "put-user-policy", "--user-name", name, "--policy-name", "read", "--policy-document", json.dumps(policy))
    cli("iam", "tag-user", "--user-name", name, "--tags", "Key=sluice:requests-per-second,Value=200")
    key = cli("iam", "create-access-key", "--user-name", name)["AccessKey"]
    assert cli("sts", "get-caller-identity", key=key)["Arn"].endswith(f":user/{name}")
    cli("s3api", "list-objects-v2", "--bucket", bucket, key=key)  # would fail without the policy
    assert [u["UserName"] for u in cli("iam", "list-users")["Users"] if u["UserName"] == name] == [name]
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{name}"}, "Action": "sts:AssumeRole"}]}
    arn = cli("iam", "create-role", "--role-name", role, "--assume-role-policy-document", json.dumps(trust))["Role"]["Arn"]
    session = cli("sts", "assume-role", "--role-arn", arn, "--role-session-name", "cli", key=key)["Credentials"]
    assert "assumed-role" in cli("sts", "get-caller-identity", key=session)["Arn"]
    cli("s3api", "put-bucket-tagging", "--bucket", bucket, "--tagging", "TagSet=[{Key=sluice:requests-per-second,Value=1000}]")
    cli("s3api", "put-bucket-website", "--bucket", bucket, "--website-configuration", '{"IndexDocument":{"Suffix":"index.html"},"ErrorDocument":{"Key":"404.html"}}')
    cli("iam", "delete-role", "--role-name", role)
    cli("iam", "delete-access-key", "--user-name", name, "--access-key-id", key["AccessKeyId"])
    cli("iam", "delete-user-policy", "--user-name", name, "--policy-name", "read")
    cli("iam", "delete-user", "--user-name", name)
