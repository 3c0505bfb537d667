"""Partitions between clients' gateways, targets and etcd: hosts that don't hear each other while the clients go on.

Whatever is cut: no answer is wrong, nothing acknowledged is lost, and all is reachable again once the hosts hear each other.
"""

import random
import time

import net
from crowded import Run


def names(processes):
    return [p.name for p in processes]


def alone(run, rnd):
    """One target that hears nobody."""
    one = rnd.choice(names(run.cluster.targets))
    run.network.split([one], [n for n in run.network.names if n != one])
    return f"{one} alone"


def target_without_etcd(run, rnd):
    """Gateways go on reaching a target that etcd takes for dead."""
    one = rnd.choice(names(run.cluster.targets))
    run.network.split([one], names(run.cluster.etcds))
    return f"{one} without etcd"


def gateway_without_etcd(run, rnd):
    """A gateway that does not hear of changes: a target is put into maintenance meanwhile."""
    one = rnd.choice(names(run.cluster.gateways))
    run.network.split([one], names(run.cluster.etcds))
    node = rnd.choice(run.nodes())
    for verb in ("maintenance", "activate"):
        time.sleep(rnd.uniform(0.2, 1.0))
        r = run.cluster.command(verb, node)
        assert r.returncode == 0, r.stderr
    return f"{one} without etcd, {node} in maintenance for a while"


def gateway_without_target(run, rnd):
    """Two that don't hear each other, though everybody else hears both."""
    one, other = rnd.choice(names(run.cluster.gateways)), rnd.choice(names(run.cluster.targets))
    run.network.cut(one, other)
    return f"{one} without {other}"


def targets_apart(run, rnd):
    """Two targets that don't hear each other."""
    one, other = rnd.sample(names(run.cluster.targets), 2)
    run.network.cut(one, other)
    return f"{one} without {other}"


def halves(run, rnd):
    """A gateway, a target and one member of etcd on one side, all others on the other."""
    part = [rnd.choice(names(p)) for p in (run.cluster.gateways, run.cluster.targets, run.cluster.etcds)]
    run.network.split(part, [n for n in run.network.names if n not in part])
    return "apart: " + ", ".join(part)


def etcd_alone(run, rnd):
    """A member of etcd that hears nobody, maybe its leader."""
    one = rnd.choice(names(run.cluster.etcds))
    run.network.split([one], [n for n in run.network.names if n != one])
    return f"{one} alone"


KINDS = [alone, target_without_etcd, gateway_without_etcd, gateway_without_target, targets_apart, halves, etcd_alone]


def partitions(args) -> str:
    """One partition after another, each for a few seconds, some longer than a lease."""
    why = net.missing()
    if why:
        return f"skipped: {why}"
    rnd = random.Random(args.seed)
    kinds = [KINDS[i % len(KINDS)] for i in range(max(args.rounds, len(KINDS)))]
    rnd.shuffle(kinds)
    with Run(args.seed, hosts=True, targets=3, gateways=2, etcds=3, redundancy=args.redundancy) as run:
        for kind in kinds:
            run.crowd.start()
            time.sleep(rnd.uniform(0.3, 1.0))
            what = kind(run, rnd)
            time.sleep(rnd.choice([1.0, 5.0]))
            run.network.heal()
            time.sleep(1.5)
            run.crowd.pause()
            try:
                run.crowd.check()
            except AssertionError as e:
                raise AssertionError(f"{what}: {e}") from None
        run.wait_up()
        run.crowd.settle()
        return f"{len(kinds)} partitions, {run.crowd.text()}"
