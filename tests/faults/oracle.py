"""Writers whose every promise is remembered, and the check of a store against it.

Each key has one writer, so its history is a sequence of generations: what the store answered is a promise, a request without an answer may or
may not have happened. A state (after a crash, or of a snapshot taken between t0 and t1) is right when every key holds the last generation
promised before t0 or one begun after it and before t1, whole; keys are listed exactly when they can be read.
"""

import hashlib
import os
import random
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ABSENT = "absent"


def client(url, access, secret):
    return boto3.client("s3", endpoint_url=url, aws_access_key_id=access, aws_secret_access_key=secret, region_name="us-east-1",
                        config=Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=60, max_pool_connections=4,
                                      s3={"addressing_style": "path", "payload_signing_enabled": False}))


class Generation:
    __slots__ = ("digest", "begun", "acked", "what")

    def __init__(self, digest, what):
        self.digest, self.what = digest, what
        self.begun, self.acked = time.monotonic(), None


class Oracle:
    def __init__(self):
        self.history: dict[str, list[Generation]] = {}
        self.lock = threading.Lock()

    def begin(self, key, digest, what) -> Generation:
        g = Generation(digest, what)
        with self.lock:
            self.history.setdefault(key, []).append(g)
        return g

    def allowed(self, key, t0=None, t1=None) -> list[Generation]:
        """Generations that may be seen in a state taken between t0 and t1 (default: now)."""
        out = []
        for g in self.history[key]:
            if t1 is not None and g.begun > t1:
                break
            if g.acked is not None and (t0 is None or g.acked <= t0):
                out = [g]
            else:
                out.append(g)
        if not any(g.acked is not None and (t0 is None or g.acked <= t0) for g in out):
            out.append(Generation(ABSENT, "never promised"))
        return out

    def settle(self, key, digest):
        """After a check: what was seen is now the truth, so that a lost request can't come true later unnoticed."""
        g = Generation(digest, "seen after recovery")
        g.acked = g.begun
        self.history[key] = [g]


class Load:
    """Writers over one bucket until stop(); errors other than a lost server are kept in `errors`."""

    def __init__(self, url, access, secret, bucket, oracle, writers=4, keys=12, size_max=2 << 20, seed=0, tolerate=()):
        self.args = (url, access, secret)
        self.bucket, self.oracle, self.keys, self.size_max = bucket, oracle, keys, size_max
        self.tolerate = set(tolerate)
        self.errors, self.acks = [], 0
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(i, seed + i), daemon=True) for i in range(writers)]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def stop(self):
        self.ending.set()
        for t in self.threads:
            t.join(90)
            assert not t.is_alive(), "a writer hangs"

    def _size(self, rnd):
        return rnd.choice([0, 1, 100, 4096, 16384, 16385, 100000, rnd.randrange(1, self.size_max)])

    def _write(self, writer, seed):
        rnd = random.Random(seed)
        s3 = client(*self.args)
        while not self.ending.is_set():
            key = f"w{writer}/k{rnd.randrange(self.keys)}"
            try:
                self._one(s3, rnd, key)
                self.acks += 1
            except ClientError as e:
                code = e.response["Error"]["Code"]
                if code not in self.tolerate:
                    self.errors.append(f"{key}: {e}")
                    return
                time.sleep(0.05)
            except (BotoCoreError, OSError):
                return  # the server is gone: the request's fate is unknown

    def _one(self, s3, rnd, key):
        kind = rnd.choices(["put", "delete", "copy", "multipart"], [60, 15, 15, 10])[0]
        where = {"Bucket": self.bucket, "Key": key}
        if kind == "delete":
            g = self.oracle.begin(key, ABSENT, kind)
            s3.delete_object(**where)
        elif kind == "copy":
            source = f"{key.split('/')[0]}/copysource"
            body = os.urandom(self._size(rnd))
            first = self.oracle.begin(source, hashlib.sha256(body).hexdigest(), "put")
            s3.put_object(Bucket=self.bucket, Key=source, Body=body)
            first.acked = time.monotonic()
            g = self.oracle.begin(key, first.digest, kind)
            s3.copy_object(**where, CopySource={"Bucket": self.bucket, "Key": source})
        elif kind == "multipart":
            bodies = [os.urandom(5 << 20), os.urandom(rnd.randrange(1, 100000))]
            upload = s3.create_multipart_upload(**where)["UploadId"]
            parts = [{"PartNumber": n, "ETag": s3.upload_part(**where, UploadId=upload, PartNumber=n, Body=b)["ETag"]}
                     for n, b in enumerate(bodies, 1)]
            g = self.oracle.begin(key, hashlib.sha256(b"".join(bodies)).hexdigest(), kind)
            s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
        else:
            body = os.urandom(self._size(rnd))
            g = self.oracle.begin(key, hashlib.sha256(body).hexdigest(), kind)
            s3.put_object(**where, Body=body)
        g.acked = time.monotonic()


def check(s3, bucket, oracle, t0=None, t1=None, settle=True) -> int:
    """Raises AssertionError naming every violation; returns the number of keys checked."""
    wrong, readable = [], set()
    for key in sorted(oracle.history):
        allowed = oracle.allowed(key, t0, t1)
        try:
            r = s3.get_object(Bucket=bucket, Key=key)
            body = r["Body"].read()
            seen = hashlib.sha256(body).hexdigest()
            readable.add(key)
            if len(body) != r["ContentLength"]:
                wrong.append(f"{key}: length {len(body)} instead of {r['ContentLength']}")
        except ClientError as e:
            if e.response["Error"]["Code"] != "NoSuchKey":
                wrong.append(f"{key}: {e}")
                continue
            seen = ABSENT
        if seen not in [g.digest for g in allowed]:
            wrong.append(f"{key}: holds {seen[:12]}, allowed are {[(g.what, g.digest[:12], g.acked is not None) for g in allowed]}")
        elif settle:
            oracle.settle(key, seen)
    listed = {o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for o in p.get("Contents", [])}
    if listed != readable:
        wrong.append(f"listed but not readable: {sorted(listed - readable)}; readable but not listed: {sorted(readable - listed)}")
    assert not wrong, "\n".join(wrong[:20])
    return len(oracle.history)
