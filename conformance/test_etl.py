"""ETLs made, looked at, stopped and deleted; objects through them on their way out, by the native API and by S3."""

import base64
import bz2
import gzip
import hashlib
import io
import json
import os
import tarfile
import urllib.parse

import pytest
import requests
from botocore.exceptions import ClientError

import etl_kit as kit
import server as srv
from conftest import Endpoint

UPPER = ["tr", "a-z", "A-Z"]
BIG = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def b(etls):
    with etls.bucket() as name:
        etls.store(name, "x", b"hello")
        etls.store(name, "dir/a b+c%d", b"odd name")
        etls.store(name, "empty", b"")
        etls.store(name, "big", BIG)
        yield name


@pytest.fixture(scope="module")
def upper(etls):
    with etls.etl("upper", UPPER) as name:
        yield name


@pytest.fixture(scope="module")
def bang(etls):
    """Adds its arguments."""
    with etls.etl("bang", ["sh", "-c", 'cat; printf %s "$ETL_ARGS"']) as name:
        yield name


# ---- their life ----


def test_a_life(etls, etl_sdk, b):
    kit.need("aistore.sdk.etl")
    from aistore.sdk.etl import ETLConfig
    etl, bck = etl_sdk.etl(kit.new_name("life")), etl_sdk.bucket(b)
    etls.store(b, "add/x", b"hello")

    def listed():
        return [e for e in etl_sdk.cluster().list_etls() if e.id == etl.name]

    def read():
        return bck.object("add/x").get_reader(etl=ETLConfig(etl.name, args="!A")).read_all()

    job = etl.init(image="any", command=kit.COMMANDS["http"], obj_timeout="20s", WHO="me")
    assert job.startswith("etl-") and read() == b"hello!A"
    view = etl.view()
    assert view.init_msg.name == etl.name and view.obj_errors == []
    shown = etls.look(etl.name)["init_msg"]
    assert shown["communication"] == "hpush://" and shown["obj_timeout"] == "20s" and shown["runtime"]["command"] == kit.COMMANDS["http"]
    assert {"name": "WHO", "value": "me"} in shown["runtime"]["env"]
    kit.eventually(lambda: listed() and listed()[0].obj_count == 1)
    assert all(n["health_status"] == "Running" for n in etls.nodes(etl.name, "health"))
    assert all(n["mem"] > 1 << 20 for n in kit.eventually(lambda: [n for n in etls.nodes(etl.name, "metrics") if n["mem"]]))
    logs = etl.logs()
    assert logs and [l.logs for l in etl.logs(logs[0].target_id)] == [logs[0].logs]
    with pytest.raises(Exception, match="409|already exists"):
        etl.init(image="any", command=["cat"])
    etl.stop()
    with pytest.raises(Exception, match=etl.name):
        read()
    assert not listed()
    assert etl.name in [e.id for e in etl_sdk.cluster().list_etls(stages=["Aborted"])]
    etl.start()
    assert read() == b"hello!A"
    etl.stop()
    etl.delete()
    assert not listed() and etls.ask("GET", f"/v1/etl/{etl.name}").status_code == 404
    assert etls.ask("DELETE", f"/v1/etl/{etl.name}").status_code == 404
    with pytest.raises(Exception, match="does not exist|404|not found"):
        read()


@pytest.mark.parametrize("name", ["short", "UPPER-case", "-leading", "trailing-", "under_score", "a" * 33, "new\nline", "sl/ash-name", "@gzip-x"])
def test_names_that_are_refused(etls, name):
    r = etls.put({"name": name, "communication": "io://", "runtime": {"command": ["cat"]}})
    assert r.status_code == 400 and "name" in r.json()["message"], r.text


GOOD = {"name": "never-made", "communication": "io://", "runtime": {"command": ["cat"]}}


