"""Shards made by the server: of a bucket's objects (kind "shard"), and of other shards (kind "dsort")."""

import io
import json
import random
import tarfile
import time

import pytest

from native import Native

EXTENSIONS = (".jpg", ".cls")


@pytest.fixture
def native(http_endpoint):
    return Native(http_endpoint)


@pytest.fixture
def samples(native):
    """300 samples of two files each in a bucket, and an empty bucket."""
    src, dst = native.new_bucket(), native.new_bucket()
    rng, want = random.Random(1), {}
    for i in range(120):
        for extension in EXTENSIONS:
            content = str(i * 7 % 120).encode() if extension == ".cls" else rng.randbytes(rng.randrange(100, 20000))
            want[f"img/{i:04}{extension}"] = content
            native.put(src, f"img/{i:04}{extension}", content)
    yield src, dst, want
    native.destroy(src)
    native.destroy(dst)


def members(native, bucket, prefix):
    found = []
    for name in native.names(bucket, prefix):
        with tarfile.open(fileobj=io.BytesIO(native.get(bucket, name))) as t:
            found.append((name, [(m.name, t.extractfile(m).read()) for m in t.getmembers()]))
    return found


def flat(shards):
    return [m for _, found in shards for m in found]


@pytest.fixture
def shards(native, samples):
    src, dst, want = samples
    job = native.job("shard", {"bucket": src, "prefix": "img/", "to_bucket": dst, "output": "s-{000..999}.tar", "count": 25,
                               "extensions": list(EXTENSIONS), "missing_extension": "abort"})
    assert job["state"] == "done" and job["failed"] == 0, job
    return dst, want


def test_a_bucket_becomes_shards_in_order(native, shards):
    dst, want = shards
    made = members(native, dst, "s-")
    assert [(n, len(m)) for n, m in made] == [("s-000.tar", 50), ("s-001.tar", 50), ("s-002.tar", 50), ("s-003.tar", 50), ("s-004.tar", 40)]
    assert [n for n, _ in flat(made)] == sorted(want) and dict(flat(made)) == want


def test_a_seed_gives_the_same_shuffle_again(native, shards):
    dst, want = shards
    for prefix in ("a-", "b-"):
        job = native.job("dsort", {"bucket": dst, "template": "s-{000..004}.tar", "output": prefix + "{00..99}.tar", "size": 200000,
                                   "order": "shuffle", "seed": "42"})
        assert job["state"] == "done", job
    once, again = flat(members(native, dst, "a-")), flat(members(native, dst, "b-"))
    assert once == again and dict(once) == want and [n for n, _ in once] != sorted(want)
    assert all(once[i][0][:-4] == once[i + 1][0][:-4] for i in range(0, len(once), 2))  # samples stay whole


def test_content_sorts_samples_with_little_memory(native, shards):
    dst, want = shards
    job = native.job("dsort", {"bucket": dst, "prefix": "s-", "output": "c-{00..99}.tar", "count": 50, "order": "content",
                               "content_extension": ".cls", "content_type": "int", "decreasing": True, "memory": 20000})
    assert job["state"] == "done", job
    keys = [int(c) for n, c in flat(members(native, dst, "c-")) if n.endswith(".cls")]
    assert keys == sorted(range(120), reverse=True)


def test_a_map_says_which_shard(native, shards):
    dst, want = shards
    native.put(dst, "map.json", json.dumps({"even-%d.tar": [f"img/{i:04}.jpg" for i in range(0, 120, 2)],
                                            "odd-{0..9}.tar": [r"img/\d*[13579]$"]}).encode())
    job = native.job("dsort", {"bucket": dst, "prefix": "s-", "key_map": "map.json", "count": 40})
    assert job["state"] == "done", job
    even, odd = flat(members(native, dst, "even-")), flat(members(native, dst, "odd-"))
    assert dict(even + odd) == want and all(int(n[4:8]) % 2 == 0 for n, _ in even) and len(even) == len(odd) == 120


def test_what_cannot_be_is_told(native, shards):
    dst, _ = shards
    assert "prefix covers" in native.job_refused("dsort", {"bucket": dst, "prefix": "s-", "output": "s-x{0..9}.tar"})
    assert "output" in native.job_refused("dsort", {"bucket": dst, "prefix": "s-", "output": "x-{0..9}.rar"})
    assert "content_extension" in native.job_refused("dsort", {"bucket": dst, "prefix": "s-", "output": "x-{0..9}.tar", "order": "content"})
    job = native.job("dsort", {"bucket": dst, "prefix": "s-", "output": "few-{0..1}.tar", "count": 10})
    assert job["state"] == "failed" and "more shards than" in str(job["parts"])
