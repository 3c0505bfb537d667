"""Encryption at rest (docs/encryption.md): nothing of what is written is on disk as it was, and every way to read it gives it back."""

import contextlib
import io
import os
import subprocess
import tarfile

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

import cluster as cl
from conftest import new_bucket_name
from server import ACCESS_KEY, ENCRYPTION_KEY, SECRET_KEY, Server, binary

SSE = {"ServerSideEncryption": "AES256"}
RULES = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}
SECRET = b"never-on-disk-in-plaintext-"
MIB = 1 << 20


def content(n):
    return (SECRET * (n // len(SECRET) + 1))[:n]


def error(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response["Error"]["Code"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]


def read(s3, bucket, key, **kw):
    return s3.get_object(Bucket=bucket, Key=key, **kw)["Body"].read()


@pytest.fixture
def encrypted(s3, bucket):
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=RULES)
    return bucket


@pytest.mark.parametrize("size", [0, 1, 27, 16384, 65535, 65536, 65537, 131072, MIB - 1, MIB, 3 * MIB + 17])
def test_objects_of_all_sizes(s3, bucket, size):
    body = content(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm="SHA256", **SSE)
    assert put["ServerSideEncryption"] == "AES256"
    plain = s3.put_object(Bucket=bucket, Key="plain", Body=body, ChecksumAlgorithm="SHA256")
    assert "ServerSideEncryption" not in plain
    assert (put["ETag"], put["ChecksumSHA256"]) == (plain["ETag"], plain["ChecksumSHA256"])
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ServerSideEncryption"], head["ContentLength"]) == ("AES256", size)
    assert read(s3, bucket, "k") == body
    for first, last in ((0, 0), (65535, 65536), (65536, 65536), (100, 200_000), (size - 1, size - 1), (MIB - 1, MIB)):
        if 0 <= first < size:
            assert read(s3, bucket, "k", Range=f"bytes={first}-{last}") == body[first:last + 1], (first, last)
    listed = {o["Key"]: o for o in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert listed["k"]["Size"] == size and listed["k"]["ETag"] == put["ETag"]


def test_parts(s3, bucket):
    parts = [content(5 * MIB + 3), content(5 * MIB), content(70_000)]
    created = s3.create_multipart_upload(Bucket=bucket, Key="k", **SSE)
    assert created["ServerSideEncryption"] == "AES256"
    done = [{"PartNumber": i, "ETag": s3.upload_part(Bucket=bucket, Key="k", UploadId=created["UploadId"], PartNumber=i, Body=p)["ETag"]}
            for i, p in enumerate(parts, 1)]
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=created["UploadId"], MultipartUpload={"Parts": done})
    whole = b"".join(parts)
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    assert read(s3, bucket, "k") == whole
    at = 5 * MIB - 10
    assert read(s3, bucket, "k", Range=f"bytes={at}-{at + 100_000}") == whole[at:at + 100_001]
    assert read(s3, bucket, "k", PartNumber=3) == parts[2]


def test_a_bucket_encrypts_what_comes(s3, bucket):
    assert error(s3.get_bucket_encryption, Bucket=bucket) == ("ServerSideEncryptionConfigurationNotFoundError", 404)
    s3.put_object(Bucket=bucket, Key="before", Body=b"x")
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=RULES)
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == RULES
    keyed = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=keyed)  # as Terraform's modules do: without effect, told back
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == keyed
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"y" * 100)["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    assert "ServerSideEncryption" not in s3.head_object(Bucket=bucket, Key="before")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/before")
    assert s3.head_object(Bucket=bucket, Key="copy")["ServerSideEncryption"] == "AES256"
    assert (read(s3, bucket, "k"), read(s3, bucket, "copy"), read(s3, bucket, "before")) == (b"y" * 100, b"x", b"x")
    s3.put_object_tagging(Bucket=bucket, Key="before", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert read(s3, bucket, "before") == b"x"
    s3.delete_bucket_encryption(Bucket=bucket)
    assert error(s3.get_bucket_encryption, Bucket=bucket) == ("ServerSideEncryptionConfigurationNotFoundError", 404)
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="after", Body=b"z")
    assert read(s3, bucket, "k") == b"y" * 100


