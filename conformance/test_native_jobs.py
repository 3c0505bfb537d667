"""Jobs of the native API: with the aistore SDK, and raw where the SDK doesn't show it."""

import json
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest
import requests

import server as srv

aistore = pytest.importorskip("aistore", reason="the aistore SDK is not installed")
from aistore.sdk import Client  # noqa: E402
from aistore.sdk.errors import AISError  # noqa: E402


@pytest.fixture(scope="module")
def promote_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("promote")


@pytest.fixture(scope="module")
def open_server(new_server, promote_dir):
    with srv.running(new_server(extra=("--auth", "none", "--promote-dirs", str(promote_dir)))) as s:
        yield s


@pytest.fixture
def bucket(client):
    b = client.bucket("b-" + uuid.uuid4().hex[:10]).create()
    yield b
    b.delete(missing_ok=True)


@pytest.fixture
def other(client):
    b = client.bucket("o-" + uuid.uuid4().hex[:10])
    yield b
    b.delete(missing_ok=True)


def call(s, method, path, body=None, **params):
    return requests.request(method, f"{s.http}/v1{path}", params=params, json=body, timeout=60)


def act(s, method, path, action, value=None, name="", **params):
    return call(s, method, path, {"action": action, "name": name, "value": value}, **params)


def put(s, bucket, key, data=b"x"):
    r = requests.put(f"{s.http}/s3/{bucket.name}/{key}", data=data, timeout=60)
    assert r.status_code == 200, r.text


def get(s, name, key):
    return requests.get(f"{s.http}/s3/{name}/{key}", timeout=60)


def fill(s, bucket, count, prefix="obj-", data=b"0123456789"):
    for i in range(count):
        put(s, bucket, f"{prefix}{i:03d}", data)


def keys(bucket, prefix=""):
    return [o.name for o in bucket.list_all_objects(prefix=prefix)]


def ended(s, xid, seconds=20):
    """Its status once it has ended."""
    end = time.time() + seconds
    while time.time() < end:
        r = call(s, "GET", "/cluster", {"ID": xid, "Kind": ""}, what="status")
        assert r.status_code == 200, r.text
        if r.json()["end_time"]:
            return r.json()
        time.sleep(0.02)
    raise AssertionError(f"{xid} has not ended")


# ---- groups ----


def test_delete_list_and_range(client, open_server, bucket):
    fill(open_server, bucket, 12)
    job = bucket.objects(obj_names=["obj-000", "obj-001"]).delete()
    client.job(job).wait(timeout=30)
    assert keys(bucket) == [f"obj-{i:03d}" for i in range(2, 12)]
    job = bucket.objects(obj_template="obj-{002..009..2}").delete()
    client.job(job_id=job, job_kind="delete-objects").wait(timeout=30)
    assert keys(bucket) == [f"obj-{i:03d}" for i in (3, 5, 7, 9, 10, 11)]
    assert ended(open_server, job)["err"] == ""  # what a range lacks is passed over


def test_urls_of_a_group(open_server, bucket):
    fill(open_server, bucket, 2)
    group = bucket.objects(obj_template="obj-{000..001}")
    assert list(group.list_names()) == ["obj-000", "obj-001"]
    assert [requests.get(url, timeout=60).content for url in group.list_urls()] == [b"0123456789"] * 2


def test_missing_names_of_a_list_are_errors(open_server, bucket):
    put(open_server, bucket, "there")
    r = act(open_server, "DELETE", f"/buckets/{bucket.name}", "delete-listrange", {"objnames": ["there", "not-there"]})
    assert r.status_code == 200 and r.headers["Content-Type"].startswith("text/plain")
    status = ended(open_server, r.text)
    assert status["kind"] == "delete-listrange" and not status["aborted"]
    assert "not-there" in status["err"] and keys(bucket) == []
    report = call(open_server, "GET", f"/jobs/{r.text}/report")
    assert '"name":"not-there"' in report.text and len(report.text.splitlines()) == 1


def test_a_long_list_and_names_with_lines_in_them(open_server, bucket):
    names = [f"k{i}" for i in range(3000)] + ["line\nbreak", "100%"]
    for name in ("k0", "k2999", "line%0Abreak", "100%25"):
        put(open_server, bucket, name)
    r = act(open_server, "DELETE", f"/buckets/{bucket.name}", "delete-listrange", {"objnames": names})
    status = ended(open_server, r.text)
    assert status["err"].startswith("2998 failed")
    assert keys(bucket) == []


def test_template_without_ranges_is_a_prefix(open_server, bucket):
    fill(open_server, bucket, 4, "a/")
    fill(open_server, bucket, 2, "b/")
    ended(open_server, act(open_server, "DELETE", f"/buckets/{bucket.name}", "delete-listrange", {"template": "a/"}).text)
    assert len(keys(bucket)) == 2
    ended(open_server, act(open_server, "DELETE", f"/buckets/{bucket.name}", "delete-listrange", {"template": "*"}).text)
    assert keys(bucket) == []


