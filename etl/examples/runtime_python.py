#!/usr/bin/env python3
"""Serves a class that a client has sent: what the image aistorage/runtime_python is for AIStore.

A client's etl.init_class() sends the class in ETL_CLASS_PAYLOAD (cloudpickle, base64) and names that image. The setting

    etl.images: aistorage/runtime_python:*=/path/to/python /path/to/runtime_python.py

makes sidecars of it on this machine. That Python must be of the client's version (3.x), and have the aistore SDK with its "etl" extra. Nothing is
installed here: sidecars have no network. What PACKAGES wants must be there, else this ends and says what is missing.

PACKAGES      requirements, with commas between: "numpy,pillow>=10"
OS_PACKAGES   likewise, of the operating system: not checked, only told
NUM_WORKERS   processes that serve; default 4. HTTPMultiThreadedServer always has one, of many threads
"""

import base64
import importlib.metadata
import os
import sys

PORT = 8000
WS_MESSAGE_MAX = 16 << 30


def end(why):
    print(f"runtime_python: {why}", file=sys.stderr)
    sys.exit(1)


def missing(requirement):
    """What is wrong with it here; None: nothing."""
    from packaging.requirements import InvalidRequirement, Requirement
    try:
        r = Requirement(requirement)
    except InvalidRequirement:
        return f"{requirement!r} is no requirement"
    if r.marker and not r.marker.evaluate():
        return None
    try:
        version = importlib.metadata.version(r.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement} is not installed"
    return None if r.specifier.contains(version, prereleases=True) else f"{requirement} is installed as {version}"


def check_packages():
    wrong = [w for r in os.environ.get("PACKAGES", "").split(",") if r.strip() and (w := missing(r.strip()))]
    if wrong:
        end(f"this Python ({sys.executable}) lacks what PACKAGES wants: " + "; ".join(wrong))
    if os.environ.get("OS_PACKAGES"):
        print(f"runtime_python: expects to be here: {os.environ['OS_PACKAGES']}", file=sys.stderr)


def load():
    """The class of the payload."""
    import cloudpickle
    payload = os.environ.get("ETL_CLASS_PAYLOAD")
    if not payload:
        end("ETL_CLASS_PAYLOAD is not set: this image serves what etl.init_class() sends")
    try:
        return cloudpickle.loads(base64.b64decode(payload))
    except Exception as e:
        end(f"the class can't be read by Python {sys.version_info.major}.{sys.version_info.minor}: {type(e).__name__}: {e}")


def workers():
    text = os.environ.get("NUM_WORKERS", "4")
    if not text.isdecimal() or int(text) == 0:
        end(f"NUM_WORKERS must be a number from 1, not {text!r}")
    return int(text)


def is_a(cls, module, name):
    """Without importing what the class doesn't come from: each takes its time."""
    return any(c.__name__ == name and c.__module__ == f"aistore.sdk.etl.webserver.{module}" for c in cls.__mro__)


def app():
    """Made in each of the processes that uvicorn and gunicorn start."""
    return load()().app


def serve(cls):
    here = os.path.dirname(os.path.abspath(__file__))
    if is_a(cls, "fastapi_server", "FastAPIServer"):
        command = ["uvicorn", "--factory", "runtime_python:app", "--app-dir", here, "--host", "0.0.0.0", "--port", str(PORT), "--workers", str(workers()),
                   "--ws-max-size", str(WS_MESSAGE_MAX), "--ws-ping-interval", "0", "--ws-ping-timeout", "86400", "--no-access-log"]
    elif is_a(cls, "flask_server", "FlaskServer"):
        command = ["gunicorn", "runtime_python:app()", "--chdir", here, "--bind", f"0.0.0.0:{PORT}", "--workers", str(workers()), "--threads", "4"]
    elif is_a(cls, "http_multi_threaded_server", "HTTPMultiThreadedServer"):
        server = cls()
        server.port = PORT
        server.start()
        return
    else:
        end(f"{cls.__name__} is none of FastAPIServer, FlaskServer, HTTPMultiThreadedServer")
    os.execv(sys.executable, [sys.executable, "-m", *command])


def main():
    check_packages()
    serve(load())


if __name__ == "__main__":
    main()
