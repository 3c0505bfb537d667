"""What is in archives, through S3: ?archpath=, members as keys, listings, staleness; boto3, aws-cli, s3fs."""

import io
import os
import random
import subprocess
import tarfile
import time
import urllib.parse
import zipfile
import zlib
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

import conftest
import server as srv
from test_clients import NEW_AWS, need, run

FORMATS = [".tar", ".tgz", ".zip", ".tar.lz4", ".tar.zst"]


def archive(ext: str, members: dict[str, bytes], mtime: int = 1_600_000_000) -> bytes:
    out = io.BytesIO()
    if ext == ".zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
            for name, data in members.items():
                z.writestr(zipfile.ZipInfo(name, (2020, 9, 13, 12, 26, 40)), data, zipfile.ZIP_DEFLATED)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w:gz" if ext == ".tgz" else "w") as t:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            t.addfile(info, io.BytesIO(data))
    program = {".tar.lz4": "lz4", ".tar.zst": "zstd"}.get(ext)
    if not program:
        return out.getvalue()
    need(program)
    return subprocess.run([program, "-q", "-c"], input=out.getvalue(), capture_output=True, check=True).stdout


def samples(n: int, seed: int = 1) -> dict[str, bytes]:
    rnd = random.Random(seed)
    out = {}
    for i in range(n):
        out[f"{i:04d}.jpg"] = rnd.randbytes(rnd.choice([0, 1, 511, 512, 513, 3000, 70000]))
        out[f"{i:04d}.cls"] = str(i % 10).encode()
    return out


def members_header(params, **_):
    params["headers"]["x-sluice-members"] = "true"


@pytest.fixture
def shown(endpoint, s3):
    """A bucket that shows members as keys."""
    name = conftest.new_bucket_name()
    maker = endpoint.client()
    maker.meta.events.register("before-call.s3.CreateBucket", members_header)
    maker.create_bucket(Bucket=name)
    yield name
    conftest.empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


def code(error) -> str:
    return error.value.response["Error"]["Code"]


def get(s3, bucket, key, **kw):
    return s3.get_object(Bucket=bucket, Key=key, **kw)["Body"].read()


def archpath(s3, bucket, key, path, **kw):
    """The query parameter, signed by the SDK."""
    return asked(s3, bucket, key, {"archpath": path, **kw.pop("query", {})}, **kw)


def asked(s3, bucket, key, query, **kw):
    c = s3.meta.events
    query = urllib.parse.urlencode(query, quote_via=urllib.parse.quote)

    def add(request, **_):
        request.url += ("&" if "?" in request.url else "?") + query
    c.register_first("before-sign.s3.GetObject", add)
    c.register_first("before-sign.s3.HeadObject", add)
    try:
        return s3.head_object(Bucket=bucket, Key=key, **kw) if kw.pop("head", False) else s3.get_object(Bucket=bucket, Key=key, **kw)
    finally:
        c.unregister("before-sign.s3.GetObject", add)
        c.unregister("before-sign.s3.HeadObject", add)


# ---- reading ----


@pytest.mark.parametrize("ext", FORMATS)
def test_members_read_as_keys(s3, shown, ext):
    content = samples(12)
    content["deep/er/x y%+ä.json"] = b'{"a":1}'
    s3.put_object(Bucket=shown, Key="d/shard-000" + ext, Body=archive(ext, content))
    for name, data in content.items():
        key = f"d/shard-000{ext}/{name}"
        r = s3.get_object(Bucket=shown, Key=key, ChecksumMode="ENABLED")
        assert r["Body"].read() == data and r["ContentLength"] == len(data)
        h = s3.head_object(Bucket=shown, Key=key)
        assert h["ContentLength"] == len(data) and h["ETag"] == r["ETag"] and h["LastModified"] == r["LastModified"]
        assert h["AcceptRanges"] == "bytes" and h["Metadata"]["mtime"] == "1600000000"
    assert s3.head_object(Bucket=shown, Key=f"d/shard-000{ext}/0001.jpg")["ContentType"] == "image/jpeg"
    assert s3.head_object(Bucket=shown, Key=f"d/shard-000{ext}/deep/er/x y%+ä.json")["ContentType"] == "application/json"
    with pytest.raises(ClientError) as e:
        get(s3, shown, f"d/shard-000{ext}/none")
    assert code(e) == "NoSuchKey"
    # the shard itself is an object like any other
    assert get(s3, shown, "d/shard-000" + ext) == archive(ext, content) or ext == ".tgz"


