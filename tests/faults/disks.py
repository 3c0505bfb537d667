#!/usr/bin/env python3
"""Data directories come and go under writers that know every answer; afterwards everything promised is there, listed, and sound."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import oracle

BIN = os.environ.get("SLUICE_BIN") or str(Path(__file__).resolve().parents[2] / "build/release/sluice")
SETTLE_S = 120


class Server:
    def __init__(self, top):
        self.top = top
        self.log = open(f"{top}/log", "w")
        self.process = subprocess.Popen([BIN, "serve", "--data", f"{top}/a", "--data", f"{top}/b", "--listen", "127.0.0.1:0", "--auth", "none"],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.url = re.search(r"http://\S+", self.process.stdout.readline()).group(0)

    def disk(self, *words):
        r = subprocess.run([BIN, "disk", *words, "--data", f"{self.top}/a"], capture_output=True, text=True)
        assert r.returncode == 0, r.stderr
        return r.stdout

    def settle(self):
        end = time.monotonic() + SETTLE_S
        while any(word in self.disk("list") for word in ("moving", "detaching", "closing", "behind")):
            assert time.monotonic() < end, self.disk("list")
            time.sleep(0.1)

    def change(self, verb, name):
        self.disk(verb, f"{self.top}/{name}")
        if verb != "disable":
            self.settle()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0
        self.log.close()


def make_bucket(url, name, redundancy):
    def add(params, **_):
        params["headers"]["x-sluice-redundancy"] = redundancy

    s3 = oracle.client(url, "any", "any")
    s3.meta.events.register("before-call.s3.CreateBucket", add)
    s3.create_bucket(Bucket=name)
    return s3


def under_load(server, name, redundancy, changes):
    s3 = make_bucket(server.url, name, redundancy)
    known = oracle.Oracle()
    load = oracle.Load(server.url, "any", "any", name, known, writers=3, tolerate={"ServiceUnavailable"}).start()
    time.sleep(1)
    for verb, directory in changes:
        server.change(verb, directory)
        time.sleep(0.3)
    load.stop()
    assert not load.errors, load.errors
    return f"{name}: {oracle.check(s3, name, known)} keys after {load.acks} acknowledged writes"


def main():
    top = tempfile.mkdtemp(prefix="sluice-disks-")
    server = Server(top)
    moves = [("attach", "c"), ("detach", "b"), ("attach", "b"), ("detach", "c")]
    try:
        print("ok", under_load(server, "plain", "none", moves), flush=True)
        print("ok", under_load(server, "mirrored", "mirror=2", moves + [("disable", "b"), ("enable", "b")]), flush=True)
        server.stop()
        subprocess.run([BIN, "fsck", "--data", f"{top}/a", "--data", f"{top}/b"], check=True)
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
    shutil.rmtree(top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
