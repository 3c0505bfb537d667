#!/usr/bin/env python3
"""Crash, power cut and full disk against a real server. `faults.py NAME... [--rounds N] [--seed N]`; prints one line a check."""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import oracle as orc  # noqa: E402
import server as srv  # noqa: E402

BUCKET = "faults"


class Skip(Exception):
    """The machine can't do this check; the text says what is missing."""


def s3_of(server):
    return orc.client(server.http, srv.ACCESS_KEY, srv.SECRET_KEY)


def load_on(server, oracle, **kw):
    return orc.Load(server.http, srv.ACCESS_KEY, srv.SECRET_KEY, BUCKET, oracle, **kw).start()


def fsck(paths, *flags) -> subprocess.CompletedProcess:
    args = [str(srv.binary()), "fsck", *flags]
    for p in paths:
        args += ["--data", str(p)]
    return subprocess.run(args, capture_output=True, text=True, timeout=600)


def staging_files(server) -> list:
    return [f for d in server.data for f in (d / "staging").rglob("*") if f.is_file()]


def check_sanitizer(server):
    text = server.log_path.read_text(errors="replace")
    for word in ("AddressSanitizer", "runtime error:", "LeakSanitizer", "Assertion"):
        assert word not in text, text[-4000:]


def kill9(args) -> str:
    """kill -9 under mixed load, again and again: nothing promised is lost, torn or back from the dead."""
    rnd = random.Random(args.seed)
    home = Path(tempfile.mkdtemp(prefix="sluice-kill9-"))
    server = srv.Server(data=[home / "d1", home / "d2"], tls=False).start()
    oracle, acks, slowest = orc.Oracle(), 0, 0.0
    try:
        s3_of(server).create_bucket(Bucket=BUCKET)
        for round_ in range(args.rounds):
            load = load_on(server, oracle, seed=args.seed + 100 * round_)
            time.sleep(rnd.uniform(0.2, 2.0))
            server.kill()
            load.stop()
            assert not load.errors, load.errors
            acks += load.acks
            began = time.monotonic()
            server.start()
            slowest = max(slowest, time.monotonic() - began)
            orc.check(s3_of(server), BUCKET, oracle)
            assert not staging_files(server), f"left in staging after recovery: {staging_files(server)[:5]}"
        assert server.stop() == 0
        check_sanitizer(server)
        r = fsck(server.data)
        assert r.returncode == 0, f"fsck: {r.stdout[-2000:]}{r.stderr[-2000:]}"
        return f"{args.rounds} rounds, {acks} acknowledged writes, slowest restart {slowest:.2f} s"
    finally:
        server.process and server.kill()
        server.clean()
        shutil.rmtree(home, ignore_errors=True)


def shell(*args):
    return subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True)