@pytest.mark.parametrize("value", [{}, {"objnames": []}, {"objnames": "a"}, {"objnames": [""]}, {"objnames": [{}]},
                                   {"template": "{"}, {"template": "%06d"}, {"template": "{0..99999999}"},
                                   {"objnames": ["a"], "template": "b"}])
def test_bad_selections(open_server, bucket, value):
    r = act(open_server, "DELETE", f"/buckets/{bucket.name}", "delete-listrange", value)
    assert r.status_code == 400 and r.json()["message"], r.text


def test_copy_objects(client, open_server, bucket, other):
    fill(open_server, bucket, 5)
    jobs = bucket.objects(obj_names=["obj-001", "obj-003"]).copy(other, prepend="p/")
    job = jobs[0] if isinstance(jobs, list) else jobs
    running = client.cluster().list_running_jobs()
    assert f"copy-listrange[{job}]" in running, running  # it idles a while
    client.job(job).wait_for_idle(timeout=30)
    assert keys(other) == ["p/obj-001", "p/obj-003"]  # the bucket was made
    snaps = client.job(job).get_details()
    assert sum(s.stats.objects for s in snaps.list_snapshots()) == 2
    assert sum(s.stats.bytes for s in snaps.list_snapshots()) == 20


def test_copy_bucket(client, open_server, bucket, other):
    fill(open_server, bucket, 5, "in/")
    put(open_server, bucket, "out")
    job = bucket.copy(other, prefix_filter="in/", prepend="new-")
    client.job(job_id=job).wait(timeout=30)
    assert keys(other) == [f"new-in/{i:03d}" for i in range(5)]
    client.job(job_id=job).wait_for_idle(timeout=30)  # one that has ended is idle
    status = client.job(job_id=job).status()
    assert status.end_time > 0 and not status.err


def test_copy_bucket_dry_run_and_extensions(client, open_server, bucket, other):
    put(open_server, bucket, "a.jpg")
    put(open_server, bucket, "b.png")
    other.create()
    job = bucket.copy(other, dry_run=True)
    client.job(job_id=job).wait(timeout=30)
    assert keys(other) == []
    assert sum(s.stats.objects for s in client.job(job).get_details().list_snapshots()) == 2
    r = act(open_server, "POST", f"/buckets/{bucket.name}", "copy-bck", {"ext": {"jpg": "txt"}}, bck_to=f"ais/@#/{other.name}/")
    ended(open_server, r.text)
    assert keys(other) == ["a.txt", "b.png"]


def test_copy_bucket_synchronizes(open_server, bucket, other):
    fill(open_server, bucket, 2)
    other.create()
    put(open_server, other, "gone")
    r = act(open_server, "POST", f"/buckets/{bucket.name}", "copy-bck", {"synchronize": True}, bck_to=f"ais/@#/{other.name}/")
    ended(open_server, r.text)
    assert keys(other) == ["obj-000", "obj-001"]


def test_copies_that_can_not_be(open_server, bucket, other):
    path = f"/buckets/{bucket.name}"
    assert act(open_server, "POST", path, "copy-bck", {}, bck_to=f"ais/@#/{bucket.name}/").status_code == 400
    assert act(open_server, "POST", path, "copy-bck", {}, bck_to="").status_code == 400
    both = {"synchronize": True, "prepend": "x"}
    assert act(open_server, "POST", path, "copy-bck", both, bck_to=f"ais/@#/{other.name}/").status_code == 400
    missing = act(open_server, "POST", "/buckets/not-there-at-all", "copy-bck", {}, bck_to=f"ais/@#/{other.name}/")
    assert missing.status_code == 404 and "ais://not-there-at-all" in missing.text
    for action in ("evict-listrange", "prefetch-listrange"):
        method = "DELETE" if action.startswith("evict") else "POST"
        assert act(open_server, method, path, action, {"template": "*"}).status_code == 400  # nothing remote behind it
    assert act(open_server, "DELETE", path, "evict-remote-bck", keep_bck_md="True").status_code == 400
    assert act(open_server, "POST", path, "etl-bck", {}).status_code == 400


# ---- remote buckets ----


@pytest.fixture(scope="module")
def remote():
    with srv.running(srv.Server(tls=False, extra=("--auth", "none"))) as s:
        yield s


