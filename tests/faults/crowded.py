"""A cluster with a bucket and clients at work that compare every answer."""

import sys
import time

import cluster as cl
import exact
import net
import oracle as orc
import server as srv

BUCKET = "faults"
RECOVERY_S = 2.0  # beyond the lease


class Run:
    """A cluster with a bucket and a crowd of clients."""

    def __init__(self, seed, hosts=False, redundancy="none", **kw):
        """`hosts`: each process is on a host of its own, self.network between them."""
        self.network = net.Network() if hosts else None
        self.cluster = cl.Cluster(network=self.network, **kw)
        self.seed, self.redundancy = seed, redundancy

    def clean(self):
        self.cluster.clean()
        if self.network:
            self.network.close()

    def __enter__(self):
        try:
            self.cluster.start()
            urls = [g.url for g in self.cluster.gateways]
            self.make_bucket(urls[0])
            self.wait_bucket(urls)
            self.crowd = exact.Crowd(urls, srv.ACCESS_KEY, srv.SECRET_KEY, BUCKET, seed=self.seed)
        except BaseException:
            self.clean()
            raise
        return self

    def make_bucket(self, url):
        s3 = orc.client(url, srv.ACCESS_KEY, srv.SECRET_KEY)
        if self.redundancy != "none":
            s3.meta.events.register("before-sign.s3.CreateBucket",
                                    lambda request, **_: request.headers.add_header("x-sluice-redundancy", self.redundancy))
        s3.create_bucket(Bucket=BUCKET)

    def wait_bucket(self, urls):
        """The other gateways hear of a new bucket through their watch."""
        for url in urls:
            s3 = orc.client(url, srv.ACCESS_KEY, srv.SECRET_KEY)
            deadline = time.monotonic() + 5
            while BUCKET not in [b["Name"] for b in s3.list_buckets()["Buckets"]]:
                assert time.monotonic() < deadline, "a gateway does not see the bucket"
                time.sleep(0.05)

    def __exit__(self, kind, *_):
        if kind is None:
            try:
                self.cluster.stop()
                self.cluster.check_sanitizer()
            finally:
                self.clean()
        else:
            for p in [*self.cluster.gateways, *self.cluster.targets]:
                print(f"--- {p.name}\n{p.tail(15)}", file=sys.stderr)
            self.clean()

    def nodes(self) -> list[str]:
        """Ids of the targets, as a gateway knows them."""
        return [n["id"] for n in self.cluster.view()["nodes"]]

    def wait_up(self, wait=30.0):
        """Until every gateway sees every target alive."""
        deadline = time.monotonic() + wait
        for g in range(len(self.cluster.gateways)):
            while not all(n["alive"] for n in self.cluster.view(g)["nodes"]):
                assert time.monotonic() < deadline, f"a target stays away: {self.cluster.view(g)}"
                time.sleep(0.1)

    def refused(self) -> int:
        return sum(c.refused for c in self.crowd.clients)

    def wait_synced(self, wait=60.0):
        """Until every target has what was written while it was away."""
        deadline = time.monotonic() + wait
        while not all(n["alive"] and n["sync"] == "in" for n in self.cluster.view()["nodes"]):
            assert time.monotonic() < deadline, f"a target does not catch up: {self.cluster.view()}"
            time.sleep(0.1)