@pytest.mark.parametrize("ext", FORMATS)
def test_member_by_archpath(s3, bucket, ext):
    content = samples(5)
    s3.put_object(Bucket=bucket, Key="s" + ext, Body=archive(ext, content))
    for name, data in content.items():
        assert archpath(s3, bucket, "s" + ext, name)["Body"].read() == data
        assert archpath(s3, bucket, "s" + ext, "/" + name, head=True)["ContentLength"] == len(data)
    with pytest.raises(ClientError) as e:
        get(s3, bucket, f"s{ext}/0001.jpg")  # members are no keys here
    assert code(e) == "NoSuchKey"
    with pytest.raises(ClientError) as e:
        archpath(s3, bucket, "s" + ext, "none")
    assert code(e) == "NoSuchKey"


def test_archpath_with_the_format_said(s3, bucket):
    s3.put_object(Bucket=bucket, Key="shard", Body=archive(".tar", {"a": b"1"}))
    assert archpath(s3, bucket, "shard", "a")["Body"].read() == b"1"  # by its first bytes
    assert archpath(s3, bucket, "shard", "a", query={"archmime": "application/x-tar"})["Body"].read() == b"1"
    s3.put_object(Bucket=bucket, Key="text", Body=b"no archive at all" * 100)
    with pytest.raises(ClientError) as e:
        archpath(s3, bucket, "text", "a")
    assert code(e) == "InvalidObjectState"


@pytest.mark.parametrize("ext", FORMATS)
def test_selections_come_as_a_tar(s3, bucket, ext):
    content = samples(30)
    content["part2/0007.txt"] = b"seven"
    s3.put_object(Bucket=bucket, Key="s" + ext, Body=archive(ext, content))

    def select(mode, pattern, **kw):
        r = asked(s3, bucket, "s" + ext, {"archmode": mode, "archregx": pattern}, **kw)
        assert r["ContentType"] == "application/x-tar"
        with tarfile.open(fileobj=io.BytesIO(r["Body"].read())) as t:
            return {m.name: t.extractfile(m).read() for m in t}
    for mode, pattern, means in [("prefix", "000", lambda n: n.startswith("000")), ("suffix", ".cls", lambda n: n.endswith(".cls")),
                                 ("substr", "07", lambda n: "07" in n), ("wdskey", "0007", lambda n: n in ("0007.jpg", "0007.cls")),
                                 ("regexp", "^00[01]5[.]", lambda n: n[:3] in ("000", "001") and n[3:5] == "5."),
                                 ("prefix", "*", lambda n: True), ("prefix", "", lambda n: True)]:
        got = select(mode, pattern)
        want = {n: d for n, d in content.items() if means(n)}
        assert got == want and list(got) == list(want), (mode, pattern)
    for query, error in [({"archmode": "prefix", "archregx": "none"}, "NoSuchKey"), ({"archmode": "prefix"}, "InvalidArgument"),
                         ({"archregx": "x"}, "InvalidArgument"), ({"archmode": "regexp", "archregx": "("}, "InvalidArgument"),
                         ({"archmode": "prefix", "archregx": "0", "archpath": "a"}, "InvalidArgument")]:
        with pytest.raises(ClientError) as e:
            asked(s3, bucket, "s" + ext, query)
        assert code(e) == error, query
    with pytest.raises(ClientError) as e:
        select("prefix", "000", Range="bytes=0-9")
    assert code(e) == "NotImplemented"


