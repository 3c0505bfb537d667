"""Hosts of their own for the processes of a cluster: network namespaces on a bridge, between which packets can be dropped.

Nothing of it touches the machine's own network: bridge, links and filters are inside namespaces that are made here and removed at the end.
"""

import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000


def missing() -> str:
    """Why there can be no network of our own; empty: there can."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    for tool in ("ip", "iptables"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    name = f"sluice-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode != 0:
        return f"no network namespaces here: {made.stderr.strip()}"
    filters = subprocess.run(["ip", "netns", "exec", name, "iptables", "-n", "-L"], capture_output=True, text=True)
    links = subprocess.run(["ip", "-n", name, "link", "add", "br0", "type", "bridge"], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], check=True)
    bad = next((r for r in (filters, links) if r.returncode != 0), None)
    return f"no packet filters or bridges here: {bad.stderr.strip()}" if bad else ""


def run(*args):
    r = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    if r.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, args))}: {r.stderr.strip()}")


class Network:
    """The calling thread, and what it starts from then on, is at the hub until close()."""

    def __init__(self):
        self.prefix = f"sluice-{os.getpid()}-"
        self.hub = self.prefix + "hub"
        self.names: list[str] = []
        self.own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        run("ip", "netns", "add", self.hub)
        try:
            run("ip", "-n", self.hub, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", self.hub, "address", "add", "10.77.0.1/24", "dev", "br0")
            run("ip", "-n", self.hub, "link", "set", "br0", "up")
            run("ip", "-n", self.hub, "link", "set", "lo", "up")
            self._enter(f"/run/netns/{self.hub}")
        except BaseException:
            self.close()
            raise

    def _enter(self, path):
        fd = os.open(path, os.O_RDONLY) if isinstance(path, str) else path
        try:
            if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(fd)

    def host(self, name) -> str:
        """A new host; its address."""
        n, ns = len(self.names) + 2, self.prefix + name
        self.names.append(name)
        run("ip", "netns", "add", ns)
        run("ip", "-n", self.hub, "link", "add", f"v{n}", "type", "veth", "peer", "name", "eth0", "netns", ns)
        run("ip", "-n", self.hub, "link", "set", f"v{n}", "master", "br0", "up")
        run("ip", "-n", ns, "address", "add", f"10.77.0.{n}/24", "dev", "eth0")
        run("ip", "-n", ns, "link", "set", "eth0", "up")
        run("ip", "-n", ns, "link", "set", "lo", "up")
        return f"10.77.0.{n}"

    def address(self, name) -> str:
        return f"10.77.0.{self.names.index(name) + 2}"

    def inside(self, name) -> list[str]:
        """What goes before a command so that it runs at that host."""
        return ["ip", "netns", "exec", self.prefix + name]

    def cut(self, a, b):
        """Drops all packets between two hosts, silently."""
        for chain, side in (("INPUT", "-s"), ("OUTPUT", "-d")):
            run(*self.inside(a), "iptables", "-w", "-A", chain, side, self.address(b), "-j", "DROP")

    def split(self, group, others):
        """Drops all packets between the hosts of one group and the others."""
        for a in group:
            for b in others:
                self.cut(a, b)

    def heal(self):
        for name in self.names:
            run(*self.inside(name), "iptables", "-w", "-F")

    def close(self):
        """When all processes there have ended."""
        if self.own is not None:
            self._enter(self.own)
            self.own = None
        for ns in [*[self.prefix + n for n in self.names], self.hub]:
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)
