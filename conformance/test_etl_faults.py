"""Sidecars that crash, hang, lie and eat; clients that leave; and what sidecars may not do."""

import base64
import json
import socket
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import etl_kit as kit
import server as srv
from test_native_auth import keys, token  # noqa: F401: `keys` is a fixture

FAULTY = [kit.PYTHON, str(kit.PROGRAMS / "faulty.py")]
BROKEN = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)
DATA = b"0123456789" * 5000


@pytest.fixture(scope="module")
def b(etls):
    with etls.bucket() as name:
        etls.store(name, "plain", DATA)
        yield name


@pytest.fixture(scope="module")
def faulty(etls):
    with etls.etl("faulty", FAULTY, "hpush", obj_timeout="2s") as name:
        yield name


def outcome(etls, bucket, key, **query):
    """"broken", or the status and the body."""
    try:
        r = etls.get(bucket, key, **query)
        return r.status_code, r.content
    except BROKEN:
        return "broken"


def works(etls, bucket, name):
    return outcome(etls, bucket, "plain", etl_name=name) == (200, DATA)


# how -> what the client may see; a number is a status of 500 and more
FAULTS = {"crash": "refused", "midstream": "broken", "die-midstream": "broken", "hang": "refused", "drip": "broken", "garbage": "refused",
          "garbage-binary": "refused", "closes": "refused", "shorter": "broken", "refuse": "refused"}


@pytest.mark.parametrize("how", FAULTS)
def test_faults_of_one_object(etls, b, faulty, how):
    kit.eventually(lambda: works(etls, b, faulty) and all(n["health_status"] == "Running" for n in etls.nodes(faulty, "health")))
    etls.store(b, how, DATA)
    with kit.nothing_left(etls.server, 8), etls.bucket() as to:
        began = time.monotonic()
        found = outcome(etls, b, how, etl_name=faulty)
        took = time.monotonic() - began
        assert took < 6, took
        if FAULTS[how] == "refused":
            assert found != "broken" and found[0] >= 400, found
            assert how != "hang" or found[0] == 504, found
            assert b"<Error>" in found[1] and faulty.encode() in found[1], found
        else:
            assert found == "broken" or found[0] >= 500, (found[0], len(found[1]))
        # nor is anything of it stored
        r = etls.ask("PUT", f"/{to}/{how}", DATA, etl_name=faulty)
        assert r.status_code >= 400, r.text
        r = etls.ask("PUT", f"/v1/objects/{b}/{how}", object_to=f"ais/@#/{to}/{how}", etl_name=faulty)
        assert r.status_code >= 400, r.text
        assert etls.keys(to) == []
        assert etls.read(b, "plain") == DATA
        kit.eventually(lambda: works(etls, b, faulty))


def test_more_than_it_said(etls, b, faulty):
    """What comes behind a result is nobody's, least of all the next object's."""
    etls.store(b, "longer", DATA)
    for _ in range(10):
        assert outcome(etls, b, "longer", etl_name=faulty) == (200, DATA)
        assert works(etls, b, faulty)


def test_it_is_started_again(etls, b):
    with etls.etl("crashes", FAULTY, "hpush", obj_timeout="5s") as name:
        etls.store(b, "crash", b"x")
        assert outcome(etls, b, "crash", etl_name=name)[0] >= 500
        kit.eventually(lambda: works(etls, b, name), 10)
        assert kit.eventually(lambda: sum(n["restarts"] for n in etls.nodes(name, "health"))) >= 1
        errors = kit.eventually(lambda: etls.look(name)["obj_errors"])
        assert {e["obj_name"].split("/")[-1] for e in errors} == {"crash"}


def test_a_crash_at_the_start(etls):
    name = kit.new_name("crash")
    with kit.nothing_left(etls.server):
        r = etls.put({"name": name, "runtime": {"command": FAULTY, "env": [{"name": "START", "value": "crash"}]}})
        assert r.status_code == 400 and "I never start" in r.json()["message"] and "exit status 7" in r.json()["message"], r.text
        etls.delete(name)


