"""How much buckets may hold, by tags that only the owner gives (docs/limits.md)."""

import concurrent.futures
import io
import socket
import time
import urllib.parse
import uuid

import pytest
import requests
from botocore.exceptions import ClientError

import server as srv
from conftest import Endpoint
from test_identities import allow, code, doc, hers, iam, key, remove_user, user  # noqa: F401 fixtures
from version_model import empty

BYTES, OBJECTS = "sluice:quota-bytes", "sluice:quota-objects"
KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def s3(http_endpoint):
    return http_endpoint.client()


@pytest.fixture
def exact(request):
    if request.config.getoption("--cluster"):
        pytest.skip("each gateway counts by itself: exact is what goes through one")


@pytest.fixture
def bucket(s3):
    name = "quota-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    yield name
    s3.delete_bucket_tagging(Bucket=name)
    empty(s3, name)
    for up in s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=name, Key=up["Key"], UploadId=up["UploadId"])
    s3.delete_bucket(Bucket=name)


def limit(s3, bucket, **tags):
    names = {"bytes": BYTES, "objects": OBJECTS}
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": names[k], "Value": str(v)} for k, v in tags.items()]})
    time.sleep(0.4)  # of a cluster: until every gateway and target knows


def put(s3, bucket, key, n):
    return s3.put_object(Bucket=bucket, Key=key, Body=b"x" * n)


def refused(call, *args, **kw):
    with pytest.raises(ClientError) as e:
        call(*args, **kw)
    assert e.value.response["Error"]["Code"] == "QuotaExceeded" and e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return True


def size(s3, bucket):
    return sum(o["Size"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", []))


def test_a_bucket_has_bytes(s3, exact, bucket):
    put(s3, bucket, "before", 300 * KIB)
    limit(s3, bucket, bytes="1MiB")
    put(s3, bucket, "a", 600 * KIB)
    refused(put, s3, bucket, "b", 600 * KIB)
    put(s3, bucket, "b", 100 * KIB)
    assert size(s3, bucket) == 1000 * KIB
    assert len(s3.get_object(Bucket=bucket, Key="a")["Body"].read()) == 600 * KIB
    put(s3, bucket, "a", 620 * KIB)  # takes the place of one that is nearly as large
    refused(put, s3, bucket, "a", 700 * KIB)
    assert size(s3, bucket) == 1020 * KIB
    s3.delete_object(Bucket=bucket, Key="a")
    put(s3, bucket, "b", 600 * KIB)
    s3.delete_bucket_tagging(Bucket=bucket)
    time.sleep(0.4)
    put(s3, bucket, "large", 2 * MIB)


def test_a_bucket_has_objects(s3, exact, bucket):
    limit(s3, bucket, objects=3, bytes=10 * MIB)
    for k in "abc":
        put(s3, bucket, k, 10)
    refused(put, s3, bucket, "d", 0)
    put(s3, bucket, "a", 20)
    refused(s3.copy_object, Bucket=bucket, Key="d", CopySource={"Bucket": bucket, "Key": "a"})
    s3.put_object_tagging(Bucket=bucket, Key="a", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.rename_object(Bucket=bucket, Key="d", RenameSource="a")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "c"}]})
    put(s3, bucket, "e", 10)


def test_every_way_in(s3, exact, bucket, http_endpoint):
    put(s3, bucket, "k", 600 * KIB)
    up = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    limit(s3, bucket, bytes="1MiB")
    refused(s3.copy_object, Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    refused(s3.upload_part, Bucket=bucket, Key="parts", UploadId=up, PartNumber=1, Body=b"x" * 500 * KIB)
    refused(s3.upload_part_copy, Bucket=bucket, Key="parts", UploadId=up, PartNumber=1, CopySource={"Bucket": bucket, "Key": "k"})
    refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x" * 500 * KIB, WriteOffsetBytes=600 * KIB)
    form = s3.generate_presigned_post(bucket, "form")
    r = requests.post(form["url"], data=form["fields"], files={"file": io.BytesIO(b"x" * 500 * KIB)}, timeout=30)
    assert r.status_code == 403 and "<Code>QuotaExceeded</Code>" in r.text
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=up, PartNumber=1, Body=b"x" * 300 * KIB)
    refused(put, s3, bucket, "more", 300 * KIB)  # parts take room before they are an object
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert size(s3, bucket) == 900 * KIB
    put(s3, bucket, "last", 100 * KIB)
    up = s3.create_multipart_upload(Bucket=bucket, Key="parts2")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="parts2", UploadId=up, PartNumber=1, Body=b"x" * 20 * KIB)
    refused(put, s3, bucket, "z", 20 * KIB)
    s3.abort_multipart_upload(Bucket=bucket, Key="parts2", UploadId=up)
    put(s3, bucket, "z", 20 * KIB)


