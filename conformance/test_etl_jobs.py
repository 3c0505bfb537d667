"""Buckets, and objects by name, through ETLs in jobs: what is stored, counted and told, and what is left when they are stopped or the server dies."""

import json
import time

import pytest

import etl_kit as kit
import server as srv

aistore = pytest.importorskip("aistore", reason="the aistore SDK is not installed")
from aistore.sdk import Client  # noqa: E402
from aistore.sdk.errors import AISError  # noqa: E402

PICKY = ["sh", "-c", 'read x; case "$x" in *7) echo seven is bad >&2; exit 1;; esac; printf "good %s" "$x"']


@pytest.fixture(scope="module")
def upper(etls):
    with etls.etl("upper", ["tr", "a-z", "A-Z"]) as name:
        yield name


@pytest.fixture(scope="module")
def reverse(etls):
    with etls.etl("reverse", ["rev"]) as name:
        yield name


@pytest.fixture(scope="module")
def picky(etls):
    """Refuses what ends in 7."""
    with etls.etl("picky", PICKY) as name:
        yield name


@pytest.fixture(scope="module")
def source(etls):
    """Twenty objects and one elsewhere."""
    with etls.bucket() as name:
        for i in range(20):
            etls.store(name, f"a/{i:02}.txt", b"object %d" % i)
        etls.store(name, "other/x.jpg", b"picture")
        yield name


@pytest.fixture
def to(etls):
    with etls.bucket() as name:
        yield name


def report(etls, job):
    """Name -> what the report says of it."""
    r = etls.ask("GET", f"/v1/jobs/{job}/report")
    assert r.status_code == 200, r.text
    lines = [json.loads(line) for line in r.text.splitlines()]
    found = {line["name"]: line for line in lines}
    assert len(found) == len(lines), "an object is told of twice"
    return found


def wait(sdk, job, timeout=60):
    result = sdk.job(job).wait(timeout=timeout)
    assert result.success, result
    return job


def state(etls, job):
    return etls.ask("GET", f"/v1/jobs/{job}").json()


def ended(etls, job, seconds=60):
    return kit.eventually(lambda: (s := state(etls, job))["state"] != "running" and s, seconds)


def test_a_bucket(etls, etl_sdk, source, to, upper):
    job = wait(etl_sdk, etl_sdk.bucket(source).transform(upper, etl_sdk.bucket(to), prepend="up/", ext={"txt": "out", "jpg": "png"}, num_workers=3))
    assert etls.keys(to) == [f"up/a/{i:02}.out" for i in range(20)] + ["up/other/x.png"]
    assert etls.read(to, "up/a/13.out") == b"OBJECT 13" and etls.read(to, "up/other/x.png") == b"PICTURE"
    told = report(etls, job)
    assert sorted(told) == etls.keys(source) and {line["result"] for line in told.values()} == {"ok"}
    assert told["a/13.txt"]["to"] == "up/a/13.out" and told["a/13.txt"]["bytes"] in (9, "9")


def test_a_prefix_into_a_new_bucket(etls, etl_sdk, source, upper):
    to = kit.new_name("new")
    wait(etl_sdk, etl_sdk.bucket(source).transform(upper, etl_sdk.bucket(to), prefix_filter="a/1"))
    assert etls.keys(to) == [f"a/{i}.txt" for i in range(10, 20)]
    etl_sdk.bucket(to).delete()


def test_a_row_of_etls(etls, etl_sdk, source, to, upper, reverse):
    wait(etl_sdk, etl_sdk.bucket(source).transform(upper, etl_sdk.bucket(to), prefix_filter="a/00", etl_pipeline=[reverse]))
    assert etls.read(to, "a/00.txt") == b"0 TCEJBO"
    job = (etl_sdk.etl(upper) >> etl_sdk.etl(reverse))
    wait(etl_sdk, etl_sdk.bucket(source).transform(job.name, etl_sdk.bucket(to), prefix_filter="a/01", etl_pipeline=job.pipeline))
    assert etls.read(to, "a/01.txt") == b"1 TCEJBO"


def test_a_dry_run_transforms_and_stores_nothing(etls, etl_sdk, source, to, picky):
    job = etl_sdk.bucket(source).transform(picky, etl_sdk.bucket(to), dry_run=True, cont_on_err=True)
    ended(etls, job)
    told = report(etls, job)
    assert etls.keys(to) == [] and len(told) == 21
    assert sorted(n for n, line in told.items() if line["result"] == "failed") == ["a/07.txt", "a/17.txt"]


def test_what_fails_is_told(etls, etl_sdk, source, to, picky):
    job = etl_sdk.bucket(source).transform(picky, etl_sdk.bucket(to), cont_on_err=True)
    ended(etls, job)
    told = report(etls, job)
    bad = [n for n, line in told.items() if line["result"] == "failed"]
    assert sorted(bad) == ["a/07.txt", "a/17.txt"] and all("seven is bad" in told[n]["message"] for n in bad)
    assert etls.keys(to) == [k for k in etls.keys(source) if k not in bad] and etls.read(to, "a/08.txt") == b"good object 8"
    errors = etl_sdk.etl(picky).view(job).obj_errors
    assert sorted(e.obj_name for e in errors) == sorted(bad) and all("seven is bad" in e.msg for e in errors)


def test_the_first_failure_ends_it(etls, etl_sdk, source, to, picky):
    job = etl_sdk.bucket(source).transform(picky, etl_sdk.bucket(to), num_workers=1)
    s = ended(etls, job)
    assert s["state"] == "failed", s
    assert len(etls.keys(to)) < 20 and not {"a/07.txt", "a/17.txt"} & set(etls.keys(to))


