"""The client verbs of `sluice` as a user runs them, by that name and as `ais`: what they print when it goes into a pipe, what as JSON, and
how they end."""

import io
import json
import os
import pty
import subprocess
import tarfile

import pytest

import server as srv
import tree
from conftest import Endpoint
from native import Native

NOT_FOUND, USAGE = 3, 2
OWN = ("SLUICE_ENDPOINT", "AIS_ENDPOINT", "AIS_AUTHN_TOKEN", "AIS_CLIENT_CA")


class Cli:
    def __init__(self, endpoint, directory):
        self.endpoint, self.directory = endpoint, directory
        self.env = {k: v for k, v in endpoint.env().items() if k not in OWN} | {"SLUICE_ENDPOINT": endpoint.url}
        self.program = srv.binary().resolve()

    def run(self, *words, input=b"", **env):
        return subprocess.run([str(self.program), *words], input=input, capture_output=True, timeout=120, cwd=self.directory, env=self.env | env)

    def bytes(self, *words, **more):
        """What it writes; it must have nothing to complain about."""
        r = self.run(*words, **more)
        assert (r.returncode, r.stderr) == (0, b""), (words, r)
        return r.stdout

    def lines(self, *words, **more):
        return [line.strip() for line in self.bytes(*words, **more).decode().splitlines()]

    def json(self, *words):
        return [json.loads(line) for line in self.lines(*words)]

    def refused(self, code, *words, **more):
        """The reason: one line on standard error, and nothing else anywhere."""
        r = self.run(*words, **more)
        assert (r.returncode, r.stdout) == (code, b""), (words, r)
        said = r.stderr.decode()
        assert said.startswith("sluice: ") and said.count("\n") == 1 and said.endswith("\n"), said
        return said


@pytest.fixture
def cli(http_endpoint, tmp_path):
    return Cli(http_endpoint, tmp_path)


@pytest.fixture
def buckets(http_endpoint):
    """Two, empty."""
    native = Native(http_endpoint)
    names = [native.new_bucket(), native.new_bucket()]
    yield names
    for name in names:
        native.destroy(name)


@pytest.fixture
def b(buckets):
    return buckets[0]


def names(cli, where):
    return [e["name"] for e in cli.json("ls", "-r", "--json", where)]


