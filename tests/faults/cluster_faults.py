#!/usr/bin/env python3
"""Faults of a whole cluster, with clients that compare every answer. `cluster_faults.py NAME... [--rounds N] [--seed N]`"""

import argparse
import random
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cut  # noqa: E402
import membership  # noqa: E402
import oracle as orc  # noqa: E402
import partition  # noqa: E402
import server as srv  # noqa: E402
from crowded import RECOVERY_S, Run  # noqa: E402

def kill_one(args) -> str:
    """kill -9 of any one process at a time: no wrong answer, nothing acknowledged lost, errors in between can be retried."""
    rnd = random.Random(args.seed)
    with Run(args.seed, redundancy=args.redundancy, targets=3, gateways=2, etcds=3) as run:
        for _ in range(args.rounds):
            run.crowd.start()
            time.sleep(rnd.uniform(0.5, 1.5))
            victim = rnd.choice([*run.cluster.targets, *run.cluster.gateways, *run.cluster.etcds])
            victim.kill()
            time.sleep(rnd.uniform(0.2, 4.0))
            victim.start()
            time.sleep(1.0)
            run.crowd.pause()
            run.crowd.check()
        run.crowd.settle()
        return f"{args.rounds} rounds, {run.crowd.text()}"


def lose_one(args) -> str:
    """One target after another is killed and stays away for a while: with copies elsewhere, all is served again within the lease and two
    seconds, reads, writes and lists alike; when it is back it gets what it has missed before the next one is killed."""
    texts = []
    for redundancy in [args.redundancy] if args.redundancy != "none" else ["replicas=2", "ec=2+1"]:
        with Run(args.seed, redundancy=redundancy, targets=3, gateways=2) as run:
            run.crowd.start()
            for victim in run.cluster.targets:
                time.sleep(1)
                victim.kill()
                time.sleep(run.cluster.lease_s + RECOVERY_S)
                before = run.refused()
                time.sleep(4)
                assert run.refused() == before, f"{run.refused() - before} requests were refused while {victim.name} was away"
                victim.start()
                run.wait_synced()
            run.crowd.settle()
            texts.append(f"{redundancy}: {run.crowd.text()}")
    return "; ".join(texts)


def kill_all_targets(args) -> str:
    """All targets killed at once and started again: everything acknowledged is there."""
    with Run(args.seed, redundancy=args.redundancy, targets=3) as run:
        for _ in range(max(1, args.rounds // 3)):
            run.crowd.start()
            time.sleep(2)
            for t in run.cluster.targets:
                t.kill()
            time.sleep(0.5)
            for t in run.cluster.targets:
                t.start()
            time.sleep(1)
            run.crowd.settle()
        return run.crowd.text()


def etcd_away(args) -> str:
    """etcd is gone: reads and writes go on, making a bucket fails clearly; it works again afterwards."""
    with Run(args.seed, redundancy=args.redundancy, targets=2) as run:
        run.crowd.start()
        time.sleep(1)
        before = sum(c.refused for c in run.crowd.clients)
        for e in run.cluster.etcds:
            e.kill()
        time.sleep(8)  # well beyond the lease
        try:
            orc.client(run.cluster.gateways[0].url, srv.ACCESS_KEY, srv.SECRET_KEY).create_bucket(Bucket="while-away")
            raise AssertionError("a bucket was made without etcd")
        except orc.ClientError as e:
            assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 503, e
        assert sum(c.refused for c in run.crowd.clients) == before, "requests failed while etcd was away"
        for e in run.cluster.etcds:
            e.start()
        time.sleep(4)
        orc.client(run.cluster.gateways[1].url, srv.ACCESS_KEY, srv.SECRET_KEY).create_bucket(Bucket="afterwards")
        run.crowd.settle()
        return run.crowd.text()


def paused(args) -> str:
    """A target stops answering without being dead (SIGSTOP): its keys are refused with 503, others served; then it goes on."""
    import signal
    with Run(args.seed, redundancy=args.redundancy, targets=3) as run:
        run.crowd.start()
        time.sleep(1)
        run.cluster.targets[1].signal(signal.SIGSTOP)
        time.sleep(6)
        run.cluster.targets[1].signal(signal.SIGCONT)
        time.sleep(3)
        run.crowd.settle()
        assert max(c.longest_outage for c in run.crowd.clients) < 6 + 2 + RECOVERY_S + 2, run.crowd.text()
        return run.crowd.text()


CHECKS = {f.__name__.replace("_", "-"): f for f in (kill_one, lose_one, kill_all_targets, etcd_away, paused, membership.membership, membership.interrupted, membership.scrub, membership.mend, cut.cut, partition.partitions)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("names", nargs="*", choices=[*CHECKS, []])
    p.add_argument("--rounds", type=int, default=4)
    p.add_argument("--redundancy", default="none", help="of the bucket: replicas=N, ec=D+P")
    p.add_argument("--seed", type=int, default=int(time.time()))
    args = p.parse_args()
    if not shutil.which("etcd"):
        print("SKIP cluster faults: etcd is not installed")
        return
    failed = 0
    for name in args.names or CHECKS:
        began = time.monotonic()
        try:
            text = CHECKS[name](args)
            print(f"{'SKIP' if text.startswith('skipped') else 'PASS'} {name} {text} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as e:  # noqa: BLE001: each check is reported, whatever it met
            failed += 1
            print(f"FAIL {name} (--seed {args.seed}): {type(e).__name__}: {e}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
