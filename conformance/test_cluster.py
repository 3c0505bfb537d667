"""What only a cluster can get wrong: every step of one client's work goes to the other gateway; nodes die and come back."""

import itertools
import json
import os
import shutil
import subprocess
import time
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import cluster as cl
import server as srv
from version_model import History, empty

PART = 5 << 20
pytestmark = pytest.mark.xdist_group("cluster")  # one process runs them, in order, on one cluster


@pytest.fixture(scope="module")
def cluster():
    c = cl.Cluster(gateways=2, targets=3, etcd=1).start()
    yield c
    codes = c.stop()
    log = "\n".join(n.log_path.read_text(errors="replace") for n in [*c.targets, *c.gateways])
    c.clean()
    assert codes == {}, f"{codes}\n{log[-4000:]}"
    srv.assert_clean(log)


def client(cluster, i):
    return boto3.client("s3", endpoint_url=f"http://{cl.HOST}:{cluster.gateways[i].port}", aws_access_key_id=cluster.access_key,
                        aws_secret_access_key=cluster.secret_key, region_name="us-east-1",
                        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, read_timeout=60))


@pytest.fixture(scope="module")
def clients(cluster):
    return [client(cluster, 0), client(cluster, 1)]


@pytest.fixture
def turn(clients):
    """Each call gives the other gateway."""
    return itertools.cycle(clients).__next__


@pytest.fixture
def bucket(clients):
    name = f"c-{uuid.uuid4().hex[:12]}"
    clients[0].create_bucket(Bucket=name)
    yield name
    s3 = clients[1]
    for u in s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=name, Key=u["Key"], UploadId=u["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        for o in page.get("Contents", []):
            s3.delete_object(Bucket=name, Key=o["Key"])
    s3.delete_bucket(Bucket=name)


def code_of(e) -> str:
    return e.value.response["Error"]["Code"]


def test_objects_are_the_same_everywhere(turn, bucket):
    for i in range(40):
        key, body = f"k/{i}", os.urandom(i * 1000)
        etag = turn().put_object(Bucket=bucket, Key=key, Body=body, Metadata={"n": str(i)})["ETag"]
        r = turn().get_object(Bucket=bucket, Key=key)
        assert r["Body"].read() == body and r["ETag"] == etag and r["Metadata"] == {"n": str(i)}
        assert turn().head_object(Bucket=bucket, Key=key)["ContentLength"] == len(body)
        assert key in [o["Key"] for o in turn().list_objects_v2(Bucket=bucket)["Contents"]]
        turn().put_object(Bucket=bucket, Key=key, Body=b"again")
        assert turn().get_object(Bucket=bucket, Key=key)["Body"].read() == b"again"
        if i % 2:
            turn().delete_object(Bucket=bucket, Key=key)
            with pytest.raises(ClientError) as e:
                turn().get_object(Bucket=bucket, Key=key)
            assert code_of(e) == "NoSuchKey"
    keys = [o["Key"] for o in turn().list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == sorted(f"k/{i}" for i in range(0, 40, 2))


def test_pages_alternate(turn, bucket):
    keys = sorted(f"{i % 7}/{i:03d}" for i in range(100))
    for k in keys:
        turn().put_object(Bucket=bucket, Key=k, Body=b"")
    seen, token = [], {}
    while True:
        r = turn().list_objects_v2(Bucket=bucket, MaxKeys=9, **token)
        seen += [o["Key"] for o in r.get("Contents", [])]
        if not r["IsTruncated"]:
            break
        token = {"ContinuationToken": r["NextContinuationToken"]}
    assert seen == keys
    r = turn().list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in r["CommonPrefixes"]] == [f"{i}/" for i in range(7)] and "Contents" not in r
    r = turn().delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys]})
    assert sorted(d["Key"] for d in r["Deleted"]) == keys
    assert "Contents" not in turn().list_objects_v2(Bucket=bucket)


