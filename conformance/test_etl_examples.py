"""etl/examples, each made by its own specification and run: as a process, and in a container of an image that has what it needs."""

import hashlib
import io
import os
import shutil
import sys
import tarfile

import pytest

import etl_images
import etl_kit as kit
import server as srv

pytestmark = pytest.mark.xdist_group("docker")


def ffmpeg() -> str:
    """A program that needs no library which the other runtime hasn't: PyPI's is static."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return shutil.which("ffmpeg") or pytest.skip("ffmpeg is not installed")


class Processes:
    """What makes examples on this machine, with this copy's paths, Python and ffmpeg."""

    def __init__(self, etls):
        self.etls = etls

    def spec(self, text, name):
        if name == "audio":
            text = text.replace("[ffmpeg,", f"[{ffmpeg()},")
        return text.replace("/opt/sluice/etl/examples", str(kit.EXAMPLES)).replace("[python3,", f"[{sys.executable},")


class Containers:
    """As they are, but for the name of an image with Python, its packages and the examples in /opt, or with a program."""

    def __init__(self, etls, engine):
        self.etls, self.engine, self.python = etls, engine, None

    def image(self, name):
        if name == "audio":
            return etl_images.programs(self.engine, {"usr/bin/ffmpeg": ffmpeg()})
        if name == "echo":
            return etl_images.programs(self.engine, {"usr/bin/cat": "/usr/bin/cat"})
        if not self.python:
            modules = ["aistore.sdk.etl.webserver.fastapi_server", "aistore.sdk.etl.webserver.flask_server", "PIL.Image", "uvicorn.main", "gunicorn.app.wsgiapp",
                       "uvicorn.protocols.websockets.websockets_impl", "uvicorn.protocols.http.h11_impl", "httpcore", "httpcore._async", "anyio._backends._asyncio", "uvicorn.lifespan.on", "gunicorn.workers.gthread", "xxhash"]
            self.python = etl_images.python(self.engine, modules, {"/opt/sluice/etl/examples": kit.EXAMPLES, "/programs": kit.PROGRAMS})
        return self.python

    def spec(self, text, name):
        return text.replace("runtime:\n", f"runtime:\n  image: {self.image(name)}\n")


@pytest.fixture(scope="module", params=["process", "docker"])
def maker(request, new_server):
    if request.param == "process":
        yield Processes(kit.Etls(request.getfixturevalue("etl_server")))
        return
    if request.config.getoption("--cluster"):
        pytest.skip("containers are one node's affair here")
    engine = request.getfixturevalue("docker_engine")
    with srv.running(new_server(extra=("--auth", "none", "--etl-runtime", "docker", "--etl-docker-socket", engine.socket))) as server:
        yield Containers(kit.Etls(server), engine)


@pytest.fixture(scope="module")
def etls(maker):
    return maker.etls


@pytest.fixture(scope="module")
def b(etls):
    with etls.bucket() as name:
        yield name


@pytest.fixture
def made(etls, maker):
    """Makes one by its name; its ETL's."""
    names = []

    def make(name):
        etls.make(maker.spec((kit.EXAMPLES / f"{name}.yaml").read_text(), name))
        names.append(f"example-{name}")
        return names[-1]

    yield make
    for name in names:
        etls.delete(name)


def picture(kind="PNG", size=(400, 200)) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.effect_noise(size, 60).save(out, kind)
    return out.getvalue()


def size_of(data) -> tuple:
    from PIL import Image

    return Image.open(io.BytesIO(data)).size


def test_echo(etls, b, made):
    data = os.urandom(300_000)
    etls.store(b, "x", data)
    assert etls.read(b, "x", etl_name=made("echo")) == data


def test_md5(etls, b, made):
    kit.need("aistore.sdk.etl", "PIL")
    etls.store(b, "x", b"abc")
    assert etls.read(b, "x", etl_name=made("md5")).decode() == hashlib.md5(b"abc").hexdigest()