@pytest.mark.parametrize("status, field, change", [
    (400, "communication", {"communication": "carrier-pigeon://"}),
    (400, "runtime.comand", {"runtime": {"comand": ["cat"]}}),
    (400, "runtime", {"runtime": {}}),
    (400, "colour", {"colour": "red"}),
    (400, "obj_timeout", {"obj_timeout": "soon"}),
    (400, "init_timeout", {"init_timeout": "-3s"}),
    (400, "resources.limits.memory", {"resources": {"limits": {"memory": "much"}}}),
    (400, "resources.limits.cpu", {"resources": {"limits": {"cpu": "0.0.1"}}}),
    (400, "runtime.env[0]", {"runtime": {"command": ["cat"], "env": [{"value": "nameless"}]}}),
    (400, "support_direct_put", {"support_direct_put": "perhaps"}),
    (400, "runtime.network", {"runtime": {"command": ["cat"], "network": "everywhere"}}),
    (400, "spec", {"spec": "%%%"}),
    (501, "runtime.worker", {"runtime": {"command": ["cat"], "worker": True}}),
    (501, "code", {"code": "ZGVm", "runtime": None}),
])
def test_errors_name_the_field(etls, status, field, change):
    r = etls.put({k: v for k, v in (GOOD | change).items() if v is not None})
    assert r.status_code == status and field in r.json()["message"], r.text
    assert etls.ask("GET", "/v1/etl/never-made").status_code == 404


def test_what_is_no_specification(etls):
    for text in ("", "{", "- a\n- b\n", "just words", "{\"name\": \"" + "x" * (600 << 10) + "\"}"):
        r = etls.put(text)
        assert r.status_code in (400, 413), (text[:20], r.text)


def test_what_does_not_start_says_why(etls):
    for spec, reason in ((["no-such-program"], "no-such-program"), (["sh", "-c", "echo I am dying >&2; exit 3"], "I am dying")):
        name = kit.new_name("bad")
        r = etls.put({"name": name, "communication": "hpush://", "runtime": {"command": spec}})
        assert r.status_code == 400 and reason in r.json()["message"], r.text
        etls.delete(name)
    name = kit.new_name("deaf")
    r = etls.put({"name": name, "init_timeout": "1s", "runtime": {"command": ["sleep", "100"]}})
    assert r.status_code == 400 and "port 8000" in r.json()["message"], r.text
    etls.delete(name)


def test_a_specification_in_yaml(etls, b):
    name = kit.new_name("yaml")
    etls.make(f"# made by hand\nname: {name}\ncommunication: io://\nruntime:\n  command: [sh, -c, 'cat; printf %s \"$TAIL\"']\n  env:\n    - name: TAIL\n      value: '!'\n")
    assert etls.read(b, "x", etl_name=name) == b"hello!"
    etls.delete(name)


POD = """apiVersion: v1
kind: Pod
metadata:
  name: transformer
  annotations:
    communication_type: "hpush://"
    wait_timeout: 5m
spec:
  containers:
    - name: server
      image: any/image:latest
      imagePullPolicy: Always
      ports:
        - name: default
          containerPort: 8000
      command: [%s]
      readinessProbe:
        httpGet:
          path: /health
          port: default
"""


def test_a_pod(etls, b):
    """As clients of AIStore send it: in base64, in a message; and as it is."""
    pod = POD % ", ".join(json.dumps(w) for w in [kit.PYTHON, str(kit.PROGRAMS / "faulty.py")])
    name = kit.new_name("pod")
    etls.make({"name": name, "communication": "hpush://", "init_timeout": "20s", "spec": base64.b64encode(pod.encode()).decode()})
    assert etls.read(b, "x", etl_name=name) == b"hello"
    etls.delete(name)
    etls.make(pod.replace("name: transformer", f"name: {name}"))
    assert etls.read(b, "x", etl_name=name) == b"hello"
    etls.delete(name)
    r = etls.put({"name": name, "spec": base64.b64encode(pod.replace("name: default", "name: other", 1).encode()).decode()})
    assert r.status_code == 400 and "port" in r.json()["message"].lower(), r.text


def test_they_outlive_a_restart(new_server, etl_settings, etl_server):
    with srv.running(new_server(extra=("--auth", "none"), env=etl_settings)) as s:
        etls = kit.Etls(s)
        with etls.bucket() as b, etls.etl("stays", UPPER) as name:
            stopped = kit.new_name("stopped")
            etls.make({"name": stopped, "communication": "io://", "runtime": {"command": ["cat"]}})
            assert etls.ask("POST", f"/v1/etl/{stopped}/stop").status_code == 200
            etls.store(b, "x", b"hello")
            before = etls.look(name)
            assert s.stop() == 0
            s.start()
            assert etls.look(name) == before
            assert etls.read(b, "x", etl_name=name) == b"HELLO"
            assert etls.get(b, "x", etl_name=stopped).status_code in (404, 503)
            s.kill()  # as a crash
            s.start()
            assert etls.read(b, "x", etl_name=name) == b"HELLO"
            etls.delete(stopped)


