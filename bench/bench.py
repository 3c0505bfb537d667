#!/usr/bin/env python3
"""Measures sluice against peers in the same run and prints a table of medians and ratios. `bench.py [NAME...] [--runs N] [--dir DIR] [--write FILE]`"""

import argparse
import functools
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import archives
import etl
import peers

rows: list[tuple[str, str, str, str, str]] = []


def row(what, ours, peer, ratio, wanted):
    rows.append((what, ours, peer, ratio, wanted))
    print(f"{what:58} | {ours:>22} | {peer:>34} | {ratio:>8} | {wanted}", flush=True)


def median(values):
    return statistics.median(values)


def spread(values, unit=""):
    return f"{median(values):,.0f}{unit} ({min(values):,.0f}-{max(values):,.0f})"


SIZES = [("4 KiB", 4096), ("128 KiB", 128 << 10), ("1 MiB", 1 << 20), ("64 MiB", 64 << 20)]


def bench_get(args, home):
    """GET of warm objects: one core for the server, one for wrk; runs of all servers interleaved."""
    root = home / "www"
    root.mkdir()
    open_, signed = (peers.Sluice(home / n, cpu=peers.SERVER_CPU, extra=("--threads", "1", *auth))
                     for n, auth in (("open", ("--auth", "none")), ("signed", ())))
    open_.start(), signed.start()
    nginx = peers.Nginx(home / "nginx", root, 1, peers.SERVER_CPU)
    try:
        for s in (open_, signed):
            peers.request(s.port, "PUT", "/bench", headers=peers.signed_headers(s.here, "PUT", "/bench"))
        for label, size in SIZES:
            body = os.urandom(size)
            (root / f"f{size}").write_bytes(body)
            for s in (open_, signed):
                path = f"/bench/f{size}"
                peers.request(s.port, "PUT", path, body, peers.signed_headers(s.here, "PUT", path, "UNSIGNED-PAYLOAD"))
        seconds = args.seconds
        for label, size in SIZES:
            path = f"/bench/f{size}"
            got = {"nginx": [], "open": [], "signed": []}
            for _ in range(args.runs):
                got["nginx"].append(peers.wrk(nginx.port, f"/f{size}", seconds))
                got["open"].append(peers.wrk(open_.port, path, seconds))
                got["signed"].append(peers.wrk(signed.port, path, seconds, headers=peers.signed_headers(signed.here, "GET", path)))
            key, unit = ("rate", " req/s") if size <= 4096 else ("mb_s", " MB/s")
            n, o, g = ([r[key] for r in got[k]] for k in ("nginx", "open", "signed"))
            wanted = {"4 KiB": (">= 1.2", ">= 0.8"), "1 MiB": (">= 1.5", ""), "64 MiB": (">= 1.1", "")}.get(label, ("", ""))
            row(f"GET {label}, unsigned", spread(o, unit), "nginx " + spread(n), f"{median(o) / median(n):.2f}", wanted[0])
            row(f"GET {label}, SigV4 checked on every request", spread(g, unit), "nginx " + spread(n), f"{median(g) / median(n):.2f}", wanted[1])
    finally:
        nginx.stop()
        for s in (open_, signed):
            s.stop()
            s.clean()