def test_resize(etls, b, made):
    kit.need("aistore.sdk.etl", "PIL")
    etls.store(b, "cat.png", picture())
    etl = made("resize")
    r = etls.get(b, "cat.png", etl_name=etl)
    assert r.headers["Content-Type"] == "image/jpeg" and size_of(r.content) == (256, 128)
    assert size_of(etls.read(b, "cat.png", etl_name=etl, etl_args="40x40")) == (40, 20)
    etls.store(b, "no.png", b"no picture")
    bad = etls.get(b, "no.png", etl_name=etl)
    assert bad.status_code == 502 and "example-resize" in bad.text


def test_samples(etls, b, made):
    kit.need("aistore.sdk.etl", "PIL")
    shard, members = io.BytesIO(), {"0/a.jpg": picture("JPEG"), "0/a.cls": b"7", "1/b.png": picture()}
    with tarfile.open(fileobj=shard, mode="w") as t:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            t.addfile(info, io.BytesIO(content))
    etls.store(b, "s.tar", shard.getvalue())
    etl = made("samples")
    with etls.bucket(view={"source": b, "prefix": "s.", "etl": [etl]}) as view:
        got = etls.read(view, "s.tar")
    with tarfile.open(fileobj=io.BytesIO(got)) as t:
        out = {m.name: t.extractfile(m).read() for m in t}
    assert list(out) == list(members) and out["0/a.cls"] == b"7"
    assert size_of(out["0/a.jpg"]) == size_of(out["1/b.png"]) == (64, 32)


def test_audio(etls, b, made):
    import wave

    sound = io.BytesIO()
    with wave.open(sound, "wb") as w:
        w.setnchannels(2), w.setsampwidth(2), w.setframerate(44100)
        w.writeframes(os.urandom(4 * 44100))
    etls.store(b, "noise.wav", sound.getvalue())
    with wave.open(io.BytesIO(etls.read(b, "noise.wav", etl_name=made("audio")))) as w:
        assert (w.getnchannels(), w.getframerate()) == (1, 16000)


@pytest.mark.parametrize("app, comm", [("fastapi", "hpush"), ("fastapi", "hpull"), ("fastapi", "ws"), ("flask", "hpush"), ("http", "hpull")])
def test_servers_of_the_sdk_in_containers(maker, b, app, comm):
    """Transformers of the collection are such servers; as processes test_etl.py has them."""
    if isinstance(maker, Processes):
        pytest.skip("in test_etl.py")
    sdk = pytest.importorskip("aistore.sdk", reason="the aistore SDK is not installed")
    kit.need("aistore.sdk.etl", "fastapi", "flask", "xxhash")
    from aistore.sdk.etl import ETLConfig

    client, data = sdk.Client(maker.etls.url, timeout=60), os.urandom(100_000)
    command = [c.replace(sys.executable, "python3").replace(str(kit.PROGRAMS), "/programs") for c in kit.COMMANDS[app]]
    for kind in ("echo", "md5"):
        maker.etls.store(b, f"{kind}/{app}-{comm}", data)
    with client.etl(kit.new_name(app)) as etl, maker.etls.bucket() as to:
        etl.init(image=maker.image("python"), command=command, comm_type=comm, direct_put=comm == "ws", init_timeout="90s")
        bck = client.bucket(b)
        assert bck.object(f"echo/{app}-{comm}").get_reader(etl=ETLConfig(etl.name)).read_all() == data
        assert bck.object(f"md5/{app}-{comm}").get_reader(etl=ETLConfig(etl.name)).read_all() == hashlib.md5(data).hexdigest().encode()
        client.job(bck.transform(etl_name=etl.name, to_bck=client.bucket(to), prefix_filter="md5/")).wait(timeout=60)
        assert maker.etls.read(to, f"md5/{app}-{comm}") == hashlib.md5(data).hexdigest().encode()