def test_prefetch_and_evict(client, open_server, remote):
    name = "r-" + uuid.uuid4().hex[:10]
    assert requests.put(f"{remote.http}/{name}", timeout=60).status_code == 200
    for i in range(4):
        assert requests.put(f"{remote.http}/{name}/k{i}", data=b"12345", timeout=60).status_code == 200
    backend = {"endpoint": remote.http, "bucket": name, "region": "us-east-1", "access_key": "any", "secret_key": "any"}
    r = requests.put(f"{open_server.http}/{name}", headers={"x-sluice-settings": json.dumps({"backend": backend})}, timeout=60)
    assert r.status_code == 200, r.text
    far = client.bucket(name, provider="aws")
    job = far.objects(obj_names=["k0", "k1"]).prefetch()
    client.job(job).wait(timeout=30)
    status = ended(open_server, job)
    assert status["kind"] == "prefetch-listrange" and status["err"] == ""
    missing = far.objects(obj_names=["k0", "none"]).prefetch()
    assert "none" in ended(open_server, missing)["err"]
    assert requests.delete(f"{remote.http}/{name}/k0", timeout=60).status_code == 204
    assert get(open_server, name, "k0").content == b"12345"  # the copy
    job = far.objects(obj_template="k{0..3}").evict()
    assert ended(open_server, job)["err"] == ""
    assert get(open_server, name, "k0").status_code == 404
    assert get(open_server, name, "k1").content == b"12345"
    far.evict(keep_md=True)


# ---- jobs ----


def test_start_lru_and_cleanup(client, open_server):
    for kind, name in (("lru", "lru"), ("cleanup", "cleanup-store")):
        before = datetime.now(timezone.utc) - timedelta(seconds=2)
        first = client.job(job_kind=kind).start()
        client.job(job_id=first).wait(timeout=30)
        second = client.job(job_kind=kind).start()
        client.job(job_id=second, job_kind=kind).wait(timeout=30)
        assert first != second
        assert client.job(job_id=second).wait_single_node(timeout=30).success
        assert client.job(job_id=second).get_total_time() < timedelta(seconds=30)
        listed = [s.uuid for s in client.cluster().list_jobs_status(job_kind=kind)]
        assert first in listed and second in listed
        assert call(open_server, "GET", "/cluster", {"ID": first}, what="status").json()["kind"] == name
        found = client.job(job_kind=name).get_within_timeframe(before, datetime.now(timezone.utc) + timedelta(seconds=2))
        assert {first, second} <= {s.id for s in found}


def test_unknown_jobs(client, open_server):
    with pytest.raises(AISError):
        client.job(job_id="nonexistent").status()
    for what in ("status", "qryxstats"):
        assert call(open_server, "GET", "/cluster", {"ID": "Not-An-Id"}, what=what).status_code == 404
    assert call(open_server, "GET", "/cluster", {"Kind": "no-such-kind"}, what="qryxstats").json() == {}
    assert call(open_server, "GET", "/cluster", {"Kind": "no-such-kind"}, what="running_all").json() == []
    r = act(open_server, "PUT", "/cluster", "start", {"Kind": "no-such-kind"})
    assert r.status_code == 400 and "no-such-kind" in r.text
    r = act(open_server, "PUT", "/cluster", "start", {"Kind": "resilver"})
    assert r.status_code == 501 and "resilver" in r.text
    assert act(open_server, "PUT", "/cluster", "stop", {"ID": "not-there"}).status_code == 404


def test_stop(client, open_server, bucket, other):
    fill(open_server, bucket, 3)
    xid = act(open_server, "POST", f"/buckets/{bucket.name}", "copy-bck", {}, bck_to=f"ais/@#/{other.name}/").text
    assert act(open_server, "PUT", "/cluster", "stop", {"ID": xid}).status_code == 200  # maybe it has ended already
    ended(open_server, xid)
    client.job(job_id=xid).abort()
    assert act(open_server, "PUT", "/cluster", "stop", {"Kind": "copy-bck"}).status_code == 200


def test_snapshots(open_server, bucket):
    put(open_server, bucket, "a")
    xid = act(open_server, "DELETE", f"/buckets/{bucket.name}", "delete-listrange", {"objnames": ["a"]}).text
    ended(open_server, xid)
    by_node = call(open_server, "GET", "/cluster", {"ID": xid}, what="qryxstats").json()
    assert by_node
    for snaps in by_node.values():
        (s,) = snaps
        assert s["id"] == xid and s["kind"] == "delete-listrange" and s["is_idle"] is True
        assert s["bck"] == {"name": bucket.name, "provider": "ais", "namespace": {"uuid": "", "name": ""}}
        assert not s["end-time"].startswith("0001") and s["stats"]["loc-objs"] in ("0", "1")