# ---- one class of server after the other ----

CONFIGURATIONS = [(app, comm, direct) for app, comms in (("fastapi", ("hpush", "hpull", "ws")), ("flask", ("hpush", "hpull")), ("http", ("hpush", "hpull")))
                  for comm in comms for direct in (False, True)]


@pytest.mark.parametrize("app, comm, direct", CONFIGURATIONS, ids=["-".join([a, c, "file" if d else "bytes"]) for a, c, d in CONFIGURATIONS])
def test_sdk_servers(etls, etl_sdk, b, app, comm, direct):
    kit.need("aistore.sdk.etl", app if app != "http" else "requests", "xxhash")
    if etls.is_cluster and direct and app != "fastapi":
        pytest.skip("the same as on one server")
    import xxhash
    from aistore.sdk.etl import ETLConfig
    kinds = ("echo", "md5", "hello_world", "hash_with_args", "compress", "add")
    for kind in kinds:
        etls.store(b, f"{kind}/some name.bin", BIG[: 1 << 20])
    etls.store(b, "echo/big", BIG)
    etls.store(b, "md5/empty", b"")
    etls.store(b, "fail/x", b"x")
    content, bck = BIG[: 1 << 20], etl_sdk.bucket(b)
    with etl_sdk.etl(kit.new_name(app)) as etl:
        etl.init(image="any", command=kit.COMMANDS[app], comm_type=comm, direct_put=comm == "ws", direct_file_access=direct, SEED_DEFAULT="7")

        def read(key, args=""):
            return bck.object(key).get_reader(etl=ETLConfig(etl.name, args=args)).read_all()

        assert read("echo/some name.bin") == content and read("echo/big") == BIG
        assert read("md5/some name.bin") == hashlib.md5(content).hexdigest().encode()
        assert read("md5/empty") == hashlib.md5(b"").hexdigest().encode()
        assert read("hello_world/some name.bin") == b"Hello World!"
        assert read("hash_with_args/some name.bin", "99") == xxhash.xxh64(content, seed=99).hexdigest().encode()
        assert read("hash_with_args/some name.bin") == xxhash.xxh64(content, seed=7).hexdigest().encode()
        assert gzip.decompress(read("compress/some name.bin")) == content
        assert bz2.decompress(read("compress/some name.bin", {"compression": "bz2"})) == content
        assert read("add/some name.bin", "ä &=%+/?#\n!") == content + "ä &=%+/?#\n!".encode()
        r = etls.get(b, "fail/x", etl_name=etl.name, etl_args="why")
        said = "Internal error" if app == "http" and comm == "hpush" else "this one fails: why"  # the stdlib server keeps to itself what it was
        assert r.status_code >= 400 and said in r.text, r.text
        kit.eventually(lambda: etls.total(etl.name, "objects") >= 10)
        errors = kit.eventually(lambda: etls.look(etl.name)["obj_errors"])
        assert [e["obj_name"].split("/", 1)[1] for e in errors] == ["fail/x"] and said in errors[0]["msg"], errors


def test_renaming_by_the_sdk(etls, etl_sdk, b):
    """A transformer that uses the SDK itself: it needs the machine's network."""
    kit.need("aistore.sdk.etl", "fastapi")
    if etls.is_cluster:
        pytest.skip("all nodes are on this machine, which has one port 8000")
    with etls.bucket() as to:
        env = {"AIS_ENDPOINT": etls.url, "DST_BUCKET": to, "FILE_PATTERN": r"\.jpg$", "DST_PREFIX": "photos/"}
        with etls.etl("rename", kit.COMMANDS["rename"], "hpush", env, runtime={"network": "host"}) as name:
            for key in ("a.jpg", "b.txt"):
                etls.store(b, key, key.encode())
                assert etls.read(b, key, etl_name=name) == key.encode()
        assert etls.keys(to) == ["photos/a.jpg"] and etls.read(to, "photos/a.jpg") == b"a.jpg"


# ---- classes ----


