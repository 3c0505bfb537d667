"""Buckets and listings of the native API: with the aistore SDK, and raw where the SDK doesn't show it."""

import io
import json
import tarfile
import threading
import time
import uuid

import pytest
import requests

import server as srv

aistore = pytest.importorskip("aistore", reason="the aistore SDK is not installed")
msgspec = pytest.importorskip("msgspec", reason="msgspec comes with the aistore SDK")
from aistore.sdk import ListObjectFlag  # noqa: E402
from aistore.sdk.errors import AISError, ErrBckAlreadyExists, ErrBckNotFound, ErrRemoteBckNotFound  # noqa: E402
from aistore.sdk.namespace import Namespace  # noqa: E402
from aistore.sdk.provider import Provider  # noqa: E402


@pytest.fixture
def bucket(client):
    b = client.bucket("b-" + uuid.uuid4().hex[:10]).create()
    yield b
    b.delete(missing_ok=True)


def call(s, method, path, action=None, name="", value=None, headers=None, **params):
    body = None if action is None else {"action": action, "name": name, "value": value}
    return requests.request(method, f"{s.http}/v1{path}", params=params, json=body, headers=headers, timeout=60)


def put(s, bucket, key, data=b"x"):
    """By S3: a native bucket's name is an S3 bucket's."""
    r = requests.put(f"{s.http}/s3/{bucket}/{key}", data=data, timeout=60)
    assert r.status_code == 200, r.text


def names(objects):
    return [o.name for o in objects]


