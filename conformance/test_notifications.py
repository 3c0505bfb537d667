"""Events of buckets reach webhooks (docs/notifications.md): each at least once, whatever ends in between."""

import contextlib
import http.server
import io
import json
import os
import socket
import threading
import time
import urllib.parse
import uuid

import pytest
import requests
from botocore.exceptions import ClientError

import server as srv
from conftest import Endpoint
from version_model import empty

QUEUE = "arn:aws:sqs:us-east-1:000000000000:hook"
DAY = 1


class Webhook:
    """Takes messages, or answers something else."""

    def __init__(self, port=0):
        self.status, self.messages, self.headers, self.lock, me = 200, [], [], threading.Lock(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with me.lock:
                    if me.status == 200:
                        me.messages.append(json.loads(body))
                        me.headers.append(dict(self.headers))
                    status = me.status
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/in?x=1"

    def records(self, bucket):
        with self.lock:
            return [r for m in self.messages for r in m.get("Records", []) if r["s3"]["bucket"]["name"] == bucket]

    def seen(self, bucket):
        return {(r["eventName"], urllib.parse.unquote_plus(r["s3"]["object"]["key"])) for r in self.records(bucket)}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def eventually(what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, value
        time.sleep(0.05)
    return value


def settings(hook, **more):
    return {"SLUICE_NOTIFICATIONS_WEBHOOKS": f"hook={hook.url},other={hook.url}&other", "SLUICE_NOTIFICATIONS_PRIVATE": "true"} | more


@pytest.fixture(scope="module")
def hook():
    w = Webhook()
    yield w
    w.close()


@pytest.fixture(scope="module")
def told(new_server, hook, tmp_path_factory):
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text("hook let-me-in\n")
    tokens.chmod(0o600)
    with srv.running(new_server(env=settings(hook, SLUICE_NOTIFICATIONS_TOKEN_FILE=str(tokens), SLUICE_LIFECYCLE_DAY=f"{DAY}s"))) as s:
        yield Endpoint(s, "http")


@pytest.fixture
def s3(told):
    return told.client()


@pytest.fixture
def bucket(s3):
    name = "told-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def rule(*events, arn=QUEUE, **more):
    r = {"QueueArn": arn, "Events": list(events)}
    filters = [{"Name": k, "Value": v} for k, v in more.items() if k in ("prefix", "suffix")]
    if "Id" in more:
        r["Id"] = more["Id"]
    return r | ({"Filter": {"Key": {"FilterRules": filters}}} if filters else {})


def ask_for(s3, bucket, *rules, skip=True):
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": list(rules)}, SkipDestinationValidation=skip)
    # every gateway and target has heard
    eventually(lambda: all(len(s3.get_bucket_notification_configuration(Bucket=bucket).get("QueueConfigurations", [])) == len(rules) for _ in range(4)))
    time.sleep(0.3)


ALL = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*", "s3:ObjectAcl:Put", "s3:LifecycleExpiration:*")


def test_what_a_record_says(s3, told, hook, bucket):
    ask_for(s3, bucket, rule("s3:ObjectCreated:*", Id="my rule"))
    put = s3.put_object(Bucket=bucket, Key="dir/red flower ü+&.jpg", Body=b"12345")
    record = eventually(lambda: hook.records(bucket))[0]
    message = next(m for m in hook.messages if record in m.get("Records", []))
    assert message["EventName"] == "s3:ObjectCreated:Put" and message["Key"] == f"{bucket}/dir/red flower ü+&.jpg"
    assert record["eventVersion"] == "2.1" and record["eventSource"] == "aws:s3" and record["awsRegion"] == "us-east-1"
    assert record["eventName"] == "ObjectCreated:Put" and record["userIdentity"]["principalId"].endswith(":root")
    assert record["requestParameters"]["sourceIPAddress"].startswith("127.0.0.1")
    assert record["responseElements"]["x-amz-request-id"] == put["ResponseMetadata"]["RequestId"]
    assert record["responseElements"]["x-amz-id-2"] == put["ResponseMetadata"]["HostId"]
    said = record["s3"]
    assert said["s3SchemaVersion"] == "1.0" and said["configurationId"] == "my rule"
    assert said["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    assert said["bucket"]["ownerIdentity"]["principalId"] == s3.list_buckets()["Owner"]["ID"]
    thing = said["object"]
    assert thing["key"] == "dir/red+flower+%C3%BC%2B%26.jpg" and thing["size"] == 5
    assert thing["eTag"] == put["ETag"].strip('"') and len(thing["sequencer"]) == 16 and "versionId" not in thing
    at = hook.messages.index(message)
    assert hook.headers[at]["Authorization"] == "Bearer let-me-in" and hook.headers[at]["Content-Type"] == "application/json"
    s3.put_object(Bucket=bucket, Key="dir/red flower ü+&.jpg", Body=b"2")
    second = eventually(lambda: len(hook.records(bucket)) > 1 and hook.records(bucket)[1])
    assert second["s3"]["object"]["sequencer"] > thing["sequencer"]


def test_each_way_to_write(s3, told, hook, bucket):
    ask_for(s3, bucket, rule(*ALL))
    s3.put_object(Bucket=bucket, Key="put", Body=b"1")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "put"})
    up = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=up, PartNumber=1, Body=b"p")
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    form = s3.generate_presigned_post(bucket, "form")
    assert requests.post(form["url"], data=form["fields"], files={"file": io.BytesIO(b"f")}, timeout=30).status_code == 204
    s3.put_object(Bucket=bucket, Key="put", Body=b"23", WriteOffsetBytes=1)
    s3.put_object_tagging(Bucket=bucket, Key="copy", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_object_tagging(Bucket=bucket, Key="copy")
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    time.sleep(1)  # of a cluster: until every gateway knows
    s3.put_object_acl(Bucket=bucket, Key="copy", ACL="public-read")
    s3.delete_object(Bucket=bucket, Key="put")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}, {"Key": "form"}, {"Key": "never-was"}]})
    expected = {("ObjectCreated:Put", "put"), ("ObjectCreated:Copy", "copy"), ("ObjectCreated:CompleteMultipartUpload", "parts"), ("ObjectCreated:Post", "form"),
                ("ObjectTagging:Put", "copy"), ("ObjectTagging:Delete", "copy"), ("ObjectAcl:Put", "copy"), ("ObjectRemoved:Delete", "put"),
                ("ObjectRemoved:Delete", "copy"), ("ObjectRemoved:Delete", "form")}
    eventually(lambda: expected <= hook.seen(bucket))
    assert hook.seen(bucket) == expected
    puts = sorted(r["s3"]["object"]["size"] for r in hook.records(bucket) if r["eventName"] == "ObjectCreated:Put")
    assert puts == [1, 3]  # the object and what was appended to it
    assert all("size" not in r["s3"]["object"] for r in hook.records(bucket) if r["eventName"].startswith("ObjectRemoved"))


