"""Training loops: aistore's data sets for PyTorch, and WebDataset over http and through a command of the name `ais`."""

import io
import os
import random
import subprocess
import tarfile
import uuid
from pathlib import Path

import pytest

import server as srv

aistore = pytest.importorskip("aistore", reason="the aistore SDK is not installed")


SAMPLES = {"%04d" % i: {"jpg": random.Random(i).randbytes(500 + i), "cls": b"%d" % (i % 10)} for i in range(120)}


def make_shard(path, keys):
    with tarfile.open(path, "w") as t:
        for k in keys:
            for ext, data in SAMPLES[k].items():
                info = tarfile.TarInfo(f"{k}.{ext}")
                info.size = len(data)
                t.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Local files: what a data set is without a server."""
    d = tmp_path_factory.mktemp("shards")
    keys = list(SAMPLES)
    for s in range(4):
        make_shard(d / f"shard-{s}.tar", keys[s * 30 : s * 30 + 30])
    return d


@pytest.fixture(scope="module")
def bucket(client, shards):
    b = client.bucket("train-" + uuid.uuid4().hex[:8]).create()
    b.put_files(shards, basename=True, pattern="*.tar", verbose=False)
    return b


@pytest.fixture(scope="module")
def plain(client):
    b = client.bucket("plain-" + uuid.uuid4().hex[:8]).create()
    for k, s in SAMPLES.items():
        b.object(f"img/{k}.jpg").get_writer().put_content(s["jpg"])
    return b


IMAGES = {f"img/{k}.jpg": s["jpg"] for k, s in SAMPLES.items()}


# ---- aistore.pytorch ----


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: SLUICE_TEST_TORCH=1 installs it")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iterable_data_set(torch, plain, workers):
    from aistore.pytorch import AISIterDataset

    loader = torch.utils.data.DataLoader(AISIterDataset(ais_source_list=plain, prefix_map={plain: "img/"}), num_workers=workers, batch_size=None)
    assert dict(loader) == IMAGES


@pytest.mark.parametrize("kind", ["AISMapDataset", "AISParallelMapDataset"])
def test_a_data_set_by_index(torch, plain, kind):
    import aistore.pytorch as ap

    data = getattr(ap, kind)(ais_source_list=[plain.objects(obj_template="img/{0000..0119}.jpg")])
    assert len(data) == len(IMAGES)
    got = {name: content if isinstance(content, bytes) else content.tobytes() for name, content in (data[i] for i in range(len(data)))}
    assert got == IMAGES


@pytest.mark.parametrize("streaming", [True, False])
def test_a_data_set_by_batches(torch, client, plain, streaming):
    from aistore.pytorch.batch_iter_dataset import AISBatchIterDataset

    data = AISBatchIterDataset(ais_source_list=plain, client=client, max_batch_size=32, streaming=streaming)
    loader = torch.utils.data.DataLoader(data, num_workers=2, batch_size=None)
    assert dict(loader) == IMAGES


@pytest.mark.parametrize("workers", [0, 2])
def test_a_reader_of_shards(torch, bucket, workers):
    from aistore.pytorch import AISShardReader

    loader = torch.utils.data.DataLoader(AISShardReader(bucket_list=bucket), num_workers=workers, batch_size=None)
    got = {key: dict(sample) for key, sample in loader}
    assert got == {k: dict(s) for k, s in SAMPLES.items()}


def test_streams_of_several_shards(torch, open_server, bucket):
    from aistore.pytorch import AISMultiShardStream
    from aistore.sdk.dataset.data_shard import DataShard

    stream = AISMultiShardStream([DataShard(open_server.http, bucket.name, prefix="shard-0"), DataShard(open_server.http, bucket.name, prefix="shard-1")])
    got = list(stream)
    keys = list(SAMPLES)
    want = [[SAMPLES[k][e] for k in keys[a : a + 30] for e in ("jpg", "cls")] for a in (0, 30)]
    assert len(got) == 60 and sorted(g[0] for g in got) == sorted(want[0]) and sorted(g[1] for g in got) == sorted(want[1])


def test_batches_by_size(torch, plain):
    from aistore.pytorch import AISMapDataset, DynamicBatchSampler

    data = AISMapDataset(ais_source_list=plain)
    sampler = DynamicBatchSampler(data_source=data, max_batch_size=5000, shuffle=True)
    seen = [name for batch in torch.utils.data.DataLoader(data, batch_sampler=sampler, collate_fn=list) for name, _ in batch]
    assert sorted(seen) == sorted(IMAGES)


# ---- WebDataset ----


@pytest.fixture(scope="module")
def wds():
    return pytest.importorskip("webdataset", reason="webdataset is not installed")


def epoch(wds, urls, seed=None):
    """Keys and bytes of an epoch, in the order in which it is trained."""
    data = wds.WebDataset(urls, shardshuffle=False, seed=seed) if seed is None else wds.WebDataset(urls, shardshuffle=4, seed=seed).shuffle(50, seed=seed)
    return [(s["__key__"], s["jpg"], s["cls"]) for s in data]


@pytest.fixture(scope="module")
def ais(tmp_path_factory, open_server):
    """A directory with `ais` in it: this binary under the name that WebDataset runs."""
    d = tmp_path_factory.mktemp("bin")
    os.symlink(srv.binary().resolve(), d / "ais")
    before = dict(os.environ)
    os.environ["PATH"] = f"{d}:{before['PATH']}"
    os.environ["AIS_ENDPOINT"] = open_server.http
    yield d
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("way", ["http", "s3", "ais", "pipe"])
def test_epochs_are_those_of_local_files(wds, open_server, bucket, shards, ais, way, seed):
    base = {"http": f"{open_server.http}/v1/objects/{bucket.name}/", "s3": f"{open_server.http}/s3/{bucket.name}/", "ais": f"ais://{bucket.name}/",
            "pipe": f"pipe:ais get ais://{bucket.name}/"}[way]
    end = " -" if way == "pipe" else ""
    urls = [f"{base}shard-{i}.tar{end}" for i in range(4)]
    assert epoch(wds, urls, seed) == epoch(wds, [str(shards / f"shard-{i}.tar") for i in range(4)], seed)


def test_shards_are_written_through_ais(wds, client, bucket, ais):
    with wds.ShardWriter(f"pipe:ais put - ais://{bucket.name}/out-%02d.tar", maxcount=50) as w:
        for k, s in SAMPLES.items():
            w.write({"__key__": k, **s})
    names = sorted(e.name for e in bucket.list_all_objects(prefix="out-"))
    assert names == ["out-00.tar", "out-01.tar", "out-02.tar"]
    got = {}
    for name in names:
        with tarfile.open(fileobj=io.BytesIO(bucket.object(name).get_reader().read_all())) as t:
            got |= {m.name: t.extractfile(m).read() for m in t}
    assert got == {f"{k}.{e}": d for k, s in SAMPLES.items() for e, d in s.items()}
    bucket.objects(obj_names=names).delete()


def test_a_directory_becomes_shards_with_one_command(wds, client, ais, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for k, s in SAMPLES.items():
        for e, d in s.items():
            (images / f"{k}.{e}").write_bytes(d)
    name = "made-" + uuid.uuid4().hex[:8]
    client.bucket(name).create()
    r = subprocess.run([str(ais / "ais"), "archive", "shard", str(images), f"ais://{name}/s-{{000..999}}.tar", "--maxcount", "50"], capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, r.stderr
    urls = [f"{os.environ['AIS_ENDPOINT']}/v1/objects/{name}/{e.name}" for e in client.bucket(name).list_all_objects()]
    assert len(urls) == 3
    assert sorted(epoch(wds, sorted(urls))) == sorted((k, s["jpg"], s["cls"]) for k, s in SAMPLES.items())


