"""Whole programs against a real server: aws-cli of two eras, Debian's boto3, rclone, s3cmd, restic, s3fs, fsspec, the JavaScript SDK."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

import tree

HERE = Path(__file__).parent
NEW_AWS = shutil.which("aws", path=str(Path(sys.executable).parent))


def run(args, env=None, check=True, timeout=300, **kw):
    r = subprocess.run([str(a) for a in args], env=env, capture_output=True, text=True, timeout=timeout, **kw)
    assert not check or r.returncode == 0, f"{args}\n{r.stdout}\n{r.stderr}"
    return r


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize("era", ["new", "debian"])
def test_aws_cli(endpoint, bucket, tmp_path, era):
    aws = NEW_AWS if era == "new" else "/usr/bin/aws"
    if not aws or not os.path.exists(aws):
        pytest.skip(f"the {era} aws-cli is not installed")
    env = endpoint.env()
    if era == "debian":
        env["PATH"] = "/usr/bin:/bin"

    def cli(*args, **kw):
        return run([aws, "--endpoint-url", endpoint.url, *args], env=env, **kw)
    src = tree.make(tmp_path / "src")
    for f in src.rglob("*"):  # S3 tells whole seconds: of this one, what was uploaded would look older than the file
        os.utime(f, times=(time.time() - 60,) * 2)
    cli("s3", "mb", f"s3://{bucket}-cli")
    cli("s3", "sync", src, f"s3://{bucket}-cli/t/", "--only-show-errors")
    listed = cli("s3", "ls", "--recursive", f"s3://{bucket}-cli/").stdout
    assert len(listed.splitlines()) == len(tree.digest(src))
    assert not cli("s3", "sync", src, f"s3://{bucket}-cli/t/").stdout.strip()  # nothing left to do
    cli("s3", "sync", f"s3://{bucket}-cli/t/", tmp_path / "back", "--only-show-errors")
    assert tree.digest(tmp_path / "back") == tree.digest(src)
    cli("s3", "cp", f"s3://{bucket}-cli/t/big.bin", f"s3://{bucket}-cli/copy.bin")
    cli("s3", "mv", f"s3://{bucket}-cli/copy.bin", f"s3://{bucket}-cli/moved.bin")
    url = cli("s3", "presign", f"s3://{bucket}-cli/moved.bin").stdout.strip()
    got = run(["curl", "-sf", *(["--cacert", endpoint.ca] if endpoint.ca else []), "-o", tmp_path / "link", url])
    assert (tmp_path / "link").read_bytes() == (src / "big.bin").read_bytes() and got.returncode == 0
    r = run([aws, "--endpoint-url", endpoint.url, "s3", "cp", "-", f"s3://{bucket}-cli/stdin"], env=env, input="from a pipe")
    assert cli("s3", "cp", f"s3://{bucket}-cli/stdin", "-").stdout == "from a pipe" and r.returncode == 0
    meta = json.loads(cli("s3api", "head-object", "--bucket", f"{bucket}-cli", "--key", "t/small.txt").stdout)
    assert meta["ContentLength"] == 10
    cli("s3", "rm", "--recursive", "--only-show-errors", f"s3://{bucket}-cli/")
    cli("s3", "rb", f"s3://{bucket}-cli")


def test_debian_boto3(endpoint, bucket):
    """boto3 1.26: Content-MD5 where it is required, no default checksums."""
    if run(["/usr/bin/python3", "-c", "import boto3"], check=False).returncode:
        pytest.skip("python3-boto3 is not installed")
    script = """
