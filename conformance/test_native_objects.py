"""Objects of the native API through the aistore SDK as it comes: every public method of Object, its reader and writer, uploads in
parts, data sets, sorting."""

import io
import random
import tarfile
import uuid

import pytest
import requests

aistore = pytest.importorskip("aistore", reason="the aistore SDK is not installed")
from aistore.sdk.archive_config import ArchiveConfig, ArchiveMode  # noqa: E402
from aistore.sdk.blob_download_config import BlobDownloadConfig  # noqa: E402
from aistore.sdk.dsort import DsortAlgorithm, DsortFramework, DsortShardsGroup, ExternalKeyMap  # noqa: E402
from aistore.sdk.errors import AISError, ErrObjNotFound  # noqa: E402
from aistore.sdk.multiobj import ObjectNames, ObjectRange  # noqa: E402


@pytest.fixture
def bucket(client):
    b = client.bucket("o-" + uuid.uuid4().hex[:10]).create()
    yield b
    b.delete(missing_ok=True)


def noise(n, seed=1):
    return random.Random(seed).randbytes(n)


def put(bucket, name, data):
    o = bucket.object(name)
    o.get_writer().put_content(data)
    return o


def tar(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def untar(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        return {m.name: t.extractfile(m).read() for m in t}


# ---- writing and reading ----


@pytest.mark.parametrize("name", ["plain", "dir/x y", "a?b#c%25d&e=f+g", "käse/日本", "-._~!$'()*,;:@"])
def test_what_is_put_is_read(bucket, name):
    o = put(bucket, name, b"hello world")
    r = o.get_reader()
    assert r.read_all() == b"hello world" and b"".join(r) == b"hello world"
    assert o.get_reader(byte_range="bytes=2-4").read_all() == b"llo"
    assert o.get_reader(chunk_size=3).raw().read() == b"hello world"
    assert [e.name for e in bucket.list_all_objects()] == [name]
    assert requests.get(o.get_url(), timeout=60).content == b"hello world"


def test_files_and_writers(bucket, tmp_path):
    path, copy = tmp_path / "f", tmp_path / "g"
    path.write_bytes(noise(3 << 20))
    o = bucket.object("file")
    o.get_writer().put_file(str(path))
    with open(copy, "wb") as f:
        o.get_reader(writer=f).read_all()
    assert copy.read_bytes() == path.read_bytes()
    with o.get_reader().as_file() as f:
        assert f.read(10) == noise(3 << 20)[:10] and f.read() == noise(3 << 20)[10:]


def test_parallel_and_direct_reads(bucket):
    data = noise((8 << 20) + 17)
    o = put(bucket, "big", data)
    with o.get_reader(num_workers=4).read_all() as got:
        assert got.tobytes() == data
    assert o.get_reader(direct=True).read_all() == data
    assert o.get_reader(blob_download_config=BlobDownloadConfig(chunk_size="1mb", num_workers="2")).read_all() == data


def test_attributes(bucket):
    o = put(bucket, "o", b"hello")
    assert o.head().size == 5
    p = o.props
    assert p.size == 5 and p.checksum_type and p.checksum_value
    assert p.name == "o" and p.bucket_name == bucket.name and p.obj_version
    before = p.obj_version
    put(bucket, "o", b"again")
    assert bucket.object("o").props.obj_version != before
    r = o.get_reader()
    r.read_all()
    assert r.attributes.size == 5


def test_custom_properties(bucket):
    o = put(bucket, "o", b"x")
    w = o.get_writer()
    w.set_custom_props({"a": "1", "b": "2"})
    w.set_custom_props({"b": "3", "c": "4"})
    assert bucket.object("o").props.custom_metadata == {"a": "1", "b": "3", "c": "4"}
    w.set_custom_props({"z": "9"}, replace_existing=True)
    assert bucket.object("o").props.custom_metadata == {"z": "9"}
    assert o.get_reader().read_all() == b"x"


def test_appending(bucket):
    w = bucket.object("log").get_writer()
    handle = w.append_content(b"one ")
    handle = w.append_content(b"two ", handle=handle)
    with pytest.raises(ErrObjNotFound):
        bucket.object("log").get_reader().read_all()
    w.append_content(b"", handle=handle, flush=True)
    with w.as_file(mode="a") as f:
        f.write(b"three ")
        f.write(b"four")
    assert bucket.object("log").get_reader().read_all() == b"one two three four"
    with w.as_file(mode="w") as f:
        f.write(b"new")
    assert bucket.object("log").get_reader().read_all() == b"new"


def test_parts(bucket):
    up = bucket.object("parts").multipart_upload().create()
    up.add_part(2).put_content(b"2" * 20)
    up.add_part(1).put_content(b"1" * 10)
    up.complete()
    assert bucket.object("parts").get_reader().read_all() == b"1" * 10 + b"2" * 20
    up = bucket.object("dropped").multipart_upload().create()
    up.add_part(1).put_content(b"1")
    up.abort()
    with pytest.raises(ErrObjNotFound):
        bucket.object("dropped").get_reader().read_all()


def test_copies_and_deletion(bucket):
    o = put(bucket, "from", b"data")
    o.copy(bucket.object("to"))
    assert bucket.object("to").get_reader().read_all() == b"data"
    o.delete()
    with pytest.raises(ErrObjNotFound):
        o.get_reader().read_all()
    with pytest.raises(AISError) as e:
        o.head()
    assert e.value.status_code == 404
    with pytest.raises(AISError):
        o.copy(bucket.object("to"))
    assert bucket.object("to").get_reader().read_all() == b"data"


def test_of_an_url(client, bucket):
    o = put(bucket, "x/y", b"by url")
    assert client.get_object_from_url(o.get_semantic_url()).get_reader().read_all() == b"by url"
    assert list(bucket.list_urls()) == [o.get_url()]


def test_unserved_calls_name_themselves(bucket):
    o = put(bucket, "o", b"x")
    with pytest.raises(AISError, match="blob-download") as e:
        o.blob_download()
    assert e.value.status_code == 501
    for call in (bucket.create_inventory, bucket.show_inventory, bucket.destroy_inventory):
        with pytest.raises(AISError, match="inventory") as e:
            call()
        assert e.value.status_code == 501


# ---- archives ----


def test_members(bucket):
    want = {"d/s%d.%s" % (i, ext): b"member %d %s" % (i, ext.encode()) for i in range(5) for ext in ("jpg", "cls")}
    o = put(bucket, "shard.tar", tar(want))
    assert o.get_reader(archive_config=ArchiveConfig(archpath="d/s3.jpg")).read_all() == want["d/s3.jpg"]
    assert o.get_reader(archive_config=ArchiveConfig(archpath="d/s3.jpg"), byte_range="bytes=0-5").read_all() == b"member"
    assert requests.get(o.get_url(archpath="d/s1.cls"), timeout=60).content == want["d/s1.cls"]
    for mode, text, matches in ((ArchiveMode.REGEXP, r"s[24]\.cls$", lambda n: n in ("d/s2.cls", "d/s4.cls")), (ArchiveMode.PREFIX, "d/s1", lambda n: n.startswith("d/s1")),
                                (ArchiveMode.SUFFIX, ".jpg", lambda n: n.endswith(".jpg")), (ArchiveMode.SUBSTR, "s0", lambda n: "s0" in n), (ArchiveMode.WDSKEY, "d/s2", lambda n: n.startswith("d/s2."))):
        got = untar(o.get_reader(archive_config=ArchiveConfig(regex=text, mode=mode)).read_all())
        assert got == {n: d for n, d in want.items() if matches(n)}, mode
    assert sorted(e.name for e in bucket.list_archive("shard.tar")) == sorted("shard.tar/" + n for n in want)
    with pytest.raises(AISError):
        o.get_reader(archive_config=ArchiveConfig(archpath="d/none")).read_all()


def test_a_group_into_an_archive_and_more_into_it(client, bucket):
    want = {"obj-%d" % i: b"%d" % i for i in range(12)}
    for name, data in want.items():
        put(bucket, name, data)
    for job in bucket.objects(obj_template="obj-{0..9}").archive(archive_name="all.tar"):
        assert client.job(job).wait(timeout=60).success
    for job in bucket.objects(obj_names=["obj-10", "obj-11"]).archive(archive_name="all.tar", allow_append=True):
        assert client.job(job).wait(timeout=60).success
        assert client.job(job).status().err == ""
    assert untar(bucket.object("all.tar").get_reader().read_all()) == want


def test_a_data_set_is_written(bucket, tmp_path):
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    from aistore.sdk.dataset.data_attribute import DataAttribute
    from aistore.sdk.dataset.dataset_config import DatasetConfig
    from aistore.sdk.dataset.label_attribute import LabelAttribute

    for i in range(6):
        (tmp_path / f"{i}.txt").write_bytes(b"text %d" % i)
    label = LabelAttribute("label.cls", lambda name: "0" + name)
    bucket.write_dataset(DatasetConfig(DataAttribute(tmp_path, "t", "txt"), [label]), pattern="set", maxcount=3)
    shards = [untar(bucket.object(e.name).get_reader().read_all()) for e in bucket.list_all_objects(prefix="set-")]
    assert len(shards) == 2 and sorted(d for s in shards for n, d in s.items() if n.endswith(".t.txt")) == [b"text %d" % i for i in range(6)]
    assert all(len(s) == 6 for s in shards)


# ---- sorting ----


@pytest.fixture
def shards(bucket):
    want = {}
    for s in range(3):
        members = {"r%03d.%s" % (i, e): b"%03d %s" % (i, e.encode()) for i in range(s, 30, 3) for e in ("cls", "txt")}
        put(bucket, "in-%d.tar" % s, tar(members))
        want |= members
    return want


def sort(client, bucket, output, algorithm=None, size="1MB", names=None):
    framework = DsortFramework(
        input_shards=DsortShardsGroup(bck=bucket.as_model(), role="input", extension=".tar", format=names or ObjectRange.from_string("in-{0..2}")),
        output_shards=DsortShardsGroup(bck=bucket.as_model(), role="output", extension=".tar", format=output), algorithm=algorithm, output_shard_size=size,
        description="a sort")
    d = client.dsort()
    id = d.start(framework)
    assert id.startswith("srt-") and d.dsort_id == id
    result = d.wait(timeout=60)
    info = next(iter(d.get_job_info().values()))
    assert info.src_bck.name == bucket.name and info.metrics.description == "a sort"
    return result, info


def sorted_names(bucket, prefix):
    return [n for e in bucket.list_all_objects(prefix=prefix) for n in untar(bucket.object(e.name).get_reader().read_all())]


def test_a_sort_by_name(client, bucket, shards):
    result, info = sort(client, bucket, ObjectRange.from_string("out-{0..9}"), size="100")
    assert result.success and info.metrics.shard_creation.finished and int(info.metrics.shard_creation.created_count) > 1
    first, between, last = info.metrics.local_extraction, info.metrics.meta_sorting, info.metrics.shard_creation
    assert {first.end_time, between.started_time, between.end_time, last.started_time} == {"0001-01-01T00:00:00Z"}
    assert info.started_time[:4] > "2000" and first.started_time[:4] > "2000" and last.end_time == info.finish_time > first.started_time
    assert sorted_names(bucket, "out-") == sorted(shards)


def test_a_sort_by_content(client, bucket, shards):
    result, _ = sort(client, bucket, ObjectRange.from_string("out-{0..9}"),
                     DsortAlgorithm(kind="content", extension=".txt", content_key_type="string", decreasing=True), names=ObjectNames(["in-0.tar", "in-1.tar", "in-2.tar"]))
    assert result.success
    assert [n for n in sorted_names(bucket, "out-") if n.endswith("cls")] == sorted((n for n in shards if n.endswith("cls")), reverse=True)


def test_a_seeded_shuffle_twice(client, bucket, shards):
    for out in ("a", "b"):
        assert sort(client, bucket, ObjectRange.from_string(out + "-{0..9}"), DsortAlgorithm(kind="shuffle", seed="7"))[0].success
    assert sorted_names(bucket, "a-") == sorted_names(bucket, "b-") != sorted(shards)


def test_a_sort_by_a_map(client, bucket, shards):
    ekm = ExternalKeyMap()
    ekm["low-{0..9}"] = ObjectNames([r"r00\d"])
    ekm["high-{0..9}.tar"] = ObjectNames([r"r0[12]\d"])
    result, _ = sort(client, bucket, ekm)
    assert result.success, result
    assert sorted(sorted_names(bucket, "low-")) == sorted(n for n in shards if n < "r010")
    assert sorted(sorted_names(bucket, "high-")) == sorted(n for n in shards if n >= "r010")


def test_what_cannot_be_sorted_is_told(client, bucket, shards, open_server):
    spec = {"input_bck": {"name": bucket.name, "provider": "ais"}, "input_format": {"template": "in-{0..2}"}, "input_extension": ".tar", "output_format": "out-{0..9}",
            "output_shard_size": "1MB"}
    for change, status, word in (({"input_bck": {"name": "no-such-bucket"}}, 404, "no-such-bucket"), ({"input_format": {}}, 400, "input_format"),
                                 ({"output_shard_size": "-1"}, 400, "output_shard_size"), ({"output_shard_size": "many"}, 400, "output_shard_size"),
                                 ({"algorithm": {"kind": "bogus"}}, 400, "order"), ({"algorithm": {"kind": "shuffle", "seed": "-7"}}, 400, "seed"),
                                 ({"output_format": "", "ekm_file": "http://127.0.0.1:1/map"}, 501, "ekm_file"), ({"dsorter_type": "mem"}, 501, "dsorter_type"),
                                 ({"max_mem_usage": "80%"}, 501, "max_mem_usage"), ({"output_extension": ".rar"}, 400, "output")):
        r = requests.post(open_server.http + "/v1/sort", json={**spec, **change}, timeout=60)
        assert r.status_code == status and word in r.json()["message"], (change, r.status_code, r.text)
    d = client.dsort("srt-0000000000000000")
    for call in (d.get_job_info, d.abort):
        with pytest.raises(AISError, match="srt-0000000000000000"):
            call()