def untar(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        return {m.name: t.extractfile(m).read() for m in t}


# ---- objects ----


def test_objects_there_and_back(cli, b, tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    assert cli.bytes("put", "f", f"{b}/") == b""  # by its own name
    assert cli.bytes("put", "f", f"ais://{b}/dir/g") == b""
    assert cli.bytes("put", "-", f"{b}/in", input=b"piped") == b""
    assert cli.bytes("cat", f"{b}/f", f"{b}/in") == b"0123456789piped"
    assert cli.bytes("get", f"{b}/f", "-", "--offset", "2", "--length", "3") == b"234"
    assert cli.bytes("get", f"{b}/f", "-", "--offset", "7") == b"789"
    assert cli.bytes("get", f"{b}/f", "here") == b"" and (tmp_path / "here").read_bytes() == b"0123456789"
    assert cli.bytes("get", f"{b}/dir/g") == b"" and (tmp_path / "g").read_bytes() == b"0123456789"
    assert cli.bytes("get", f"{b}/f", "new/") == b"" and (tmp_path / "new" / "f").read_bytes() == b"0123456789"


def test_directories_there_and_back(cli, b, tmp_path):
    root = tree.make(tmp_path / "root")
    count = len(tree.digest(root))
    assert cli.lines("put", "-r", "root", f"{b}/all") == [f"{count} objects, 0 failed"]
    assert cli.lines("get", "-r", f"{b}/all/", "out") == [f"{count} objects"]
    assert tree.digest(tmp_path / "out") == tree.digest(root)
    assert cli.bytes("get", "-r", "-q", b, "quiet") == b""
    assert tree.digest(tmp_path / "quiet" / "all") == tree.digest(root)


def test_a_get_that_fails_leaves_nothing(cli, b, tmp_path):
    (tmp_path / "kept").write_bytes(b"before")
    assert "does not exist" in cli.refused(NOT_FOUND, "get", f"{b}/none", "kept")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"] and (tmp_path / "kept").read_bytes() == b"before"


@pytest.fixture
def filled(cli, b):
    for key in ("a/1", "a/2", "a/x/3", "b", "c"):
        cli.bytes("put", "-", f"{b}/{key}", input=b"0" * 2000)
    return b


def test_listings(cli, filled):
    b = filled
    assert f"ais://{b}" in cli.lines("ls") and f"ais://{b}" in cli.lines("ls", "ais://")
    assert {"name": b, "provider": "ais", "namespace": {"uuid": "", "name": ""}} in cli.json("ls", "--json")
    assert cli.lines("ls", b) == ["DIR  a/", "2.0 KiB  b", "2.0 KiB  c"]
    assert cli.lines("ls", f"{b}/a/", "--bytes") == ["2000  a/1", "2000  a/2", "DIR  a/x/"]
    assert cli.lines("ls", f"{b}/a", "-r", "-b", "-s") == ["2000  a/1", "2000  a/2", "2000  a/x/3", "3 objects, 5.9 KiB"]
    rows = cli.json("ls", b, "-j", "--summary")
    assert [(e["name"], e.get("size")) for e in rows] == [("a/", None), ("b", "2000"), ("c", "2000")]
    assert cli.lines("ls", f"{b}/none") == []


def test_what_is_removed(cli, filled):
    b = filled
    assert cli.bytes("rm", f"{b}/c", f"{b}/a/1") == b""
    assert "none" in cli.refused(NOT_FOUND, "rm", f"{b}/none", f"{b}/b")  # and goes on
    assert names(cli, b) == ["a/2", "a/x/3"]
    assert cli.bytes("rm", "-r", f"{b}/a/x") == b"" and names(cli, b) == ["a/2"]
    cli.bytes("put", "-", f"{b}/a/3", input=b"x")
    cli.bytes("put", "-", f"{b}/other", input=b"x")
    assert cli.bytes("rm", b, "--template", "a/{1..3}") == b"" and names(cli, b) == ["other"]
    assert cli.bytes("rm", "-r", "-y", b) == b"" and names(cli, b) == []


def test_copies(cli, buckets, filled):
    b, to = buckets
    cli.bytes("cp", f"{b}/a/1", to)
    cli.bytes("cp", f"{b}/a/1", f"{to}/under/")
    cli.bytes("cp", f"{b}/a/1", f"{to}/name")
    assert names(cli, to) == ["1", "name", "under/1"]
    cli.bytes("rm", "-r", "-y", to)
    cli.bytes("cp", "-r", f"{b}/a/", to, "--prepend", "p-")
    cli.bytes("cp", "-r", f"{b}/a/x", f"{to}/q/")
    assert names(cli, to) == ["p-a/1", "p-a/2", "p-a/x/3", "q/a/x/3"]


# ---- archives ----


def test_archives_of_objects(cli, filled):
    b = filled
    (id,) = cli.lines("archive", "create", b, f"{b}/list.tar", "--list", "b,c")
    assert id.startswith("archive-")
    assert cli.bytes("archive", "create", b, f"{b}/range.tar", "--template", "a/{1..2}", "--quiet") == b""
    assert cli.bytes("archive", "create", b, f"{b}/prefix.tgz", "--prefix", "a/", "--quiet") == b""
    cli.bytes("archive", "create", b, f"{b}/list.tar", "--list", "a/1", "--append-or-put")
    assert cli.lines("archive", "ls", f"{b}/list.tar") == ["2.0 KiB  a/1", "2.0 KiB  b", "2.0 KiB  c"]
    assert [(e["name"], e["size"]) for e in cli.json("archive", "ls", f"{b}/range.tar", "--json")] == [("range.tar/a/1", "2000"), ("range.tar/a/2", "2000")]
    assert [line.split()[-1] for line in cli.lines("ls", "--archive", f"{b}/prefix.tgz")] == ["prefix.tgz", "prefix.tgz/a/1", "prefix.tgz/a/2", "prefix.tgz/a/x/3"]
    assert cli.bytes("get", f"{b}/prefix.tgz", "--archpath", "a/x/3", "-") == b"0" * 2000
    assert untar(cli.bytes("get", f"{b}/list.tar", "--archregx", "^[bc]$", "-")) == {"b": b"0" * 2000, "c": b"0" * 2000}
    assert "no such archive" in cli.refused(NOT_FOUND, "archive", "ls", f"{b}/none.tar")
    assert "zzz" in cli.refused(NOT_FOUND, "get", f"{b}/list.tar", "--archpath", "zzz", "-")


def test_an_archive_that_can_not_be_is_told(cli, filled):
    r = cli.run("archive", "create", filled, f"{filled}/x.tar", "--list", "b,none")
    assert r.returncode == 1 and r.stdout.startswith(b"archive-") and b"1 failed" in r.stderr and b"none: " in r.stderr
    assert f"{filled}/x.tar" not in names(cli, filled)


def test_members_of_archives(cli, b, tmp_path):
    (tmp_path / "f").write_bytes(b"member")
    assert "does not exist" in cli.refused(NOT_FOUND, "put", "f", f"{b}/a.tar", "--archpath", "m", "--append")
    cli.bytes("put", "f", f"{b}/a.tar", "--archpath", "one")
    cli.bytes("put", "f", f"{b}/a.tar", "--archpath", "two", "--append")
    cli.bytes("archive", "put", "f", f"{b}/a.tar/deep/three", "--append-or-put")
    assert cli.lines("archive", "ls", f"{b}/a.tar") == ["6 B  deep/three", "6 B  one", "6 B  two"]
    assert cli.bytes("archive", "get", f"{b}/a.tar/deep/three", "-") == b"member"
    assert cli.bytes("archive", "get", f"{b}/a.tar/deep/three") == b"" and (tmp_path / "three").read_bytes() == b"member"
    assert cli.bytes("archive", "rm", f"{b}/a.tar/one") == b""
    assert untar(cli.bytes("cat", f"{b}/a.tar")) == {"two": b"member", "deep/three": b"member"}
    cli.bytes("put", "f", f"{b}/a.tar", "--archpath", "new")  # without a flag: anew
    assert untar(cli.bytes("cat", f"{b}/a.tar")) == {"new": b"member"}


def test_a_directory_as_shards(cli, b, tmp_path):
    want = {f"{i:02}.{e}": os.urandom(100) for i in range(10) for e in ("jpg", "cls")}
    (tmp_path / "d").mkdir()
    for name, data in want.items():
        (tmp_path / "d" / name).write_bytes(data)
    made = cli.lines("archive", "shard", "d", f"{b}/s-{{0..9}}.tar", "--maxcount", "4")
    assert sorted(made) == ["s-0.tar  8 files", "s-1.tar  8 files", "s-2.tar  4 files"]
    shards = [untar(cli.bytes("cat", f"{b}/s-{i}.tar")) for i in range(3)]
    assert {k: v for s in shards for k, v in s.items()} == want
    assert "names" in cli.refused(USAGE, "archive", "shard", "d", f"{b}/t-{{0..1}}.tar", "--maxcount", "4")


# ---- how it is asked, and who asks ----


@pytest.mark.parametrize("words", [
    ("nope",), ("ls", "--nope"), ("ls", "B", "B"), ("ls", "xx://B"), ("ls", "--endpoint"), ("ls", "--json=yes"),
    ("cat",), ("get", "B"), ("get", "B/k", "a", "b"), ("get", "-r", "B", "-"), ("get", "-r", "B", "--archpath", "m"), ("get", "B/k", "--length", "x"),
    ("put", "f"), ("put", "-", "B/"), ("put", ".", "B/"), ("put", "f", "B/k", "--append"), ("put", "-", "B/a.tar", "--archpath", "m"),
    ("put", "-r", ".", "B/a.tar", "--archpath", "m"),
    ("rm",), ("rm", "B"), ("rm", "-r", "B"), ("rm", "B/k", "--template", "k"), ("rm", "B/", "B/k", "--template", "none{1..2}"),
    ("cp", "B/k"), ("cp", "B", "B/x"), ("cp", "B/k", "B/l", "--prepend", "p"),
    ("archive",), ("archive", "nope"), ("archive", "create", "B", "B/a.tar"), ("archive", "create", "B", "B/a.tar", "--all", "--prefix", "k"),
    ("archive", "create", "B", "B/a.tar", "--all", "--append"), ("archive", "create", "B", "B", "--all"), ("archive", "create", "B/k", "B/a.tar", "--all"),
    ("archive", "ls", "B"), ("archive", "get", "B/a.tar"), ("archive", "get", "B/a.tar/m", *["x"] * 62), ("archive", "put", "f"), ("archive", "rm", "B/a.tar"),
    ("archive", "shard", ".", "B/s.tar"), ("archive", "shard", ".", "B/s-{0..9}.zip")])
def test_what_is_asked_wrongly_changes_nothing(cli, b, tmp_path, words):
    (tmp_path / "f").write_bytes(b"x")
    cli.bytes("put", "f", f"{b}/k")
    cli.refused(USAGE, *(w.replace("B", b) for w in words))
    assert names(cli, b) == ["k"] and [p.name for p in tmp_path.iterdir()] == ["f"]


def test_exit_codes_of_what_fails(cli, b):
    assert "does not exist" in cli.refused(NOT_FOUND, "ls", "no-such-bucket-at-all")
    assert "does not exist" in cli.refused(NOT_FOUND, "cat", f"{b}/none")
    assert "does not exist" in cli.refused(NOT_FOUND, "put", "-", "no-such-bucket-at-all/k", input=b"x")
    assert "No such file" in cli.refused(1, "put", "no-such-file", f"{b}/")
    assert "refused (401)" in cli.refused(1, "ls", b, AWS_SECRET_ACCESS_KEY="wrong")
    assert "refused (401)" in cli.refused(1, "ls", b, "--token", "wrong")
    assert "127.0.0.1:1" in cli.refused(1, "ls", b, SLUICE_ENDPOINT="http://127.0.0.1:1")
    full = cli.run("ls", "--help").stdout
    with open("/dev/full", "wb") as out:
        r = subprocess.run([str(cli.program), "ls", "--help"], stdout=out, stderr=subprocess.PIPE, timeout=60)
    assert full and r.returncode == 1 and b"standard output" in r.stderr


def test_over_tls(server, b, tmp_path):
    cli = Cli(Endpoint(server, "https"), tmp_path)
    cli.bytes("put", "-", f"{b}/k", input=b"secret")
    assert cli.bytes("cat", f"{b}/k") == b"secret"
    ca = cli.env.pop("AWS_CA_BUNDLE")
    assert "certificate" in cli.refused(1, "cat", f"{b}/k")
    assert cli.bytes("cat", f"{b}/k", "--ca-file", ca) == b"secret" and cli.bytes("cat", f"{b}/k", "--insecure") == b"secret"


def test_progress_is_for_terminals(cli, b):
    ours, theirs = pty.openpty()
    r = subprocess.run([str(cli.program), "put", "-", f"{b}/k"], input=bytes(1000), stderr=theirs, stdout=subprocess.PIPE, timeout=60, env=cli.env)
    os.close(theirs)
    shown = os.read(ours, 10000)
    os.close(ours)
    assert (r.returncode, r.stdout) == (0, b"") and b"put" in shown and b"1000 B" in shown


def test_as_ais(cli, b, tmp_path):
    """As data loaders run it, with what AIStore's own client reads from its environment."""
    token = cli.lines("token")[0]
    os.symlink(cli.program, tmp_path / "ais")
    cli.program = tmp_path / "ais"
    cli.env = {k: v for k, v in cli.env.items() if not k.startswith(("AWS_", "SLUICE_"))} | {"AIS_ENDPOINT": cli.endpoint.url, "HOME": str(tmp_path)}
    assert "refused (401)" in cli.refused(1, "get", f"ais://{b}/k", "-")
    cli.env["AIS_AUTHN_TOKEN"] = token
    assert cli.bytes("put", "-", f"ais://{b}/k", input=b"through a pipe" * 100000) == b""
    assert cli.bytes("get", f"ais://{b}/k", "-") == b"through a pipe" * 100000
    cli.refused(NOT_FOUND, "get", f"ais://{b}/none", "-")
    head = subprocess.run(f"'{cli.program}' get ais://{b}/k - | head -c 7", shell=True, capture_output=True, env=cli.env, timeout=60)
    assert (head.stdout, head.stderr) == (b"through", b"")  # a reader that has seen enough


# ---- the records of a server that doesn't run ----


def test_buckets_of_a_stopped_server(tmp_path):
    with srv.running(srv.Server(tls=False)) as server:
        at = ("--data", str(server.data[0]))
        endpoint = Endpoint(server, "http")
        cli = Cli(endpoint, tmp_path)
        endpoint.client().create_bucket(Bucket="kept")
        busy = cli.run("bucket", "list", *at)
        assert (busy.returncode, busy.stdout) == (1, b"") and b"stop the server first" in busy.stderr
        assert server.stop() == 0
        head, row = cli.lines("bucket", "list", *at)
        assert head.split()[0] == "NAME" and row.split()[0] == "kept" and "off" in row.split()
        assert cli.lines("bucket", "show", "kept", *at)[1] == row
        assert cli.lines("bucket", "set", "kept", "members=on", *at) == ["bucket kept: members=on"]
        (found,) = cli.json("bucket", "show", "kept", "--json", *at)
        assert (found["name"], found["members"], found["redundancy"]) == ("kept", True, "none")
        assert cli.json("bucket", "list", "--json", *at) == [[found]]
        assert "none" in cli.refused(1, "bucket", "show", "none", *at)
        for words in [(), ("list", "what"), ("show",), ("create", "new"), ("set", "kept"), ("set", "kept", "members=maybe"), ("set", "kept", "members=on", "--json")]:
            cli.refused(USAGE, "bucket", *words, *at)
        server.start()
        cli.bytes("put", "-", "kept/k", input=b"x")