def test_copies(s3, bucket):
    body = content(200_000)
    s3.put_object(Bucket=bucket, Key="sealed", Body=body, Metadata={"a": "b"}, **SSE)
    s3.put_object(Bucket=bucket, Key="open", Body=body)
    assert s3.copy_object(Bucket=bucket, Key="c1", CopySource=f"{bucket}/open", **SSE)["ServerSideEncryption"] == "AES256"
    s3.copy_object(Bucket=bucket, Key="c2", CopySource=f"{bucket}/sealed", **SSE)
    s3.copy_object(Bucket=bucket, Key="c3", CopySource=f"{bucket}/sealed")
    says = {k: s3.head_object(Bucket=bucket, Key=k).get("ServerSideEncryption") for k in ("c1", "c2", "c3")}
    assert says == {"c1": "AES256", "c2": "AES256", "c3": None}
    assert all(read(s3, bucket, k) == body for k in says)
    s3.copy_object(Bucket=bucket, Key="open", CopySource=f"{bucket}/open", **SSE)
    assert s3.head_object(Bucket=bucket, Key="open")["ServerSideEncryption"] == "AES256" and read(s3, bucket, "open") == body
    s3.delete_object(Bucket=bucket, Key="sealed")
    assert read(s3, bucket, "c3") == body


def test_appends_renames_versions(s3, encrypted, http_endpoint):
    s3.put_object(Bucket=encrypted, Key="small", Body=content(100))
    s3.put_object(Bucket=encrypted, Key="small", Body=content(50), WriteOffsetBytes=100)
    assert read(s3, encrypted, "small") == content(100) + content(50)
    s3.copy_object(Bucket=encrypted, Key="copy", CopySource=f"{encrypted}/small")
    s3.delete_object(Bucket=encrypted, Key="small")
    assert read(s3, encrypted, "copy", Range="bytes=99-101") == (content(100) + content(50))[99:102]
    s3.put_object(Bucket=encrypted, Key="k", Body=content(100_000))
    s3.put_object(Bucket=encrypted, Key="k", Body=content(70_000), WriteOffsetBytes=100_000)
    s3.put_object(Bucket=encrypted, Key="k", Body=b"end", WriteOffsetBytes=170_000)
    whole = content(100_000) + content(70_000) + b"end"
    assert read(s3, encrypted, "k") == whole
    assert s3.head_object(Bucket=encrypted, Key="k")["ServerSideEncryption"] == "AES256"
    assert error(s3.put_object, Bucket=encrypted, Key="k", Body=b"x", WriteOffsetBytes=170_003, **SSE) == ("NotImplemented", 501)


def test_members_of_archives(s3, encrypted):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for i in range(50):
            member = tarfile.TarInfo(f"m{i}")
            member.size = 3000 + i
            tar.addfile(member, io.BytesIO(content(member.size)))
    s3.put_object(Bucket=encrypted, Key="a.tar", Body=packed.getvalue())
    assert read(s3, encrypted, "a.tar") == packed.getvalue()
    s3.meta.events.register("before-sign.s3.GetObject", lambda request, **kw: request.params.update(archpath="m49"))
    assert read(s3, encrypted, "a.tar") == content(3049)


