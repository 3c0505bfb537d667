"""ETLs whose sidecars are containers, with the aistore SDK and raw."""

import subprocess
import time
import uuid

import pytest
import requests

import server as srv

sdk = pytest.importorskip("aistore.sdk", reason="the aistore SDK is not installed")
from aistore.sdk.errors import AISError  # noqa: E402
from aistore.sdk.etl import ETLConfig  # noqa: E402

pytestmark = pytest.mark.xdist_group("docker")
TEXT = b"Hello, containers.\n" * 1000


@pytest.fixture(scope="module")
def image(docker_engine):
    try:
        return docker_engine.sidecar()
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f"no static program can be made: {e}")


@pytest.fixture(scope="module")
def open_server(new_server, docker_engine, image):
    with srv.running(new_server(extra=("--auth", "none", "--etl-runtime", "docker", "--etl-docker-socket", docker_engine.socket))) as s:
        yield s
    assert docker_engine.containers() == [] and docker_engine.networks() == []


@pytest.fixture
def bucket(client):
    b = client.bucket("b-" + uuid.uuid4().hex[:10]).create()
    b.object("text").get_writer().put_content(TEXT)
    yield b
    b.delete(missing_ok=True)


@pytest.fixture
def etl(client):
    e = client.etl("docker-" + uuid.uuid4().hex[:6])
    yield e
    try:
        e.delete()
    except AISError:
        pass


def eventually(what, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, value
        time.sleep(0.05)
    return value


def mine(engine, etl):
    return [c for c in engine.containers() if c["Labels"].get("sluice.etl", "").startswith(etl.name + "-")]


def read(bucket, etl, **more):
    return bucket.object("text").get_reader(etl=ETLConfig(etl.name, **more)).read_all()


def make(server, etl, image, comm="io", **runtime):
    r = requests.put(f"{server.http}/v1/etl", timeout=60, json={"name": etl.name, "communication": comm + "://", "runtime": {"image": image, **runtime}})
    assert r.status_code == 200, r.text


@pytest.mark.parametrize("comm", ["hpush", "hpull"])
def test_an_image_transforms(docker_engine, image, bucket, etl, comm):
    etl.init(image=image, comm_type=comm)
    assert mine(docker_engine, etl)
    for _ in range(3):
        assert read(bucket, etl) == TEXT.upper()
    etl.delete()
    assert mine(docker_engine, etl) == []


def test_a_sidecar_reads_files(image, bucket, etl):
    etl.init(image=image, comm_type="hpush", direct_file_access=True)
    assert read(bucket, etl) == TEXT.upper()
    assert any(b"etl_fqn=" in log.logs if isinstance(log.logs, bytes) else "etl_fqn=" in log.logs for log in etl.logs())


def test_a_bucket_is_transformed(client, image, bucket, etl):
    for k in range(40):
        bucket.object(f"many/{k}").get_writer().put_content(f"object {k}".encode())
    etl.init(image=image, comm_type="hpush")
    to = client.bucket("t-" + uuid.uuid4().hex[:10])
    try:
        client.job(bucket.transform(etl_name=etl.name, to_bck=to)).wait(timeout=60)
        assert {e.name for e in to.list_all_objects()} == {"text"} | {f"many/{k}" for k in range(40)}
        assert to.object("many/7").get_reader().read_all() == b"OBJECT 7"
    finally:
        to.delete(missing_ok=True)


def test_a_command_takes_standard_input(open_server, docker_engine, image, bucket, etl):
    make(open_server, etl, image, command=["/sidecar", "upper"])
    assert mine(docker_engine, etl) == []  # it has a container when there is an object
    big = bytes(range(97, 123)) * 100000
    bucket.object("text").get_writer().put_content(big)
    assert read(bucket, etl) == big.upper()
    eventually(lambda: mine(docker_engine, etl) == [])


def test_a_command_takes_arguments(open_server, image, bucket, etl):
    make(open_server, etl, image, command=["/sidecar", "args", "fixed"])
    assert read(bucket, etl, args="from the client") == b"from the client fixed /tmp"


def test_a_command_that_fails_is_told_of(open_server, image, bucket, etl):
    make(open_server, etl, image, command=["/sidecar", "fail"])
    r = requests.get(f"{open_server.http}/s3/{bucket.name}/text", params={"etl_name": etl.name}, timeout=60)
    assert r.status_code == 502 and "this went wrong" in r.text, r.text


def test_one_that_crashes_is_started_again(open_server, docker_engine, image, bucket, etl):
    etl.init(image=image, comm_type="hpush")
    before = {c["Id"] for c in mine(docker_engine, etl)}
    for c in before:
        assert docker_engine.ask("POST", f"/containers/{c}/kill")[0] == 204
    eventually(lambda: len([c for c in mine(docker_engine, etl) if c["State"] == "running" and c["Id"] not in before]) == len(before))

    def again():
        try:
            return read(bucket, etl) == TEXT.upper()
        except AISError:
            return False

    eventually(again)
    assert not before & {c["Id"] for c in docker_engine.containers()}


def test_its_log_is_told(image, bucket, etl):
    etl.init(image=image, comm_type="hpush")
    read(bucket, etl)
    logs = [log.logs if isinstance(log.logs, str) else log.logs.decode() for log in etl.logs()]
    assert any("serving" in log for log in logs) and any(f"PUT /{bucket.name}/text" in log or "PUT /" in log for log in logs), logs


def test_what_it_uses_is_told(open_server, image, etl):
    etl.init(image=image, comm_type="hpush")
    eventually(lambda: any(n["mem"] > 0 for n in requests.get(f"{open_server.http}/v1/etl/{etl.name}/metrics", timeout=60).json()))


def test_an_image_that_is_not_there_is_told_of(docker_engine, etl):
    with pytest.raises(AISError) as e:
        etl.init(image="sluice.invalid/none:1", comm_type="hpush")
    assert "sluice.invalid/none:1" in str(e.value) and "can't be pulled" in str(e.value)
    assert mine(docker_engine, etl) == []


def test_one_that_is_stopped_has_no_container(docker_engine, image, bucket, etl):
    etl.init(image=image, comm_type="hpush")
    etl.stop()
    eventually(lambda: mine(docker_engine, etl) == [])
    etl.start()
    eventually(lambda: len(mine(docker_engine, etl)) > 0)
    assert read(bucket, etl) == TEXT.upper()


def test_containers_of_a_server_that_was_killed_are_removed(docker_engine, image):
    server = srv.Server(tls=False, extra=("--auth", "none", "--etl-runtime", "docker", "--etl-docker-socket", docker_engine.socket))
    with srv.running(server):
        etl = sdk.Client(server.http, timeout=60).etl("killed-" + uuid.uuid4().hex[:6])
        etl.init(image=image, comm_type="hpush")
        before = {c["Id"] for c in mine(docker_engine, etl)}
        server.kill()
        assert before <= {c["Id"] for c in docker_engine.containers()}
        server.start()
        assert not before & {c["Id"] for c in docker_engine.containers()}
        eventually(lambda: len(mine(docker_engine, etl)) == 1)  # it was not stopped: so it runs again
        etl.delete()
        assert mine(docker_engine, etl) == []


def test_a_server_without_an_engine_says_so():
    server = srv.Server(tls=False, extra=("--auth", "none", "--etl-runtime", "docker", "--etl-docker-socket", "/nowhere/docker.sock"))
    try:
        with pytest.raises(RuntimeError, match=r"etl\.docker_socket, /nowhere/docker\.sock \(No such file or directory\)"):
            server.start()
    finally:
        server.clean()
