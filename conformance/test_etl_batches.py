"""Batches whose entries pass through ETLs, natively and over S3."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zipfile

import pytest
import requests

import etl_kit as kit

OBJECTS = {f"o/{i:02d}": os.urandom(size) for i, size in enumerate([0, 1, 1000, 65536, 65537, 300_000, 1 << 20, 2 << 20, 5, 6, 7, 8])}
MEMBERS = {f"m/{i}.txt": f"member {i}".encode() * (i + 1) for i in range(20)}


@pytest.fixture(scope="module")
def b(etls):
    with etls.bucket() as name:
        for key, data in OBJECTS.items():
            etls.store(name, key, data)
        shard = io.BytesIO()
        with tarfile.open(fileobj=shard, mode="w") as t:
            for member, content in MEMBERS.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                t.addfile(info, io.BytesIO(content))
        etls.store(name, "s.tar", shard.getvalue())
        yield name


@pytest.fixture(scope="module")
def turned(etls):
    """To upper case, of which the size is not known before."""
    with etls.etl("upper", ["tr", "a-z", "A-Z"]) as name:
        yield name


def ask(etls, b, api, document):
    """The answer; one that broke off has no content."""
    document = {"strm": True, **document}
    try:
        if api == "s3":
            return requests.post(f"{etls.url}/{b}?batch", json=document, headers=etls.headers, timeout=60)
        return requests.get(f"{etls.url}/v1/ml/moss/{b}", json=document, headers=etls.headers, timeout=60)
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError):
        return None


def read(answer, mode="r|*") -> list:
    assert answer is not None and answer.status_code == 200, answer and answer.text
    with tarfile.open(fileobj=io.BytesIO(answer.content), mode=mode) as t:
        return [(m.name, t.extractfile(m).read()) for m in t]


@pytest.fixture(params=["native", "s3"])
def api(request):
    return request.param


def test_objects_in_order(etls, b, turned, api):
    keys = sorted(OBJECTS, reverse=True)
    got = read(ask(etls, b, api, {"in": [{"objname": k} for k in keys], "etl_name": turned, "onob": True}))
    assert [n for n, _ in got] == keys
    for name, content in got:
        assert content == OBJECTS[name].translate(bytes.maketrans(bytes(range(97, 123)), bytes(range(65, 91)))), name


def test_each_its_own(etls, b, turned, api):
    with etls.etl("args", ["sh", "-c", 'cat >/dev/null; printf %s "$ETL_ARGS"']) as args:
        rows = [{"objname": "o/01"}, {"objname": "o/02", "etl_name": args, "etl_args": "first"}, {"objname": "s.tar", "archpath": "m/3.txt", "etl_name": turned},
                {"objname": "o/02", "etl_name": args, "etl_pipeline": f"{turned}", "etl_args": "both"}, {"objname": "o/02", "etl_name": "@gzip"}]
        got = [content for _, content in read(ask(etls, b, api, {"in": rows}))]
    assert got[0] == OBJECTS["o/01"] and got[1] == b"first" and got[2] == MEMBERS["m/3.txt"].upper() and got[3] == b"BOTH"
    assert gzip.decompress(got[4]) == OBJECTS["o/02"]


def test_selected_members(etls, b, turned):
    got = read(ask(etls, b, "native", {"in": [{"objname": "s.tar", "archregx": "m/1", "archmode": "prefix", "etl_name": turned}], "onob": True}))
    assert got == [(f"s.tar/{m}", c.upper()) for m, c in MEMBERS.items() if m.startswith("m/1")]


def test_as_zip_and_as_ready(etls, b, turned):
    keys = sorted(OBJECTS)
    answer = ask(etls, b, "native", {"in": [{"objname": k} for k in keys], "etl_name": turned, "onob": True, "mime": ".zip"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as z:
        assert z.namelist() == keys and z.testzip() is None
    got = dict(read(ask(etls, b, "native", {"in": [{"objname": k} for k in keys], "etl_name": "@gzip", "onob": True, "order": "ready"})))
    assert {k: gzip.decompress(v) for k, v in got.items()} == OBJECTS


def test_ranges_are_cut_before(etls, b):
    with etls.etl("sum", ["sh", "-c", "sha256sum | cut -c1-64 | tr -d '\\n'"]) as name:
        got = read(ask(etls, b, "native", {"in": [{"objname": "o/05", "start": 100, "length": 1000}], "etl_name": name}))
    assert got[0][1].decode() == hashlib.sha256(OBJECTS["o/05"][100:1100]).hexdigest()


FAILS = ["sh", "-c", 'if [ "$(head -c 1)" = x ]; then echo "will not take this" >&2; exit 3; fi; cat']


def test_what_fails_is_told(etls, b, api):
    etls.store(b, "bad", b"x and more")
    with etls.etl("fails", FAILS) as name:
        document = {"in": [{"objname": "o/08"}, {"objname": "bad"}, {"objname": "gone"}, {"objname": "o/09"}], "etl_name": name, "onob": True,
                    "coer": True, "status": True}
        got = dict(read(ask(etls, b, api, document)))
        assert got["o/08"] == OBJECTS["o/08"][1:] and got["o/09"] == OBJECTS["o/09"][1:]
        assert got["__404__/bad"] == b"" == got["__404__/gone"]
        status = {row["name"]: row for row in json.loads(got["__status__.json"])}
        assert status["o/08"]["error"] is None and status["gone"]["error"] == "NoSuchKey"
        assert status["bad"]["error"] == "ETLError" and "will not take this" in status["bad"]["message"]
        answer = ask(etls, b, api, document | {"coer": False, "in": document["in"][:2]})
        assert answer is None or answer.status_code >= 400  # it broke off, or never began


@pytest.mark.parametrize("document, status", [({"etl_pipeline": "x-pipeline"}, 400), ({"etl_args": "x"}, 400), ({"etl_name": 3}, 400),
                                              ({"etl": "x-name-x"}, 400), ({"etl_name": "is-not-there", "strm": False}, 400)])
def test_what_can_not_be(etls, b, document, status):
    answer = ask(etls, b, "native", {"in": [{"objname": "o/01"}], **document})
    assert answer.status_code == status, answer.text


def test_an_etl_that_is_not_there(etls, b):
    rows = {"in": [{"objname": "o/01"}], "etl_name": "is-not-there", "onob": True, "status": True}
    got = dict(read(ask(etls, b, "native", rows | {"coer": True})))
    assert json.loads(got["__status__.json"])[0]["error"] not in (None, "")
    answer = ask(etls, b, "native", rows)
    assert answer is None or answer.status_code >= 400


def test_large_results_of_unknown_size_are_refused(etls, b):
    with etls.etl("blow-up", ["sh", "-c", "cat >/dev/null; head -c 9000000 /dev/zero"]) as name:
        got = dict(read(ask(etls, b, "native", {"in": [{"objname": "o/01"}, {"objname": "o/02", "etl_name": "@gzip"}], "etl_name": name, "onob": True,
                                                "coer": True, "status": True})))
        row = json.loads(got["__status__.json"])[0]
        assert row["error"] and "too large" in row["message"] and gzip.decompress(got["o/02"]) == OBJECTS["o/02"]


def test_a_client_that_leaves_ends_them(etls, b):
    with etls.etl("sleeper", ["sh", "-c", "sleep 600; cat"]) as name, kit.nothing_left(etls.server):
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"{etls.url}/v1/ml/moss/{b}", json={"in": [{"objname": k} for k in OBJECTS], "etl_name": name, "strm": True, "coer": True},
                         headers=etls.headers, timeout=1)
