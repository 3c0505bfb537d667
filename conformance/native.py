"""A small client of the native API, and the tokens that it wants."""

import base64
import hashlib
import hmac

import itertools
import json
import time
import urllib.parse
import uuid

_names = itertools.count()


def token(access_key: str, secret_key: str, expires: int = 3600, **claims) -> str:
    """What `sluice token` prints."""
    key = hmac.new(secret_key.encode(), b"sluice native API token key 1", hashlib.sha256).digest()

    def part(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    now = int(time.time())
    text = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps({"sub": access_key, "iat": now, "exp": now + expires, **claims}).encode())
    return (text + b"." + part(hmac.new(key, text, hashlib.sha256).digest())).decode()


class Native:
    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.token = token(endpoint.access_key, endpoint.secret_key)

    def ask(self, method, path, body=None, headers=None, **query):
        """Status, headers and body of an answer; `path` behind /v1."""
        connection = self.endpoint.connection()
        target = "/v1" + urllib.parse.quote(path) + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def action(self, method, path, action, value=None, name="", **query):
        return self.ask(method, path, json.dumps({"action": action, "name": name, "value": value}), {"Content-Type": "application/json"},
                        **{"provider": "ais", **query})

    def new_bucket(self) -> str:
        name = f"n{next(_names)}-{uuid.uuid4().hex[:12]}"
        status, _, text = self.action("POST", "/buckets/" + name, "create-bck")
        assert status == 200, text
        return name

    def destroy(self, bucket):
        assert self.action("DELETE", "/buckets/" + bucket, "destroy-bck")[0] == 200

    def put(self, bucket, key, content):
        status, _, text = self.ask("PUT", f"/objects/{bucket}/{key}", content, provider="ais")
        assert status == 200, text

    def get(self, bucket, key, **query) -> bytes:
        status, _, content = self.ask("GET", f"/objects/{bucket}/{key}", provider="ais", **query)
        assert status == 200, content
        return content

    def names(self, bucket, prefix="", flags=0) -> list[str]:
        found, after = [], ""
        while True:
            status, _, text = self.action("GET", "/buckets/" + bucket, "list", {"prefix": prefix, "continuation_token": after, "flags": str(flags)})
            assert status == 200, text
            page = json.loads(text)
            found += [e["name"] for e in page.get("entries") or []]
            after = page.get("continuation_token", "")
            if not after:
                return found

    def job(self, kind, spec, timeout=60) -> dict:
        """Starts a job and waits for its end."""
        status, _, text = self.ask("POST", "/jobs", json.dumps({"kind": kind, "spec": spec}), {"Content-Type": "application/json"})
        assert status == 200, text
        job_id, deadline = json.loads(text)["id"], time.monotonic() + timeout
        while True:
            job = json.loads(self.ask("GET", "/jobs/" + job_id)[2])
            if job["state"] != "running":
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.02)

    def job_refused(self, kind, spec) -> str:
        status, _, text = self.ask("POST", "/jobs", json.dumps({"kind": kind, "spec": spec}), {"Content-Type": "application/json"})
        assert status == 400, (status, text)
        return json.loads(text)["message"]