@pytest.mark.parametrize("ext", FORMATS)
def test_ranges_of_a_member(s3, shown, ext):
    rnd = random.Random(4)
    data = rnd.randbytes(200_000)
    s3.put_object(Bucket=shown, Key="r" + ext, Body=archive(ext, {"x": b"before", "m": data, "y": b"after"}))
    key = f"r{ext}/m"
    for first, last in [(0, 0), (1, 511), (512, 4096), (199_999, 199_999), (100, 10**9)] + \
            [sorted((rnd.randrange(200_000), rnd.randrange(200_000))) for _ in range(5)]:
        r = s3.get_object(Bucket=shown, Key=key, Range=f"bytes={first}-{last}")
        assert r["Body"].read() == data[first:last + 1]
        assert r["ContentRange"] == f"bytes {first}-{min(last, 199_999)}/200000"
        assert r["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert get(s3, shown, key, Range="bytes=-7") == data[-7:]
    assert get(s3, shown, key, Range="bytes=150000-") == data[150000:]
    assert s3.head_object(Bucket=shown, Key=key, Range="bytes=5-9")["ContentLength"] == 5
    with pytest.raises(ClientError) as e:
        get(s3, shown, key, Range="bytes=200000-")
    assert code(e) == "InvalidRange"


def test_conditions_of_a_member(s3, shown):
    s3.put_object(Bucket=shown, Key="c.tar", Body=archive(".tar", {"a": b"one", "b": b"two"}))
    a = s3.head_object(Bucket=shown, Key="c.tar/a")
    b = s3.head_object(Bucket=shown, Key="c.tar/b")
    assert a["ETag"] != b["ETag"]
    assert get(s3, shown, "c.tar/a", IfMatch=a["ETag"]) == b"one"
    for wrong in (dict(IfMatch=b["ETag"]), dict(IfUnmodifiedSince=a["LastModified"].replace(year=2001))):
        with pytest.raises(ClientError) as e:
            get(s3, shown, "c.tar/a", **wrong)
        assert code(e) == "PreconditionFailed"
    for same in (dict(IfNoneMatch=a["ETag"]), dict(IfModifiedSince=a["LastModified"])):
        with pytest.raises(ClientError) as e:
            get(s3, shown, "c.tar/a", **same)
        assert code(e) == "304"
    # an archive that is replaced is no longer what they had, even with an older member
    time.sleep(1.1)
    s3.put_object(Bucket=shown, Key="c.tar", Body=archive(".tar", {"a": b"ONE", "b": b"two"}, mtime=1_000_000_000))
    assert get(s3, shown, "c.tar/a", IfNoneMatch=a["ETag"]) == b"ONE"
    assert get(s3, shown, "c.tar/a", IfModifiedSince=a["LastModified"]) == b"ONE"


def test_checksum_of_a_member(s3, shown, http_request, endpoint):
    data = os.urandom(5000)
    s3.put_object(Bucket=shown, Key="k.tar", Body=archive(".tar", {"a": data}))
    r = s3.head_object(Bucket=shown, Key="k.tar/a", ChecksumMode="ENABLED")["ResponseMetadata"]["HTTPHeaders"]
    import base64
    assert r["x-amz-checksum-crc32"] == base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    assert "x-amz-checksum-crc32" not in s3.head_object(Bucket=shown, Key="k.tar/a")["ResponseMetadata"]["HTTPHeaders"]


# ---- never stale ----


@pytest.mark.parametrize("ext", FORMATS)
def test_overwritten_archives_are_read_anew(s3, shown, ext):
    for i in range(6):
        content = samples(4, seed=i)
        s3.put_object(Bucket=shown, Key="o" + ext, Body=archive(ext, content))
        for name in random.Random(i).sample(sorted(content), 4):
            assert get(s3, shown, f"o{ext}/{name}") == content[name]
    s3.delete_object(Bucket=shown, Key="o" + ext)
    with pytest.raises(ClientError) as e:
        get(s3, shown, f"o{ext}/0001.jpg")
    assert code(e) == "NoSuchKey"


def test_archives_that_come_by_copy_and_in_parts(s3, shown):
    content = {f"{i:02d}": os.urandom(1 << 20) for i in range(12)}
    body = archive(".tar", content)
    upload = s3.create_multipart_upload(Bucket=shown, Key="parts.tar")["UploadId"]
    step = 5 << 20
    parts = [{"PartNumber": n + 1, "ETag": s3.upload_part(Bucket=shown, Key="parts.tar", UploadId=upload, PartNumber=n + 1,
                                                           Body=body[n * step:(n + 1) * step])["ETag"]}
             for n in range((len(body) + step - 1) // step)]
    s3.complete_multipart_upload(Bucket=shown, Key="parts.tar", UploadId=upload, MultipartUpload={"Parts": parts})
    s3.copy_object(Bucket=shown, Key="copy.tar", CopySource={"Bucket": shown, "Key": "parts.tar"})
    for key in ("parts.tar", "copy.tar"):
        for name, data in content.items():
            assert get(s3, shown, f"{key}/{name}") == data


def test_what_is_no_archive_is_an_object(s3, shown):
    s3.put_object(Bucket=shown, Key="broken.tar", Body=b"x" * 10_000)
    s3.put_object(Bucket=shown, Key="cut.tar", Body=archive(".tar", {"a": b"1" * 5000})[:2000])
    s3.put_object(Bucket=shown, Key="empty.tar", Body=b"")
    s3.put_object(Bucket=shown, Key="broken.tar/real", Body=b"2")
    for key in ("broken.tar", "cut.tar", "empty.tar"):
        assert s3.head_object(Bucket=shown, Key=key)["ResponseMetadata"]["HTTPStatusCode"] == 200
        with pytest.raises(ClientError) as e:
            get(s3, shown, key + "/a")
        assert code(e) == "NoSuchKey"
    assert get(s3, shown, "broken.tar/real") == b"2"
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=shown)["Contents"]]
    assert keys == ["broken.tar", "broken.tar/real", "cut.tar", "empty.tar"]


# ---- listing ----


def expected(keys, prefix="", delimiter="", after=""):
    out = []
    for k in sorted(k.encode() for k in keys):
        k = k.decode()
        if not k.startswith(prefix):
            continue
        at = k.find(delimiter, len(prefix)) if delimiter else -1
        shown = k[:at + len(delimiter)] if at >= 0 else k
        if shown.encode() > after.encode() and (not out or out[-1] != shown):
            out.append(shown)
    return out


def listed(s3, bucket, v1=False, **kw):
    out, more = [], {}
    while True:
        r = (s3.list_objects if v1 else s3.list_objects_v2)(Bucket=bucket, **kw, **more)
        page = sorted([o["Key"] for o in r.get("Contents", [])] + [p["Prefix"] for p in r.get("CommonPrefixes", [])], key=str.encode)
        assert len(page) <= kw.get("MaxKeys", 1000) and (v1 or r["KeyCount"] == len(page))
        out += page
        if not r["IsTruncated"]:
            return out
        assert page
        more = {"Marker": page[-1]} if v1 else {"ContinuationToken": r["NextContinuationToken"]}


@pytest.fixture
def mixed(s3, shown):
    """Objects and shards whose keys lie between one another."""
    keys = []
    inside = {"a.tar": ["0001.jpg", "0002.jpg", "img/1", "img/2", "img/deep/3", "zz"], "a.tar.tar": ["q", "r/s"],
              "d/b.zip": ["x", "y/z"], "d/e/c.tgz": ["1", "2"], "z.tar": [f"{i:03d}" for i in range(40)]}
    for key, names in inside.items():
        ext = key[1:] if key == "a.tar" else "." + key.split(".")[-1]
        s3.put_object(Bucket=shown, Key=key, Body=archive(ext, {n: n.encode() for n in reversed(names)}))
        keys += [key] + [f"{key}/{n}" for n in names]
    for key in ("a", "a.ta", "a.tar-b", "a.tar.x", "a.tar0", "a.tar-c/d", "d/a", "d/b.zip0", "d/b.zip-1", "d0", "zz", "bad.tar"):
        s3.put_object(Bucket=shown, Key=key, Body=b"1")
        keys.append(key)
    return shown, keys


def test_listing_of_members(s3, mixed):
    bucket, keys = mixed
    prefixes = ["", "a", "a.tar", "a.tar/", "a.tar/0", "a.tar/img/", "a.tar/img/d", "a.tar.", "d/", "d/b", "d/b.zip/", "z.tar/01", "none", "a.tar/none"]
    for delimiter in ("", "/", "-", ".", "r/", "0"):
        # a shard that can't be read looks like a folder, too: it is told by its name
        known = keys + (["bad.tar/"] if delimiter == "/" else [])
        for prefix in prefixes:
            want = expected(known, prefix, delimiter)
            for size in (1, 2, 3, 7, 1000):
                kw = dict(Prefix=prefix, Delimiter=delimiter, MaxKeys=size)
                assert listed(s3, bucket, **kw) == want, kw
            assert listed(s3, bucket, v1=True, Prefix=prefix, Delimiter=delimiter, MaxKeys=5) == want
            for after in ("a.tar", "a.tar-b", "a.tar/0001.jpg", "a.tar/img/", "a.tar/zzz", "a.tar.tar", "d/b.zip/x", "y", "z.tar/020"):
                got = listed(s3, bucket, Prefix=prefix, Delimiter=delimiter, StartAfter=after, MaxKeys=4)
                assert got == expected(known, prefix, delimiter, after), (prefix, delimiter, after)


def test_listing_tells_what_head_tells(s3, mixed):
    bucket, _ = mixed
    for o in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        h = s3.head_object(Bucket=bucket, Key=o["Key"])
        assert (h["ContentLength"], h["ETag"], h["LastModified"]) == (o["Size"], o["ETag"], o["LastModified"]), o["Key"]


def test_folders_have_heads(s3, mixed):
    bucket, _ = mixed
    for key in ("a.tar/", "a.tar/img/", "a.tar/img/deep/", "d/b.zip/"):
        h = s3.head_object(Bucket=bucket, Key=key)
        assert h["ContentLength"] == 0 and h["ContentType"] == "application/x-directory"
    for key in ("a.tar/none/", "bad.tar/", "d/"):
        with pytest.raises(ClientError) as e:
            s3.head_object(Bucket=bucket, Key=key)
        assert code(e) == "404"


# ---- writing ----


def test_members_can_not_be_written(s3, shown):
    s3.put_object(Bucket=shown, Key="w.tar", Body=archive(".tar", {"a": b"1"}))
    for attempt in (lambda: s3.put_object(Bucket=shown, Key="w.tar/a", Body=b"2"),
                    lambda: s3.put_object(Bucket=shown, Key="w.tar/new", Body=b"2"),
                    lambda: s3.delete_object(Bucket=shown, Key="w.tar/a"),
                    lambda: s3.copy_object(Bucket=shown, Key="w.tar/a", CopySource={"Bucket": shown, "Key": "w.tar"}),
                    lambda: s3.create_multipart_upload(Bucket=shown, Key="w.tar/a")):
        with pytest.raises(ClientError) as e:
            attempt()
        assert code(e) == "InvalidRequest" and "member" in e.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as e:
        s3.get_object_tagging(Bucket=shown, Key="w.tar/a")
    assert code(e) == "NotImplemented"
    r = s3.delete_objects(Bucket=shown, Delete={"Objects": [{"Key": "w.tar/a"}, {"Key": "other"}]})
    assert [x["Key"] for x in r["Deleted"]] == ["other"] and [x["Code"] for x in r["Errors"]] == ["InvalidRequest"]
    assert get(s3, shown, "w.tar/a") == b"1"
    # below what is no archive keys are objects
    s3.put_object(Bucket=shown, Key="none.tar/a", Body=b"3")
    assert get(s3, shown, "none.tar/a") == b"3"
    s3.delete_object(Bucket=shown, Key="none.tar/a")


def test_members_are_copied_out(s3, shown, bucket):
    content = samples(6)
    s3.put_object(Bucket=shown, Key="w.tar", Body=archive(".tar", content))
    for name, data in content.items():
        r = s3.copy_object(Bucket=bucket, Key="out/" + name, CopySource={"Bucket": shown, "Key": "w.tar/" + name})
        assert get(s3, bucket, "out/" + name) == data and r["CopyObjectResult"]["ETag"] == s3.head_object(Bucket=bucket, Key="out/" + name)["ETag"]
    assert s3.head_object(Bucket=bucket, Key="out/0001.jpg")["ContentType"] == "image/jpeg"
    etag = s3.head_object(Bucket=shown, Key="w.tar/0001.jpg")["ETag"]
    s3.copy_object(Bucket=bucket, Key="again", CopySource={"Bucket": shown, "Key": "w.tar/0001.jpg"}, CopySourceIfMatch=etag)
    for source, kw, error in [("w.tar/none", {}, "NoSuchKey"), ("w.tar/0001.jpg", dict(CopySourceIfNoneMatch=etag), "PreconditionFailed")]:
        with pytest.raises(ClientError) as e:
            s3.copy_object(Bucket=bucket, Key="x", CopySource={"Bucket": shown, "Key": source}, **kw)
        assert code(e) == error


# ---- the setting ----


def test_setting_is_seen_and_kept(s3, shown, endpoint, http_request):
    h = s3.head_bucket(Bucket=shown)["ResponseMetadata"]["HTTPHeaders"]
    assert h["x-sluice-members"] == "true"
    maker = endpoint.client()

    def wrong(params, **_):
        params["headers"]["x-sluice-members"] = "maybe"
    maker.meta.events.register("before-call.s3.CreateBucket", wrong)
    with pytest.raises(ClientError) as e:
        maker.create_bucket(Bucket=shown + "x")
    assert code(e) == "InvalidArgument"


def test_indexes_outlive_a_restart(new_server, request):
    if request.config.getoption("--cluster"):
        pytest.skip("restarts one server")
    server = srv.Server(tls=False).start()
    try:
        s3 = conftest.Endpoint(server, "http").client()
        s3.meta.events.register("before-call.s3.CreateBucket", members_header)
        s3.create_bucket(Bucket="kept")
        content = samples(20)
        for ext in (".tar", ".zip"):
            s3.put_object(Bucket="kept", Key="s" + ext, Body=archive(ext, content))
            assert get(s3, "kept", f"s{ext}/0003.cls") == b"3"
        assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == ["kept"]
        time.sleep(1)
        assert server.stop() == 0
        server.start()
        s3 = conftest.Endpoint(server, "http").client()
        for ext in (".tar", ".zip"):
            for name, data in content.items():
                assert get(s3, "kept", f"s{ext}/{name}") == data
        assert server.metrics().get("sluice_archive_indexes_made_total", 0) == 0
        assert server.stop() == 0
        # the setting of a server that is stopped
        def sluice(*args):
            return run([srv.binary(), "bucket", *args, "--data", server.data[0]], cwd=server.home).stdout
        assert sluice("set", "kept", "members=off") == "bucket kept: members=off\n"
        assert '"members":false' in sluice("show", "kept", "--json").replace(" ", "")
        server.start()
        s3 = conftest.Endpoint(server, "http").client()
        assert [o["Key"] for o in s3.list_objects_v2(Bucket="kept")["Contents"]] == ["s.tar", "s.zip"]
        assert server.stop() == 0
        assert sluice("set", "kept", "members=on") == "bucket kept: members=on\n"
    finally:
        if server.process:
            server.kill()
        server.clean()


# ---- programs ----


@pytest.mark.parametrize("era", ["new", "debian"])
def test_aws_cli_reads_samples(endpoint, s3, shown, tmp_path, era):
    aws = NEW_AWS if era == "new" else "/usr/bin/aws"
    if not aws or not os.path.exists(aws):
        pytest.skip(f"the {era} aws-cli is not installed")
    env = endpoint.env()
    if era == "debian":
        env["PATH"] = "/usr/bin:/bin"
    content = samples(6)
    s3.put_object(Bucket=shown, Key="train/shard-000.tar", Body=archive(".tar", content))

    def cli(*args):
        return run([aws, "--endpoint-url", endpoint.url, *args], env=env)
    assert "PRE shard-000.tar/" in cli("s3", "ls", f"s3://{shown}/train/").stdout
    assert len(cli("s3", "ls", f"s3://{shown}/train/shard-000.tar/").stdout.splitlines()) == len(content)
    cli("s3", "cp", f"s3://{shown}/train/shard-000.tar/0001.jpg", tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == content["0001.jpg"]
    cli("s3", "sync", f"s3://{shown}/train/shard-000.tar/", tmp_path / "all", "--only-show-errors")
    assert {p.name: p.read_bytes() for p in (tmp_path / "all").iterdir()} == content


def mounted(endpoint, what, at, passwd):
    at.mkdir()
    options = [f"url={endpoint.url}", "use_path_request_style", f"passwd_file={passwd}", "retries=1", "umask=0022", "complement_stat"]
    if endpoint.ca:
        options += ["ssl_verify_hostname=0", "no_check_certificate"]
    process = subprocess.Popen(["s3fs", what, str(at), "-f", *[x for o in options for x in ("-o", o)]], env=endpoint.env(ca=False),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 15
    while not os.path.ismount(at):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"s3fs did not mount {what}: {process.stdout.read().decode()}")
        time.sleep(0.05)
    return process


def test_s3fs_opens_samples_in_shards(endpoint, s3, shown, tmp_path):
    need("s3fs")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse can't be used here")
    content = samples(10)
    content["img/deep.png"] = b"png"
    s3.put_object(Bucket=shown, Key="train/shard-000.tar", Body=archive(".tar", content))
    s3.put_object(Bucket=shown, Key="plain", Body=b"plain")
    passwd = tmp_path / "passwd"
    passwd.write_text(f"{endpoint.access_key}:{endpoint.secret_key}")
    passwd.chmod(0o600)
    # the whole bucket, and a shard for itself
    for what, at in ((shown, "train/shard-000.tar"), (f"{shown}:/train/shard-000.tar", "")):
        place = tmp_path / ("whole" if at else "shard")
        process = mounted(endpoint, what, place, passwd)
        try:
            shard = place / at
            assert (shard / "0003.jpg").read_bytes() == content["0003.jpg"]  # before anything was listed
            assert (shard / "0003.jpg").stat().st_size == len(content["0003.jpg"])
            assert (shard / "img" / "deep.png").read_bytes() == b"png"
            assert sorted(os.listdir(shard)) == sorted([n for n in content if "/" not in n] + ["img"])
            for name, data in content.items():
                assert (shard / name).read_bytes() == data
            with pytest.raises(FileNotFoundError):
                (shard / "none").read_bytes()
            if at:
                assert (place / "plain").read_bytes() == b"plain"
                assert sorted(os.listdir(place / "train")) == ["shard-000.tar"] and shard.is_dir()
        finally:
            subprocess.run(["fusermount", "-u", str(place)], check=False)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