def test_replicas(s3, request):
    if not request.config.getoption("--cluster"):
        pytest.skip("one machine keeps no replicas")
    name = new_bucket_name()
    s3.meta.events.register("before-call.s3.CreateBucket", lambda params, **kw: params["headers"].update({"x-sluice-redundancy": "replicas=2"}))
    s3.create_bucket(Bucket=name)
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=RULES)
    for i in range(6):
        s3.put_object(Bucket=name, Key=f"k{i}", Body=content(100_000 + i))
        s3.copy_object(Bucket=name, Key=f"c{i}", CopySource=f"{name}/k{i}")
    up = s3.create_multipart_upload(Bucket=name, Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket=name, Key="parts", UploadId=up, PartNumber=1, Body=content(6 * MIB))["ETag"]
    s3.complete_multipart_upload(Bucket=name, Key="parts", UploadId=up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    for _ in range(3):  # whichever of the two is asked
        assert all(read(s3, name, f"{p}{i}") == content(100_000 + i) for i in range(6) for p in "kc")
        assert read(s3, name, "parts") == content(6 * MIB)
    assert s3.head_object(Bucket=name, Key="c3")["ServerSideEncryption"] == "AES256"
    for o in s3.list_objects_v2(Bucket=name)["Contents"]:
        s3.delete_object(Bucket=name, Key=o["Key"])
    s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("redundancy", ["none", "replicas=2", "ec=2+1"])
def test_nothing_is_on_disks_of_a_cluster_as_it_was(request, redundancy):
    if not request.config.getoption("--cluster"):
        pytest.skip("needs --cluster")
    with contextlib.ExitStack() as end:
        server = cl.ClusterServer()
        end.callback(server.stop)
        server.start()
        s3 = client(server)
        s3.meta.events.register("before-call.s3.CreateBucket", lambda params, **kw: params["headers"].update({"x-sluice-redundancy": redundancy}))
        for name in ("by-bucket", "by-header"):
            s3.create_bucket(Bucket=name)
        s3.put_bucket_encryption(Bucket="by-bucket", ServerSideEncryptionConfiguration=RULES)
        for name, kw in (("by-bucket", {}), ("by-header", SSE)):
            for n in (100, 300_000, 6 * MIB):
                s3.put_object(Bucket=name, Key=f"k{n}", Body=content(n), **kw)
            s3.copy_object(Bucket=name, Key="copy", CopySource=f"{name}/k300000", **kw)
            up = s3.create_multipart_upload(Bucket=name, Key="parts", **kw)["UploadId"]
            etag = s3.upload_part(Bucket=name, Key="parts", UploadId=up, PartNumber=1, Body=content(6 * MIB))["ETag"]
            s3.complete_multipart_upload(Bucket=name, Key="parts", UploadId=up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
            assert all(read(s3, name, f"k{n}") == content(n) for n in (100, 300_000, 6 * MIB))
            assert read(s3, name, "copy") == content(300_000) and read(s3, name, "parts") == content(6 * MIB)
            assert read(s3, name, "parts", Range="bytes=3000000-3099999") == content(6 * MIB)[3_000_000:3_100_000]
        disks = server.data
        assert sum(len(list(d.glob("segments/*/*"))) for d in disks) >= 10
        assert [f for d in disks for f in plain_files(d)] == []


def test_refusals(s3, bucket):
    for kw in ({"ServerSideEncryption": "aws:kms"}, {"ServerSideEncryption": "aws:kms:dsse"}, {"ServerSideEncryption": "AES256", "SSEKMSKeyId": "k"},
               {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}):
        assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"x", **kw) == ("NotImplemented", 501), kw
    assert error(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aes256") == ("InvalidEncryptionAlgorithmError", 400)
    kms = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    assert error(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=kms) == ("NotImplemented", 501)
    bad = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "none"}}]}
    assert error(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=bad) == ("MalformedXML", 400)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


# ---- what is on disk, and keys: a server of the test's own ----


def client(server):
    return boto3.client("s3", endpoint_url=server.http, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name="us-east-1",
                        config=Config(retries={"max_attempts": 0}, read_timeout=120))


def on_disk(server):
    return plain_files(server.data[0])


def plain_files(directory):
    """Files below a data directory that hold the plaintext."""
    found = []
    for d, _, names in os.walk(directory):
        for name in names:
            if not os.path.isfile(os.path.join(d, name)):
                continue
            with open(os.path.join(d, name), "rb") as f:
                if SECRET * 2 in f.read():
                    found.append(name)
    return found


