"""Each member of an archive through a transform: a shard in, a shard out."""

import io
import json
import socket
import tarfile
import time

import pytest
import requests

import etl_kit as kit

UPPER = ["tr", "a-z", "A-Z"]


def shard(contents, mode="w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as t:
        for i, content in enumerate(contents):
            info = tarfile.TarInfo(f"d/m{i:03}.txt")
            info.size = len(content)
            t.addfile(info, io.BytesIO(content))
    return out.getvalue()


def members(data) -> list:
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        return [(m.name, t.extractfile(m).read()) for m in t]


CONTENTS = [b"member %d " % i * (i % 40) for i in range(150)]
EXPECTED = [(f"d/m{i:03}.txt", c.upper()) for i, c in enumerate(CONTENTS)]


@pytest.fixture(scope="module")
def upper(etls):
    with etls.etl("upper", UPPER) as name:
        yield name


@pytest.fixture(scope="module")
def b(etls):
    with etls.bucket() as name:
        etls.store(name, "s.tar", shard(CONTENTS))
        etls.store(name, "s.tgz", shard(CONTENTS, "w:gz"))
        etls.store(name, "empty.tar", shard([]))
        etls.store(name, "no.tar", b"x" * 3000)
        yield name


def test_read(etls, b, upper):
    for key, kind in (("s.tar", "application/x-tar"), ("s.tgz", "application/gzip")):
        r = etls.get(b, key, etl_name=upper, etl_members="true")
        assert r.status_code == 200 and r.headers["Content-Type"] == kind
        assert members(r.content) == EXPECTED
    assert members(etls.read(b, "empty.tar", etl_name=upper, etl_members="true")) == []
    native = etls.ask("GET", f"/v1/objects/{b}/s.tar", etl_name="@md5", etl_members="true")
    assert [len(c) for _, c in members(native.content)] == [32] * len(CONTENTS)


def test_what_is_no_archive(etls, b, upper):
    r = etls.get(b, "no.tar", etl_name=upper, etl_members="true")
    assert 400 <= r.status_code < 500 and "512" in r.text
    assert etls.get(b, "s.tar", etl_name=upper, etl_members="true", archpath="d/m001.txt").status_code == 400


def test_a_member_that_fails(etls, b):
    """The first is an answer with its text; a later one breaks the response."""
    fail = 'x=$(cat); case "$x" in *"member $BAD "*) echo never mind >&2; exit 1;; esac; echo fine'
    with etls.etl("first", ["sh", "-c", "cat >/dev/null; echo never mind >&2; exit 1"]) as name:
        r = etls.get(b, "s.tar", etl_name=name, etl_members="true")
        assert r.status_code == 502 and "d/m000.txt" in r.text and "never mind" in r.text
    with etls.etl("later", ["sh", "-c", fail], env={"BAD": "37"}) as name:
        with pytest.raises(requests.exceptions.RequestException):
            etls.get(b, "s.tar", etl_name=name, etl_members="true")


def test_who_leaves(etls, b):
    with etls.etl("slow", ["sh", "-c", "sleep 0.2; cat"]) as name:
        host, port = etls.url.split("//")[1].split(":")
        for i in range(12):
            with socket.create_connection((host, int(port))) as s:
                s.sendall(f"GET /{b}/s.tar?etl_name={name}&etl_members=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                time.sleep(0.05 * i)
        assert etls.read(b, "s.tar", etl_name=name)[:9] == b"d/m000.tx"


def test_a_job(etls, b, upper):
    with etls.bucket() as to:
        body = {"action": "etl-bck", "value": {"id": upper, "members": True, "coer": True}}
        job = requests.post(f"{etls.url}/v1/buckets/{b}?bck_to=ais/@%23/{to}/", json=body, headers=etls.headers, timeout=60).text
        kit.eventually(lambda: etls.ask("GET", f"/v1/jobs/{job}").json()["state"] != "running", seconds=60)
        report = {(line := json.loads(x))["name"]: line for x in etls.ask("GET", f"/v1/jobs/{job}/report").text.splitlines()}
        assert {k: v["result"] for k, v in report.items()} == {"s.tar": "ok", "s.tgz": "ok", "empty.tar": "ok", "no.tar": "failed"}
        assert members(etls.read(to, "s.tar")) == members(etls.read(to, "s.tgz")) == EXPECTED


def test_a_view(etls, b, upper):
    """What can't be transformed is listed, and is not in the way."""
    with etls.bucket(view={"source": b, "etl": [upper], "members": True}, members=True) as view:
        assert members(etls.read(view, "s.tar")) == EXPECTED
        assert etls.read(view, "s.tar/d/m017.txt") == CONTENTS[17].upper()
        assert set(etls.keys(view)) >= {"s.tar", "s.tgz", "empty.tar", "no.tar"}
        assert etls.get(view, "no.tar").status_code >= 400


def test_a_download(new_server, etl_settings):
    """A file of the web is transformed before it is stored; its checksum is that of what came."""
    import hashlib
    import server as srv

    with srv.running(new_server(extra=("--auth", "none", "--download-private", "true"), env=etl_settings)) as s:
        web = kit.Etls(s)
        with web.bucket() as b:
            web.store(b, "x.txt", b"from afar")
            sums = {"right": hashlib.sha256(b"from afar").hexdigest(), "wrong": hashlib.sha256(b"no").hexdigest()}
            for name, digest in sums.items():
                spec = {"bucket": {"name": b}, "link": f"{web.url}/{b}/x.txt", "object_name": name, "type": "single", "etl_name": "@gzip",
                        "checksum": f"sha256:{digest}"}
                job = web.ask("POST", "/v1/download", json.dumps(spec)).json()["id"]
                kit.eventually(lambda job=job: web.ask("GET", f"/v1/jobs/{job}").json()["state"] != "running", seconds=60)
            assert web.read(b, "right", etl_name="@gunzip") == b"from afar" and web.read(b, "right")[:2] == b"\x1f\x8b"
            assert web.get(b, "wrong").status_code == 404
