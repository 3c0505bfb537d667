"""What is measured of archives: making one of many objects, reading a member, many objects in one batch, WebDataset's epochs."""

import io
import json
import os
import random
import socket
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import peers

ITEM = 10 << 10


class Connection:
    """A kept connection that sends requests as bytes and reads answers of a known length: the client's own cost is a small one."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 20)

    def send(self, method, path, body=b"", headers=""):
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    def read(self) -> bytes:
        status = self.file.readline()
        length, chunked = 0, False
        while (line := self.file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            name = name.lower()
            if name == b"content-length":
                length = int(value)
            chunked |= name == b"transfer-encoding"
        if not status.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(f"{status!r} {self.file.read(length)[:300]!r}")
        if not chunked:
            return self.file.read(length)
        out = []
        while n := int(self.file.readline(), 16):
            out.append(self.file.read(n))
            self.file.readline()
        self.file.readline()
        return b"".join(out)

    def ask(self, *args, **kw) -> bytes:
        self.send(*args, **kw)
        return self.read()

    def close(self):
        self.file.close()
        self.socket.close()


def fill(port, bucket, names, data_of, connections=16):
    """Puts objects over some connections at once."""
    names = list(names)

    def some(i):
        c = Connection(port)
        for name in names[i::connections]:
            c.ask("PUT", f"/{bucket}/{name}", data_of(name))
        c.close()

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(some, range(connections)))


def run_job(port, kind, spec) -> dict:
    c = Connection(port)
    name = json.loads(c.ask("POST", "/v1/jobs", json.dumps({"kind": kind, "spec": spec}).encode(), "Content-Type: application/json\r\n"))["id"]
    while (job := json.loads(c.ask("GET", f"/v1/jobs/{name}")))["state"] == "running":
        time.sleep(0.02)
    c.close()
    if job["state"] != "done":
        raise RuntimeError(str(job))
    return job


def open_server(home, **kw):
    server = peers.Sluice(home, extra=("--auth", "none", "--durability", "async"), **kw).start()
    peers.request(server.port, "PUT", "/bench")
    return server


def rss_mib(pid) -> float:
    return int(next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM"))) / 1024


def bench_archive(args, home, row, spread, median):
    """A TAR of 100,000 objects of 10 KiB by a job, against `tar -cf` over plain files on the same disk."""
    count = args.objects
    files = home / "files"
    server = open_server(home / "archive")
    try:
        names = [f"o/{i // 1000:03}/{i:06}" for i in range(count)]
        block = os.urandom(ITEM)
        fill(server.port, "bench", names, lambda name: name.encode().ljust(16) + block[16:])
        for name in names:
            path = files / name
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True)
            path.write_bytes(name.encode().ljust(16) + block[16:])
        ours, theirs = [], []
        for run in range(args.runs + 1):
            began = time.perf_counter()
            subprocess.run(["tar", "-cf", str(home / "peer.tar"), "-C", str(files), "o"], check=True)
            theirs.append(count / (time.perf_counter() - began))
            began = time.perf_counter()
            run_job(server.port, "archive", {"bucket": "bench", "prefix": "o/", "archname": f"out-{run}.tar"})
            ours.append(count / (time.perf_counter() - began))
            if run == 0:  # everything is warm from here on
                ours, theirs = [], []
            else:
                Connection(server.port).ask("DELETE", f"/bench/out-{run}.tar")
        row(f"archive job, {count:,} x 10 KiB into a TAR", spread(ours, " objects/s"), "tar -cf " + spread(theirs), f"{median(ours) / median(theirs):.2f}", ">= 0.7")
        row("archive job, largest RSS", f"{rss_mib(server.process.pid):,.0f} MiB", "", "", "bounded")
    finally:
        server.stop()
        server.clean()


def bench_member(args, home, row, spread, median):
    """Members of 100 KiB of a TAR and a stored ZIP of 1 GiB, against plain objects of 100 KiB; any of 1 GiB, so that none has it in a CPU's cache."""
    import zipfile

    server = open_server(home / "member", cpu=peers.SERVER_CPU)
    size, count = 100 << 10, (1 << 30) // (100 << 10)
    try:
        data = os.urandom(size)
        fill(server.port, "bench", [f"plain/{i:06}.bin" for i in range(count)], lambda name: data)
        tar, zipped = home / "big.tar", home / "big.zip"
        with tarfile.open(tar, "w") as t, zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as z:
            for i in range(count):
                info = tarfile.TarInfo(f"s/{i:06}.bin")
                info.size = size
                t.addfile(info, io.BytesIO(data))
                z.writestr(f"s/{i:06}.bin", data)
        for path in (tar, zipped):
            peers.put_file(server.port, f"/bench/{path.name}", path)
        script = home / "members.lua"
        paths = {"plain": "/bench/plain/%06d.bin", "big.tar": "/bench/big.tar?archpath=s/%06d.bin", "big.zip": "/bench/big.zip?archpath=s/%06d.bin"}
        got = {name: [] for name in paths}
        for _ in range(args.runs):
            for name, path in paths.items():
                script.write_text(f'local i = 0\nrequest = function()\n  i = (i * 7919 + 104729) % {count}\n'
                                  f'  return wrk.format("GET", string.format("{path}", i))\nend\n')
                got[name].append(peers.wrk(server.port, "/", args.seconds, script=script)["rate"])
        for name, what in (("big.tar", "TAR"), ("big.zip", "stored ZIP")):
            row(f"GET of a 100 KiB member of a {what} of 1 GiB", spread(got[name], " req/s"), "plain objects " + spread(got["plain"]),
                f"{median(got[name]) / median(got['plain']):.2f}", ">= 0.8")
    finally:
        server.stop()
        server.clean()