def test_a_new_name(s3, hook, bucket):
    ask_for(s3, bucket, rule(*ALL))
    s3.put_object(Bucket=bucket, Key="old", Body=b"1")
    s3.rename_object(Bucket=bucket, Key="new", RenameSource="old")
    eventually(lambda: hook.seen(bucket) == {("ObjectCreated:Put", "old"), ("ObjectCreated:Copy", "new"), ("ObjectRemoved:Delete", "old")})


@pytest.mark.skipif("SLUICE_REDUNDANCY" in os.environ, reason="no versions where there are slices")
def test_versions(s3, hook, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ask_for(s3, bucket, rule(*ALL))
    v = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    s3.put_object_tagging(Bucket=bucket, Key="k", VersionId=v, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_object(Bucket=bucket, Key="k", VersionId=v)
    eventually(lambda: len(hook.records(bucket)) == 4)
    assert {(r["eventName"], r["s3"]["object"]["key"], r["s3"]["object"]["versionId"]) for r in hook.records(bucket)} == {
        ("ObjectCreated:Put", "k", v), ("ObjectRemoved:DeleteMarkerCreated", "k", marker), ("ObjectTagging:Put", "k", v), ("ObjectRemoved:Delete", "k", v)}


def test_only_what_was_asked_for(s3, hook, bucket):
    ask_for(s3, bucket, rule("s3:ObjectCreated:Put", prefix="in/", suffix=".jpg", Id="jpg"), rule("s3:ObjectCreated:Put", prefix="in/", suffix=".png", Id="png"),
            rule("s3:ObjectRemoved:*", prefix="in/", Id="gone", arn="arn:minio:sqs::other:webhook"))
    for key in ("in/a.jpg", "in/b.png", "in/c.txt", "out/a.jpg", "in/.jpg"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    s3.copy_object(Bucket=bucket, Key="in/copy.jpg", CopySource={"Bucket": bucket, "Key": "in/a.jpg"})
    s3.delete_object(Bucket=bucket, Key="in/c.txt")
    s3.delete_object(Bucket=bucket, Key="out/a.jpg")
    expected = {("jpg", "in/a.jpg"), ("png", "in/b.png"), ("jpg", "in/.jpg"), ("gone", "in/c.txt")}
    eventually(lambda: len(hook.records(bucket)) >= len(expected))
    time.sleep(0.3)
    assert {(r["s3"]["configurationId"], r["s3"]["object"]["key"]) for r in hook.records(bucket)} == expected
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    eventually(lambda: all("QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket) for _ in range(4)))
    time.sleep(0.3)
    before = len(hook.records(bucket))
    s3.put_object(Bucket=bucket, Key="in/d.jpg", Body=b"")
    time.sleep(0.5)
    assert len(hook.records(bucket)) == before


def test_the_configuration_is_told_back(s3, bucket):
    given = {"QueueConfigurations": [rule("s3:ObjectCreated:*", prefix="a/", suffix=".b", Id="one")],
             "TopicConfigurations": [{"Id": "two", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:other", "Events": ["s3:ObjectRemoved:Delete", "s3:ObjectTagging:*"]}],
             "LambdaFunctionConfigurations": [{"Id": "three", "LambdaFunctionArn": "arn:aws:lambda:us-east-1:1:function:hook", "Events": ["s3:ObjectAcl:Put"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=given)

    def kept():
        found = s3.get_bucket_notification_configuration(Bucket=bucket)
        found.pop("ResponseMetadata")
        for f in found.get("QueueConfigurations", []):
            f["Filter"]["Key"]["FilterRules"] = [{"Name": r["Name"].lower(), "Value": r["Value"]} for r in f["Filter"]["Key"]["FilterRules"]]
        return found == given

    eventually(kept)
    ask_for(s3, bucket, rule("s3:ObjectCreated:*"))
    assert s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"][0]["Id"]


@pytest.mark.parametrize("rules, code, word", [
    ([rule("s3:ObjectCreated:*", arn="arn:aws:sqs:us-east-1:1:nobody")], "InvalidArgument", "destination"),
    ([rule("s3:ObjectCreated:*", arn="arn:aws:s3:::hook")], "InvalidArgument", "ARN"),
    ([rule("s3:ObjectCreated:*", arn="hook")], "InvalidArgument", "ARN"),
    ([rule("s3:ObjectCreated:Nothing")], "InvalidArgument", "Nothing"),
    ([rule("s3:Object*")], "InvalidArgument", "not supported"),
    ([rule("s3:ObjectRestore:*")], "NotImplemented", "s3:ObjectRestore"),
    ([rule("s3:ObjectCreated:*", Id="a"), rule("s3:ObjectCreated:Put", Id="b")], "InvalidArgument", "overlap"),
    ([rule("s3:ObjectCreated:*", Id="a", prefix="x/"), rule("s3:ObjectCreated:Put", Id="b", prefix="x/y/")], "InvalidArgument", "overlap"),
    ([rule("s3:ObjectCreated:*", Id="a", prefix="x"), rule("s3:ObjectCreated:Put", Id="a", prefix="y")], "InvalidArgument", "unique"),
    ([rule("s3:ObjectCreated:*", prefix="x" * 1025)], "InvalidArgument", "1024"),
])
def test_what_is_refused(s3, bucket, rules, code, word):
    with pytest.raises(ClientError) as e:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": rules})
    assert e.value.response["Error"]["Code"] == code and word in str(e.value.response["Error"])
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)


def test_event_bridge_is_refused(s3, bucket):
    with pytest.raises(ClientError) as e:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    assert e.value.response["Error"]["Code"] == "NotImplemented"


def test_the_first_message(s3, hook, bucket):
    def tests():
        return [m for m in hook.messages if m.get("Event") == "s3:TestEvent" and m["Bucket"] == bucket]

    ask_for(s3, bucket, rule("s3:ObjectCreated:*", prefix="a"), rule("s3:ObjectCreated:*", prefix="b"), skip=False)
    eventually(tests)
    time.sleep(0.3)
    assert len(tests()) == 1 and tests()[0]["Service"] == "Amazon S3" and tests()[0]["RequestId"]
    ask_for(s3, bucket, rule("s3:ObjectCreated:*"))
    time.sleep(0.3)
    assert len(tests()) == 1


def test_the_native_api_and_jobs(new_server, hook):
    with srv.running(new_server(env=settings(hook), extra=("--auth", "none"))) as s:
        s3 = Endpoint(s, "http").client()
        for name in ("native-a", "native-b"):
            s3.create_bucket(Bucket=name)
        ask_for(s3, "native-b", rule(*ALL))
        for i in range(3):
            assert requests.put(f"{s.http}/v1/objects/native-a/o{i}", data=b"x", timeout=30).status_code == 200
        assert requests.put(f"{s.http}/v1/objects/native-b/mine", data=b"xyz", timeout=30).status_code == 200
        eventually(lambda: hook.seen("native-b") == {("ObjectCreated:Put", "mine")})
        assert requests.delete(f"{s.http}/v1/objects/native-b/mine", timeout=30).status_code in (200, 204)
        eventually(lambda: ("ObjectRemoved:Delete", "mine") in hook.seen("native-b"))
        r = requests.post(f"{s.http}/v1/buckets/native-a", params={"bck_to": "ais/@#/native-b/"}, json={"action": "copy-bck", "value": {}}, timeout=30)
        assert r.status_code == 200, r.text
        eventually(lambda: {("ObjectCreated:Copy", f"o{i}") for i in range(3)} <= hook.seen("native-b"))
        job = requests.put(f"{s.http}/v1/buckets/native-a", params={"bck_to": "ais/@#/native-b/"}, timeout=30,
                           json={"action": "archive", "value": {"archname": "all.tar", "objnames": ["o0", "o1"], "tobck": {"name": "native-b", "provider": "ais"}, "mime": ".tar"}})
        assert job.status_code == 200, job.text
        eventually(lambda: ("ObjectCreated:Put", "all.tar") in hook.seen("native-b"))
        assert {r["userIdentity"]["principalId"] for r in hook.records("native-b") if r["eventName"] == "ObjectCreated:Copy"} == {"sluice"}


def test_what_ends_by_lifecycle_rules(s3, hook, bucket):
    ask_for(s3, bucket, rule(*ALL))
    s3.put_object(Bucket=bucket, Key="old", Body=b"1")
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [{"ID": "r", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": 1}}]})
    eventually(lambda: ("LifecycleExpiration:Delete", "old") in hook.seen(bucket), 30)
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert ("ObjectRemoved:Delete", "old") not in hook.seen(bucket)


def test_a_client_that_leaves_before_the_answer(s3, told, hook, bucket):
    ask_for(s3, bucket, rule("s3:ObjectCreated:*"))
    url = urllib.parse.urlparse(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "left"}))
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", told.port)) as c:
            c.sendall(f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 4\r\n\r\nleft".encode())
    eventually(lambda: s3.list_objects_v2(Bucket=bucket).get("KeyCount"))
    time.sleep(1)
    last = s3.head_object(Bucket=bucket, Key="left")
    assert last["ContentLength"] == 4
    assert hook.seen(bucket) == {("ObjectCreated:Put", "left")}


# ---- what fails ----


@pytest.fixture
def alone():
    """A server whose webhook is not there yet."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]

    class Absent:
        url = f"http://127.0.0.1:{port}/"

    server = srv.Server(tls=False, env=settings(Absent))
    yield server, port
    if server.process:
        srv.end(server)


def test_events_wait_through_kill_9(alone):
    server, port = alone
    s3 = Endpoint(server.start(), "http").client()
    s3.create_bucket(Bucket="events")
    ask_for(s3, "events", rule("s3:ObjectCreated:*"))
    for i in range(50):
        s3.put_object(Bucket="events", Key=f"k{i}", Body=b"x")
    server.kill()
    s3 = Endpoint(server.start(), "http").client()
    for i in range(50, 60):
        s3.put_object(Bucket="events", Key=f"k{i}", Body=b"x")
    with contextlib.closing(Webhook(port)) as hook:
        hook.status = 500
        time.sleep(1)
        hook.status = 200
        eventually(lambda: hook.seen("events") == {("ObjectCreated:Put", f"k{i}") for i in range(60)}, 40)
        eventually(lambda: server.metrics()['sluice_webhook_waiting{webhook="hook"}'] == 0)
        found = server.metrics()
        assert found['sluice_webhook_sent_total{webhook="hook"}'] >= 60 and found['sluice_webhook_failed_total{webhook="hook"}'] > 0
        assert found['sluice_webhook_dropped_total{webhook="hook"}'] == 0
        before = len(hook.messages)
        assert server.stop() == 0
        server.start()
        time.sleep(1)
        assert len(hook.messages) == before  # what was taken is not sent again
    assert "webhook does not take messages" in server.logs() and "takes messages again" in server.logs()


def test_a_queue_has_a_bound_and_a_time(alone):
    server, port = alone
    server.env |= {"SLUICE_NOTIFICATIONS_QUEUE": "10", "SLUICE_NOTIFICATIONS_KEEP": "2s"}
    s3 = Endpoint(server.start(), "http").client()
    s3.create_bucket(Bucket="events")
    ask_for(s3, "events", rule("s3:ObjectCreated:*"))
    for i in range(15):
        s3.put_object(Bucket="events", Key=f"k{i}", Body=b"x")  # a write doesn't fail for it
    dropped = 'sluice_webhook_dropped_total{webhook="hook"}'
    assert server.metrics()[dropped] == 5 and "messages to webhooks are dropped" in server.logs()
    eventually(lambda: server.metrics()[dropped] == 15, 30)
    with contextlib.closing(Webhook(port)) as hook:
        s3.put_object(Bucket="events", Key="new", Body=b"x")
        eventually(lambda: hook.seen("events") == {("ObjectCreated:Put", "new")}, 30)


def test_a_webhook_that_never_answers(alone):
    """Holds up neither writes, nor other webhooks, nor the end."""
    server, port = alone
    with socket.create_server(("127.0.0.1", port), backlog=64), contextlib.closing(Webhook()) as good:
        server.env |= {"SLUICE_NOTIFICATIONS_WEBHOOKS": f"hook=http://127.0.0.1:{port}/,other={good.url}"}
        s3 = Endpoint(server.start(), "http").client()
        s3.create_bucket(Bucket="events")
        ask_for(s3, "events", rule("s3:ObjectCreated:*", prefix="a", Id="a"), rule("s3:ObjectCreated:*", prefix="b", Id="b", arn="arn:aws:sns:::other"))
        began = time.monotonic()
        for i in range(20):
            s3.put_object(Bucket="events", Key=f"a{i}", Body=b"x")
            s3.put_object(Bucket="events", Key=f"b{i}", Body=b"x")
        eventually(lambda: len(good.seen("events")) == 20)
        assert time.monotonic() - began < 20
        began = time.monotonic()
        assert server.stop() == 0 and time.monotonic() - began < 10


def test_private_addresses_are_refused(hook):
    """CVE-2021-21287 and its kind: a webhook is no way into the server's own network."""
    env = settings(hook)
    env.pop("SLUICE_NOTIFICATIONS_PRIVATE")
    for url in (hook.url, f"http://localhost:{hook.port}/", f"http://[::ffff:127.0.0.1]:{hook.port}/", "http://169.254.169.254/latest/"):
        with srv.running(srv.Server(tls=False, env=env | {"SLUICE_NOTIFICATIONS_WEBHOOKS": f"hook={url}"})) as server:
            s3 = Endpoint(server, "http").client()
            s3.create_bucket(Bucket="private-b")
            ask_for(s3, "private-b", rule("s3:ObjectCreated:*"))
            s3.put_object(Bucket="private-b", Key="k", Body=b"x")
            eventually(lambda: "webhook does not take messages" in server.logs())
            assert hook.records("private-b") == [], url


@pytest.mark.parametrize("webhooks, word", [("hook", "http://"), ("a b=http://x/", "name"), ("a=http://x/,a=http://y/", "two"), ("a=ftp://x/", "http://"), ("=http://x/", "name"), ("a=http://u:p@x/", "user")])
def test_bad_settings_are_told(tmp_path, webhooks, word):
    server = srv.Server(tls=False, env={"SLUICE_NOTIFICATIONS_WEBHOOKS": webhooks})
    try:
        with pytest.raises(RuntimeError) as e:
            server.start(10)
        assert "notifications" in str(e.value) and word in str(e.value)
    finally:
        server.clean()


def test_without_webhooks(http_endpoint):
    s3 = http_endpoint.client()
    name = "untold-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    with pytest.raises(ClientError) as e:
        s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"QueueConfigurations": [rule("s3:ObjectCreated:*")]})
    assert e.value.response["Error"]["Code"] == "InvalidArgument" and "no webhook of that name" in str(e.value.response["Error"])
    s3.delete_bucket(Bucket=name)
