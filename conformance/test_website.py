"""Buckets as websites: what a browser gets from BUCKET.<website domain>."""

import json
import uuid

import pytest
import requests
from botocore.exceptions import ClientError

import server as srv
from conftest import Endpoint, empty_bucket
from test_identities import client, code
from test_s3_policy import eventually

DOMAIN = "sites.test"


@pytest.fixture(scope="module")
def endpoint(new_server):
    with srv.running(new_server(extra=("--website-domains", DOMAIN))) as s:
        yield Endpoint(s, "http")


@pytest.fixture
def s3(endpoint):
    return client(endpoint, "s3")


@pytest.fixture
def site(s3):
    """A public bucket with pages, not yet a website."""
    name = "site-" + uuid.uuid4().hex[:8]
    s3.create_bucket(Bucket=name)
    for key, body in (("index.html", b"<p>home"), ("docs/index.html", b"<p>docs"), ("a b/\u00fc.html", b"<p>odd"), ("error.html", b"<p>sorry"), ("private/x", b"secret")):
        s3.put_object(Bucket=name, Key=key, Body=body, ContentType="text/html")
    read = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
    keep = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/private/*"}
    listing = {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{name}"}
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [read, keep, listing]}))
    yield name
    s3.delete_bucket_policy(Bucket=name)
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def get(endpoint, site):
    def get(path, method="GET", host=None, **headers):
        return requests.request(method, endpoint.url + path, headers={"Host": host or f"{site}.{DOMAIN}", "Connection": "close", **headers}, allow_redirects=False, timeout=30)

    return get


def put(s3, site, **kw):
    s3.put_bucket_website(Bucket=site, WebsiteConfiguration=kw)


def configured(s3, get, site, **kw):
    put(s3, site, **kw)
    eventually(lambda: [get("/").status_code for _ in range(6)] == [200] * 6 or pytest.fail())


INDEX = {"IndexDocument": {"Suffix": "index.html"}}


def test_pages(s3, get, site):
    configured(s3, get, site, **INDEX)
    home = get("/")
    assert home.content == b"<p>home" and home.headers["Content-Type"] == "text/html" and "ETag" in home.headers
    assert get("/docs/").content == b"<p>docs"
    assert get("/a%20b/%C3%BC.html").content == b"<p>odd"
    assert get("/?list-type=2&x=1").content == b"<p>home"  # queries are the pages' own
    assert get("/?acl").content == b"<p>home"
    there = get("/docs")
    assert there.status_code == 302 and there.headers["Location"].endswith(f"//{site}.{DOMAIN}/docs/")
    head = get("/", "HEAD")
    assert head.status_code == 200 and head.headers["Content-Length"] == "7" and head.content == b""
    assert get("/", **{"If-None-Match": home.headers["ETag"]}).status_code == 304
    assert get("/", Range="bytes=1-2").content == b"p>"
    # signatures count for nothing, good ones and bad ones
    assert get("/", Authorization="AWS4-HMAC-SHA256 nonsense").content == b"<p>home"


def test_errors_are_pages(s3, get, site):
    configured(s3, get, site, **INDEX)
    lost = get("/none<b>")
    assert lost.status_code == 404 and lost.headers["Content-Type"] == "text/html; charset=utf-8" and b"Code: NoSuchKey" in lost.content and b"<b>" not in lost.content
    assert get("/private/x").status_code == 403 and b"secret" not in get("/private/x").content
    assert get("/none", "HEAD").content == b""
    for method in ("PUT", "POST", "DELETE", "OPTIONS"):
        assert get("/index.html", method).status_code == 405
    assert get("/", host=f"never-{site}.{DOMAIN}").status_code in (403, 404)
    configured(s3, get, site, **INDEX, ErrorDocument={"Key": "error.html"})
    eventually(lambda: get("/none").content == b"<p>sorry" or pytest.fail())
    lost = get("/none")
    assert lost.status_code == 404 and lost.content == b"<p>sorry"
    assert get("/private/x").status_code == 403
    configured(s3, get, site, **INDEX, ErrorDocument={"Key": "not-there"})
    eventually(lambda: b"NoSuchKey" in get("/none").content or pytest.fail())


def test_nobody_gets_what_is_not_public(s3, get, site):
    configured(s3, get, site, **INDEX)
    s3.delete_bucket_policy(Bucket=site)
    eventually(lambda: [get("/").status_code for _ in range(6)] == [403] * 6 or pytest.fail())
    assert get("/none").status_code == 403  # nor whether it is there
    assert b"home" not in get("/").content


def test_redirections(s3, get, site):
    s3.put_object(Bucket=site, Key="old", Body=b"", WebsiteRedirectLocation="/docs/")
    rules = [{"Condition": {"KeyPrefixEquals": "img/"}, "Redirect": {"HostName": "cdn.test", "Protocol": "https", "ReplaceKeyPrefixWith": "i m/", "HttpRedirectCode": "307"}},
             {"Condition": {"KeyPrefixEquals": "gone", "HttpErrorCodeReturnedEquals": "404"}, "Redirect": {"ReplaceKeyWith": "docs/"}}]
    configured(s3, get, site, **INDEX, RoutingRules=rules)
    eventually(lambda: get("/img/x").status_code == 307 or pytest.fail())
    assert get("/img/a%20b").headers["Location"] == "https://cdn.test/i%20m/a%20b"
    to = get("/gone-for-good")
    assert to.status_code == 301 and to.headers["Location"] == f"http://{site}.{DOMAIN}/docs/"
    assert get("/other").status_code == 404
    to = get("/old")
    assert to.status_code == 301 and to.headers["Location"] == "/docs/"
    put(s3, site, RedirectAllRequestsTo={"HostName": "other.test", "Protocol": "https"})
    eventually(lambda: get("/").status_code == 301 or pytest.fail())
    assert get("/x/y%2Fz?q=1").headers["Location"] == "https://other.test/x/y/z"


def test_the_document(s3, get, site):
    assert code(s3.get_bucket_website, Bucket=site) == "NoSuchWebsiteConfiguration"
    assert get("/").status_code == 404 and b"NoSuchWebsiteConfiguration" in get("/").content
    rules = [{"Condition": {"KeyPrefixEquals": "a&b"}, "Redirect": {"HttpRedirectCode": "302", "ReplaceKeyWith": "c"}}]
    put(s3, site, **INDEX, ErrorDocument={"Key": "e<>"}, RoutingRules=rules)
    got = eventually(lambda: s3.get_bucket_website(Bucket=site))
    assert got["IndexDocument"] == INDEX["IndexDocument"] and got["ErrorDocument"] == {"Key": "e<>"} and got["RoutingRules"] == rules
    s3.delete_bucket_website(Bucket=site)
    eventually(lambda: code(s3.get_bucket_website, Bucket=site) == "NoSuchWebsiteConfiguration" or pytest.fail())


@pytest.mark.parametrize("kw", [{}, {"ErrorDocument": {"Key": "x"}}, {"IndexDocument": {"Suffix": "a/b"}}, {"IndexDocument": {"Suffix": "x"}, "RedirectAllRequestsTo": {"HostName": "x"}},
                                {"RedirectAllRequestsTo": {"HostName": "a/b"}}, {**INDEX, "RoutingRules": [{"Redirect": {"HttpRedirectCode": "200"}}]},
                                {**INDEX, "RoutingRules": [{"Redirect": {"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}}]},
                                {**INDEX, "RoutingRules": [{"Redirect": {"HostName": "x\r\nX-Evil: 1"}}]},
                                {**INDEX, "RoutingRules": [{"Condition": {"HttpErrorCodeReturnedEquals": "200"}, "Redirect": {"ReplaceKeyWith": "a"}}]},
                                {**INDEX, "RoutingRules": [{"Redirect": {"ReplaceKeyWith": str(i)}} for i in range(51)]}])
def test_documents_that_are_none(s3, site, kw):
    with pytest.raises(ClientError) as e:
        put(s3, site, **kw)
    assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert code(s3.get_bucket_website, Bucket=site) == "NoSuchWebsiteConfiguration"