@pytest.fixture
def own():
    servers = []

    def start(**kw):
        servers.append(Server(tls=False, **kw))
        return servers[-1].start()

    yield start
    for s in servers:
        s.stop()


def test_nothing_is_on_disk_as_it_was(own):
    server = own()
    s3 = client(server)
    s3.create_bucket(Bucket="open-1")
    s3.put_object(Bucket="open-1", Key="plain", Body=content(100_000))
    assert on_disk(server)
    s3.delete_object(Bucket="open-1", Key="plain")
    s3.create_bucket(Bucket="sealed-1")
    s3.put_bucket_encryption(Bucket="sealed-1", ServerSideEncryptionConfiguration=RULES)
    s3.put_bucket_versioning(Bucket="sealed-1", VersioningConfiguration={"Status": "Enabled"})
    for n in (100, 16384, 100_000, 3 * MIB):
        s3.put_object(Bucket="sealed-1", Key=f"k{n}", Body=content(n))
        s3.put_object(Bucket="sealed-1", Key=f"k{n}", Body=content(n) + b"2")
    up = s3.create_multipart_upload(Bucket="sealed-1", Key="parts")["UploadId"]
    s3.upload_part(Bucket="sealed-1", Key="parts", UploadId=up, PartNumber=1, Body=content(5 * MIB))
    answer = requests.put(f"{server.http}/v1/objects/sealed-1/native", data=content(50_000), headers={"Authorization": f"Bearer {token(server)}"})
    assert answer.status_code == 200, answer.text
    server.stop()
    server.start()  # what the index holds in memory is in its files
    s3 = client(server)
    assert all(read(s3, "sealed-1", f"k{n}") == content(n) + b"2" for n in (100, 16384, 100_000, 3 * MIB))
    assert read(s3, "sealed-1", "native") == content(50_000)
    assert s3.head_object(Bucket="sealed-1", Key="native")["ServerSideEncryption"] == "AES256"
    server.stop()
    checked = subprocess.run([str(binary()), "fsck", "--data", str(server.data[0])], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    left = [name for name in on_disk(server) if len(name) == 32]
    assert left == []
    index = [name for name in on_disk(server) if len(name) != 32]
    assert index == []


def token(server):
    out = subprocess.run([str(binary()), "token"], capture_output=True, text=True, cwd=server.home,
                         env={**os.environ, "SLUICE_ACCESS_KEY": ACCESS_KEY, "SLUICE_SECRET_KEY": SECRET_KEY})
    assert out.returncode == 0, out.stderr
    return out.stdout.strip()


def test_keys_are_replaced_and_missed(own, tmp_path):
    file = tmp_path / "keys"
    old, new = "o" * 40, "n" * 40

    def keys(*lines):
        file.write_text("\n".join(lines) + "\n")
        file.chmod(0o600)

    keys(old)
    env = {"SLUICE_ENCRYPTION_KEY": "", "SLUICE_ENCRYPTION_KEY_FILE": str(file)}
    server = own(env=env)
    s3 = client(server)
    s3.create_bucket(Bucket="open-1")
    s3.put_object(Bucket="open-1", Key="old", Body=content(100_000), **SSE)
    s3.put_object(Bucket="open-1", Key="small", Body=content(200), **SSE)
    server.stop()
    keys("# since today", new, old)
    server.start()
    s3 = client(server)
    assert read(s3, "open-1", "old") == content(100_000)
    s3.put_object(Bucket="open-1", Key="new", Body=content(100), **SSE)
    server.stop()
    keys(new)
    server.start()
    s3 = client(server)
    assert read(s3, "open-1", "new") == content(100)
    assert error(s3.get_object, Bucket="open-1", Key="old")[1] == 500
    assert error(s3.get_object, Bucket="open-1", Key="small")[1] == 500
    assert "encryption.key_file doesn't hold" in server.log_path.read_text()
    assert s3.head_object(Bucket="open-1", Key="old")["ContentLength"] == 100_000
    server.stop()
    keys(new, old)
    server.start()
    assert read(client(server), "open-1", "old") == content(100_000)
    assert read(client(server), "open-1", "small") == content(200)


def test_a_server_without_keys(own):
    server = own(env={"SLUICE_ENCRYPTION_KEY": ""})
    s3 = client(server)
    s3.create_bucket(Bucket="open-1")
    assert error(s3.put_object, Bucket="open-1", Key="k", Body=b"x", **SSE) == ("NotImplemented", 501)
    assert error(s3.put_bucket_encryption, Bucket="open-1", ServerSideEncryptionConfiguration=RULES) == ("NotImplemented", 501)
    assert error(s3.create_multipart_upload, Bucket="open-1", Key="k", **SSE) == ("NotImplemented", 501)
    assert "Contents" not in s3.list_objects_v2(Bucket="open-1")


def test_a_damaged_chunk_is_not_told(own):
    server = own()
    s3 = client(server)
    s3.create_bucket(Bucket="open-1")
    s3.put_object(Bucket="open-1", Key="k", Body=content(200_000), **SSE)
    server.stop()
    (path,) = [os.path.join(d, n) for d, _, names in os.walk(server.data[0]) for n in names if len(n) == 32 and "segments" in d]
    with open(path, "r+b") as f:
        f.seek(100_000)
        byte = f.read(1)
        f.seek(100_000)
        f.write(bytes([byte[0] ^ 1]))
    server.start()
    s3 = client(server)
    assert read(s3, "open-1", "k", Range="bytes=0-65535") == content(65536)
    with pytest.raises(Exception):
        read(s3, "open-1", "k")
    assert error(s3.get_object, Bucket="open-1", Key="k", Range="bytes=99999-99999")[1] == 500


@pytest.mark.parametrize("text", ["short", "", "# nothing\n"])
def test_bad_key_files_are_named(tmp_path, text):
    file = tmp_path / "keys"
    file.write_text(text)
    file.chmod(0o600)
    env = {k: v for k, v in os.environ.items() if not k.startswith("SLUICE_")}
    out = subprocess.run([str(binary()), "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "d"), "--encryption-key-file", str(file)],
                         capture_output=True, text=True, timeout=60, env=env)
    assert out.returncode != 0 and "encryption.key_file" in out.stderr
    both = subprocess.run([str(binary()), "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "d"), "--encryption-key-file", str(file), "--encryption-key", ENCRYPTION_KEY],
                          capture_output=True, text=True, timeout=60, env=env)
    assert both.returncode != 0 and "only one of them" in both.stderr


def test_mirrored_content(own, tmp_path):
    server = own(data=[tmp_path / "d1", tmp_path / "d2"])
    s3 = client(server)
    s3.meta.events.register("before-call.s3.CreateBucket", lambda params, **kw: params["headers"].update({"x-sluice-redundancy": "mirror=2"}))
    s3.create_bucket(Bucket="mirrored-1")
    s3.put_bucket_encryption(Bucket="mirrored-1", ServerSideEncryptionConfiguration=RULES)
    for n in (100, 200_000):
        s3.put_object(Bucket="mirrored-1", Key=f"k{n}", Body=content(n))
    up = s3.create_multipart_upload(Bucket="mirrored-1", Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket="mirrored-1", Key="parts", UploadId=up, PartNumber=1, Body=content(6 * MIB))["ETag"]
    s3.complete_multipart_upload(Bucket="mirrored-1", Key="parts", UploadId=up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    s3.copy_object(Bucket="mirrored-1", Key="copy", CopySource="mirrored-1/parts")
    assert read(s3, "mirrored-1", "k100") == content(100) and read(s3, "mirrored-1", "k200000") == content(200_000)
    assert read(s3, "mirrored-1", "parts") == read(s3, "mirrored-1", "copy") == content(6 * MIB)
    server.stop()
    for disk in server.data:
        assert len(list(disk.glob("segments/*/*"))) >= 3
        assert plain_files(disk) == []