def bench_put_large(args, home):
    """PUT of 64 MiB, durable, one connection; as peers cp + fsync, a program that only receives, hashes and writes, and
    nginx dav (not durable, no hash)."""
    source = home / "body"
    source.write_bytes(os.urandom(64 << 20))
    mb = (64 << 20) / 1e6
    rates = peers.digest_rate(["md5", "sha256"])
    (home / "www").mkdir(exist_ok=True)
    server = peers.Sluice(home / "put", extra=("--durability", "sync")).start()
    open_ = peers.Sluice(home / "putopen", extra=("--auth", "none", "--durability", "sync")).start()
    nginx = peers.Nginx(home / "nginx2", home / "www", 2)
    plain, both_hashes = (peers.Receiver(home, h) for h in ("md5", "md5+sha256"))
    import hashlib
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    try:
        peers.request(server.port, "PUT", "/puts", headers=peers.signed_headers(server.here, "PUT", "/puts"))
        peers.request(open_.port, "PUT", "/puts")
        disk, unsigned, signed, dav, received, received_both = [], [], [], [], [], []
        for i in range(max(args.runs, 5) + 1):
            a = peers.cp_fsync(source, home / "copy")
            b = peers.put_file(open_.port, f"/puts/k{i % 2}", source)
            c = peers.put_file(server.port, f"/puts/k{i % 2}", source, peers.signed_headers(server.here, "PUT", f"/puts/k{i % 2}", digest))
            d = peers.put_file(nginx.port, f"/k{i % 2}", source)
            e, f = (peers.put_file(r.port, "/", source) for r in (plain, both_hashes))
            if i:  # the first round warms up
                for values, took in ((disk, a), (unsigned, b), (signed, c), (dav, d), (received, e), (received_both, f)):
                    values.append(mb / took)
        limit = min(rates["md5"], median(disk))
        both = 2 / (1 / rates["md5"] + 1 / rates["sha256"])
        row("PUT 64 MiB, durable, unsigned payload", spread(unsigned, " MB/s"),
            f"min(MD5 {rates['md5']:.0f}, cp+fsync {median(disk):.0f})", f"{median(unsigned) / limit:.2f}", ">= 0.8")
        row("PUT 64 MiB, durable, unsigned, against receive + MD5 + write", spread(unsigned, " MB/s"), spread(received),
            f"{median(unsigned) / median(received):.2f}", "")
        row("PUT 64 MiB, durable, signed, against receive + MD5 + SHA-256 + write", spread(signed, " MB/s"), spread(received_both),
            f"{median(signed) / median(received_both):.2f}", ">= 0.8")
        row("PUT 64 MiB, durable, signed, against the hashes alone", spread(signed, " MB/s"),
            f"min(MD5+SHA-256 on 2 cores {both:.0f}, MD5, cp)", f"{median(signed) / min(both, limit):.2f}", "")
        row("PUT 64 MiB against nginx dav (not durable, no hash)", spread(unsigned, " MB/s"), "nginx " + spread(dav), f"{median(unsigned) / median(dav):.2f}", "")
    finally:
        nginx.stop()
        plain.stop(), both_hashes.stop()
        for s in (server, open_):
            s.stop()
            s.clean()


PUT_SCRIPT = """
local thread_no = 0
function setup(thread) thread:set("id", thread_no) thread_no = thread_no + 1 end
local n = 0
local body = string.rep("x", SIZE)
function request()
    n = n + 1
    return wrk.format("PUT", "PREFIX" .. id .. "-" .. n, nil, body)
end
"""


