"""What transforms cost: objects through sidecars against plain GETs, whole buckets, views, and plain GETs beside slow transforms."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import archives
import peers

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20


def echo_tool() -> Path:
    return peers.srv.binary().parent / "bench" / "tool_etl_echo"


def make(port, name, comm="hpush", command=(), **more):
    spec = {"name": name, "communication": f"{comm}://", "runtime": {"command": list(command)}, **more}
    peers.request(port, "PUT", "/v1/etl", json.dumps(spec).encode())


def bench_etl_get(args, home, row, spread, median):
    """1 MiB through a sidecar in C that gives back what it gets, by HTTP and by WebSocket, against GETs of the same object, 16 connections."""
    server = archives.open_server(home / "etl")
    try:
        peers.request(server.port, "PUT", "/bench/f", os.urandom(MIB))
        make(server.port, "echo-http", command=[str(echo_tool())])
        make(server.port, "echo-ws", "ws", [str(echo_tool())])
        paths = {"plain": "/bench/f", "hpush": "/bench/f?etl_name=echo-http", "ws": "/bench/f?etl_name=echo-ws"}
        rates, costs = {k: [] for k in paths}, {k: [] for k in paths}
        for _ in range(args.runs):
            for name, path in paths.items():
                before = own_cpu(server.process.pid)
                rate = peers.wrk(server.port, path, args.seconds, cpu=None)["rate"]
                rates[name].append(rate)
                costs[name].append((own_cpu(server.process.pid) - before) / (rate * args.seconds * MIB / 2**30))
        plain = "plain " + spread(rates["plain"], " req/s")
        row("GET of 1 MiB through an echo by hpush", spread(rates["hpush"], " req/s"), plain, f"{median(rates['hpush']) / median(rates['plain']):.2f}", ">= 0.6")
        row("the same by ws", spread(rates["ws"], " req/s"), "hpush " + spread(rates["hpush"], " req/s"), f"{median(rates['ws']) / median(rates['hpush']):.2f}", ">= 1")
        row("CPU of the store per transformed GiB, hpush", f"{median(costs['hpush']):.2f} s", f"plain {median(costs['plain']):.2f} s, ws {median(costs['ws']):.2f} s", "", "")
    finally:
        server.stop()
        server.clean()


def own_cpu(pid) -> float:
    """Of the process alone, without its sidecars."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bench_etl_view(args, home, row, spread, median):
    """What a view has kept, against the same bytes as a plain object."""
    server = archives.open_server(home / "view", cpu=peers.SERVER_CPU)
    try:
        peers.request(server.port, "PUT", "/bench/f", os.urandom(100 << 10))
        peers.request(server.port, "POST", "/v1/buckets/shown", json.dumps(
            {"action": "create-bck", "value": {"sluice": {"view": {"source": "bench", "etl": ["@gzip"]}}}}).encode())
        peers.request(server.port, "PUT", "/bench/g", peers.request(server.port, "GET", "/shown/f")[1])
        got = {"plain": [], "view": []}
        for _ in range(args.runs):
            for name, path in (("plain", "/bench/g"), ("view", "/shown/f")):
                got[name].append(peers.wrk(server.port, path, args.seconds)["rate"])
        row("GET of 100 KiB that a view has kept", spread(got["view"], " req/s"), "plain " + spread(got["plain"], " req/s"),
            f"{median(got['view']) / median(got['plain']):.2f}", ">= 0.9")
    finally:
        server.stop()
        server.clean()


def bench_etl_bucket(args, home, row, spread, median):
    """10,000 x 100 KiB from bucket to bucket: through an echo, against a client that does GET and PUT; and how busy a CPU-bound transform keeps the cores."""
    server = archives.open_server(home / "bucket")
    count, data = 10000, os.urandom(100 << 10)
    try:
        names = [f"o/{i:06}" for i in range(count)]
        archives.fill(server.port, "bench", names, lambda name: data)
        make(server.port, "echo-http", command=[str(echo_tool())])
        burn = "import sys,hashlib\nd=sys.stdin.buffer.read()\nfor i in range(20): h=hashlib.sha512(d).digest()\nsys.stdout.buffer.write(h)\n"
        make(server.port, "burn-io", "io", ["/usr/bin/python3", "-SIc", burn])

        def job(etl, to):
            began = time.perf_counter()
            run = archives.run_job(server.port, "etl", {"bucket": "bench", "prefix": "o/", "to": to, "workers": 16, "etl": [{"name": etl}]})
            seconds = time.perf_counter() - began
            assert run["ok"] == count, run
            return seconds

        peers.request(server.port, "PUT", "/copied")
        seconds = []
        for i in range(max(1, args.runs // 2)):  # into new buckets: replacing also removes what was there, which the client's PUTs don't
            peers.request(server.port, "PUT", f"/new-{i}")
            seconds.append(job("echo-http", f"new-{i}"))
        c, part = archives.Connection(server.port), names[:1000]
        began = time.perf_counter()
        for name in part:
            c.ask("PUT", f"/copied/c{name}", c.ask("GET", f"/bench/{name}"))
        client = (time.perf_counter() - began) * count / len(part)
        row("10,000 x 100 KiB through an echo, bucket to bucket", spread(seconds, " s"), f"a client's GET and PUT {client:.1f} s",
            f"{client / median(seconds):.1f}", ">= 5")
        idle = idle_seconds()
        took = job("burn-io", "copied")
        busy = 1 - (idle_seconds() - idle) / took / os.cpu_count()
        row("the same through a CPU-bound command (io), cores busy", f"{100 * busy:.0f} %", f"{took:.0f} s", f"{busy:.2f}", ">= 0.9")
    finally:
        server.stop()
        server.clean()


def idle_seconds() -> float:
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def p99(port, path, seconds) -> float:
    """Milliseconds."""
    out = subprocess.run(["wrk", "-t1", "-c8", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True).stdout
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def bench_etl_crowd(args, home, row, spread, median):
    """1,000 requests at a time that wait for a slow sidecar: memory, and plain GETs beside them."""
    server = archives.open_server(home / "crowd")
    try:
        peers.request(server.port, "PUT", "/bench/f", os.urandom(100 << 10))
        make(server.port, "slow-io", "io", ["sh", "-c", "sleep 2; cat"], obj_timeout="60s")
        before = [p99(server.port, "/bench/f", args.seconds) for _ in range(args.runs)]
        rss = archives.rss_mib(server.process.pid)
        crowd = subprocess.Popen(["wrk", "-t1", "-c1000", f"-d{args.seconds * (args.runs + 1) + 4}s", "--timeout", "60s",
                                  f"http://127.0.0.1:{server.port}/bench/f?etl_name=slow-io"], stdout=subprocess.DEVNULL)
        time.sleep(3)
        during = [p99(server.port, "/bench/f", args.seconds) for _ in range(args.runs)]
        most = archives.rss_mib(server.process.pid)
        crowd.terminate()
        crowd.wait()
        row("plain GETs beside 1,000 waiting transforms, p99", spread(during, " ms"), "alone " + spread(before, " ms"), f"{median(during) / median(before):.1f}", "<= 3")
        row("memory of 1,000 waiting transforms", f"{(most - rss) * 1024 / 1000:,.0f} KiB each", f"{rss:,.0f} -> {most:,.0f} MiB", "", "bounded")
    finally:
        server.stop()
        server.clean()


BENCHES = {"etl-get": bench_etl_get, "etl-view": bench_etl_view, "etl-bucket": bench_etl_bucket, "etl-crowd": bench_etl_crowd}