def tar(**members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


# ---- create, destroy, list, head ----


def test_create_list_head_destroy(client, open_server):
    b = client.bucket("life-" + uuid.uuid4().hex[:8])
    b.create()
    with pytest.raises(ErrBckAlreadyExists):
        b.create()
    b.create(exist_ok=True)
    assert b.name in [x.name for x in client.cluster().list_buckets()]
    assert b.name in [x.name for x in client.cluster().list_buckets(provider="ais")]
    assert client.cluster().list_buckets(provider="gcp") == []
    put(open_server, b.name, "o")
    b.head()
    b.delete()  # with what is in it
    assert b.name not in [x.name for x in client.cluster().list_buckets()]
    for f in (b.delete, b.list_objects, b.summary):
        with pytest.raises(ErrBckNotFound):
            f()
    b.delete(missing_ok=True)
    with pytest.raises(AISError):
        b.head()


@pytest.mark.parametrize("name", ["*", ".", "", " ", "bucket/badname", "bucket and name", "#badname", "$badname", "~badname"])
def test_invalid_names(client, name):
    with pytest.raises(AISError):
        client.bucket(name).create()


def test_unknown_buckets(client, open_server):
    with pytest.raises(ErrBckNotFound):
        client.bucket("INVALID_BCK_NAME").list_objects()
    with pytest.raises(ErrRemoteBckNotFound):
        client.bucket("no-such-bucket", Provider.AMAZON).list_objects()
    with pytest.raises(AISError):
        client.bucket("no-such-bucket", "gcp").list_objects()
    r = call(open_server, "GET", "/buckets/x", "list", provider="nonsense")
    assert r.status_code == 400
    r = call(open_server, "POST", "/buckets/cloudy", "create-bck", provider="aws")
    assert r.status_code == 501 and "create-bck" in r.json()["message"]


def test_head_has_all_properties(bucket, open_server):
    h = bucket.head()
    props = json.loads(h["Ais-Bucket-Props"])
    assert h["Ais-Provider"] == "ais" and h["Ais-Versioning-Enabled"] == "true"
    for key in ("provider", "backend_bck", "write_policy", "checksum", "versioning", "mirror", "ec", "chunks", "lru",
                "rate_limit", "extra", "access", "features", "bid", "created", "renamed", "sluice"):
        assert key in props, key
    assert props["provider"] == "ais" and props["mirror"]["enabled"] is False and props["ec"]["enabled"] is False
    assert props["versioning"]["enabled"] is True and props["lru"]["enabled"] is False
    assert set(props["rate_limit"]) == {"backend", "frontend"}
    for key in ("access", "features", "bid", "created"):
        assert isinstance(props[key], str) and int(props[key]) >= 0
    r = call(open_server, "HEAD", "/buckets/" + bucket.name)
    assert r.status_code == 200 and r.content == b""


# ---- properties ----


def props_of(s, name):
    return json.loads(call(s, "HEAD", "/buckets/" + name).headers["Ais-Bucket-Props"])


def props_when(s, name, so):
    """Another gateway than the one that changed them may know it a moment later."""
    deadline = time.monotonic() + 10
    while True:
        p = props_of(s, name)
        if so(p) or time.monotonic() > deadline:
            assert so(p), p
            return p
        time.sleep(0.05)


def test_set_and_reset_properties(bucket, open_server):
    s, path = open_server, "/buckets/" + bucket.name
    r = call(s, "PATCH", path, "set-bprops", value={"lru": {"dont_evict_time": "5m"}, "checksum": {"validate_warm_get": True}})
    assert r.status_code == 200, r.text
    r = call(s, "PATCH", path, "set-bprops", value={"lru": {"batch_size": 77}, "sluice": {"members": True}})
    assert r.status_code == 200, r.text
    p = props_when(s, bucket.name, lambda p: p["lru"]["batch_size"] == 77)
    assert p["lru"]["dont_evict_time"] == "5m"
    assert p["checksum"]["validate_warm_get"] is True and p["sluice"]["members"] is True
    assert call(s, "PATCH", path, "reset-bprops").status_code == 200
    p = props_when(s, bucket.name, lambda p: p["lru"]["dont_evict_time"] == "120m")
    assert p["lru"]["batch_size"] == 32768 and p["checksum"]["validate_warm_get"] is False
    assert p["sluice"]["members"] is True
    assert call(s, "PATCH", path, "set-bprops", value={"sluice": {"members": False}}).status_code == 200
    props_when(s, bucket.name, lambda p: p["sluice"]["members"] is False)


def test_changes_at_the_same_time_are_all_made(bucket, open_server):
    keys = ["validate_cold_get", "validate_warm_get", "validate_obj_move"]

    def change(group, key, value):
        r = call(open_server, "PATCH", "/buckets/" + bucket.name, "set-bprops", value={group: {key: value}})
        assert r.status_code == 200, r.text

    threads = [threading.Thread(target=change, args=("checksum", k, k != "validate_cold_get")) for k in keys]
    threads += [threading.Thread(target=change, args=("lru", "batch_size", 5)), threading.Thread(target=change, args=("ec", "burst_buffer", 6))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    p = props_when(open_server, bucket.name, lambda p: p["lru"]["batch_size"] == 5 and p["ec"]["burst_buffer"] == 6
                   and p["checksum"]["validate_obj_move"] and p["checksum"]["validate_warm_get"])
    assert p["checksum"]["validate_cold_get"] is False


@pytest.mark.parametrize("value,status", [
    ({"mirror": {"enabled": True, "copies": 2}}, 501), ({"ec": {"enabled": True}}, 501), ({"lru": {"enabled": True}}, 501),
    ({"versioning": {"synchronize": True}}, 501), ({"versioning": {"enabled": False}}, 501), ({"access": "1"}, 501),
    ({"rate_limit": {"frontend": {"enabled": True}}}, 501), ({"write_policy": {"md": "never"}}, 501),
    ({"backend_bck": {"name": "x", "provider": "aws"}}, 501), ({"bid": "7"}, 501),
    ({"nonsense": 1}, 400), ({"lru": {"nonsense": 1}}, 400), ({"lru": {"batch_size": "many"}}, 400), ([1], 400)])
def test_refused_properties_are_named(bucket, open_server, value, status):
    before = props_of(open_server, bucket.name)
    r = call(open_server, "PATCH", "/buckets/" + bucket.name, "set-bprops", value=value)
    assert r.status_code == status, r.text
    if isinstance(value, dict):
        assert list(value)[0] in r.json()["message"]
    assert props_of(open_server, bucket.name) == before


def test_properties_that_are_so_already_are_accepted(bucket, open_server):
    value = {"mirror": {"enabled": False}, "write_policy": {"data": "immediate"}, "versioning": {"enabled": True},
             "backend_bck": {"name": "", "provider": ""}, "ec": None}
    assert call(open_server, "PATCH", "/buckets/" + bucket.name, "set-bprops", value=value).status_code == 200


def test_create_with_properties(open_server):
    name = "made-" + uuid.uuid4().hex[:8]
    r = call(open_server, "POST", "/buckets/" + name, "create-bck", value={"lru": {"batch_size": 5}, "sluice": {"members": True}})
    assert r.status_code == 200, r.text
    p = props_of(open_server, name)
    assert p["lru"]["batch_size"] == 5 and p["sluice"]["members"] is True
    r = call(open_server, "POST", "/buckets/other-" + name, "create-bck", value={"versioning": {"enabled": False}})
    assert r.status_code == 501 and "versioning.enabled" in r.json()["message"]
    assert call(open_server, "HEAD", "/buckets/other-" + name).status_code == 404
    call(open_server, "DELETE", "/buckets/" + name, "destroy-bck")


# ---- rename ----


def test_rename(client, bucket, open_server):
    old, new = bucket.name, "new-" + uuid.uuid4().hex[:8]
    put(open_server, old, "o", b"content")
    before = props_of(open_server, old)
    assert client.job(bucket.rename(new)).wait(timeout=30).success
    assert bucket.name == new
    bucket.head()
    assert names(bucket.list_all_objects()) == ["o"]
    assert props_of(open_server, new) == before
    assert requests.get(f"{open_server.http}/s3/{new}/o", timeout=60).content == b"content"
    with pytest.raises(ErrBckNotFound):
        client.bucket(old).list_objects()
    other = client.bucket("third-" + uuid.uuid4().hex[:8]).create()
    with pytest.raises(ErrBckAlreadyExists):
        client.bucket(other.name).rename(new)
    assert call(open_server, "POST", "/buckets/" + other.name, "move-bck", bck_to="ais/@#/bad name/").status_code == 400
    assert call(open_server, "POST", "/buckets/" + other.name, "move-bck").status_code == 400
    other.delete()
    with pytest.raises(ErrBckNotFound):
        client.bucket("nothing-here").rename("whatever")


# ---- namespaces ----


def test_namespaces(client, open_server):
    name = "spaced-" + uuid.uuid4().hex[:8]
    inner = client.bucket(name, namespace=Namespace(name="ns1")).create()
    with pytest.raises(ErrBckNotFound):
        client.bucket(name).list_objects()
    outer = client.bucket(name).create()
    put(open_server, "ns1--" + name, "inner")  # as S3 clients name it
    put(open_server, name, "outer")
    assert names(inner.list_all_objects()) == ["inner"] and names(outer.list_all_objects()) == ["outer"]
    listed = call(open_server, "GET", "/buckets", "list").json()
    spaces = [b["namespace"]["name"] for b in listed if b["name"] == name]
    assert sorted(spaces) == ["", "ns1"]
    listed = call(open_server, "GET", "/buckets", "list", namespace="@#ns1").json()
    assert [b["name"] for b in listed if b["namespace"]["name"] != "ns1"] == []
    inner.delete()
    outer.head()
    outer.delete()
    r = call(open_server, "GET", "/buckets/" + name, "list", namespace="@other#ns1")
    assert r.status_code == 404 and "@other#ns1" in r.json()["message"]


# ---- summary and info ----


def test_summary(bucket, open_server):
    s = bucket.summary()
    assert s["ObjCount"] == {"obj_count_present": "0", "obj_count_remote": "0"}
    assert s["TotalSize"]["size_all_present_objs"] == "0" and s["TotalSize"]["size_all_remote_objs"] == "0"
    assert s["used_pct"] == 0 and s["name"] == bucket.name and s["provider"] == "ais"
    for i in range(3):
        put(open_server, bucket.name, f"pre-{i}", b"12345")
    put(open_server, bucket.name, "other", b"1")
    s = bucket.summary()
    assert s["ObjCount"]["obj_count_present"] == "4" and s["TotalSize"]["size_all_present_objs"] == "16"
    assert (s["ObjSize"]["obj_min_size"], s["ObjSize"]["obj_avg_size"], s["ObjSize"]["obj_max_size"]) == (1, 4, 5)
    assert bucket.summary(prefix="pre-")["TotalSize"]["size_all_present_objs"] == "15"
    r = call(open_server, "GET", "/buckets/" + bucket.name, "summary-bck", value={"uuid": ""})
    assert r.status_code == 202 and len(r.text) >= 9 and '"' not in r.text
    r = call(open_server, "GET", "/buckets/" + bucket.name, "summary-bck", value={"uuid": r.text})
    assert r.status_code == 200 and len(r.json()) == 1
    r = call(open_server, "GET", "/buckets/" + bucket.name, "summary-bck", value={"uuid": "nonsense"})
    assert r.status_code == 404


def test_info(bucket, open_server):
    put(open_server, bucket.name, "dir/a", b"123")
    put(open_server, bucket.name, "dir/b", b"45")
    put(open_server, bucket.name, "c", b"6")
    props, summary = bucket.info()
    assert json.loads(props)["provider"] == "ais"
    assert summary["ObjCount"]["obj_count_present"] == "3" and summary["TotalSize"]["size_all_present_objs"] == "6"
    assert summary["name"] == bucket.name and summary["provider"] == "ais"
    _, summary = bucket.info(prefix="dir/")
    assert summary["TotalSize"]["size_all_present_objs"] == "5"
    r = call(open_server, "HEAD", "/buckets/" + bucket.name, presence="0", bsumm_remote="True", uuid="")
    assert r.status_code == 202 and r.headers["Ais-Xaction-Id"] and r.headers["Ais-Bucket-Props"]


# ---- list-objects ----


@pytest.fixture(scope="module")
def tree(client, open_server):
    b = client.bucket("tree-" + uuid.uuid4().hex[:8]).create()
    for key in ("alpha.txt", "beta.bin", "gamma.txt", "subdir/one.txt", "subdir/two.txt", "subdir/deep/three.txt"):
        put(open_server, b.name, "p/" + key, b"flag")
    yield b
    b.delete()


def test_flags(tree):
    flat = ["p/alpha.txt", "p/beta.bin", "p/gamma.txt"]
    deep = ["p/subdir/deep/three.txt", "p/subdir/one.txt", "p/subdir/two.txt"]
    assert names(tree.list_all_objects()) == flat + deep
    assert names(tree.list_all_objects(prefix="p/", flags=[ListObjectFlag.NO_RECURSION])) == flat + ["p/subdir/"]
    both = [ListObjectFlag.NO_RECURSION, ListObjectFlag.NO_DIRS]
    assert names(tree.list_all_objects(prefix="p/", flags=both)) == flat + ["p/subdir/"]
    assert names(tree.list_all_objects(prefix="p/subdir/", flags=both)) == ["p/subdir/deep/"] + deep[1:]
    assert names(tree.list_all_objects(flags=[ListObjectFlag.NO_DIRS])) == flat + deep
    for o in tree.list_all_objects(flags=[ListObjectFlag.NAME_ONLY, ListObjectFlag.CACHED]):
        assert o.size == 0 and o.is_cached() and o.is_ok()
    for o in tree.list_all_objects(flags=[ListObjectFlag.NAME_SIZE]):
        assert o.size == 4 and o.is_cached()
    entry = tree.list_objects(prefix="p/", flags=[ListObjectFlag.NO_RECURSION]).entries[-1]
    assert entry.name == "p/subdir/" and entry.flags == 256


def test_properties_of_entries(tree):
    for o in tree.list_all_objects(props="name,size,checksum,version,atime,copies,custom,location"):
        assert o.size == 4 and o.checksum and o.version == "1" and o.copies == 1 and o.location.startswith("t[")
        assert o.atime.endswith(" UTC")


def test_versions_and_own_metadata(bucket, open_server):
    o = bucket.object("o")
    o.get_writer().put_content(b"1")
    o.get_writer().put_content(b"2")
    o.get_writer().set_custom_props({"color": "red"})
    entry = call(open_server, "GET", "/buckets/" + bucket.name, "list", value={"props": "name,version,custom,checksum"}).json()["entries"][0]
    assert entry["version"] == "2" and entry["custom-md"] == "[color:red]"
    assert entry["checksum"] == call(open_server, "HEAD", f"/objects/{bucket.name}/o").headers["Ais-Checksum-Value"]


def test_paging(client, open_server):
    b = client.bucket("many-" + uuid.uuid4().hex[:8]).create()
    keys = sorted(f"k{i:03d}" for i in range(55))
    for key in keys:
        put(open_server, b.name, key)
    page = b.list_objects(page_size=7)
    assert names(page.entries) == keys[:7] and page.continuation_token == keys[6] and page.uuid
    assert names(b.list_all_objects(page_size=17)) == keys
    assert names(b.list_objects_iter(page_size=10)) == keys
    assert names(b.list_all_objects_iter()) == keys if hasattr(b, "list_all_objects_iter") else True
    assert names(b.list_objects(page_size=200).entries) == keys and b.list_objects(page_size=200).continuation_token == ""
    assert names(b.list_objects(prefix="k01*").entries) == keys[10:20]
    assert list(b.list_objects_iter(prefix="no-such")) == []
    for after, expected in ((keys[3], keys[4:]), ("k0035", [k for k in keys if k > "k0035"]), ("z", [])):
        r = call(open_server, "GET", "/buckets/" + b.name, "list", value={"start_after": after, "pagesize": 20})
        assert [e["name"] for e in r.json()["entries"]] == expected[:20]
    r = call(open_server, "GET", "/buckets/" + b.name, "list", value={"start_after": "k01", "prefix": "k0", "pagesize": 2})
    assert [e["name"] for e in r.json()["entries"]] == ["k010", "k011"] and r.json()["continuation_token"] == "k011"
    b.delete()


def test_forms(tree, open_server):
    r = call(open_server, "GET", "/buckets/" + tree.name, "list", value={"prefix": "p/a", "uuid": "mine"},
             headers={"Accept": "application/msgpack"})
    assert r.headers["Content-Type"] == "application/msgpack"
    assert msgspec.msgpack.decode(r.content) == {"UUID": "mine", "ContinuationToken": "", "Flags": 0,
                                                 "Entries": [{"n": "p/alpha.txt", "s": 4, "f": 64}]}
    r = call(open_server, "GET", "/buckets/" + tree.name, "list", value={"prefix": "p/a", "uuid": "mine"})
    assert r.headers["Content-Type"] == "application/json"
    assert r.json() == {"uuid": "mine", "continuation_token": "", "flags": 0,
                        "entries": [{"name": "p/alpha.txt", "size": "4", "flags": 64}]}
    r = call(open_server, "GET", "/buckets/" + tree.name, "list")
    assert len(r.json()["entries"]) == 6 and r.json()["uuid"]


@pytest.mark.parametrize("value,word", [
    ({"flags": "2"}, "MISSING"), ({"flags": "4"}, "DELETED"), ({"flags": "4096"}, "DIFF"), ({"flags": "32768"}, "NBI"),
    ({"flags": str(1 << 20)}, "0x100000"), ({"target": "t1"}, "target"), ({"time_format": "x"}, "time_format"),
    ({"nonsense": "x"}, "nonsense")])
def test_what_is_not_served_says_so(tree, open_server, value, word):
    r = call(open_server, "GET", "/buckets/" + tree.name, "list", value=value)
    assert r.status_code == 501 and word in r.json()["message"]


@pytest.mark.parametrize("value", [{"flags": "x"}, {"pagesize": -1}, {"props": "name,nonsense"}, {"flags": [1]}, {"uuid": {}}, [], "x", 5])
def test_what_is_wrong_says_so(tree, open_server, value):
    assert call(open_server, "GET", "/buckets/" + tree.name, "list", value=value).status_code == 400


@pytest.mark.parametrize("name", [
    "%", "%25", "%3D", "yHvMJM(s\\(0hR\\3\\)", "audio/raw/file.wav", "file_#@!$%^&*()_+.mp3", "track?name=lofi&v=1",
    "track%20space.wav", "a name with spaces", "日本語.txt", "-leading", ".leading", "MiXed", "track=id=1234.mp3"])
def test_names_come_back_as_they_are(bucket, open_server, name):
    put(open_server, bucket.name, requests.utils.quote(name, safe="/"))
    assert names(bucket.list_all_objects(prefix=name)) == [name]
    assert names(bucket.list_all_objects()) == [name]


# ---- archives ----


def test_archives_are_expanded(bucket, open_server):
    members = {f"m{i}.txt": b"y" * i for i in range(6)}
    put(open_server, bucket.name, "shard.tar", tar(**members))
    put(open_server, bucket.name, "shard.tar.idx")
    put(open_server, bucket.name, "z")
    inner = ["shard.tar/" + m for m in sorted(members)]
    entries = bucket.list_objects(prefix="shard.tar", flags=[ListObjectFlag.ARCH_DIR]).entries
    assert [e.name for e in entries] == ["shard.tar", "shard.tar.idx"] + inner
    assert entries[0].flags & 512 and all(e.flags == 64 | 128 for e in entries[2:])
    assert [e.size for e in entries[2:]] == [0, 1, 2, 3, 4, 5]
    everything = ["shard.tar", "shard.tar.idx"] + inner + ["z"]
    for size in (1, 2, 3, 4, 100):
        assert names(bucket.list_all_objects(page_size=size, flags=[ListObjectFlag.ARCH_DIR])) == everything
    assert names(bucket.list_all_objects(prefix="shard.tar/m3", flags=[ListObjectFlag.ARCH_DIR])) == ["shard.tar/m3.txt"]
    assert names(bucket.list_archive("shard.tar")) == ["shard.tar.idx"] + inner  # what begins with its name, but for itself


# ---- a remote bucket behind one ----


def test_remote_bucket(client, open_server):
    s, remote, name = open_server, "far-" + uuid.uuid4().hex[:8], "near-" + uuid.uuid4().hex[:8]
    client.bucket(remote).create()
    for i in range(3):
        put(s, remote, f"k{i}", b"x" * (i + 1))
    backend = {"endpoint": s.http, "bucket": remote, "region": "us-east-1", "access_key": "key", "secret_key": "hush-hush"}
    r = call(s, "POST", "/buckets/" + name, "create-bck", value={"sluice": {"backend": {"bucket": 7}}})
    assert r.status_code == 400 and "sluice.backend" in r.json()["message"]
    r = call(s, "POST", "/buckets/" + name, "create-bck", value={"sluice": {"backend": backend}})
    assert r.status_code == 200, r.text
    near = client.bucket(name, Provider.AMAZON)
    assert [b["name"] for b in call(s, "GET", "/buckets", "list", provider="aws").json()] == [name]
    assert name not in [b["name"] for b in call(s, "GET", "/buckets", "list", provider="ais").json()]
    text = call(s, "HEAD", "/buckets/" + name, provider="aws").headers["Ais-Bucket-Props"]
    props = json.loads(text)
    assert props["provider"] == "aws" and props["backend_bck"]["name"] == remote and props["lru"]["enabled"] is True
    assert props["sluice"]["backend"]["endpoint"] == s.http and "hush-hush" not in text
    assert requests.get(f"{s.http}/s3/{name}/k1", timeout=60).content == b"xx"  # now it is here
    assert [(o.name, o.is_cached()) for o in near.list_all_objects()] == [("k0", False), ("k1", True), ("k2", False)]
    assert names(near.list_all_objects(flags=[ListObjectFlag.CACHED])) == ["k1"]
    assert names(near.list_all_objects(flags=[ListObjectFlag.NOT_CACHED], page_size=1)) == ["k0", "k2"]
    assert names(near.list_all_objects(props="name,size,checksum")) == ["k0", "k1", "k2"]
    summary = near.summary(cached=False)
    assert summary["ObjCount"] == {"obj_count_present": "1", "obj_count_remote": "3"}
    assert summary["TotalSize"]["size_all_present_objs"] == "2" and summary["TotalSize"]["size_all_remote_objs"] == "6"
    assert near.summary()["ObjCount"] == {"obj_count_present": "1", "obj_count_remote": "0"}
    r = call(s, "POST", "/buckets/" + name, "move-bck", bck_to="ais/@#/other/", provider="aws")
    assert r.status_code == 501
    assert call(s, "PATCH", "/buckets/" + name, "set-bprops", value={"backend": None}).status_code == 200
    props_when(s, name, lambda p: "backend" not in p["sluice"] and p["backend_bck"]["name"] == "")
    for b in (name, remote):
        assert call(s, "DELETE", "/buckets/" + b, "destroy-bck").status_code == 200