class LoopMount:
    """An image file with a filesystem, mounted; unmounted and removed at the end."""

    def __init__(self, image: Path, at: Path, kind="ext4", size_mib=0, make=True):
        if os.geteuid() != 0:
            raise Skip("needs root to mount")
        self.at = at
        at.mkdir(parents=True, exist_ok=True)
        if make:
            with open(image, "wb") as f:
                f.truncate(size_mib << 20)
            tool = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"]}[kind]
            if not shutil.which(tool[0]):
                raise Skip(f"{tool[0]} is not installed")
            shell(*tool, image)
        try:
            shell("mount", "-o", "loop", image, at)
        except subprocess.CalledProcessError as e:
            raise Skip(f"can't mount a loop device: {e.stderr.strip()}")

    def close(self):
        for _ in range(50):
            if subprocess.run(["umount", str(self.at)], capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        subprocess.run(["umount", "-l", str(self.at)], capture_output=True)


def powercut(args) -> str:
    """A reflink clone of the mounted disk at a random instant is what a power cut leaves: start on it and check every promise."""
    rnd = random.Random(args.seed)
    home = Path(tempfile.mkdtemp(prefix="sluice-power-", dir=os.environ.get("SLUICE_FAULT_DIR")))
    mounts, server, clone_server = [], None, None
    try:
        mounts.append(LoopMount(home / "outer.img", home / "outer", "xfs", 12288))
        inner = home / "outer" / "inner.img"
        mounts.append(LoopMount(inner, home / "inner", args.fs, 4096))
        server = srv.Server(data=[home / "inner" / "d"], tls=False, extra=("--durability", "sync")).start()
        oracle, acks = orc.Oracle(), 0
        s3_of(server).create_bucket(Bucket=BUCKET)
        time.sleep(0.5)
        for n in range(args.rounds):
            load = load_on(server, oracle, seed=args.seed + 100 * n, keys=8)
            time.sleep(rnd.uniform(0.5, 2.0))
            snap = home / "outer" / f"snap{n}.img"
            t0 = time.monotonic()
            shell("cp", "--reflink=always", inner, snap)
            t1 = time.monotonic()
            load.stop()
            assert not load.errors, load.errors
            acks += load.acks
            clone = LoopMount(snap, home / "clone", make=False)
            mounts.append(clone)
            clone_server = srv.Server(data=[home / "clone" / "d"], tls=False).start()
            try:
                orc.check(s3_of(clone_server), BUCKET, oracle, t0, t1, settle=False)
            except AssertionError as e:
                raise AssertionError(f"clone {n}: {e}\n{clone_server.tail(20)}")
            assert clone_server.stop() == 0
            r = fsck(clone_server.data)
            assert r.returncode == 0, f"fsck of clone {n}: {r.stdout[-2000:]}{r.stderr[-1000:]}"
            clone_server.clean()
            clone_server = None
            mounts.pop().close()
            snap.unlink()
            orc.check(s3_of(server), BUCKET, oracle)
        assert server.stop() == 0
        return f"{args.rounds} clones of a live {args.fs}, {acks} acknowledged writes, none lost or torn"
    finally:
        for s in (server, clone_server):
            if s:
                s.process and s.kill()
                s.clean()
        for m in reversed(mounts):
            m.close()
        shutil.rmtree(home, ignore_errors=True)


def enospc(args) -> str:
    """A full disk refuses clearly, harms nothing, and goes on when there is room again."""
    from botocore.exceptions import ClientError
    home = Path(tempfile.mkdtemp(prefix="sluice-full-"))
    mounts, server = [], None
    try:
        mounts.append(LoopMount(home / "img", home / "disk", "ext4", 192))
        server = srv.Server(data=[home / "disk" / "d"], tls=False, extra=("--store-full-percent", "100")).start()
        s3 = s3_of(server)
        s3.create_bucket(Bucket=BUCKET)
        kept, refused = {}, 0
        for i in range(2000):
            body = os.urandom(random.Random(i).choice([100, 4096, 300000, 3 << 20]))
            try:
                s3.put_object(Bucket=BUCKET, Key=f"k{i}", Body=body)
                kept[f"k{i}"] = body
            except ClientError as e:
                status = e.response["ResponseMetadata"]["HTTPStatusCode"]
                assert status in (507, 503), f"{status} {e}"
                refused += 1
                if refused >= 40:
                    break
        assert refused, "the disk never filled"
        for k, body in kept.items():
            assert s3.get_object(Bucket=BUCKET, Key=k)["Body"].read() == body, k
        listed = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET) for o in p["Contents"]]
        assert sorted(listed) == sorted(kept)
        big = [k for k in kept if len(kept[k]) >= 300000]
        for k in big:
            s3.delete_object(Bucket=BUCKET, Key=k)
            del kept[k]
        deadline = time.monotonic() + 30
        while True:
            try:
                s3.put_object(Bucket=BUCKET, Key="after", Body=b"x" * 1000000)
                break
            except ClientError:
                assert time.monotonic() < deadline, "still refused after space came back"
                time.sleep(0.2)
        assert server.stop() == 0
        check_sanitizer(server)
        server.start()
        for k, body in kept.items():
            assert s3_of(server).get_object(Bucket=BUCKET, Key=k)["Body"].read() == body, k
        assert server.stop() == 0
        r = fsck(server.data)
        assert r.returncode == 0, r.stdout[-2000:] + r.stderr[-2000:]
        return f"{len(kept)} objects intact, {refused} writes refused, service went on"
    finally:
        if server:
            server.process and server.kill()
            server.clean()
        for m in reversed(mounts):
            m.close()
        shutil.rmtree(home, ignore_errors=True)