def test_synchronized(etls, etl_sdk, to, upper):
    with etls.bucket() as b:
        for key in ("one", "two"):
            etls.store(b, key, b"new")
        for key in ("two", "three"):
            etls.store(to, key, b"old")
        wait(etl_sdk, etl_sdk.bucket(b).transform(upper, etl_sdk.bucket(to), sync=True))
        assert etls.keys(to) == ["one", "two"] and etls.read(to, "two") == b"NEW"


def test_objects_by_name(etls, etl_sdk, source, to, upper):
    group = etl_sdk.bucket(source).objects(obj_names=["a/03.txt", "a/04.txt", "missing"])
    jobs = group.transform(etl_sdk.bucket(to), upper, continue_on_error=True, ext={"txt": "up"})
    job = jobs[0] if isinstance(jobs, list) else jobs
    ended(etls, job)
    assert etls.keys(to) == ["a/03.up", "a/04.up"]
    told = report(etls, job)
    assert told["missing"]["result"] == "failed" and told["a/03.txt"]["result"] == "ok"


def test_a_template(etls, etl_sdk, source, to, upper):
    jobs = etl_sdk.bucket(source).objects(obj_template="a/{05..09}.txt").transform(etl_sdk.bucket(to), upper, prepend="t-")
    wait(etl_sdk, jobs[0] if isinstance(jobs, list) else jobs)
    assert etls.keys(to) == [f"t-a/{i:02}.txt" for i in range(5, 10)]


def test_inspect(etls, etl_sdk, source, picky):
    before = etls.keys(source)
    job = etl_sdk.bucket(source).inspect(picky)
    ended(etls, job)
    assert sorted(e.obj_name for e in etl_sdk.etl(picky).view(job).obj_errors) == ["a/07.txt", "a/17.txt"]
    assert etls.keys(source) == before and etls.read(source, "a/00.txt") == b"object 0"


def test_what_is_refused(etls, etl_sdk, source, to, upper):
    b, dest = etl_sdk.bucket(source), etl_sdk.bucket(to)
    for wrong in (lambda: b.transform("not-there", dest), lambda: b.transform(upper, dest, etl_pipeline=["not-there"]),
                  lambda: b.transform(upper, b), lambda: b.transform(upper, dest, sync=True, prepend="x"),
                  lambda: etl_sdk.bucket("no-such-bucket").transform(upper, dest)):
        with pytest.raises(AISError):
            wrong()
    assert etls.keys(to) == []


def test_a_stopped_job_stores_nothing_wrong(etls, etl_sdk, source, to):
    with etls.etl("slow", ["sh", "-c", "head -c 4; sleep 0.4; tr a-z A-Z"]) as name, kit.nothing_left(etls.server, files=12):
        job = etl_sdk.bucket(source).transform(name, etl_sdk.bucket(to), num_workers=2)
        kit.eventually(lambda: etls.keys(to))
        etl_sdk.job(job).abort()
        s = ended(etls, job, 10)
        assert s["state"] == "stopped", s
        kept = etls.keys(to)
        assert 0 < len(kept) < 20
        for key in kept:
            content = etls.read(source, key)
            assert etls.read(to, key) in (content[:4] + content[4:].upper(), content.upper())
        time.sleep(0.5)
        assert etls.keys(to) == kept


def test_an_etl_deleted_under_a_job(etls, etl_sdk, source, to):
    with etls.etl("going", ["sh", "-c", "sleep 0.3; cat"]) as name:
        job = etl_sdk.bucket(source).transform(name, etl_sdk.bucket(to), cont_on_err=True, num_workers=1)
        kit.eventually(lambda: etls.keys(to))
    s = ended(etls, job)
    assert s["state"] in ("done", "failed"), s
    assert all(etls.read(to, k) == etls.read(source, k) for k in etls.keys(to)) and len(etls.keys(to)) < 21


def listed(etls, bucket):
    """Key -> when it was stored."""
    import boto3
    s3 = boto3.client("s3", endpoint_url=etls.url, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    return {o["Key"]: o["LastModified"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for o in page.get("Contents", [])}


def test_a_job_outlives_a_crash(new_server, etl_settings, etl_server):
    count, workers = 600, 8
    with srv.running(new_server(extra=("--auth", "none"), env=etl_settings)) as s:
        etls = kit.Etls(s)
        sdk = Client(s.http, timeout=60)
        with etls.bucket() as b, etls.bucket() as to, etls.etl("faulty", [kit.PYTHON, str(kit.PROGRAMS / "faulty.py")], "hpush", {"SLOW": "0.05"}) as name:
            for i in range(count):
                etls.store(b, f"slow-{i:04}", b"%d" % i)
            job = sdk.bucket(b).transform(name, sdk.bucket(to), num_workers=workers, ext={"none": "none"})
            kit.eventually(lambda: len(etls.keys(to)) > 280, 60)  # more than a batch
            before = listed(etls, to)
            s.kill()
            s.start()
            end = ended(etls, job)
            assert end["state"] == "done", end
            after = listed(etls, to)
            assert sorted(after) == [f"slow-{i:04}" for i in range(count)] and all(etls.read(to, f"slow-{i:04}") == b"%d" % i for i in range(0, count, 50))
            assert (end["ok"], end["failed"], end["skipped"]) == (count, 0, 0), end
            assert {k: t for k, t in after.items() if k in before} == before, "what was there is stored again"
            nodes = len(s.data) if etls.is_cluster else 1
            time.sleep(1.5)  # numbers are told once a second
            assert etls.total(name, "objects") <= count - len(before) + nodes * workers
            told = report(etls, job)
            assert len(told) == count and {line["result"] for line in told.values()} == {"ok"}