def test_the_body_is_not_waited_for(s3, bucket, http_endpoint):
    put(s3, bucket, "k", 900 * KIB)
    limit(s3, bucket, bytes="1MiB")
    url = urllib.parse.urlparse(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "new"}))
    with socket.create_connection(("127.0.0.1", http_endpoint.port), timeout=30) as c:
        c.sendall(f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {500 * MIB}\r\nExpect: 100-continue\r\n\r\n".encode())
        answer = c.recv(4096)
    assert answer.startswith(b"HTTP/1.1 403") and b"100 Continue" not in answer


def test_versions_take_room(s3, exact, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    limit(s3, bucket, bytes="1MiB", objects=10)
    first = put(s3, bucket, "k", 400 * KIB)["VersionId"]
    put(s3, bucket, "k", 400 * KIB)
    refused(put, s3, bucket, "k", 400 * KIB)
    s3.delete_object(Bucket=bucket, Key="k")  # a marker; nothing goes
    refused(put, s3, bucket, "k", 400 * KIB)
    s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
    put(s3, bucket, "k", 400 * KIB)


def test_many_at_once(s3, exact, bucket):
    limit(s3, bucket, bytes="1MiB")

    def one(i):
        try:
            put(s3, bucket, f"k{i}", 100 * KIB)
        except ClientError as e:
            assert e.response["Error"]["Code"] == "QuotaExceeded"
            return 0
        return 1

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        written = sum(pool.map(one, range(40)))
    assert written == 10 and size(s3, bucket) == written * 100 * KIB


def test_others_hear_of_it(s3, bucket):
    """Also of a cluster, where each gateway counts by itself."""
    limit(s3, bucket, bytes="1MiB")
    written = refusals = 0
    deadline = time.monotonic() + 60
    while refusals < 20:
        assert time.monotonic() < deadline
        try:
            put(s3, bucket, f"k{written}", 50 * KIB)
            written, refusals = written + 1, 0
        except ClientError as e:
            assert e.response["Error"]["Code"] == "QuotaExceeded"
            refusals += 1
        time.sleep(0.2)
    assert 20 <= written <= 40 and size(s3, bucket) == written * 50 * KIB  # of two gateways at most twice
    for k in range(written):
        s3.delete_object(Bucket=bucket, Key=f"k{k}")
    for _ in range(4):  # whoever is asked
        put(s3, bucket, "again", 900 * KIB)


def test_the_native_api_and_jobs(new_server):
    with srv.running(new_server(extra=("--auth", "none"))) as s:
        s3 = Endpoint(s, "http").client()
        for name in ("from-b", "to-b"):
            s3.create_bucket(Bucket=name)
        for i in range(20):
            put(s3, "from-b", f"k{i:02}", 100 * KIB)
        limit(s3, "to-b", bytes="500KiB")
        assert requests.put(f"{s.http}/v1/objects/to-b/x", data=b"x" * 100 * KIB, timeout=30).status_code == 200
        r = requests.put(f"{s.http}/v1/objects/to-b/y", data=b"x" * 600 * KIB, timeout=30)
        assert r.status_code == 403 and "quota" in r.text, r.text
        r = requests.put(f"{s.http}/v1/objects/to-b/z", data=(b"x" * 100 * KIB for _ in range(6)), timeout=30)  # of no known length
        assert r.status_code == 403, r.text
        job = requests.post(f"{s.http}/v1/buckets/from-b", params={"bck_to": "ais/@#/to-b/"}, json={"action": "copy-bck", "value": {}}, timeout=30)
        assert job.status_code == 200
        deadline, targets = time.monotonic() + 30, 1 if isinstance(s, srv.Server) else 3
        while size(s3, "to-b") < 400 * KIB and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2)
        assert 400 * KIB <= size(s3, "to-b") <= 500 * KIB * targets


def test_a_quota_outlives_a_restart():
    server = srv.Server(tls=False)
    server.start()
    try:
        s3 = Endpoint(server, "http").client()
        s3.create_bucket(Bucket="kept-b")
        limit(s3, "kept-b", bytes=MIB)
        put(s3, "kept-b", "k", 700 * KIB)
        server.kill()
        server.start()
        refused(put, s3, "kept-b", "l", 700 * KIB)
        put(s3, "kept-b", "l", 200 * KIB)
    finally:
        srv.end(server)


def test_only_the_owner_gives_quotas(iam, s3, hers, user, bucket):  # noqa: F811
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=doc(allow("s3:*")))
    limit(s3, bucket, bytes=MIB)
    time.sleep(2)
    assert code(hers.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": [{"Key": BYTES, "Value": "2MiB"}]}) == "AccessDenied"
    assert code(hers.delete_bucket_tagging, Bucket=bucket) == "AccessDenied"
    hers.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": BYTES, "Value": "1024KiB"}, {"Key": "mine", "Value": "x"}]})
    refused(put, hers, bucket, "k", 2 * MIB)


@pytest.mark.parametrize("name", [BYTES, OBJECTS])
@pytest.mark.parametrize("value", ["", "0", "-1", "x", "1.5", "1 ", "9223372036854775808", "9000000PiB", "GiB"])
def test_quotas_that_are_none(s3, bucket, name, value):
    assert code(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": [{"Key": name, "Value": value}]}) == "InvalidTag"