def rebuild(args) -> str:
    """The index is lost: what segments describe comes back, and fsck is content."""
    server = srv.Server(tls=False).start()
    try:
        s3 = s3_of(server)
        s3.create_bucket(Bucket=BUCKET)
        kept = {}
        for i in range(30):
            kept[f"k{i}"] = os.urandom(20000 + i * 50000)
            s3.put_object(Bucket=BUCKET, Key=f"k{i}", Body=kept[f"k{i}"], Metadata={"n": str(i)})
        s3.delete_object(Bucket=BUCKET, Key="k0")
        del kept["k0"]
        s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "k1"})
        kept["copy"] = kept["k1"]
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key="multi")["UploadId"]
        bodies = [os.urandom(5 << 20), b"end"]
        parts = [{"PartNumber": n, "ETag": s3.upload_part(Bucket=BUCKET, Key="multi", UploadId=upload, PartNumber=n, Body=b)["ETag"]}
                 for n, b in enumerate(bodies, 1)]
        s3.complete_multipart_upload(Bucket=BUCKET, Key="multi", UploadId=upload, MultipartUpload={"Parts": parts})
        kept["multi"] = b"".join(bodies)
        assert server.stop() == 0
        for d in server.data:
            shutil.rmtree(d / "index")
        r = fsck(server.data, "--rebuild")
        assert r.returncode == 0, r.stdout[-2000:] + r.stderr[-2000:]
        server.start()
        s3 = s3_of(server)
        for k, body in kept.items():
            g = s3.get_object(Bucket=BUCKET, Key=k)
            assert g["Body"].read() == body, k
        assert s3.head_object(Bucket=BUCKET, Key="k7")["Metadata"] == {"n": "7"}
        listed = {o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
        assert listed == set(kept), listed ^ set(kept)
        assert server.stop() == 0
        return f"{len(kept)} objects restored from segments"
    finally:
        server.process and server.kill()
        server.clean()


def bitflip(args) -> str:
    """A flipped bit in content is found by fsck, and with store.verify_reads never leaves the server."""
    from botocore.exceptions import BotoCoreError, ClientError
    server = srv.Server(tls=False, extra=("--store-verify-reads",)).start()
    try:
        s3 = s3_of(server)
        s3.create_bucket(Bucket=BUCKET)
        body = os.urandom(3 << 20)
        s3.put_object(Bucket=BUCKET, Key="k", Body=body)
        assert server.stop() == 0
        segment = max((f for d in server.data for f in (d / "segments").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
        with open(segment, "r+b") as f:
            f.seek(1500000)
            b = f.read(1)
            f.seek(1500000)
            f.write(bytes([b[0] ^ 1]))
        r = fsck(server.data)
        assert r.returncode != 0, "fsck missed the damage"
        server.start()
        s3 = s3_of(server)
        for spec, fine in [(None, False), ("bytes=1400000-1600000", False), ("bytes=0-99", True)]:
            try:
                got = s3.get_object(Bucket=BUCKET, Key="k", **({"Range": spec} if spec else {}))["Body"].read()
                first, last = (0, len(body) - 1) if not spec else map(int, spec[6:].split("-"))
                assert got == body[first:last + 1], f"damaged bytes were served for {spec}"
                assert fine, f"{spec}: served although damaged?"
            except (ClientError, BotoCoreError, OSError, Exception) as e:
                if isinstance(e, AssertionError):
                    raise
                assert not fine, f"{spec}: {e}"
        server.stop()
        return "found by fsck, refused on read"
    finally:
        server.process and server.kill()
        server.clean()


CHECKS = {"kill9": kill9, "powercut": powercut, "enospc": enospc, "rebuild": rebuild, "bitflip": bitflip}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("names", nargs="*", default=[])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--fs", default="ext4", choices=["ext4", "xfs"])
    args = p.parse_args()
    passed = failed = skipped = 0
    for name in args.names or CHECKS:
        began = time.monotonic()
        try:
            text = CHECKS[name](args)
            passed += 1
            print(f"PASS {name} {text} ({time.monotonic() - began:.1f} s)", flush=True)
        except Skip as e:
            skipped += 1
            print(f"SKIP {name} {e}", flush=True)
        except Exception as e:  # every failure is a line; the next check still runs
            failed += 1
            print(f"FAIL {name} {type(e).__name__}: {e}\n     again with: {Path(__file__).name} {name} --seed {args.seed} --rounds {args.rounds}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
