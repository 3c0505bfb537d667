"""Fixtures for tests that drive a server with real S3 clients.

The server is SLUICE_ENDPOINT when set; otherwise the binary SLUICE_BIN (default build/release/sluice) is started on a free
port with a fresh data directory, and stopped at the end.
"""

import http.client
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid

import boto3
import pytest
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Server:
    """One running server: where it listens and who may use it."""

    def __init__(self, endpoint, access_key="test", secret_key="test-secret"):
        self.endpoint = endpoint
        self.access_key = access_key
        self.secret_key = secret_key
        self.host = urllib.parse.urlsplit(endpoint).netloc

    def client(self, **options):
        config = {"retries": {"max_attempts": 1}, "s3": {"addressing_style": "path"}}
        config.update(options)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            verify=False,
            config=Config(**config),
        )

    def presigned(self, method, **params):
        return self.client().generate_presigned_url(method, Params=params)


def start(binary, data, log):
    env = dict(os.environ, SLUICE_ACCESS_KEY="test", SLUICE_SECRET_KEY="test-secret")
    command = [str(binary), "serve", "--data", data, "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"https?://(127\.0\.0\.1:\d+)|listen\w*=\"?(127\.0\.0\.1:\d+)", pathlib.Path(log.name).read_text())
        if found:
            return process, "http://" + (found.group(1) or found.group(2))
        time.sleep(0.05)
    process.kill()
    raise RuntimeError("the server did not start:\n" + pathlib.Path(log.name).read_text())


@pytest.fixture(scope="session")
def server():
    endpoint = os.environ.get("SLUICE_ENDPOINT")
    if endpoint:
        yield Server(endpoint, os.environ.get("SLUICE_ACCESS_KEY", "test"), os.environ.get("SLUICE_SECRET_KEY", "test-secret"))
        return
    work = tempfile.mkdtemp(prefix="sluice-conformance-")
    data = os.path.join(work, "data")
    os.mkdir(data)
    with open(os.path.join(work, "log"), "w") as log:
        process, endpoint = start(os.environ.get("SLUICE_BIN", ROOT / "build/release/sluice"), data, log)
        yield Server(endpoint)
        process.terminate()
        try:
            status = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    text = pathlib.Path(work, "log").read_text()
    shutil.rmtree(work)
    assert status == 0, "the server ended with %d:\n%s" % (status, text[-4000:])


@pytest.fixture(scope="session")
def s3(server):
    return server.client()


@pytest.fixture
def bucket(s3):
    name = "t-" + uuid.uuid4().hex[:20]
    s3.create_bucket(Bucket=name)
    yield name
    for upload in s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    while True:
        page = s3.list_objects_v2(Bucket=name)
        if page.get("Contents"):
            s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in page["Contents"]], "Quiet": True})
        if not page["IsTruncated"]:
            break
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def http_request(server):
    """Sends one raw request, for what SDKs can't or won't send; answers (status, headers, body)."""

    def send(method, target, body=None, headers=None):
        url = urllib.parse.urlsplit(target)
        connection = http.client.HTTPConnection(server.host, timeout=30)
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
