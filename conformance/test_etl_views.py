"""Buckets that show another bucket through ETLs."""

import gzip
import hashlib
import io
import tarfile

import pytest
import requests
from botocore.exceptions import ClientError

import etl_kit as kit
from conftest import Endpoint

TIMES = ["sh", "-c", "cat; cat /proc/uptime; sleep 0.02; cat /proc/uptime"]  # never the same twice


@pytest.fixture(scope="module")
def upper(etls):
    with etls.etl("upper", ["tr", "a-z", "A-Z"]) as name:
        yield name


@pytest.fixture
def s3(etl_server):
    return Endpoint(etl_server, "http").client()


@pytest.fixture
def source(etls):
    with etls.bucket() as name:
        for i in range(3):
            etls.store(name, f"d/{i}.txt", b"hello %d" % i)
        etls.store(name, "e.txt", b"elsewhere")
        yield name


def view_of(etls, source, *stages, prefix=""):
    return etls.bucket(view={"source": source, "etl": list(stages), "prefix": prefix})


def error(f, *args, **kw):
    with pytest.raises(ClientError) as e:
        f(*args, **kw)
    return e.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_what_is_read(etls, s3, source, upper):
    with etls.etl("longer", ["sh", "-c", "cat; echo and more"]) as longer, view_of(etls, source, upper, longer) as v:
        content = b"HELLO 1and more\n"
        head = s3.head_object(Bucket=v, Key="d/1.txt")
        got = s3.get_object(Bucket=v, Key="d/1.txt")
        assert got["Body"].read() == content and head["ContentLength"] == got["ContentLength"] == len(content)
        assert head["ETag"] == got["ETag"] != s3.head_object(Bucket=source, Key="d/1.txt")["ETag"]
        part = s3.get_object(Bucket=v, Key="d/1.txt", Range="bytes=2-6")
        assert part["Body"].read() == content[2:7] and part["ContentRange"] == f"bytes 2-6/{len(content)}"
        assert s3.get_object(Bucket=v, Key="d/1.txt", Range="bytes=-5")["Body"].read() == content[-5:]
        assert error(s3.get_object, Bucket=v, Key="d/1.txt", Range="bytes=100-") == 416
        assert error(s3.get_object, Bucket=v, Key="d/1.txt", IfNoneMatch=got["ETag"]) == 304
        found = s3.list_objects_v2(Bucket=v)["Contents"]
        assert [(o["Key"], o["Size"]) for o in found] == [(f"d/{i}.txt", 16) for i in range(3)] + [("e.txt", len("ELSEWHEREand more\n"))]
        assert found[1]["ETag"] == got["ETag"]
        assert [p["Prefix"] for p in s3.list_objects_v2(Bucket=v, Delimiter="/")["CommonPrefixes"]] == ["d/"]
        assert requests.get(f"{etls.url}/v1/objects/{v}/d/1.txt", timeout=30).content == content
        assert error(s3.head_object, Bucket=v, Key="none") == error(s3.get_object, Bucket=v, Key="none") == 404


def test_a_prefix(etls, s3, source, upper):
    with view_of(etls, source, upper, prefix="d/") as v:
        assert etls.keys(v) == [f"d/{i}.txt" for i in range(3)]
        assert s3.get_object(Bucket=v, Key="d/2.txt")["Body"].read() == b"HELLO 2"
        assert error(s3.get_object, Bucket=v, Key="e.txt") == 404


def test_made_once_until_something_changes(etls, s3, source):
    with etls.etl("times", TIMES) as name, view_of(etls, source, name) as v:
        def read():
            r = s3.get_object(Bucket=v, Key="d/1.txt")
            return r["ETag"], r["Body"].read()

        first = read()
        assert first == read() == read() and s3.head_object(Bucket=v, Key="d/1.txt")["ETag"] == first[0]
        etls.store(source, "d/1.txt", b"changed")
        second = read()
        assert second[0] != first[0] and second[1].startswith(b"changed") and second == read()
        spec = etls.look(name)["init_msg"]
        etls.delete(name)
        etls.make({**spec, "runtime": {**spec["runtime"], "command": ["sed", "s/^/again /"]}})
        assert read()[1] == b"again changed"
        etls.store(source, "d/1.txt", b"twice")
        assert s3.head_object(Bucket=v, Key="d/1.txt")["ContentLength"] == len(b"again twice")
        s3.delete_object(Bucket=source, Key="d/1.txt")
        assert error(s3.get_object, Bucket=v, Key="d/1.txt") == error(s3.head_object, Bucket=v, Key="d/1.txt") == 404
        assert "d/1.txt" not in etls.keys(v)
        s3.put_object(Bucket=source, Key="d/9.txt", Body=b"new")
        assert "d/9.txt" in etls.keys(v) and read_key(s3, v, "d/9.txt") == b"again new"