def raw_get(etls, bucket, key, name):
    """A connection on which it has been asked for."""
    host, port = etls.url.removeprefix("http://").split(":")
    s = socket.create_connection((host, int(port)), timeout=30)
    s.sendall(f"GET /{bucket}/{key}?etl_name={name} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return s


def test_an_endless_body_and_a_client_that_leaves(etls, b, faulty):
    etls.store(b, "endless", b"x")
    with kit.nothing_left(etls.server, 8):
        for _ in range(3):
            with raw_get(etls, b, "endless", faulty) as s:
                got = 0
                while got < 4 << 20:
                    got += len(s.recv(1 << 20))
        assert works(etls, b, faulty)


def test_clients_that_leave_before_the_answer(etls, b):
    with etls.etl("slow", FAULTY, "hpush", {"SLOW": "0.3"}) as name:
        assert works(etls, b, name)
        etls.store(b, "slow", DATA)
        with kit.nothing_left(etls.server, 8):
            for _ in range(30):
                raw_get(etls, b, "slow", name).close()
            began = time.monotonic()
            assert works(etls, b, name) and time.monotonic() - began < 5


def test_clients_that_leave_processes(etls, b):
    """As above, with a process per object: all of them end."""
    with etls.etl("sleeps", ["sh", "-c", "sleep 30; cat"], obj_timeout="60s") as name:
        with kit.nothing_left(etls.server, 8):
            before = kit.processes(etls.server)
            sockets = [raw_get(etls, b, "plain", name) for _ in range(10)]
            kit.eventually(lambda: kit.processes(etls.server) >= before + 10)
            for s in sockets:
                s.close()


def test_a_client_that_reads_slowly(etls, b, faulty):
    """Back-pressure: the server holds little of what a sidecar makes without end."""
    etls.store(b, "endless", b"x")
    with raw_get(etls, b, "endless", faulty) as s:
        s.recv(1000)
        before = memory(etls.server)
        time.sleep(1)
        assert memory(etls.server) - before < 64 << 20


def memory(server):
    return sum(n.rss() for n in [*server.targets, *server.gateways]) if hasattr(server, "targets") else server.rss()


def test_memory_has_a_limit(etls, b):
    with etls.etl("eats", FAULTY, "hpush", obj_timeout="20s", resources={"limits": {"memory": "200Mi"}}) as name:
        assert works(etls, b, name)
        etls.store(b, "eat", b"x")
        with kit.nothing_left(etls.server, 8):
            assert outcome(etls, b, "eat", etl_name=name)[0] >= 400
            assert etls.read(b, "plain") == DATA
            kit.eventually(lambda: works(etls, b, name))


@pytest.mark.parametrize("start", ["deaf to SIGTERM", "children"])
def test_whoever_does_not_want_to_end(etls, b, start):
    with kit.nothing_left(etls.server):
        with etls.etl("stays", FAULTY, "hpush", {"START": start}) as name:
            assert works(etls, b, name)
            began = time.monotonic()
            etls.delete(name)
            assert time.monotonic() - began < 20


def test_many_at_once_on_a_slow_sidecar(etls, b):
    with etls.etl("slow", FAULTY, "hpush", {"SLOW": "0.2"}, obj_timeout="30s") as name, kit.nothing_left(etls.server, 80):
        etls.store(b, "slow", DATA)
        plain, done = [], threading.Event()

        def others():
            with requests.Session() as session:
                while not done.is_set():
                    began = time.monotonic()
                    assert session.get(f"{etls.url}/{b}/plain", timeout=30).content == DATA
                    plain.append(time.monotonic() - began)
                    time.sleep(0.005)

        thread = threading.Thread(target=others)
        thread.start()
        try:
            with ThreadPoolExecutor(100) as pool:
                found = list(pool.map(lambda _: outcome(etls, b, "slow", etl_name=name), range(300)))
        finally:
            done.set()
            thread.join()
        assert all(f == (200, DATA) for f in found), [f[0] for f in found if f != (200, DATA)]
        plain.sort()
        assert plain[len(plain) * 99 // 100] < 2.0, plain[-10:]


def test_the_server_ends_with_sidecars_at_work(new_server, etl_settings, etl_server):
    with srv.running(new_server(extra=("--auth", "none"), env={**etl_settings, "SLUICE_DRAIN_TIMEOUT": "1s"})) as s:
        etls = kit.Etls(s)
        etls.make({"name": "sleeps-long", "communication": "io://", "runtime": {"command": ["sleep", "100"]}, "obj_timeout": "200s"})
        etls.make({"name": "deaf-one", "communication": "hpush://", "runtime": {"command": FAULTY, "env": [{"name": "START", "value": "deaf to SIGTERM"}]}})
        requests.put(f"{s.http}/bucket", timeout=30)
        etls.store("bucket", "x", b"x")
        sockets = [raw_get(etls, "bucket", "x", "sleeps-long") for _ in range(5)]
        pids = kit.eventually(lambda: [p for pid in kit.server_pids(s) for p in kit.descendants(pid)])
        time.sleep(0.3)
        began = time.monotonic()
        assert s.stop() == 0 and time.monotonic() - began < 20
        for sock in sockets:
            sock.close()
        assert pids and not [p for p in pids if alive(p)]
        s.start()
        pids = kit.eventually(lambda: [p for pid in kit.server_pids(s) for p in kit.descendants(pid)])
        s.kill()  # whoever is killed takes them along
        kit.eventually(lambda: not [p for p in pids if alive(p)])
        s.start()


def alive(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as f:
            return "etl-shim" in f.read()
    except OSError:
        return False


# ---- what they may not ----


@pytest.fixture(scope="module")
def spy(etls, b):
    """Tries things, and tells."""
    with etls.etl("spies", [kit.PYTHON, str(kit.PROGRAMS / "spy.py")], "hpull", obj_timeout="20s") as name:
        yield lambda **what: json.loads(etls.read(b, "plain", etl_name=name, etl_args=json.dumps(what)))


def uname(bucket, key):
    return "/" + urllib.parse.quote(f"ais/@#/{bucket}/{key}", safe="")


def test_objects_it_was_not_handed(etls, b, spy):
    etls.store(b, "secret", b"not for you")
    assert spy(fetch="OWN") == [200, DATA.decode()]
    assert spy(fetch=uname(b, "secret"))[0] == 403
    for other in (uname(b, "none"), uname("none", "x"), uname(b, "plain/../secret"), "/", "/ais", "/%00", "/.."):
        status, text = spy(fetch=other)
        assert status in (400, 403, 404) and "not for you" not in text, (other, status)
    assert spy(fetch="OWN", secret="0" * 32)[0] == 403
    assert spy(fetch="OWN", secret="")[0] in (400, 403, 404)
    assert spy(fetch="OWN", method="PUT")[0] == 403 and spy(fetch=uname(b, "planted"), method="PUT")[0] == 403
    assert spy(fetch="OWN", method="DELETE")[0] in (403, 405)
    assert etls.read(b, "plain") == DATA and "planted" not in etls.keys(b)


def test_what_it_sees_of_the_machine(etls, spy):
    who = spy(who=True)
    assert who["uid"] != 0 and 0 not in who["groups"] and who["count"] < 10, who
    assert len(spy(processes=True)) < 10
    seen = "".join(spy(env=True).values())
    assert "AIS_TARGET_URL" in seen and srv.SECRET_KEY not in seen and srv.ACCESS_KEY not in seen and "SLUICE" not in seen
    for d in etls.server.data:
        assert spy(list=str(d)) in ([], "PermissionError", "FileNotFoundError")
    assert spy(list="/tmp") not in (None,) and not [n for n in spy(list="/tmp") if n.startswith("sluice")]
    for path in ("/etc/shadow", "/etc/gshadow", str(etls.server.home / "key.pem")):
        assert spy(read=path) in ("PermissionError", "FileNotFoundError"), path
    for path in ("/etc/planted", "/usr/planted", str(kit.PROGRAMS / "spy.py"), "/tmp/share/x", "/proc/sys/kernel/hostname", "/dev/x"):
        assert isinstance(spy(write=path), str), path
    port = int(etls.url.split(":")[-1])
    assert isinstance(spy(connect=["127.0.0.1", port]), str) and isinstance(spy(connect=["1.1.1.1", 53]), str)


def test_its_log_has_a_bound(etls, b, faulty):
    etls.store(b, "talk", b"x")
    assert outcome(etls, b, "talk", etl_name=faulty)[0] == 200

    def logs():
        return [base64.b64decode(n["logs"]) for n in etls.nodes(faulty, "logs")]

    kit.eventually(lambda: any(b"039999 I have much to say" in text for text in logs()))
    assert max(len(text) for text in logs()) <= 300 << 10


def test_who_may_make_them(new_server, etl_settings, etl_server, keys, b):  # noqa: F811
    extra = ("--tokens-keys", str(keys / "public.pem"), "--tokens-issuer", "us", "--tokens-audience", "sluice")
    spec = json.dumps({"name": "by-whom", "communication": "io://", "runtime": {"command": ["cat"]}})
    with srv.running(new_server(extra=extra, env={**etl_settings, "SLUICE_ETL_ADMINS": "boss,other boss"})) as s:
        def ask(method, path, sub, body=None):
            headers = {"Authorization": "Bearer " + token(keys / "ours", sub=sub)} if sub else {}
            return requests.request(method, s.http + path, data=body, headers=headers, timeout=60)

        assert ask("PUT", "/v1/etl", None, spec).status_code == 401
        r = ask("PUT", "/v1/etl", "me", spec)
        assert r.status_code == 403 and "etl.admins" in r.json()["message"], r.text
        assert ask("PUT", "/v1/etl", "boss", spec).status_code == 200
        for method, path in (("POST", "/v1/etl/by-whom/stop"), ("POST", "/v1/etl/by-whom/start"), ("DELETE", "/v1/etl/by-whom")):
            assert ask(method, path, "me").status_code == 403, path
        assert ask("GET", "/v1/etl/by-whom", "me").status_code == 200
        assert ask("GET", "/v1/etl/by-whom", None).status_code == 401
        assert ask("DELETE", "/v1/etl/by-whom", "other boss").status_code == 200