import boto3, os, sys
from botocore.config import Config
s3 = boto3.client("s3", endpoint_url=sys.argv[1], verify=sys.argv[3] or None, config=Config(s3={"addressing_style": "path"}))
b = sys.argv[2]
body = os.urandom(9 << 20)
open("f", "wb").write(body)
s3.upload_file("f", b, "k")
s3.download_file(b, "k", "g")
assert open("g", "rb").read() == body
s3.put_object(Bucket=b, Key="d/x", Body=b"1")
assert [o["Key"] for o in s3.list_objects_v2(Bucket=b)["Contents"]] == ["d/x", "k"]
r = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "k"}, {"Key": "d/x"}]})
assert len(r["Deleted"]) == 2
"""
    env = endpoint.env()
    env["PATH"] = "/usr/bin:/bin"
    import tempfile
    with tempfile.TemporaryDirectory() as d:
        run(["/usr/bin/python3", "-c", script, endpoint.url, bucket, endpoint.ca or ""], env=env, cwd=d)


def test_rclone(endpoint, bucket, tmp_path):
    need("rclone")
    env = endpoint.env(ca=False)  # rclone 1.60 refuses to start with AWS_CA_BUNDLE
    env.update(RCLONE_CONFIG="/dev/null", RCLONE_CONFIG_M_TYPE="s3", RCLONE_CONFIG_M_PROVIDER="Other", RCLONE_CONFIG_M_ENDPOINT=endpoint.url,
               RCLONE_CONFIG_M_ACCESS_KEY_ID=endpoint.access_key, RCLONE_CONFIG_M_SECRET_ACCESS_KEY=endpoint.secret_key)
    if endpoint.ca:
        env["RCLONE_CA_CERT"] = endpoint.ca
    src = tree.make(tmp_path / "src")
    cut = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", "--retries", "1"]
    run(["rclone", "sync", *cut, src, f"m:{bucket}/t"], env=env)
    run(["rclone", "check", "--retries", "1", src, f"m:{bucket}/t"], env=env)
    run(["rclone", "check", "--download", "--retries", "1", src, f"m:{bucket}/t"], env=env)
    run(["rclone", "move", "--retries", "1", f"m:{bucket}/t/deep", f"m:{bucket}/u"], env=env)
    run(["rclone", "copy", "--retries", "1", f"m:{bucket}/u", tmp_path / "u"], env=env)
    assert tree.digest(tmp_path / "u") == tree.digest(src / "deep")
    assert "big.bin" in run(["rclone", "lsf", f"m:{bucket}/t"], env=env).stdout
    run(["rclone", "mkdir", f"m:{bucket}-rc"], env=env)
    run(["rclone", "copyto", src / "a", f"m:{bucket}-rc/a"], env=env)
    run(["rclone", "purge", f"m:{bucket}-rc"], env=env)


def test_s3cmd(endpoint, bucket, tmp_path):
    need("s3cmd")
    cfg = tmp_path / "cfg"
    cfg.write_text(f"[default]\naccess_key = {endpoint.access_key}\nsecret_key = {endpoint.secret_key}\nhost_base = {endpoint.host}\n"
                   f"host_bucket = {endpoint.host}\nuse_https = {endpoint.scheme == 'https'}\nca_certs_file = {endpoint.ca or ''}\n"
                   "multipart_chunk_size_mb = 5\n")
    env = endpoint.env(ca=False)
    src = tree.make(tmp_path / "src")

    def s3cmd(*args):
        return run(["s3cmd", "-c", cfg, "--no-progress", *args], env=env)
    s3cmd("sync", f"{src}/", f"s3://{bucket}/t/")
    s3cmd("sync", f"s3://{bucket}/t/", f"{tmp_path}/back/")
    assert tree.digest(tmp_path / "back") == tree.digest(src)
    assert "big.bin" in s3cmd("ls", "--recursive", f"s3://{bucket}/").stdout
    s3cmd("info", f"s3://{bucket}")
    s3cmd("info", f"s3://{bucket}/t/a")
    s3cmd("cp", f"s3://{bucket}/t/a", f"s3://{bucket}/b")
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}/t/")
    who_may(endpoint, bucket, tmp_path, s3cmd)


def who_may(endpoint, bucket, tmp_path, s3cmd):
    """Policies and lists, as s3cmd changes them: it reads a list, and writes it back changed."""
    def status():
        return requests.get(f"{endpoint.url}/{bucket}/b", verify=endpoint.ca or True, timeout=30).status_code

    def becomes(expected):
        deadline = time.monotonic() + 20
        while any(status() != expected for _ in range(4)):
            assert time.monotonic() < deadline, f"not {expected}"

    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/b"}]}))
    becomes(403)
    s3cmd("setpolicy", policy, f"s3://{bucket}")
    becomes(200)
    s3cmd("delpolicy", f"s3://{bucket}")
    becomes(403)
    endpoint.client().put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    for _ in range(40):  # until every gateway knows
        if run(["s3cmd", "-c", tmp_path / "cfg", "setacl", "--acl-public", f"s3://{bucket}/b"], check=False).returncode == 0 and status() == 200:
            break
        time.sleep(0.1)
    becomes(200)
    s3cmd("setacl", "--acl-private", f"s3://{bucket}/b")
    becomes(403)
    s3cmd("setacl", "--acl-grant=read:" + "ab" * 32, f"s3://{bucket}/b")
    assert [g["Permission"] for g in endpoint.client().get_object_acl(Bucket=bucket, Key="b")["Grants"]] == ["FULL_CONTROL", "READ"]
    assert ": READ" in s3cmd("info", f"s3://{bucket}/b").stdout


def test_restic(endpoint, bucket, tmp_path):
    """Signed chunks (STREAMING-AWS4-HMAC-SHA256-PAYLOAD) from a real program."""
    need("restic")
    env = endpoint.env(ca=False)
    env.update(RESTIC_PASSWORD="x", RESTIC_REPOSITORY=f"s3:{endpoint.url}/{bucket}/repo", XDG_CACHE_HOME=str(tmp_path / "cache"), HOME=str(tmp_path))
    restic = ["restic", *(["--cacert", endpoint.ca] if endpoint.ca else [])]
    src = tree.make(tmp_path / "src")
    run([*restic, "init"], env=env)
    run([*restic, "backup", src], env=env)
    run([*restic, "check", "--read-data"], env=env)
    run([*restic, "restore", "latest", "--target", tmp_path / "out"], env=env)
    assert tree.digest(tmp_path / "out" / src.relative_to("/")) == tree.digest(src)


@pytest.fixture
def mount(endpoint, bucket, tmp_path):
    need("s3fs")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse can't be used here")
    passwd = tmp_path / "passwd"
    passwd.write_text(f"{endpoint.access_key}:{endpoint.secret_key}")
    passwd.chmod(0o600)
    at = tmp_path / "mnt"
    at.mkdir()
    options = [f"url={endpoint.url}", "use_path_request_style", f"passwd_file={passwd}", "enable_noobj_cache", "retries=1"]
    if endpoint.ca:
        options += ["ssl_verify_hostname=0", "no_check_certificate"]
    env = endpoint.env(ca=False)
    process = subprocess.Popen(["s3fs", bucket, str(at), "-f", *[x for o in options for x in ("-o", o)]], env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 15
    while not os.path.ismount(at):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"s3fs did not mount: {process.stdout.read().decode()}")
        time.sleep(0.05)
    yield at
    subprocess.run(["fusermount", "-u", str(at)], check=False)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()


def test_s3fs_fuse(mount, s3, bucket, tmp_path):
    src = tree.make(tmp_path / "src")
    shutil.copytree(src, mount / "t")
    assert tree.digest(mount / "t") == tree.digest(src)
    (mount / "t" / "small.txt").chmod(0o600)
    assert (mount / "t" / "small.txt").stat().st_mode & 0o777 == 0o600
    with open(mount / "log", "wb") as f:
        f.write(b"first\n")
    with open(mount / "log", "ab") as f:
        f.write(b"second\n")
    assert (mount / "log").read_bytes() == b"first\nsecond\n"
    os.rename(mount / "log", mount / "renamed")
    os.symlink("renamed", mount / "link")
    assert os.readlink(mount / "link") == "renamed" and (mount / "link").read_bytes() == b"first\nsecond\n"
    os.rename(mount / "t" / "deep", mount / "moved")
    assert sorted(os.listdir(mount / "moved")) == ["a"]
    big = os.urandom(30 << 20)
    (mount / "big30").write_bytes(big)
    with open(mount / "big30", "ab") as f:
        f.write(b"tail")
    assert (mount / "big30").read_bytes() == big + b"tail"
    with pytest.raises(FileNotFoundError):
        (mount / "none").read_bytes()
    shutil.rmtree(mount / "t")
    assert not (mount / "t").exists()
    assert s3.get_object(Bucket=bucket, Key="renamed")["Body"].read() == b"first\nsecond\n"


def test_fsspec(endpoint, bucket):
    python = os.environ.get("SLUICE_FSSPEC_PYTHON")
    if not python or not os.path.exists(python):
        pytest.skip("the fsspec s3fs environment could not be made (PyPI out of reach)")
    run([python, HERE / "fsspec_suite.py", endpoint.url, bucket], env=endpoint.env())


def test_javascript_sdk(endpoint, bucket):
    node_dir = os.environ.get("SLUICE_NODE_DIR")
    if not node_dir or not os.path.isdir(os.path.join(node_dir, "node_modules", "@aws-sdk")):
        pytest.skip("the AWS JavaScript SDK could not be installed (npm out of reach)")
    env = endpoint.env()
    if endpoint.ca:
        env["NODE_EXTRA_CA_CERTS"] = endpoint.ca
    shutil.copy(HERE / "js" / "suite.mjs", os.path.join(node_dir, "suite.mjs"))
    run(["node", os.path.join(node_dir, "suite.mjs"), endpoint.url, bucket], env=env)