def read_key(s3, bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def answers(read, *args):
    try:
        return read(*args)
    except Exception:
        return None


def test_readers_that_come_together_have_the_same(etls, s3, source, run_together):
    with etls.etl("times", TIMES) as name, view_of(etls, source, name) as v:
        for _ in range(8):  # until all gateways have heard of both
            kit.eventually(lambda: answers(etls.read, v, "d/1.txt"))
        found = run_together(*[lambda: etls.read(v, "d/0.txt")] * 12)
    assert len(set(found)) <= (len(etls.server.gateways) if etls.is_cluster else 1), found  # each gateway makes one at a time


def test_it_is_read_only(etls, s3, source, upper):
    with view_of(etls, source, upper) as v:
        refused = [error(s3.put_object, Bucket=v, Key="new", Body=b"x"), error(s3.delete_object, Bucket=v, Key="d/1.txt"),
                   error(s3.create_multipart_upload, Bucket=v, Key="new"),
                   error(s3.copy_object, Bucket=v, Key="new", CopySource=f"{source}/d/1.txt"),
                   requests.put(f"{etls.url}/v1/objects/{v}/new", data=b"x", timeout=30).status_code,
                   requests.delete(f"{etls.url}/v1/objects/{v}/d/1.txt", timeout=30).status_code]
        assert refused == [405] * 6
        assert len(etls.keys(v)) == 4
        s3.copy_object(Bucket=source, Key="copied", CopySource=f"{v}/d/1.txt")
        assert read_key(s3, source, "copied") == b"HELLO 1"


def test_built_ins_and_arguments(etls, s3, source):
    with view_of(etls, source, "@gzip") as v:
        assert gzip.decompress(read_key(s3, v, "e.txt")) == b"elsewhere"
    with etls.etl("suffix", ["sh", "-c", 'cat; printf %s "$ETL_ARGS"']) as name:
        with view_of(etls, source, {"name": name, "args": "!?"}, "@sha256") as v:
            assert read_key(s3, v, "e.txt") == hashlib.sha256(b"elsewhere!?").hexdigest().encode()


def shard(count):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for i in range(count):
            for ext, content in (("txt", b"text %d" % i), ("cls", b"%d" % i)):
                info = tarfile.TarInfo(f"{i:04}.{ext}")
                info.size = len(content)
                t.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_shards(etls, s3, source):
    etls.store(source, "shards/0.tgz", shard(30))
    with view_of(etls, source, "@to-tar", prefix="shards/") as v:
        with tarfile.open(fileobj=io.BytesIO(read_key(s3, v, "shards/0.tgz"))) as t:
            assert t.getnames() == [f"{i:04}.{e}" for i in range(30) for e in ("txt", "cls")]
        r = requests.get(f"{etls.url}/v1/objects/{v}/shards/0.tgz", params={"archpath": "0007.txt"}, timeout=30)
        assert r.status_code in (200, 400)  # by its name it is gzip, and is none any more
        wds = pytest.importorskip("webdataset", reason="webdataset is not installed")
        url = f"pipe:curl -sf {etls.url}/{v}/shards/0.tgz"
        samples = list(wds.WebDataset(url, shardshuffle=False).decode())
        assert [s["txt"] for s in samples] == [f"text {i}" for i in range(30)] and samples[7]["cls"] == 7


def test_views_of_what_is_not_there(etls, s3, source):
    with view_of(etls, source, "not-there") as v:
        assert error(s3.get_object, Bucket=v, Key="d/1.txt") in (404, 503)
        assert error(s3.get_object, Bucket=v, Key="none") == 404
    with etls.bucket() as gone:
        with view_of(etls, gone, "@gzip") as v:
            s3.delete_bucket(Bucket=gone)
            assert error(s3.get_object, Bucket=v, Key="x") == 404
    r = requests.post(f"{etls.url}/v1/buckets/never-made", timeout=30,
                      json={"action": "create-bck", "value": {"sluice": {"view": {"source": "no-such-source", "etl": ["@gzip"]}}}})
    assert r.status_code == 400 and "no-such-source" in r.json()["message"]


@pytest.mark.parametrize("view", [{}, {"source": "x-bucket"}, {"source": "x-bucket", "etl": []}, {"source": "x-bucket", "etl": ["a b"]},
                                  {"source": "", "etl": ["@gzip"]}, {"source": "x-bucket", "etl": ["@gzip"], "colour": 1}, {"source": "x-bucket", "etl": [{"args": "x"}]}])
def test_settings_that_are_refused(etls, view):
    r = requests.post(f"{etls.url}/v1/buckets/never-made", json={"action": "create-bck", "value": {"sluice": {"view": view}}}, timeout=30)
    assert r.status_code == 400 and "view" in r.json()["message"], r.text
    assert requests.head(f"{etls.url}/v1/buckets/never-made", timeout=30).status_code == 404


def test_an_etl_that_fails(etls, s3, source):
    with etls.etl("refuses", ["sh", "-c", "cat; exit 4"]) as name, view_of(etls, source, name) as v:
        assert error(s3.get_object, Bucket=v, Key="d/1.txt") >= 400
        assert error(s3.get_object, Bucket=v, Key="none") == 404
        assert s3.list_buckets()["Buckets"]


def test_it_is_deleted(etls, s3, source, upper):
    with view_of(etls, source, upper) as v:
        assert read_key(s3, v, "d/1.txt") == b"HELLO 1"
        s3.delete_bucket(Bucket=v)
        assert v not in [b["Name"] for b in s3.list_buckets()["Buckets"]]
        assert error(s3.get_object, Bucket=v, Key="d/1.txt") == 404
    assert read_key(s3, source, "d/1.txt") == b"hello 1"
