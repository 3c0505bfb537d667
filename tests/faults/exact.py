"""Clients that know every right answer: each owns a prefix, works on it alone, and compares all that it is told.

A request without an answer (a killed gateway, a 503) leaves its key uncertain: it may hold the old or the new state, and may still change
when a request that was given up takes effect late. Such keys are left alone until settle().
"""

import hashlib
import os
import random
import threading
import time

import oracle as orc
from botocore.exceptions import BotoCoreError, ClientError

RETRYABLE = {"ServiceUnavailable", "SlowDown", "InternalError", "RequestTimeout"}


class Client:
    def __init__(self, urls, access, secret, bucket, name, seed, size_max=300000):
        self.clients = [orc.client(u, access, secret) for u in urls]
        self.bucket, self.prefix, self.rnd, self.size_max = bucket, f"{name}/", random.Random(seed), size_max
        self.model: dict[str, str] = {}           # key -> digest
        self.uncertain: dict[str, set] = {}       # key -> digests it may hold, None = absent
        self.wrong, self.answers, self.refused, self.turn = [], 0, 0, 0
        self.refused_at, self.outage, self.longest_outage = None, 0.0, 0.0

    def s3(self):
        self.turn += 1
        return self.clients[self.turn % len(self.clients)]

    def step(self):
        key = f"{self.prefix}k{self.rnd.randrange(40):02}"
        kind = self.rnd.choices(["put", "get", "head", "list", "delete", "copy", "multipart"], [30, 30, 5, 10, 12, 8, 5])[0]
        if key in self.uncertain and kind != "list":
            return
        try:
            getattr(self, "_" + kind)(key)
            self.answers += 1
            self.refused_at = None
        except ClientError as e:
            code = e.response["Error"]["Code"]
            if e.response["ResponseMetadata"]["HTTPStatusCode"] == 503:
                code = "ServiceUnavailable"  # a HEAD has no body to name it
            if code not in RETRYABLE - {"InternalError"}:
                self.wrong.append(f"{kind} {key}: {e}")
            self._refuse()
        except (BotoCoreError, OSError):
            self._refuse()

    def _refuse(self):
        now = time.monotonic()
        self.refused += 1
        self.refused_at = self.refused_at or now
        self.longest_outage = max(self.longest_outage, now - self.refused_at)
        time.sleep(0.05)

    def _expect(self, key, seen, what):
        if seen != self.model.get(key):
            self.wrong.append(f"{what} {key}: {str(seen)[:12]} instead of {str(self.model.get(key))[:12]}")

    def _change(self, key, digest, do):
        self.uncertain[key] = {self.model.get(key), digest}
        do()
        del self.uncertain[key]
        self.model.pop(key, None)
        if digest:
            self.model[key] = digest

    def _body(self):
        return os.urandom(self.rnd.choice([0, 1, 1000, 16384, 16385, self.rnd.randrange(1, self.size_max)]))

    def _put(self, key):
        body = self._body()
        self._change(key, hashlib.sha256(body).hexdigest(), lambda: self.s3().put_object(Bucket=self.bucket, Key=key, Body=body))

    def _delete(self, key):
        self._change(key, None, lambda: self.s3().delete_object(Bucket=self.bucket, Key=key))

    def _copy(self, key):
        sources = sorted(set(self.model) - set(self.uncertain) - {key})
        if sources:
            source = self.rnd.choice(sources)
            self._change(key, self.model[source],
                         lambda: self.s3().copy_object(Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": source}))

    def _multipart(self, key):
        bodies = [os.urandom(5 << 20), self._body() or b"x"]
        where = {"Bucket": self.bucket, "Key": key}
        upload = self.s3().create_multipart_upload(**where)["UploadId"]
        parts = [{"PartNumber": n, "ETag": self.s3().upload_part(**where, UploadId=upload, PartNumber=n, Body=b)["ETag"]}
                 for n, b in enumerate(bodies, 1)]
        self._change(key, hashlib.sha256(b"".join(bodies)).hexdigest(),
                     lambda: self.s3().complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts}))

    def _read(self, key):
        try:
            r = self.s3().get_object(Bucket=self.bucket, Key=key)
        except ClientError as e:
            if e.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        body = r["Body"].read()
        return hashlib.sha256(body).hexdigest()

    def _get(self, key):
        self._expect(key, self._read(key), "get")

    def _head(self, key):
        try:
            self.s3().head_object(Bucket=self.bucket, Key=key)
            there = True
        except ClientError as e:
            if e.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            there = False
        if there != (key in self.model):
            self.wrong.append(f"head {key}: {there}")

    def _list(self, key):
        size = self.rnd.choice([3, 7, 1000])
        pages = self.s3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix, PaginationConfig={"PageSize": size})
        seen = [o["Key"] for p in pages for o in p.get("Contents", [])]
        if seen != sorted(set(seen)):
            self.wrong.append(f"list: out of order or doubled: {seen}")
        missing, extra = set(self.model) - set(seen) - set(self.uncertain), set(seen) - set(self.model) - set(self.uncertain)
        if missing or extra:
            self.wrong.append(f"list by {size}: missing {sorted(missing)}, extra {sorted(extra)}")

    def settle(self):
        """With everything up again: each uncertain key holds one of its possible states; all others hold theirs."""
        for key, allowed in sorted(self.uncertain.items()):
            seen = self._read(key)
            if seen not in allowed:
                self.wrong.append(f"after recovery {key}: {str(seen)[:12]} is none of {[str(a)[:12] for a in allowed]}")
            self.model.pop(key, None)
            if seen:
                self.model[key] = seen
        self.uncertain.clear()
        for key in {f"{self.prefix}k{i:02}" for i in range(40)}:
            self._get(key)
        self._list("")


class Crowd:
    """Several clients at work until stop()."""

    def __init__(self, urls, access, secret, bucket, count=4, seed=0, **kw):
        self.clients = [Client(urls, access, secret, bucket, f"c{seed}-{i}", seed * 100 + i, **kw) for i in range(count)]
        self.ending = threading.Event()

    def start(self):
        self.threads = [threading.Thread(target=self._run, args=(c,), daemon=True) for c in self.clients]
        for t in self.threads:
            t.start()
        return self

    def _run(self, client):
        while not self.ending.is_set() and not client.wrong:
            client.step()

    def pause(self):
        self.ending.set()
        for t in self.threads:
            t.join(120)
            assert not t.is_alive(), "a client hangs"
        self.ending.clear()

    def check(self):
        wrong = [w for c in self.clients for w in c.wrong]
        assert not wrong, "\n".join(wrong[:20])

    def settle(self):
        self.pause()
        self.check()
        for c in self.clients:
            c.settle()
        self.check()

    def text(self):
        return (f"{sum(c.answers for c in self.clients)} answers compared, {sum(c.refused for c in self.clients)} refused, "
                f"longest outage {max(c.longest_outage for c in self.clients):.1f} s")