def bench_put_small(args, home):
    """Durable PUTs of 4 KiB from 64 clients against nginx dav (not durable) and one writer's write + fsync."""
    (home / "www3").mkdir()
    server = peers.Sluice(home / "small", extra=("--auth", "none", "--durability", "sync")).start()
    nginx = peers.Nginx(home / "nginx3", home / "www3", 2)
    try:
        peers.request(server.port, "PUT", "/puts")
        ours, dav, sync = [], [], []
        for i in range(args.runs):
            script = home / f"put{i}.lua"
            script.write_text(PUT_SCRIPT.replace("SIZE", "4096").replace("PREFIX", f"/puts/r{i}-"))
            ours.append(peers.wrk(server.port, "/", args.seconds, 64, 2, script=script, cpu=None)["rate"])
            script.write_text(PUT_SCRIPT.replace("SIZE", "4096").replace("PREFIX", f"/r{i}-"))
            dav.append(peers.wrk(nginx.port, "/", args.seconds, 64, 2, script=script, cpu=None)["rate"])
            began, n = time.perf_counter(), 0
            while time.perf_counter() - began < 1:
                fd = os.open(home / "www3" / f"s{n % 100}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.write(fd, b"x" * 4096)
                os.fsync(fd)
                os.close(fd)
                n += 1
            sync.append(n / (time.perf_counter() - began))
        row("PUT 4 KiB, durable, 64 clients", spread(ours, " /s"), "write+fsync " + spread(sync), f"{median(ours) / median(sync):.2f}", ">= 5,000/s")
        row("PUT 4 KiB against nginx dav (not durable, no hash)", spread(ours, " /s"), "nginx " + spread(dav), f"{median(ours) / median(dav):.2f}", "")
    finally:
        nginx.stop()
        server.stop()
        server.clean()


LIST_SCRIPT = """
local thread_no = 0
function setup(thread) thread:set("id", thread_no) thread_no = thread_no + 1 end
local n = 0
function request()
    n = n + 1
    local i = id * 500000 + n
    return wrk.format("PUT", string.format("/list/p%04d/k%06d", math.floor(i / 1000), i % 1000), nil, "")
end
"""


def page(port, query):
    began = time.perf_counter()
    _, data = peers.request(port, "GET", f"/list?list-type=2&{query}")
    return time.perf_counter() - began, data


def walk(job):
    """Keys listed by walking pages from one place to another; in a process of its own."""
    import http.client
    port, first, last = job
    c = http.client.HTTPConnection("127.0.0.1", port)
    keys, after = 0, first
    while after < last:
        c.request("GET", f"/list?list-type=2&start-after={after}")
        data = c.getresponse().read()
        n = data.count(b"<Contents>")
        keys += n
        if n < 1000:
            break
        at = data.rindex(b"<Key>") + 5
        after = data[at:data.index(b"</Key>", at)].decode()
    return keys


def bench_list(args, home):
    """A million keys: pages anywhere, delimiter pages, keys per second."""
    server = peers.Sluice(home / "list", extra=("--auth", "none", "--durability", "async")).start()
    try:
        peers.request(server.port, "PUT", "/list")
        script = home / "list.lua"
        script.write_text(LIST_SCRIPT)
        # wrk has no request count: run until both threads have passed their half
        while True:
            subprocess.run(["wrk", "-t2", "-c64", f"-d{args.fill_seconds}s", "-s", str(script), f"http://127.0.0.1:{server.port}/"], check=True, capture_output=True)
            break
        total = sum(walk((server.port, "", "~")) for _ in range(1))
        first = [page(server.port, "max-keys=1000")[0] * 1000 for _ in range(21)]
        deep = [page(server.port, "max-keys=1000&start-after=p0400/k000500")[0] * 1000 for _ in range(21)]
        row(f"ListObjectsV2, page of 1,000 of {total:,} keys: deep / first", f"{median(deep):.2f} ms", f"first page {median(first):.2f} ms",
            f"{median(deep) / median(first):.2f}", "<= 2")
        took, data = page(server.port, "delimiter=/")
        prefixes = data.count(b"<CommonPrefixes>")
        delim = [page(server.port, "delimiter=/")[0] * 1000 for _ in range(11)]
        row(f"ListObjectsV2, delimiter: {prefixes} prefixes of up to 1,000 keys", f"{median(delim):.2f} ms", f"plain page {median(first):.2f} ms",
            f"{median(delim) / median(first):.2f}", "no scan")
        rates = []
        for _ in range(args.runs):
            began = time.perf_counter()
            with ProcessPoolExecutor(2) as pool:
                n = sum(pool.map(walk, [(server.port, "", "p0250"), (server.port, "p0500", "p0750")]))
            rates.append(n / (time.perf_counter() - began))
        row("ListObjectsV2, keys per second, 2 clients", spread(rates, " keys/s"), "", "", ">= 300,000/s")
    finally:
        server.stop()
        server.clean()


def upload_parts(port, key, source, count):
    upload = re.search(rb"<UploadId>(.*?)</UploadId>", peers.request(port, "POST", f"/mem/{key}?uploads")[1])[1].decode()
    for n in range(1, count + 1):
        peers.put_file(port, f"/mem/{key}?partNumber={n}&uploadId={upload}", source)
    return upload


def complete(port, key, upload, etag, count):
    xml = "<CompleteMultipartUpload>" + "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n in range(1, count + 1)) + "</CompleteMultipartUpload>"
    began = time.perf_counter()
    peers.request(port, "POST", f"/mem/{key}?uploadId={upload}", xml.encode())
    return (time.perf_counter() - began) * 1000


class Watch:
    """Peak RSS and worst loop stall of a server while a block runs."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        import threading
        self.idle, self.peak, self.stall, self.run = self.server.rss(), 0, 0.0, True
        self.server.metrics()

        def sample():
            while self.run:
                self.peak = max(self.peak, self.server.rss())
                for k, v in self.server.metrics().items():
                    if k.startswith("sluice_loop_stall_seconds_max"):
                        self.stall = max(self.stall, v)
                time.sleep(0.2)
        self.thread = threading.Thread(target=sample)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.run = False
        self.thread.join()

    def text(self):
        return f"+{(self.peak - self.idle) / 1048576:.0f} MiB, stall {self.stall * 1000:.1f} ms"


def bench_memory(args, home):
    """Memory above idle and loop stalls under large and many uploads; completion of 1,000 parts."""
    import hashlib
    server = peers.Sluice(home / "memory", extra=("--auth", "none", "--durability", "sync")).start()
    try:
        peers.request(server.port, "PUT", "/mem")
        five = home / "five"
        five.write_bytes(os.urandom(5 << 20))
        etag = hashlib.md5(five.read_bytes()).hexdigest()
        if shutil.disk_usage(home).free > 30 << 30:
            big = home / "big"
            with open(big, "wb") as f:
                f.truncate(5 << 30)
            with Watch(server) as w:
                took = peers.put_file(server.port, "/mem/single", big)
            row("5 GiB in one PUT: RSS above idle, worst loop stall", w.text(), f"{5368.7 / took:.0f} MB/s", "", "< 200 MiB, < 20 ms")
            big.unlink()
            peers.request(server.port, "DELETE", "/mem/single")
            with Watch(server) as w:
                upload = upload_parts(server.port, "multi", five, 1024)
            row("5 GiB in 1,024 parts: RSS above idle, worst loop stall", w.text(), "", "", "< 200 MiB, < 20 ms")
            ms = complete(server.port, "multi", upload, etag, 1024)
            row("CompleteMultipartUpload of 1,024 parts (5 GiB)", f"{ms:.1f} ms", "", "", "< 50 ms")
            peers.request(server.port, "DELETE", "/mem/multi")
        per = args.client_mib * (1 << 20) // (16 << 20)
        if shutil.disk_usage(home).free < args.client_mib * 64 * 1.1 * (1 << 20):
            per = int(shutil.disk_usage(home).free * 0.7 / 64) // (16 << 20)
        sixteen = home / "sixteen"
        sixteen.write_bytes(os.urandom(16 << 20))
        with Watch(server) as w, ThreadPoolExecutor(64) as pool:
            began = time.perf_counter()
            uploads = list(pool.map(lambda i: (i, upload_parts(server.port, f"c{i}", sixteen, per)), range(64)))
            took = time.perf_counter() - began
        row(f"64 clients upload {per * 16} MiB each in parts: RSS above idle", w.text(), f"{64 * per * 16.777216 / took:.0f} MB/s in total", "", "bounded")
        for i, u in uploads:
            peers.request(server.port, "DELETE", f"/mem/c{i}?uploadId={u}")
    finally:
        server.stop()
        server.clean()


def hop_runs(args, fronts, path, size):
    """Runs of all servers interleaved: for each a list of rates and one of what its CPU costs."""
    got = {name: ([], []) for name in fronts}
    for _ in range(args.runs):
        for name, (port, pid) in fronts.items():
            before = peers.cpu_seconds(pid)
            r = peers.wrk(port, path, args.seconds)
            took = peers.cpu_seconds(pid) - before
            rates, costs = got[name]
            rates.append(r["rate"] if size <= 4096 else r["mb_s"])
            costs.append(took * 1e6 / (r["rate"] * args.seconds) if size <= 4096 else took * 1000 / (r["mb_s"] * args.seconds))
    return got


def bench_hop(args, home):
    """GET through a gateway and a target, against nginx in front of nginx and against one process that has the data."""
    import cluster as cl
    root = home / "www"
    root.mkdir()
    cluster = cl.Cluster(1, 1, 1, home / "cluster", env={"SLUICE_AUTH": "none", "SLUICE_THREADS": "1"})
    for nodes, cpu in ((cluster.gateways, peers.SERVER_CPU), (cluster.targets, peers.CLIENT_CPU)):
        for n in nodes:
            n.command = ["taskset", "-c", cpu, *n.command]
    alone = peers.Sluice(home / "alone", cpu=peers.SERVER_CPU, extra=("--threads", "1", "--auth", "none"))
    origin = peers.Nginx(home / "origin", root, 1, peers.CLIENT_CPU)
    proxy = peers.NginxProxy(home / "proxy", origin.port, peers.SERVER_CPU)
    try:
        cluster.start(), alone.start()
        gateway = cluster.gateways[0]
        (root / "hop").mkdir()
        for port in (gateway.port, alone.port):
            peers.request(port, "PUT", "/hop")
        for label, size in (SIZES[0], SIZES[2], SIZES[3]):
            path, body = f"/hop/f{size}", os.urandom(size)
            (root / path[1:]).write_bytes(body)
            for port in (gateway.port, alone.port):
                peers.request(port, "PUT", path, body)
            got = hop_runs(args, {"hop": (gateway.port, gateway.pid), "alone": (alone.port, alone.process.pid),
                                  "nginx": (proxy.port, proxy.process.pid)}, path, size)
            unit, cost = (" req/s", "us per request") if size <= 4096 else (" MB/s", "s per GB")
            (rates, costs), (a_rates, a_costs), (n_rates, n_costs) = got["hop"], got["alone"], got["nginx"]
            row(f"GET {label} through gateway and target", spread(rates, unit), "nginx, nginx " + spread(n_rates), f"{median(rates) / median(n_rates):.2f}", "")
            row(f"GET {label}, the same against sluice without a hop", spread(rates, unit), "sluice " + spread(a_rates), f"{median(rates) / median(a_rates):.2f}", "")
            row(f"GET {label}, CPU of the gateway alone, {cost}", f"{median(costs):.2f}",
                f"nginx {median(n_costs):.2f}, no hop {median(a_costs):.2f}", f"{median(costs) / median(n_costs):.2f}", "")
    finally:
        proxy.stop(), origin.stop()
        cluster.stop()
        cluster.kill()
        alone.stop()
        alone.clean()


def with_table(run):
    """A bench of another file, with what it needs of this one."""

    @functools.wraps(run)
    def bench(args, home):
        run(args, home, row, spread, median)

    return bench


BENCHES = {"get": bench_get, "put-large": bench_put_large, "put-small": bench_put_small, "list": bench_list, "memory": bench_memory, "hop": bench_hop}
BENCHES |= {name: with_table(run) for name, run in (archives.BENCHES | etl.BENCHES).items()}


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read())[1]) / 1048576
    return f"{os.cpu_count()} x {cpu}, {memory:.0f} GiB, kernel {platform.release()}"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("names", nargs="*")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--fill-seconds", type=int, default=150)
    p.add_argument("--objects", type=int, default=100000, help="that are put into an archive")
    p.add_argument("--client-mib", type=int, default=1024)
    p.add_argument("--dir", default=None, help="where data goes (default: the system's temporary directory)")
    p.add_argument("--write", help="a Markdown file to write the table to")
    args = p.parse_args()
    for name in args.names or BENCHES:
        home = Path(tempfile.mkdtemp(prefix="sluice-bench-", dir=args.dir))
        print(f"--- {name}: {BENCHES[name].__doc__.splitlines()[0]}", flush=True)
        try:
            BENCHES[name](args, home)
        finally:
            shutil.rmtree(home, ignore_errors=True)
    if args.write:
        lines = ["# Benchmarks", "", f"Made by `make bench` on {machine()}.", "",
                 "Medians with the range of all runs; peers ran in the same run, interleaved. GET: server pinned to one core, wrk to another, "
                 "16 keep-alive connections. Objects are warm in the page cache.", "",
                 "| what | sluice | peer | ratio | aim |", "|---|---|---|---|---|"]
        lines += ["| " + " | ".join(r) + " |" for r in rows]
        Path(args.write).write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
