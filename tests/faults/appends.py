#!/usr/bin/env python3
"""Appends to archives: kill -9 in the middle of them, and what one costs. `appends.py [kill] [cost] [cluster] [--rounds N] [--seed N] [--mib N]`"""

import argparse
import hashlib
import http.client
import io
import os
import random
import shutil
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from botocore.auth import S3SigV4Auth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402

import cluster as cl  # noqa: E402
import faults  # noqa: E402
import oracle as orc  # noqa: E402
import server as srv  # noqa: E402

BUCKET = "shards"
SHARDS = 3


class Native:
    """The native API over one connection, signed as for S3."""

    def __init__(self, url):
        self.url, self.to = url, urlsplit(url)
        self.credentials = Credentials(srv.ACCESS_KEY, srv.SECRET_KEY)
        self.connection = None

    def call(self, method, path, body=b"", headers=None):
        request = AWSRequest(method=method, url=self.url + path, data=body,
                             headers={**(headers or {}), "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
        request.context["payload_signing_enabled"] = False
        S3SigV4Auth(self.credentials, "s3", "us-east-1").add_auth(request)
        prepared = request.prepare()
        if not self.connection:
            self.connection = http.client.HTTPConnection(self.to.hostname, self.to.port, timeout=60)
        try:
            self.connection.request(method, path, body=body, headers=dict(prepared.headers))
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except BaseException:
            self.connection.close()
            self.connection = None
            raise

    def put_member(self, shard, member, body, pine="2"):
        return self.call("PUT", f"/v1/objects/{BUCKET}/{shard}?archpath={quote(member, safe='')}", body, {"Ais-Pine": pine})

    def delete_member(self, shard, member):
        return self.call("DELETE", f"/v1/objects/{BUCKET}/{shard}?archpath={quote(member, safe='')}")


class Appender(threading.Thread):
    """Puts members of its own into all shards, now and then takes one out; knows what was promised."""

    def __init__(self, url, name, seed, patient=False):
        """`patient`: goes on after 503 and 409, not knowing what has become of the change."""
        super().__init__(daemon=True)
        self.patient, self.refused = patient, 0
        self.native, self.rnd, self.label = Native(url), random.Random(seed), name
        self.promised, self.gone, self.doubt, self.wrong = {}, set(), {}, []
        self.stopping = False

    def run(self):
        n = 0
        while not self.stopping:
            n += 1
            shard, member = f"s{self.rnd.randrange(SHARDS)}.tar", f"{self.label}/{n:05d}"
            body = os.urandom(self.rnd.choice([0, 100, 10_000, 70_000, 300_000]))
            try:
                if self.promised and self.rnd.random() < 0.1:
                    shard, member = self.rnd.choice(list(self.promised))
                    self.doubt[shard, member] = self.promised.pop((shard, member))
                    status, text = self.native.delete_member(shard, member)
                    if status == 200:
                        self.gone.add((shard, member))
                        del self.doubt[shard, member]
                else:
                    digest = hashlib.md5(body).hexdigest()
                    self.doubt[shard, member] = digest
                    status, text = self.native.put_member(shard, member, body)
                    if status == 200:
                        self.promised[shard, member] = self.doubt.pop((shard, member))
                if status in (409, 503) and self.patient:
                    self.refused += 1
                    time.sleep(0.1)
                elif status != 200:
                    self.wrong.append((status, text[:300]))
                    return
            except (OSError, http.client.HTTPException):
                return  # killed


class Reader(threading.Thread):
    """Reads whole shards while they change: each is one version of them, to its end."""

    def __init__(self, url, seed):
        super().__init__(daemon=True)
        self.native, self.rnd = Native(url), random.Random(seed)
        self.read, self.ended, self.wrong, self.stopping = 0, None, [], False

    def run(self):
        while not self.stopping:
            shard = f"s{self.rnd.randrange(SHARDS)}.tar"
            try:
                status, data = self.native.call("GET", f"/v1/objects/{BUCKET}/{shard}")
                if status == 404:
                    continue
                if status != 200:
                    self.wrong.append((status, data[:300]))
                    break
                with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
                    names = tar.getnames()
                if len(set(names)) != len(names):
                    self.wrong.append(f"{shard} has a member twice")
                self.read += 1
            except tarfile.TarError as e:
                self.wrong.append(f"{shard}: {e}")
                break
            except (OSError, http.client.HTTPException) as e:
                self.broke = repr(e)
                break
        self.ended = time.monotonic()


def check(s3, appenders):
    """Every shard is a TAR that holds what was promised, nothing twice, and nothing else but what may have happened."""
    promised, gone, doubt, members = {}, set(), {}, 0
    for a in appenders:
        promised.update(a.promised)
        gone |= a.gone
        doubt.update(a.doubt)
    for i in range(SHARDS):
        shard = f"s{i}.tar"
        try:
            data = s3.get_object(Bucket=BUCKET, Key=shard)["Body"].read()
        except s3.exceptions.NoSuchKey:
            assert not [k for k in promised if k[0] == shard]
            continue
        seen = {}
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for m in tar:
                assert m.name not in seen, f"{shard}/{m.name} is there twice"
                seen[m.name] = hashlib.md5(tar.extractfile(m).read()).hexdigest()
        members += len(seen)
        for (where, name), digest in promised.items():
            if where == shard:
                assert seen.get(name) == digest, f"{shard}/{name} was promised"
        for name, digest in seen.items():
            assert (shard, name) not in gone, f"{shard}/{name} is back"
            assert digest == promised.get((shard, name), doubt.get((shard, name))), f"{shard}/{name} is nobody's"
    return members


def kill(args) -> str:
    rnd = random.Random(args.seed)
    home = Path(tempfile.mkdtemp(prefix="sluice-appends-"))
    server = srv.Server(data=[home / "d1", home / "d2"], tls=False).start()
    appenders, members, read = [], 0, 0
    try:
        faults.s3_of(server).create_bucket(Bucket=BUCKET)
        for round_ in range(args.rounds):
            now = [Appender(server.http, f"r{round_}c{i}", args.seed + 100 * round_ + i) for i in range(6)]
            reader = Reader(server.http, args.seed + round_)
            appenders += now
            for a in (*now, reader):
                a.start()
            time.sleep(rnd.uniform(0.5, 2.5))
            killed = time.monotonic()
            server.kill()
            for a in (*now, reader):
                a.stopping = True
                a.join()
                assert not a.wrong, a.wrong
            assert reader.ended >= killed, f"a reader was cut off: {reader.broke}"
            read += reader.read
            server.start()
            members = check(faults.s3_of(server), appenders)
        assert server.stop() == 0
        faults.check_sanitizer(server)
        r = faults.fsck(server.data)
        assert r.returncode == 0, f"fsck: {r.stdout[-2000:]}{r.stderr[-2000:]}"
        acks = sum(len(a.promised) + 2 * len(a.gone) for a in appenders)
        return f"{args.rounds} kills, {acks} acknowledged changes by 6 clients, {members} members in {SHARDS} archives, read {read} times"
    finally:
        server.process and server.kill()
        server.clean()
        shutil.rmtree(home, ignore_errors=True)


def cost(args) -> str:
    """What a member of 10 KiB costs at the end of a large TAR: the first time, and from then on."""
    home = Path(tempfile.mkdtemp(prefix="sluice-appends-"))
    server = srv.Server(data=[home / "d"], tls=False).start()
    try:
        s3 = faults.s3_of(server)
        s3.create_bucket(Bucket=BUCKET)
        path = home / "big.tar"
        block = os.urandom(1 << 20)
        with tarfile.open(path, "w") as tar:
            for i in range(args.mib):
                info = tarfile.TarInfo(f"old/{i:06d}")
                info.size = len(block)
                tar.addfile(info, io.BytesIO(block))
        s3.upload_file(str(path), BUCKET, "big.tar")
        native, times, body = Native(server.http), [], os.urandom(10 << 10)
        for i in range(201):
            began = time.monotonic()
            status, text = native.put_member("big.tar", f"new/{i:06d}", body, pine="1")
            times.append(1000 * (time.monotonic() - began))
            assert status == 200, text
        status, got = native.call("GET", f"/v1/objects/{BUCKET}/big.tar?archpath=new/000200")
        assert status != 200 or got == body
        size = s3.head_object(Bucket=BUCKET, Key="big.tar")["ContentLength"]
        rest = sorted(times[1:])
        return (f"{size >> 20} MiB: first {times[0]:.0f} ms, then median {rest[len(rest) // 2]:.1f} ms, "
                f"99% {rest[int(len(rest) * 0.99)]:.1f} ms, slowest {rest[-1]:.1f} ms")
    finally:
        server.process and server.kill()
        server.clean()
        shutil.rmtree(home, ignore_errors=True)


def cluster(args) -> str:
    """Several gateways and a target that is killed, in buckets of one and of several copies."""
    told = []
    for redundancy in ("", "replicas=2", "ec=2+1"):
        run = cl.Cluster(targets=3, gateways=2).start()
        try:
            s3 = orc.client(run.gateways[0].url, srv.ACCESS_KEY, srv.SECRET_KEY)
            s3.meta.events.register("before-sign.s3.CreateBucket", lambda request, **_: redundancy and request.headers.add_header(
                "x-sluice-redundancy", redundancy))
            s3.create_bucket(Bucket=BUCKET)
            appenders = [Appender(run.gateways[i % 2].url, f"c{i}", args.seed + i, patient=True) for i in range(6)]
            for a in appenders:
                a.start()
            time.sleep(3)
            victim = run.targets[args.seed % 3]
            victim.kill()
            time.sleep(1)
            victim.start()
            time.sleep(8)
            for a in appenders:
                a.stopping = True
            for a in appenders:
                a.join()
                assert not a.wrong, a.wrong
            time.sleep(3)
            members = check(s3, appenders)
            told.append(f"{redundancy or 'one copy'}: {members} members, {sum(a.refused for a in appenders)} refused")
        finally:
            try:
                run.stop()
                run.check_sanitizer()
            finally:
                run.clean()
    return "; ".join(told)


CHECKS = {"kill": kill, "cost": cost, "cluster": cluster}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("checks", nargs="*", choices=[[], *CHECKS], default=["kill"])
    p.add_argument("--rounds", type=int, default=4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--mib", type=int, default=1024)
    args = p.parse_args()
    failed = False
    for name in args.checks:
        try:
            print(f"ok    appends {name}: {CHECKS[name](args)}", flush=True)
        except AssertionError as e:
            failed = True
            print(f"FAIL  appends {name}: {e}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