@pytest.mark.parametrize("base", ["fastapi_server.FastAPIServer", "flask_server.FlaskServer", "http_multi_threaded_server.HTTPMultiThreadedServer"])
def test_init_class(etls, etl_sdk, b, base):
    kit.need("aistore.sdk.etl", "cloudpickle", "fastapi", "flask")
    import importlib

    from aistore.sdk.etl import ETLConfig
    module, name = base.split(".")
    cls = getattr(importlib.import_module("aistore.sdk.etl.webserver." + module), name)
    with etl_sdk.etl(kit.new_name("class")) as etl:

        @etl.init_class(dependencies=["requests>=2"], NUM_WORKERS="2", GREETING="hi ")
        class Greeter(cls):
            def transform(self, data, path, etl_args):
                import os
                return os.environ["GREETING"].encode() + data + etl_args.encode()

        assert etl_sdk.bucket(b).object("x").get_reader(etl=ETLConfig(etl.name, args="!")).read_all() == b"hi hello!"
    with etl_sdk.etl(kit.new_name("class")) as etl:
        with pytest.raises(Exception, match="no-such-package-here"):
            etl.init_class(dependencies=["requests", "no-such-package-here==1.0"])(Greeter)


# ---- rows of them, members, what comes in ----


def test_pipelines(etls, etl_sdk, b, upper, bang):
    from aistore.sdk.etl import ETLConfig
    assert etls.read(b, "x", etl_name=bang, etl_pipeline=upper, etl_args="end") == b"HELLOEND"
    assert etls.read(b, "x", etl_name=upper, etl_pipeline=f"{bang},{bang}", etl_args="z") == b"HELLOzz"
    per_stage = {"etl_args.1": "one", "etl_args.2": "", "etl_args.3": "three"}
    assert etls.read(b, "x", etl_name=bang, etl_pipeline=f"{upper},{bang}", **per_stage) == b"HELLOONEthree"
    assert etls.read(b, "x", etl_name=upper, etl_pipeline="@gzip,@gunzip,@md5") == hashlib.md5(b"HELLO").hexdigest().encode()
    chain = etl_sdk.etl(upper) >> etl_sdk.etl(bang)
    assert etl_sdk.bucket(b).object("x").get_reader(etl=ETLConfig(chain, args="!")).read_all() == b"HELLO!"
    for query in ({"etl_pipeline": upper}, {"etl_name": upper, "etl_pipeline": ","}, {"etl_name": upper, "etl_pipeline": "a b"},
                  {"etl_name": upper, "etl_pipeline": ",".join([upper] * 16)}, {"etl_name": upper, "etl_args.2": "x"}):
        assert etls.get(b, "x", **query).status_code == 400, query
    r = etls.get(b, "x", etl_name=upper, etl_pipeline="not-there")
    assert r.status_code == 404 and "not-there" in r.text


def test_objects_as_they_are(etls, b, upper):
    assert etls.read(b, "dir/a b+c%d", etl_name=upper) == b"ODD NAME"
    assert etls.read(b, "empty", etl_name=upper) == b""
    assert etls.read(b, "big", etl_name="@md5") == hashlib.md5(BIG).hexdigest().encode()
    r = etls.get(b, "nothing", etl_name=upper)
    assert r.status_code == 404 and "nothing" in r.text


def test_builtins(etls, b):
    assert gzip.decompress(etls.read(b, "big", etl_name="@gzip")) == BIG
    assert etls.read(b, "big", etl_name="@gzip", etl_pipeline="@gunzip,@sha256") == hashlib.sha256(BIG).hexdigest().encode()
    assert etls.get(b, "x", etl_name="@gunzip").status_code == 400
    r = etls.get(b, "x", etl_name="@nope")
    assert r.status_code == 404 and "@nope" in r.text