def test_parts_alternate(turn, bucket):
    bodies = [os.urandom(PART), os.urandom(PART + 1), os.urandom(77)]
    upload = turn().create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    parts = []
    for i, body in enumerate(bodies):
        r = turn().upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=i + 1, Body=body)
        parts.append({"PartNumber": i + 1, "ETag": r["ETag"]})
    assert [p["Size"] for p in turn().list_parts(Bucket=bucket, Key="big", UploadId=upload)["Parts"]] == [len(b) for b in bodies]
    assert [u["UploadId"] for u in turn().list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    turn().complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
    whole = b"".join(bodies)
    assert turn().get_object(Bucket=bucket, Key="big")["Body"].read() == whole
    r = turn().get_object(Bucket=bucket, Key="big", Range=f"bytes={PART - 3}-{PART + 5}")
    assert r["Body"].read() == whole[PART - 3:PART + 6]
    aborted = turn().create_multipart_upload(Bucket=bucket, Key="big2")["UploadId"]
    turn().upload_part(Bucket=bucket, Key="big2", UploadId=aborted, PartNumber=1, Body=b"x")
    turn().abort_multipart_upload(Bucket=bucket, Key="big2", UploadId=aborted)
    with pytest.raises(ClientError) as e:
        turn().list_parts(Bucket=bucket, Key="big2", UploadId=aborted)
    assert code_of(e) == "NoSuchUpload"


def test_copies_between_targets(turn, bucket):
    for i in range(12):  # most of them have source and copy on different targets
        body = os.urandom((1 << 20) + i)
        turn().put_object(Bucket=bucket, Key=f"from{i}", Body=body, ContentType="text/x")
        turn().copy_object(Bucket=bucket, Key=f"to{i}", CopySource={"Bucket": bucket, "Key": f"from{i}"})
        r = turn().get_object(Bucket=bucket, Key=f"to{i}")
        assert r["Body"].read() == body and r["ContentType"] == "text/x"


def test_conditions_hold_across_gateways(turn, bucket):
    turn().put_object(Bucket=bucket, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as e:
        turn().put_object(Bucket=bucket, Key="once", Body=b"2", IfNoneMatch="*")
    assert code_of(e) == "PreconditionFailed"
    assert turn().get_object(Bucket=bucket, Key="once")["Body"].read() == b"1"


def test_a_new_bucket_is_there_at_once(turn):
    for _ in range(30):
        name = f"new-{uuid.uuid4().hex[:12]}"
        turn().create_bucket(Bucket=name)
        turn().put_object(Bucket=name, Key="k", Body=b"v")
        assert turn().get_object(Bucket=name, Key="k")["Body"].read() == b"v"
        assert turn().list_objects_v2(Bucket=name)["KeyCount"] == 1
        with pytest.raises(ClientError) as e:
            turn().delete_bucket(Bucket=name)
        assert code_of(e) == "BucketNotEmpty"
        turn().delete_object(Bucket=name, Key="k")
        turn().delete_bucket(Bucket=name)
        with pytest.raises(ClientError) as e:
            turn().put_object(Bucket=name, Key="k", Body=b"v")
        assert code_of(e) == "NoSuchBucket"
        with pytest.raises(ClientError):
            turn().head_bucket(Bucket=name)


def test_a_bucket_has_one_maker(clients, run_together):
    for _ in range(10):
        name = f"race-{uuid.uuid4().hex[:12]}"
        results = run_together(*[lambda c=c: c.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
                                 for c in clients])
        errors = [r for r in results if isinstance(r, Exception)]
        assert len(errors) == 1 and errors[0].response["Error"]["Code"] == "BucketAlreadyOwnedByYou", results
        clients[0].delete_bucket(Bucket=name)


def test_redundancy_of_buckets(cluster, turn):
    def create(name, redundancy):
        s3 = client(cluster, 0)
        s3.meta.events.register("before-sign.s3.CreateBucket", lambda request, **_: request.headers.add_header("x-sluice-redundancy", redundancy))
        s3.create_bucket(Bucket=name)

    def sluice(*args):
        return subprocess.run([str(cl.binary()), "bucket", *args], capture_output=True, text=True,
                              env={**os.environ, **cluster.env, "SLUICE_ACCESS_KEY": cluster.access_key})

    def told(name):
        return turn().head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"].get("x-sluice-redundancy")

    wide, cut, cli = (f"{k}-{uuid.uuid4().hex[:8]}" for k in ("wide", "cut", "cli"))
    create(wide, "replicas=2")
    create(cut, "ec=2+1")
    assert [told(wide), told(wide), told(cut), told(cut)] == ["replicas=2", "replicas=2", "ec=2+1", "ec=2+1"]
    for text in ("ec=3+1", "none", "replicas=3"):  # too many targets; another than it has
        with pytest.raises(ClientError) as e:
            create(wide, text)
        assert code_of(e) == "InvalidRequest" and "redundancy" in str(e.value)

    done = sluice("create", cli, "--redundancy", "replicas=3")
    assert done.returncode == 0 and "replicas=3" in done.stdout, done.stderr
    turn().head_bucket(Bucket=cli)
    assert told(cli) == "replicas=3"
    assert sluice("create", cli).returncode == 1
    refused = sluice("create", "much", "--redundancy", "ec=4+2")
    assert refused.returncode == 1 and "needs 6 targets, the cluster has 3" in refused.stderr
    assert json.loads(sluice("show", cut, "--json").stdout)["redundancy"] == "ec=2+1"
    listed = {b["name"]: b for b in json.loads(sluice("list", "--json").stdout)}
    assert listed[cli]["redundancy"] == "replicas=3" and listed[cli]["owner"] == cluster.access_key
    assert cut in sluice("list").stdout
    for name in (wide, cut, cli):
        turn().delete_bucket(Bucket=name)
    assert sluice("show", cut).returncode == 1


def test_the_cluster_is_told(cluster):
    view = cluster.view()
    assert view["epoch"] >= 1 and view["moving"] is False and view["meta_reachable"] is True
    assert len(view["nodes"]) == 3 and all(n["alive"] and n["state"] == "active" and n["weight"] >= 1 for n in view["nodes"])
    assert "address" not in str(view)
    metrics = cluster.gateways[0].get("/v1/metrics")[1].decode()
    assert 'sluice_cluster_nodes{state="active"} 3' in metrics and "sluice_meta_reachable 1" in metrics
    assert f"sluice_cluster_epoch {view['epoch']}" in metrics
    assert cluster.targets[0].get("/v1/health?ready")[0] == 200
    assert b"sluice_cluster_epoch" in cluster.targets[0].get("/v1/metrics")[1]


def test_a_target_refuses_the_unsigned(cluster):
    import http.client
    for method, path in (("GET", "/"), ("PUT", "/b/k"), ("POST", "/rpc/1/obj_head"), ("GET", "/v1/cluster/x")):
        c = http.client.HTTPConnection(cl.HOST, cluster.targets[0].port, timeout=10)
        c.request(method, path, body=b"x" if method != "GET" else None)
        assert c.getresponse().status in (400, 403, 404, 405), (method, path)
        c.close()


def test_tls_between_nodes():
    c = cl.Cluster(gateways=1, targets=2, etcd=1, node_tls=True).start()
    try:
        s3 = client(c, 0)
        s3.create_bucket(Bucket="tls")
        for size in (0, 1000, 3 << 20):
            body = os.urandom(size)
            s3.put_object(Bucket="tls", Key=f"k{size}", Body=body)
            assert s3.get_object(Bucket="tls", Key=f"k{size}")["Body"].read() == body
        assert s3.list_objects_v2(Bucket="tls")["KeyCount"] == 3
        with pytest.raises(OSError):  # nothing is told in the clear
            cl.get(c.targets[0].port, "/v1/health")
        assert c.stop() == {}
    finally:
        c.kill()
        c.clean()


@pytest.mark.parametrize("seed", range(2))
def test_versions_move_with_their_key(seed):
    """A target joins while versions are made and deleted: none is lost, none comes back."""
    c = cl.Cluster(gateways=1, targets=2, etcd=1).start()
    try:
        s3 = client(c, 0)
        s3.create_bucket(Bucket="moves")
        h = History(s3, "moves", seed, [f"k{i}" for i in range(40)])
        h.set_state("Enabled")
        for _ in range(300):
            h.step(states=False)
        c.add_target()
        moving = 0
        while moving < 40 or (c.view()["moving"] and moving < 1000):
            h.step()
            moving += 1
        c.wait_for(lambda v: not v["moving"], 60)
        h.check()
        empty(s3, "moves")
        s3.delete_bucket(Bucket="moves")
        assert c.stop() == {}
    finally:
        c.kill()
        c.clean()


# ---- nodes die and come back: the last tests, in this order ----

def spread(s3, bucket, n=30) -> dict[str, bytes]:
    objects = {f"s/{i}": os.urandom(1000 + i) for i in range(n)}
    for k, v in objects.items():
        s3.put_object(Bucket=bucket, Key=k, Body=v)
    return objects


def readable(s3, bucket, objects) -> tuple[int, set]:
    """How many can be read, rightly, and the codes of the others."""
    good, codes = 0, set()
    for k, v in objects.items():
        try:
            assert s3.get_object(Bucket=bucket, Key=k)["Body"].read() == v
            good += 1
        except ClientError as e:
            codes.add((e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"]["Code"]))
    return good, codes


def test_a_dead_target_takes_only_its_own_keys(cluster, clients, bucket):
    objects = spread(clients[0], bucket)
    victim = cluster.targets[0]
    victim.kill()
    cluster.wait_alive(2)
    good, codes = readable(clients[1], bucket, objects)
    assert 0 < good < len(objects) and {s for s, _ in codes} == {503}, (good, codes)
    with pytest.raises(ClientError) as e:  # never silently short
        clients[0].list_objects_v2(Bucket=bucket)
    assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    victim.start().wait("/v1/health?ready")
    cluster.wait_alive(3)
    assert readable(clients[1], bucket, objects) == (len(objects), set())
    assert clients[0].list_objects_v2(Bucket=bucket)["KeyCount"] == len(objects)


def test_a_target_that_leaves_is_known_at_once(cluster, clients, bucket):
    objects = spread(clients[0], bucket)
    leaver = cluster.targets[1]
    began = time.monotonic()
    assert leaver.stop() == 0
    cluster.wait_alive(2, 2)
    assert time.monotonic() - began < 4  # the lease would have been 5 s
    assert {s for s, _ in readable(clients[0], bucket, objects)[1]} == {503}
    leaver.start().wait("/v1/health?ready")
    cluster.wait_alive(3)
    assert readable(clients[0], bucket, objects) == (len(objects), set())


def test_two_targets_of_one_id_are_refused(cluster):
    """A copied data directory: the second one says why and ends, the first goes on."""
    first = cluster.targets[2]
    copy = cluster.home / "copy"
    copy.mkdir()
    shutil.copy(first.data / "node-id", copy / "node-id")
    port = cl.free_port()
    node = cl.Node("copy", cluster.home, port, [str(cl.binary()), "target", "--data", str(copy),
                                                "--cluster-internal-listen", f"{cl.HOST}:{port}"], cluster.env).start()
    assert node.process.wait(40) == 1, node.tail()
    assert "is running at" in node.tail(), node.tail()
    assert first.answers("/v1/health?ready")
    cluster.wait_alive(3)


def test_a_gateway_that_dies_takes_nothing(cluster, clients, bucket):
    objects = spread(clients[0], bucket)
    cluster.gateways[0].kill()
    assert readable(clients[1], bucket, objects) == (len(objects), set())
    cluster.gateways[0].start().wait("/v1/health?ready")
    assert readable(clients[0], bucket, objects) == (len(objects), set())


def test_without_etcd_objects_go_on(cluster, clients, bucket):
    objects = spread(clients[0], bucket)
    cluster.etcd[0].kill()
    time.sleep(7)  # longer than the leases
    assert readable(clients[1], bucket, objects) == (len(objects), set())
    clients[1].put_object(Bucket=bucket, Key="during", Body=b"x")
    assert clients[0].get_object(Bucket=bucket, Key="during")["Body"].read() == b"x"
    assert clients[0].list_objects_v2(Bucket=bucket)["KeyCount"] == len(objects) + 1
    for g in cluster.gateways:
        assert g.get("/v1/health")[0] == 200 and g.get("/v1/health?ready")[0] == 200
    with pytest.raises(ClientError) as e:
        clients[0].create_bucket(Bucket=f"never-{uuid.uuid4().hex[:8]}")
    assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    cluster.etcd[0].start().wait("/health")
    deadline = time.monotonic() + 30
    name = f"after-{uuid.uuid4().hex[:8]}"
    while True:
        try:
            clients[0].create_bucket(Bucket=name)
            break
        except ClientError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    clients[1].delete_bucket(Bucket=name)
    cluster.wait_alive(3)


def test_all_targets_die_and_come_back(cluster, clients, bucket):
    objects = spread(clients[0], bucket)
    for n in cluster.targets:
        n.kill()
    for n in cluster.targets:
        n.start()
    for n in cluster.targets:
        n.wait("/v1/health?ready")
    cluster.wait_alive(3)
    assert readable(clients[1], bucket, objects) == (len(objects), set())
