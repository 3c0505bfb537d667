"""The documents by which a bucket is configured: put, got, deleted, refused; and CORS as a browser sees it."""

import time
import uuid

import pytest
import requests
from botocore.exceptions import ClientError

RULE = {"AllowedOrigins": ["https://*.example.com", "http://exact"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["x-amz-*", "Content-Type"],
        "ExposeHeaders": ["ETag", "x-amz-request-id"], "MaxAgeSeconds": 300, "ID": "one"}


@pytest.fixture
def s3(http_endpoint):
    return http_endpoint.client()


@pytest.fixture
def bucket(s3):
    name = "settings-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name)
    yield name
    for o in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=o["Key"])
    s3.delete_bucket(Bucket=name)


def code(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response["Error"]["Code"]


def eventually(what, seconds=2.0):
    """Another gateway may know a moment later."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return what()
        except (AssertionError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def put_cors(s3, bucket, *rules):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(rules)})


# ---- tags ----


def test_tags_of_a_bucket(s3, bucket):
    assert code(s3.get_bucket_tagging, Bucket=bucket) == "NoSuchTagSet"
    tags = [{"Key": "team", "Value": "vision + audio @lab"}, {"Key": "ü", "Value": ""}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})

    def same():
        assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags

    eventually(same)
    s3.delete_bucket_tagging(Bucket=bucket)
    s3.delete_bucket_tagging(Bucket=bucket)

    def gone():
        assert code(s3.get_bucket_tagging, Bucket=bucket) == "NoSuchTagSet"

    eventually(gone)


@pytest.mark.parametrize("tags", [[("a", "1"), ("a", "2")], [("aws:x", "1")], [("k" * 129, "")], [("k", "v" * 257)],
                                  [(f"k{i}", "") for i in range(51)]])
def test_bad_tags_are_refused(s3, bucket, tags):
    assert code(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": [{"Key": k, "Value": v} for k, v in tags]}) == "InvalidTag"
    assert code(s3.get_bucket_tagging, Bucket=bucket) == "NoSuchTagSet"


def test_a_new_bucket_of_the_name_has_none_of_it(s3, bucket):
    put_cors(s3, bucket, RULE)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert code(s3.get_bucket_tagging, Bucket=bucket) == "NoSuchTagSet"
    assert code(s3.get_bucket_cors, Bucket=bucket) == "NoSuchCORSConfiguration"


# ---- those that can only say what is so ----


def test_what_can_only_be_off(s3, bucket):
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert code(s3.put_bucket_request_payment, Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"}) == "NotImplemented"
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "Suspended"})

    def suspended():
        assert s3.get_bucket_accelerate_configuration(Bucket=bucket)["Status"] == "Suspended"

    eventually(suspended)
    assert code(s3.put_bucket_accelerate_configuration, Bucket=bucket, AccelerateConfiguration={"Status": "Enabled"}) == "NotImplemented"
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert code(s3.put_bucket_logging, Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": "x", "TargetPrefix": ""}}) == "InvalidTargetBucketForLogging"
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    queue = {"QueueConfigurations": [{"QueueArn": "arn:aws:sqs:::q", "Events": ["s3:ObjectCreated:*"]}]}
    assert code(s3.put_bucket_notification_configuration, Bucket=bucket, NotificationConfiguration=queue) == "InvalidArgument"  # no such webhook


@pytest.mark.parametrize("body", [b"", b"<Tagging", b"<CORSConfiguration/>", b"<Other/>", b"<!DOCTYPE x><CORSConfiguration/>",
                                  b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
                                  b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>",
                                  b"<CORSConfiguration><Rule/></CORSConfiguration>"])
def test_malformed_documents(http_endpoint, s3, bucket, body):
    url = s3.generate_presigned_url("put_bucket_cors", Params={"Bucket": bucket, "CORSConfiguration": {"CORSRules": [RULE]}}, HttpMethod="PUT")
    r = requests.put(url, data=body, timeout=30)
    assert r.status_code == 400 and "<Code>MalformedXML</Code>" in r.text, r.text


# ---- CORS ----


@pytest.mark.parametrize("change", [{"AllowedMethods": ["PATCH"]}, {"AllowedOrigins": ["a*b*"]}, {"AllowedHeaders": ["*x*"]}, {"ExposeHeaders": ["x-*"]}])
def test_bad_cors_rules_are_refused(s3, bucket, change):
    assert code(lambda: put_cors(s3, bucket, RULE | change)) == "InvalidRequest"
    assert code(s3.get_bucket_cors, Bucket=bucket) == "NoSuchCORSConfiguration"


def test_more_than_100_cors_rules_are_refused(s3, bucket):
    put_cors(s3, bucket, *[{"AllowedOrigins": [f"http://{i}"], "AllowedMethods": ["GET"]} for i in range(100)])
    assert code(lambda: put_cors(s3, bucket, *[{"AllowedOrigins": [f"http://{i}"], "AllowedMethods": ["GET"]} for i in range(101)])) == "InvalidRequest"


def preflight(endpoint, path, origin, method, headers=None):
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return requests.options(endpoint.url + path, headers={k: v for k, v in asked.items() if v}, timeout=30)


def test_preflight(http_endpoint, s3, bucket):
    assert preflight(http_endpoint, f"/{bucket}/k", "https://a.example.com", "GET").status_code == 403
    put_cors(s3, bucket, RULE, {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"][0] == RULE

    def allowed():
        r = preflight(http_endpoint, f"/{bucket}/some/key", "https://a.example.com", "PUT", "X-Amz-Date, content-type")
        assert r.status_code == 200 and r.content == b"", r.text
        return r.headers

    h = eventually(allowed)
    assert h["Access-Control-Allow-Origin"] == "https://a.example.com" and h["Access-Control-Allow-Credentials"] == "true"
    assert h["Access-Control-Allow-Methods"] == "GET, PUT" and h["Access-Control-Allow-Headers"] == "X-Amz-Date, content-type"
    assert h["Access-Control-Max-Age"] == "300" and h["Access-Control-Expose-Headers"] == "ETag, x-amz-request-id" and "Origin" in h["Vary"]
    everybody = preflight(http_endpoint, f"/{bucket}", "http://anybody", "HEAD")
    assert everybody.status_code == 200 and everybody.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in everybody.headers
    for origin, method, headers, status in (("http://example.com", "GET", None, 403), ("https://a.example.com", "DELETE", None, 403),
                                            ("https://a.example.com", "GET", "authorization", 403), (None, "GET", None, 400), ("http://exact", None, None, 400)):
        r = preflight(http_endpoint, f"/{bucket}/k", origin, method, headers)
        assert r.status_code == status and "Access-Control-Allow-Origin" not in r.headers, (origin, method, r.status_code)
    assert preflight(http_endpoint, "/no-such-bucket-here/k", "http://exact", "GET").status_code == 403


def test_answers_to_other_sites(http_endpoint, s3, bucket):
    put_cors(s3, bucket, RULE)
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc")
    url = http_endpoint.presigned("get_object", Bucket=bucket, Key="k")

    def told():
        r = requests.get(url, headers={"Origin": "http://exact"}, timeout=30)
        assert r.content == b"abc" and r.headers["Access-Control-Allow-Origin"] == "http://exact", r.headers

    eventually(told)
    other = requests.get(url, headers={"Origin": "http://other"}, timeout=30)
    assert other.content == b"abc" and "Access-Control-Allow-Origin" not in other.headers
    assert "Access-Control-Allow-Origin" not in requests.get(url, timeout=30).headers
    missing = requests.get(http_endpoint.presigned("get_object", Bucket=bucket, Key="missing"), headers={"Origin": "http://exact"}, timeout=30)
    assert missing.status_code == 404 and missing.headers["Access-Control-Allow-Origin"] == "http://exact"
    refused = requests.get(f"{http_endpoint.url}/{bucket}/k", headers={"Origin": "http://exact"}, timeout=30)
    assert refused.status_code == 403 and refused.headers["Access-Control-Allow-Origin"] == "http://exact"
