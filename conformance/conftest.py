import http.client
import itertools
import os
import ssl
import sys
import threading
import urllib.parse
import uuid

import boto3
import pytest
from botocore.config import Config

import cluster as cl
import etl_kit
import server as srv
from docker_engine import docker_engine  # noqa: F401 the fixture
from kube_cluster import kube  # noqa: F401 the fixture

_names = itertools.count()


def pytest_addoption(parser):
    parser.addoption("--cluster", action="store_true", help="against 2 gateways and 3 targets instead of one server")
    parser.addoption("--http-only", action="store_true", help="leave out what is repeated over TLS")


def pytest_configure(config):
    config.addinivalue_line("markers", "xdist_group(name): pytest-xdist, where it is there, keeps the tests of a group together")


def pytest_report_header(config):
    return f"sluice binary: {srv.binary()}{', as a cluster' if config.getoption('--cluster') else ''}"


def pytest_collection_modifyitems(config, items):
    for item in items:
        if not config.getoption("--cluster") and item.path.name == "test_cluster.py":
            item.add_marker(pytest.mark.skip(reason="needs --cluster"))
        if config.getoption("--http-only") and getattr(item, "callspec", None) and item.callspec.params.get("scheme") == "https":
            item.add_marker(pytest.mark.skip(reason="--http-only"))


@pytest.fixture(scope="session")
def new_server(request):
    """Makes a server, or a cluster that looks like one."""

    def make(**kw):
        return cl.ClusterServer(**kw) if request.config.getoption("--cluster") else srv.Server(**kw)

    return make


@pytest.fixture(scope="session")
def server(new_server):
    with srv.running(new_server()) as s:
        yield s


@pytest.fixture(scope="module")
def open_server(new_server):
    """Serves everybody: for what isn't about who may."""
    with srv.running(new_server(extra=("--auth", "none"))) as s:
        yield s


@pytest.fixture(scope="module")
def client(open_server):
    """The AIStore SDK's."""
    sdk = pytest.importorskip("aistore.sdk", reason="the aistore SDK is not installed")
    return sdk.Client(open_server.http, timeout=60)


@pytest.fixture(scope="session")
def etl_settings():
    """Those of a server that runs ETLs."""
    return {"SLUICE_ETL_IMAGES": f"aistorage/runtime_python:*={sys.executable} {etl_kit.EXAMPLES / 'runtime_python.py'}"}


@pytest.fixture(scope="session")
def etl_server(new_server, etl_settings):
    with srv.running(new_server(extra=("--auth", "none"), env=etl_settings)) as s:
        r = etl_kit.Etls(s).put({"name": "is-there-a-sandbox", "communication": "io://", "runtime": {"command": ["cat"]}})
        if r.status_code != 200 and "etl.isolation" in r.text:
            pytest.skip(f"no sandboxes here: {r.text}")
        assert r.status_code == 200, r.text
        etl_kit.Etls(s).delete("is-there-a-sandbox")
        yield s


@pytest.fixture(scope="session")
def etls(etl_server):
    return etl_kit.Etls(etl_server)


@pytest.fixture
def etl_sdk(etl_server):
    """The AIStore SDK's client of it."""
    sdk = pytest.importorskip("aistore.sdk", reason="the aistore SDK is not installed")
    return sdk.Client(etl_server.http, timeout=60)


@pytest.fixture(params=["http", "https"])
def scheme(request):
    return request.param


def close_connection(request, **_):
    request.headers["Connection"] = "close"


class Endpoint:
    """Where a client connects: URL, credentials, and the CA to trust."""

    def __init__(self, server, scheme):
        self.server, self.scheme = server, scheme
        self.url = server.http if scheme == "http" else server.https
        self.host = self.url.split("//")[1]
        self.port = server.port if scheme == "http" else server.tls_port
        self.ca = str(server.cert) if scheme == "https" else None
        self.access_key, self.secret_key = srv.ACCESS_KEY, srv.SECRET_KEY
        self.alternates = isinstance(server, cl.ClusterServer)

    def env(self, ca: bool = True) -> dict:
        e = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        e.update(AWS_ACCESS_KEY_ID=self.access_key, AWS_SECRET_ACCESS_KEY=self.secret_key, AWS_DEFAULT_REGION="us-east-1",
                 AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
        if ca and self.ca:
            e["AWS_CA_BUNDLE"] = self.ca
        return e

    def client(self, secret=None, access=None, **config):
        config.setdefault("s3", {"addressing_style": "path"})
        config.setdefault("retries", {"max_attempts": 0})
        client = boto3.client("s3", endpoint_url=self.url, aws_access_key_id=access or self.access_key,
                              aws_secret_access_key=secret or self.secret_key, region_name=config.pop("region", "us-east-1"),
                              verify=self.ca or False, config=Config(**config))
        if self.alternates:  # a connection per request, so that the kernel spreads requests over the gateways
            client.meta.events.register("before-send.s3", close_connection)
        return client

    def presigned(self, method, **params):
        return self.client().generate_presigned_url(method, Params=params)

    def connection(self):
        if self.ca:
            return http.client.HTTPSConnection("localhost", self.port, timeout=30, context=ssl.create_default_context(cafile=self.ca))
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)


@pytest.fixture
def endpoint(server, scheme):
    return Endpoint(server, scheme)


@pytest.fixture
def http_endpoint(server):
    return Endpoint(server, "http")


@pytest.fixture
def s3(endpoint):
    return endpoint.client()


def new_bucket_name() -> str:
    return f"b{next(_names)}-{uuid.uuid4().hex[:12]}"


def empty_bucket(s3, name):
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for u in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=u["Key"], UploadId=u["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        keys = [{"Key": o["Key"]} for o in page.get("Contents", [])]
        if keys:
            s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})


@pytest.fixture
def bucket(s3):
    name = new_bucket_name()
    s3.create_bucket(Bucket=name)
    yield name
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def http_request(endpoint):
    """Sends one raw request, for what SDKs can't or won't send; answers (status, headers, body)."""

    def send(method, target, body=None, headers=None):
        url = urllib.parse.urlsplit(target)
        connection = endpoint.connection()
        path = url.path + ("?" + url.query if url.query else "")
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None and "Content-Length" not in (headers or {}):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        answer = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        connection.close()
        return answer

    return send


@pytest.fixture
def run_together():
    """Runs functions at the same time in threads; answers their results or exceptions in order."""

    def run(*functions):
        results = [None] * len(functions)
        barrier = threading.Barrier(len(functions))

        def one(i):
            barrier.wait()
            try:
                results[i] = functions[i]()
            except Exception as e:  # the caller looks at it
                results[i] = e

        threads = [threading.Thread(target=one, args=(i,)) for i in range(len(functions))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return results

    return run
