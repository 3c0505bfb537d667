"""What the transformers of the tests do. The first part of an object's name that is known here chooses: so one sidecar serves many tests."""

import bz2
import gzip
import hashlib
import json
import os
import re
from urllib.parse import unquote


def content(data):
    """Of a file, when the transformer was given its path."""
    if isinstance(data, str):
        with open(data, "rb") as f:
            return f.read()
    return bytes(data)


def echo(data, args):
    return data


def md5(data, args):
    return hashlib.md5(data).hexdigest().encode()


def hello_world(data, args):
    return b"Hello World!"


def hash_with_args(data, args):
    import xxhash
    return xxhash.xxh64(data, seed=int(args or os.environ.get("SEED_DEFAULT", "0"))).hexdigest().encode()


def compress(data, args):
    options = {"mode": "compress", "compression": "gzip"} | json.loads(args or "{}")
    codec = {"gzip": gzip, "bz2": bz2}[options["compression"]]
    return codec.compress(data) if options["mode"] == "compress" else codec.decompress(data)


def add(data, args):
    return data + args.encode()


def fail(data, args):
    raise ValueError("this one fails: " + args)


KINDS = {f.__name__: f for f in (echo, md5, hello_world, hash_with_args, compress, add, fail)}


def apply(data, path, args):
    for part in unquote(path).split("/"):
        if part in KINDS:
            return KINDS[part](content(data), args)
    raise KeyError(f"{path} names nothing that is done here")


def renamed(path, pattern, prefix):
    """The name under `prefix` of an object whose name matches; None: it stays."""
    name = unquote(path).split("/")[-1]
    return prefix + name if re.search(pattern, name) else None
