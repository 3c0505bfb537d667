"""Uploads from HTML forms: POST to a bucket, with a policy that is signed by version 4 or 2."""

import base64
import datetime
import hashlib
import hmac
import json
import os
import socket
import ssl

import pytest
import requests

KEY = "dir/a b+ü"


def expires(seconds=600):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Form:
    """The fields of a form and its policy, changed as a test wants, then signed."""

    def __init__(self, endpoint, bucket, version=4):
        self.endpoint, self.bucket, self.version = endpoint, bucket, version
        self.fields = {"key": KEY}
        self.conditions = [{"bucket": bucket}, ["starts-with", "$key", "dir/"]]
        self.document = None  # instead of the policy
        self.unsigned = {}  # fields that the policy does not know
        self.secret = endpoint.secret_key

    def add(self, name, value):
        self.fields[name] = value
        self.conditions.append(["eq", "$" + name, value])
        return self

    def signed(self):
        conditions, fields = list(self.conditions), dict(self.fields)
        now = datetime.datetime.now(datetime.timezone.utc)
        if self.version == 4:
            day = now.strftime("%Y%m%d")
            own = {"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": f"{self.endpoint.access_key}/{day}/us-east-1/s3/aws4_request",
                   "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ")}
            conditions += [{k: v} for k, v in own.items()]
            fields |= own
        policy = base64.b64encode(json.dumps(self.document or {"expiration": expires(), "conditions": conditions}).encode()).decode()
        fields["policy"] = policy
        if self.version == 4:
            key = b"AWS4" + self.secret.encode()
            for part in (day, "us-east-1", "s3", "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            fields["x-amz-signature"] = hmac.new(key, policy.encode(), hashlib.sha256).hexdigest()
        else:
            fields["AWSAccessKeyId"] = self.endpoint.access_key
            fields["signature"] = base64.b64encode(hmac.new(self.secret.encode(), policy.encode(), hashlib.sha1).digest()).decode()
        return fields | self.unsigned

    def post(self, body=b"content", filename="some file.bin", fields=None):
        fields = self.signed() if fields is None else fields
        parts = [(k, (None, v)) for k, v in fields.items()] + [("file", (filename, body))]
        return requests.post(f"{self.endpoint.url}/{self.bucket}", files=parts, verify=self.endpoint.ca or True, timeout=60, allow_redirects=False)


def code(r):
    return r.status_code, r.text.partition("<Code>")[2].partition("</Code>")[0]


@pytest.fixture(params=[4, 2])
def form(request, endpoint, bucket):
    return Form(endpoint, bucket, request.param)


@pytest.fixture
def form4(endpoint, bucket):
    return Form(endpoint, bucket)


def body_of(s3, bucket, key=KEY):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


@pytest.mark.parametrize("size", [0, 1, 70_000, 6 << 20])
def test_upload(s3, bucket, form, size):
    body = os.urandom(size)
    r = form.post(body)
    assert r.status_code == 204 and not r.content, r.text
    assert r.headers["ETag"].strip('"') == hashlib.md5(body).hexdigest()
    assert body_of(s3, bucket) == body


def test_what_boto3_makes(s3, bucket, endpoint):
    for region in ("us-east-1", "eu-central-1"):
        p = endpoint.client(region=region).generate_presigned_post(bucket, "up/${filename}", Fields={"acl": "private"},
                                                                   Conditions=[{"acl": "private"}, ["content-length-range", 1, 10]])
        r = requests.post(p["url"], data=p["fields"], files={"file": ("x.txt", b"12345")}, verify=endpoint.ca or True, timeout=30)
        assert r.status_code == 204, r.text
        assert body_of(s3, bucket, "up/x.txt") == b"12345"


def test_bytes_that_look_like_the_end(s3, bucket, form4):
    tail = b"\r\n--" + b"x" * 40
    body = (b"\r\n--\r\n-" + tail) * 5000 + b"\r"
    assert form4.post(body).status_code == 204
    assert body_of(s3, bucket) == body


def test_headers_and_tags(s3, bucket, form4):
    form4.add("Content-Type", "image/x").add("Cache-Control", "no-store").add("x-amz-meta-Name", "välue").add("acl", "private")
    form4.add("tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>")
    form4.add("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(b"content").digest()).decode())
    r = form4.post()
    assert r.status_code == 204, r.text
    got = s3.get_object(Bucket=bucket, Key=KEY, ChecksumMode="ENABLED")
    assert got["ContentType"] == "image/x" and got["CacheControl"] == "no-store" and got["TagCount"] == 1 and "ChecksumSHA256" in got
    assert list(got["Metadata"]) == ["name"]


def test_wrong_checksum(s3, bucket, form4):
    form4.add("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(b"other").digest()).decode())
    assert code(form4.post()) == (400, "BadDigest")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_answers(s3, bucket, form4):
    etag = hashlib.md5(b"content").hexdigest()
    for status, want in (("200", 200), ("201", 201), ("404", 204)):
        form4.conditions, form4.fields = form4.conditions[:2], {"key": KEY}
        r = form4.add("success_action_status", status).post()
        assert r.status_code == want
        if want == 201:
            assert f"<Bucket>{bucket}</Bucket>" in r.text and etag in r.text and "<Key>dir/a b+ü</Key>" in r.content.decode()
            assert r.headers["Location"].endswith(f"/{bucket}/dir/a%20b%2B%C3%BC")
    for to, sep in (("http://there.example/x", "?"), ("https://there.example/x?y=1", "&")):
        form4.conditions, form4.fields = form4.conditions[:2], {"key": KEY}
        r = form4.add("success_action_redirect", to).post()
        assert r.status_code == 303
        assert r.headers["Location"] == f"{to}{sep}bucket={bucket}&key=dir%2Fa%20b%2B%C3%BC&etag=%22{etag}%22"
    form4.conditions, form4.fields = form4.conditions[:2], {"key": KEY}
    assert form4.add("success_action_redirect", "javascript:alert(1)").post().status_code == 204


def test_filename(s3, bucket, form4):
    form4.fields["key"] = "dir/${filename}-${filename}"
    assert form4.post(filename="C:\\My Files\\x y.txt").status_code == 204
    assert body_of(s3, bucket, "dir/x y.txt-x y.txt") == b"content"


@pytest.mark.parametrize("size, want", [(2, (400, "EntityTooSmall")), (3, (204, "")), (5, (204, "")), (6, (400, "EntityTooLarge")), (4 << 20, (400, "EntityTooLarge"))])
def test_length_range(s3, bucket, form4, size, want):
    form4.conditions.append(["content-length-range", 3, 5])
    assert code(form4.post(b"x" * size)) == want
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == (want[0] == 204)


def test_policy_is_held_to(s3, bucket, form):
    refused = [
        {"fields": {"key": "elsewhere/x"}},
        {"unsigned": {"x-amz-meta-extra": "1"}},
        {"conditions": [{"bucket": "another"}, ["starts-with", "$key", ""]]},
        {"conditions": [{"bucket": bucket}]},  # nothing about the key
        {"conditions": form.conditions + [["eq", "$x-amz-meta-a", "1"]]},  # not in the form
        {"document": {"expiration": "2020-01-01T00:00:00Z", "conditions": form.conditions}},
    ]
    for change in refused:
        f = Form(form.endpoint, bucket, form.version)
        f.__dict__.update(change)
        assert code(f.post()) == (403, "AccessDenied"), change
    form.unsigned = {"x-ignore-me": "1"}
    form.conditions = [{"BUCKET": bucket}, ["StArTs-WiTh", "$KeY", "dir"]]
    assert form.post().status_code == 204


@pytest.mark.parametrize("document", [
    {"conditions": []}, {"expiration": expires()}, {"EXPIRATION": expires(), "conditions": []}, {"expiration": expires(), "CONDITIONS": []},
    {"expiration": "tomorrow", "conditions": []}, {"expiration": expires(), "conditions": [{}]}, {"expiration": expires(), "conditions": ["x"]},
    {"expiration": expires(), "conditions": [["content-length-range", 0]]}, {"expiration": expires(), "conditions": [["content-length-range", -1, 5]]},
    {"expiration": expires(), "conditions": [["like", "$key", "x"]]}, {"expiration": expires(), "conditions": [["eq", "key", "x"]]},
    {"expiration": expires(), "conditions": {"key": "x"}}, ["x"],
])
def test_bad_policies(form4, document):
    form4.document = document
    assert code(form4.post()) == (400, "InvalidPolicyDocument")


def test_signatures(bucket, form):
    good = form.signed()
    form.secret = "not the secret"
    assert code(form.post()) == (403, "SignatureDoesNotMatch")
    for name in good:
        if name in ("key", "policy"):
            continue
        left_out = {k: v for k, v in good.items() if k != name}
        assert code(form.post(fields=left_out)) == (400, "InvalidArgument"), name
    other = {k: v.replace(form.endpoint.access_key, "NOSUCHKEY") for k, v in good.items()}
    assert code(form.post(fields=other)) == (403, "InvalidAccessKeyId")
    assert code(form.post(fields={k: v for k, v in good.items() if k != "policy"})) == (400, "InvalidArgument")
    assert code(form.post(fields={"key": KEY})) == (403, "AccessDenied")
    assert code(form.post(fields={k: v for k, v in good.items() if k != "key"})) == (400, "InvalidArgument")
    assert code(form.post(fields=good | {"x-amz-security-token": "t"})) == (400, "InvalidToken")


def test_what_is_not_there_or_not_built(s3, endpoint, bucket, form4):
    assert code(Form(endpoint, "no-such-bucket-1").post()) == (404, "NoSuchBucket")
    assert code(form4.add("x-amz-server-side-encryption", "aws:kms").post()) == (501, "NotImplemented")
    f = Form(endpoint, bucket).add("x-amz-meta-a", "line\nbreak")
    assert code(f.post()) == (400, "InvalidArgument")
    f = Form(endpoint, bucket).add("x-amz-meta-a", "x" * 30_000)
    assert code(f.post()) == (400, "MaxPostPreDataLengthExceededError")
    f = Form(endpoint, bucket)
    f.fields["key"] = "dir/" + "x" * 1100
    assert code(f.post()) == (400, "KeyTooLongError")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def send(endpoint, bucket, body, content_type="multipart/form-data; boundary=b", length=None):
    s = socket.create_connection(("127.0.0.1" if not endpoint.ca else "localhost", endpoint.port), timeout=30)
    if endpoint.ca:
        s = ssl.create_default_context(cafile=endpoint.ca).wrap_socket(s, server_hostname="localhost")
    with s:
        s.sendall(f"POST /{bucket} HTTP/1.1\r\nHost: h\r\nContent-Type: {content_type}\r\nContent-Length: {length or len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        if length:
            return None
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    return int(answer.split()[1]), answer.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


def raw(fields, tail):
    return b"".join(b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (k.encode(), v.encode()) for k, v in fields.items()) + tail


@pytest.mark.parametrize("tail", [b"", b"--b--\r\n", b"--b\r\nX\r\n\r\n", b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nno end',
                                  b'--b\r\nContent-Disposition: form-data; name="file"; filename="x\r\n\r\nx\r\n--b--\r\n', b"--b\r\n\r\nx\r\n--b--\r\n", b"--c\r\n"])
def test_malformed(s3, endpoint, bucket, form4, tail):
    status, name = send(endpoint, bucket, raw(form4.signed(), tail))
    assert status == 400 and name in ("MalformedPOSTRequest", "InvalidArgument"), name
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_other_content_types(endpoint, bucket):
    for content_type in ("text/plain", "multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 71}"):
        assert send(endpoint, bucket, b"x", content_type) == (412, "PreconditionFailed")


def test_in_small_pieces_and_what_follows(s3, endpoint, bucket, form4):
    body = raw(form4.signed(), b'--b\r\ncontent-disposition: form-data; filename=x; name="FILE"\r\nContent-Type: text/x\r\n\r\nabc\r\n--b\r\n'
                               b'Content-Disposition: form-data; name="x-amz-meta-late"\r\n\r\nignored\r\n--b--\r\nepilogue')
    connection = endpoint.connection()
    connection.putrequest("POST", f"/{bucket}")
    connection.putheader("Content-Type", 'multipart/form-data; charset=x; boundary="b"')
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    for at in range(0, len(body), 7):
        connection.send(body[at:at + 7])
    assert connection.getresponse().status == 204
    got = s3.get_object(Bucket=bucket, Key=KEY)
    assert got["Body"].read() == b"abc" and got["Metadata"] == {} and got["ContentType"] == "binary/octet-stream"


def test_a_client_that_leaves(s3, endpoint, bucket, form4):
    send(endpoint, bucket, raw(form4.signed(), b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + b"x" * 100_000), length=10 << 20)
    assert form4.post(b"after").status_code == 204
    assert body_of(s3, bucket) == b"after"