def tar(**members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            t.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_members(etls, etl_sdk, b, upper):
    from aistore.sdk.archive_config import ArchiveConfig
    from aistore.sdk.etl import ETLConfig
    etls.store(b, "shard.tar", tar(one=b"first", two=b"second"))
    assert etls.read(b, "shard.tar", archpath="two", etl_name=upper) == b"SECOND"
    assert etls.get(b, "shard.tar", archpath="three", etl_name=upper).status_code == 404
    reader = etl_sdk.bucket(b).object("shard.tar").get_reader(archive_config=ArchiveConfig(archpath="one"), etl=ETLConfig(upper))
    assert reader.read_all() == b"FIRST"


@pytest.fixture
def s3(etl_server):
    return Endpoint(etl_server, "http").client()


def with_query(s3, operation, **query):
    """Requests of that operation have this in their URLs, and under their signatures."""
    def add(request, **_):
        request.url += ("&" if "?" in request.url else "?") + urllib.parse.urlencode(query)
    s3.meta.events.register(f"before-sign.s3.{operation}", add)
    return s3


@pytest.fixture(scope="module")
def signed_server(new_server, etl_settings, etl_server):
    """Wants signatures."""
    with srv.running(new_server(env=etl_settings)) as s:
        yield s


def test_presigned_urls(signed_server):
    def client(**query):
        s3 = Endpoint(signed_server, "http").client(signature_version="s3v4")
        return with_query(s3, "GetObject", **query) if query else s3

    s3, name = client(), kit.new_name("bck")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="x", Body=b"hello")
    url = client(etl_name="@md5").generate_presigned_url("get_object", Params={"Bucket": name, "Key": "x"})
    assert "etl_name=%40md5" in url
    r = requests.get(url, timeout=30)
    assert r.status_code == 200 and r.content == hashlib.md5(b"hello").hexdigest().encode(), r.text
    assert requests.get(url.replace("%40md5", "%40sha256"), timeout=30).status_code == 403
    plain = s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "x"})
    assert requests.get(plain + "&etl_name=%40md5", timeout=30).status_code == 403
    body = client(etl_name="@sha256").get_object(Bucket=name, Key="x")["Body"].read()
    assert body == hashlib.sha256(b"hello").hexdigest().encode()


def test_s3_errors_are_xml(etls, b):
    r = etls.get(b, "x", etl_name="not-there")
    assert r.status_code == 404 and r.text.startswith("<?xml") and "not-there" in r.text
    with etls.etl("refuses", ["sh", "-c", "echo not this one >&2; exit 5"]) as name:
        r = etls.get(b, "x", etl_name=name)
        assert 400 <= r.status_code < 600 and r.text.startswith("<?xml") and "not this one" in r.text


def test_puts_by_s3(etls, b, upper, s3):
    with_query(s3, "PutObject", etl_name=upper)
    s3.put_object(Bucket=b, Key="in/1", Body=b"shout", ChecksumAlgorithm="CRC32")
    s3.put_object(Bucket=b, Key="in/2", Body=b"shout", ContentMD5=base64.b64encode(hashlib.md5(b"shout").digest()).decode())
    assert etls.read(b, "in/1") == etls.read(b, "in/2") == b"SHOUT"
    assert s3.head_object(Bucket=b, Key="in/1")["ETag"].strip('"') == hashlib.md5(b"SHOUT").hexdigest()
    for wrong in ({"ContentMD5": base64.b64encode(bytes(16)).decode()}, {"ChecksumSHA256": base64.b64encode(bytes(32)).decode()}):
        with pytest.raises(ClientError) as e:
            s3.put_object(Bucket=b, Key="in/wrong", Body=b"shout", **wrong)
        assert e.value.response["Error"]["Code"] == "BadDigest"
    assert etls.get(b, "in/wrong").status_code == 404
    r = etls.ask("PUT", f"/{b}/in/none", b"x", etl_name="not-there")
    assert r.status_code == 404 and etls.get(b, "in/none").status_code == 404


def test_puts_by_the_native_api(etls, b, upper):
    assert etls.ask("PUT", f"/v1/objects/{b}/native", b"shout", provider="ais", etl_name=upper).status_code == 200
    assert etls.read(b, "native") == b"SHOUT"
    with etls.etl("refuses", ["sh", "-c", "head -c 3; exit 5"]) as name:  # after its first bytes
        assert etls.ask("PUT", f"/v1/objects/{b}/broken", b"shout", provider="ais", etl_name=name).status_code >= 400
    assert etls.get(b, "broken").status_code == 404


def test_one_object_copied(etls, etl_sdk, b, upper, bang):
    from aistore.sdk.etl import ETLConfig
    with etls.bucket() as to:
        source, dest = etl_sdk.bucket(b).object("x"), etl_sdk.bucket(to).object("dir/y")
        source.copy(dest, etl=ETLConfig(etl_sdk.etl(upper) >> etl_sdk.etl(bang), args="?"))
        assert etls.read(to, "dir/y") == b"HELLO?" and etls.keys(to) == ["dir/y"]
        with pytest.raises(Exception):
            source.copy(etl_sdk.bucket(to).object("none"), etl=ETLConfig("not-there"))
        assert etls.keys(to) == ["dir/y"]