def test_our_own_rest(open_server, bucket):
    fill(open_server, bucket, 2)
    r = call(open_server, "POST", "/jobs", {"kind": "delete-list", "spec": {"bucket": bucket.name, "prefix": "obj"}})
    assert r.status_code == 200, r.text
    xid = r.json()["id"]
    ended(open_server, xid)
    job = call(open_server, "GET", f"/jobs/{xid}").json()
    assert job["state"] == "done" and job["ok"] == 2 and job["parts"]
    assert xid in [j["id"] for j in call(open_server, "GET", "/jobs").json()["jobs"]]
    assert call(open_server, "DELETE", f"/jobs/{xid}").status_code == 200
    assert call(open_server, "GET", f"/jobs/{xid}/report").text == ""
    assert call(open_server, "GET", "/jobs/not-there").status_code == 404
    assert call(open_server, "DELETE", "/jobs/not-there").status_code == 404
    assert call(open_server, "DELETE", "/jobs").status_code == 400
    for bad in ({}, {"kind": "none"}, {"kind": "copy", "spec": []}, {"kind": "copy", "spec": {"x": 1}}, {"kind": "rebalance"}):
        assert call(open_server, "POST", "/jobs", bad).status_code == 400, bad


def test_a_job_ends_within_a_fraction_of_a_second(open_server, bucket):
    fill(open_server, bucket, 3)
    took = []
    for _ in range(5):
        began = time.time()
        ended(open_server, act(open_server, "DELETE", f"/buckets/{bucket.name}", "delete-listrange", {"template": "*"}).text)
        took.append(time.time() - began)
    assert min(took) < 0.5, took


def test_batches_are_jobs(open_server, bucket):
    fill(open_server, bucket, 3)
    with requests.Session() as one:  # a batch is known by the gateway that has answered it: one connection, one gateway
        ask = lambda method, path, body, **params: one.request(method, f"{open_server.http}/v1{path}", params=params, json=body, timeout=60)
        snaps = lambda: [s for of in ask("GET", "/cluster", {"Kind": "get-batch"}, what="qryxstats").json().values() for s in of]
        before = {s["id"] for s in snaps()}
        body = {"in": [{"objname": f"obj-{i:03d}"} for i in range(3)], "mime": ".tar", "strm": True}
        r = ask("GET", f"/ml/moss/{bucket.name}", body, provider="ais")
        assert r.status_code == 200, r.text
        (snap,) = [s for s in snaps() if s["id"] not in before]
        assert snap["is_idle"] and snap["stats"]["loc-objs"] == "3"
        assert ask("GET", "/cluster", {"ID": snap["id"]}, what="status").json()["kind"] == "get-batch"
        assert ask("PUT", "/cluster", {"action": "stop", "value": {"ID": snap["id"]}}).status_code == 200


def test_archive(client, open_server, bucket, other):
    import io
    import tarfile

    fill(open_server, bucket, 4)
    put(open_server, bucket, "else")
    job = bucket.objects(obj_template="obj-{000..003}").archive("a.tar")
    client.job(job[0] if isinstance(job, list) else job).wait_for_idle(timeout=30)
    with tarfile.open(fileobj=io.BytesIO(get(open_server, bucket.name, "a.tar").content)) as t:
        assert sorted(t.getnames()) == [f"obj-{i:03d}" for i in range(4)]
        assert t.extractfile("obj-002").read() == b"0123456789"


# ---- promote ----


def test_the_sdk_promotes_a_file(client, open_server, bucket, promote_dir):
    path = promote_dir / uuid.uuid4().hex
    path.write_bytes(b"content")
    ended(open_server, bucket.object("its/name").promote(str(path)))
    assert get(open_server, bucket.name, "its/name").content == b"content" and path.exists()


def test_promote(open_server, bucket, promote_dir):
    home = promote_dir / uuid.uuid4().hex
    (home / "sub").mkdir(parents=True)
    (home / "top").write_bytes(b"top")
    (home / "sub" / "nested").write_bytes(b"nested")
    value = {"tid": "", "src": str(home), "obj": "pre/", "rcr": True, "ovw": True, "dls": True, "notshr": True}
    r = act(open_server, "POST", f"/objects/{bucket.name}", "promote", value, name=str(home))
    assert r.status_code == 200, r.text
    ended(open_server, r.text)
    assert keys(bucket) == ["pre/sub/nested", "pre/top"]
    assert not (home / "top").exists() and not (home / "sub" / "nested").exists()


def test_promote_stays_inside(open_server, bucket, promote_dir):
    (promote_dir / "link").symlink_to("/etc")
    for path in ("/etc/hostname", f"{promote_dir}/link/hostname", f"{promote_dir}/../x", "relative", f"{promote_dir}/missing"):
        r = act(open_server, "POST", f"/objects/{bucket.name}", "promote", {"src": path, "obj": "x"}, name=path)
        assert r.status_code == 400, (path, r.text)
    assert keys(bucket) == []