def bench_batch(args, home, row, spread, median):
    """256 objects of 10 KiB in one GetBatch, against 256 requests one after the other, and against one TAR of those bytes."""
    server = open_server(home / "batch")
    try:
        names = [f"s{i:06}" for i in range(20000)]
        block = os.urandom(ITEM)
        fill(server.port, "bench", names, lambda name: name.encode().ljust(16) + block[16:])
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as t:
            for name in names[:256]:
                info = tarfile.TarInfo(name)
                info.size = ITEM
                t.addfile(info, io.BytesIO(block))
        peers.request(server.port, "PUT", "/bench/same.tar", out.getvalue())
        c = Connection(server.port)
        rng = random.Random(1)
        rates = {"batch": [], "single": [], "tar": []}

        def rate(times, what):
            began = time.perf_counter()
            for _ in range(times):
                what()
            return times * 256 / (time.perf_counter() - began)

        def batch():
            entries = [{"objname": n} for n in rng.sample(names, 256)]
            body = json.dumps({"in": entries, "mime": ".tar", "coer": True, "strm": True}).encode()
            data = c.ask("GET", "/v1/ml/moss/bench", body, "Content-Type: application/json\r\n")
            assert len(data) >= 256 * (ITEM + 512)

        def single():
            for n in rng.sample(names, 256):
                c.ask("GET", f"/bench/{n}")

        def one_tar():
            c.ask("GET", "/bench/same.tar")

        for run in range(args.runs + 1):
            for name, times, what in (("single", 4, single), ("batch", 40, batch), ("tar", 40, one_tar)):
                r = rate(times, what)
                if run:
                    rates[name].append(r)
        c.close()
        row("GetBatch of 256 x 10 KiB, samples of one client", spread(rates["batch"], " /s"), "256 requests " + spread(rates["single"]),
            f"{median(rates['batch']) / median(rates['single']):.1f}", ">= 10")
        row("GetBatch of 256 x 10 KiB, against one TAR of them", spread(rates["batch"], " /s"), "GET of the TAR " + spread(rates["tar"]),
            f"{median(rates['batch']) / median(rates['tar']):.2f}", ">= 0.5")
    finally:
        server.stop()
        server.clean()


BENCHES = {"archive": bench_archive, "member": bench_member, "batch": bench_batch}
