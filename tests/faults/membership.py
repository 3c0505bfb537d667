"""Targets join and leave while clients are at work."""

import json
import random
import signal
import time

from crowded import BUCKET, Run  # first: it knows where the others are

import oracle as orc
import server as srv

KEYS = 3000  # that nobody changes meanwhile: how many move can be told


def fill(run) -> dict:
    s3 = orc.client(run.cluster.gateways[0].url, srv.ACCESS_KEY, srv.SECRET_KEY)
    keys = {f"still/{i:05}": f"text {i}".encode() for i in range(KEYS)}
    for key, body in keys.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return keys


def compare(run, keys):
    s3 = orc.client(run.cluster.gateways[1].url, srv.ACCESS_KEY, srv.SECRET_KEY)
    seen = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="still/") for o in p.get("Contents", [])]
    assert seen == sorted(keys), f"{len(seen)} of {len(keys)} keys are listed"
    for key in list(keys)[::50]:
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == keys[key], key


def wait_jobs(run, count) -> dict:
    """The rebalance that was the last of `count`, when it has ended."""
    deadline = time.monotonic() + 60
    while True:
        jobs = run.cluster.jobs("rebalance")
        if len(jobs) >= count and all(j["state"] == "done" for j in jobs):
            return jobs[-1]
        assert time.monotonic() < deadline, json.dumps(jobs, indent=1)
        time.sleep(0.3)


def membership(args) -> str:
    """Targets join and leave while clients read, write, list and upload in parts: every answer is right, and no more moves than must."""
    with Run(args.seed, targets=3) as run:
        run.cluster.wait_settled()
        keys = fill(run)
        run.crowd.start()
        time.sleep(2)
        run.cluster.add_target().start()
        view = run.cluster.wait_settled()
        assert len(view["nodes"]) == 4, view
        job = wait_jobs(run, 1)
        run.crowd.pause()
        run.crowd.check()
        compare(run, keys)
        total = KEYS + sum(len(c.model) for c in run.crowd.clients)
        share = job["ok"] / total
        assert 0 < share <= 1 / 4 + 0.02, f"{job['ok']} of {total} keys have moved"
        run.crowd.start()
        leaving = view["nodes"][args.seed % 3]["id"]
        r = run.cluster.command("decommission", leaving)
        assert r.returncode == 0, r.stderr
        time.sleep(0.5)
        view = run.cluster.wait_settled()
        assert leaving not in [n["id"] for n in view["nodes"]], view
        job = wait_jobs(run, 2)
        time.sleep(1)
        compare(run, keys)
        run.crowd.settle()
        return f"{share:.1%} of the keys moved to the new target, {job['ok']} from the old one; {run.crowd.text()}"


def interrupted(args) -> str:
    """Processes are killed while objects move, the targets that give and take, and etcd: the move goes on, and ends."""
    rnd = random.Random(args.seed)
    with Run(args.seed, targets=3, extra=["--jobs-bandwidth", "100KiB"]) as run:
        keys = fill(run)
        run.crowd.start()
        time.sleep(2)
        run.cluster.add_target().start()
        for victim in [run.cluster.targets[3], rnd.choice(run.cluster.targets[:3]), run.cluster.etcds[0]]:
            time.sleep(rnd.uniform(0.2, 1.5))
            victim.kill()
            time.sleep(rnd.uniform(0.2, 3))
            victim.start()
        moving = run.cluster.view()["moving"]
        run.cluster.wait_settled(150)
        wait_jobs(run, 1)
        run.wait_up()
        time.sleep(1)
        run.crowd.settle()
        compare(run, keys)
        return f"{'moving to the last' if moving else 'had moved before the last'}; {run.crowd.text()}"


def flip(process_home):
    """One bit of the largest content file."""
    files = sorted((f for f in process_home.rglob("*") if f.is_file() and f.suffix != ".log" and "index" not in f.parts), key=lambda f: f.stat().st_size)
    with open(files[-1], "r+b") as f:
        f.seek(50000)
        byte = f.read(1)[0]
        f.seek(50000)
        f.write(bytes([byte ^ 4]))
    return files[-1]


def scrub(args) -> str:
    """What rots on a disk is found by name; all else is right, and a scrub that is interrupted goes on."""
    with Run(args.seed, targets=2) as run:
        s3 = orc.client(run.cluster.gateways[0].url, srv.ACCESS_KEY, srv.SECRET_KEY)
        for i in range(40):
            s3.put_object(Bucket=BUCKET, Key=f"rot/{i:02}", Body=bytes([i]) * 200000)
        r = run.cluster.job("start", "scrub")
        assert r.returncode == 0, r.stderr
        r = run.cluster.job("wait", r.stdout.strip())
        assert r.returncode == 0, r.stdout + r.stderr
        victim = run.cluster.targets[0]
        victim.stop()
        flip(run.cluster.home / "t0")
        victim.start()
        run.wait_up()
        victim.signal(signal.SIGSTOP)  # or it is done before another one is asked for
        try:
            job_id = run.cluster.job("start", "scrub").stdout.strip()
            assert run.cluster.job("start", "scrub").returncode == 1, "two scrubs at once"
        finally:
            victim.signal(signal.SIGCONT)
        run.cluster.targets[1].kill()
        run.cluster.targets[1].start()
        r = run.cluster.job("wait", job_id)
        assert r.returncode == 3 and f"{BUCKET}/rot/" in r.stdout, r.stdout + r.stderr
        assert " 1 failed" in r.stdout, r.stdout
        return "one damaged object of 40 was named"


def mend(args) -> str:
    """What rots on the disk of one target is made anew by a scrub from what others have: copies and slices."""
    texts = []
    for redundancy in ["replicas=2", "ec=2+1"]:
        with Run(args.seed, redundancy=redundancy, targets=3) as run:
            s3 = orc.client(run.cluster.gateways[0].url, srv.ACCESS_KEY, srv.SECRET_KEY)
            bodies = {f"mend/{i}": bytes([i]) * (600000 + i) for i in range(12)}
            for key, body in bodies.items():
                s3.put_object(Bucket=BUCKET, Key=key, Body=body)
            flipped = 0
            for path in (run.cluster.home / "t0" / "segments").glob("*/*"):
                if path.stat().st_size > 200000:
                    with open(path, "r+b") as f:
                        f.seek(100000)
                        byte = f.read(1)
                        f.seek(100000)
                        f.write(bytes([byte[0] ^ 1]))
                    flipped += 1
            assert flipped, "nothing to damage"
            for first in (True, False):  # the second scrub finds nothing
                before = run.cluster.targets[0].log_path.read_text().count('event="segment damaged"')
                job_id = run.cluster.job("start", "scrub").stdout.strip()
                r = run.cluster.job("wait", job_id)
                assert r.returncode == 0 and " 0 failed" in r.stdout, r.stdout + r.stderr
                found = run.cluster.targets[0].log_path.read_text().count('event="segment damaged"') - before
                # content that was cut may not have been collected yet: nothing names it, so nobody reads it
                assert 0 < found <= flipped if first else found == 0, f"{found} damaged segments were found, {flipped} are"
            run.cluster.targets[1].kill()
            run.cluster.targets[2].wait_ready()
            time.sleep(run.cluster.lease_s + 2)
            for key, body in bodies.items():
                assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body, key
            run.cluster.targets[1].start()
            texts.append(f"{redundancy}: {flipped} damaged segments")
    return "; ".join(texts)
