"""Images for tests, of what this machine has: programs with the libraries that they load, and Python with packages of the tests' own environment."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path


def loaded_by(path) -> dict[str, str]:
    """The shared libraries of a program or library, by their places in an image; a static one has none."""
    told = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    return {found.lstrip("/"): found for found in re.findall(r"(/\S+) \(0x", told)}


def programs(engine, files: dict[str, str]) -> str:
    """An image of programs, by their places in it, with their libraries. Its name."""
    everything = dict(files)
    for path in files.values():
        everything |= loaded_by(path)
    name = "sluice-test/" + "-".join(sorted(Path(p).name for p in files)) + ":1"
    engine.image(name, {inside: Path(path) for inside, path in everything.items()})
    return name


def below(top: Path, inside: str, skip=()) -> dict[str, Path]:
    found = {}
    for directory, names, files in os.walk(top):
        names[:] = [n for n in names if n not in skip]
        for f in files:
            path = Path(directory) / f
            found[f"{inside}/{path.relative_to(top)}"] = path
    return found


def packages_of(modules) -> set[Path]:
    """What importing them brings in that is not of the standard library: files and directories."""
    code = "import sys, importlib\nfor m in sys.argv[1:]: importlib.import_module(m)\nprint(*{getattr(m, '__file__', None) for m in [*sys.modules.values()]}, sep='\\n')"
    files = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True).stdout.splitlines()
    found = set()
    for place in map(Path, {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), "/usr/lib/python3/dist-packages"}):
        names = {Path(f).relative_to(place).parts[0] for f in files if Path(f).is_relative_to(place)}
        for name in names:
            found |= {place / name, *place.glob(f"{name.lower()}*.dist-info")}
        found |= {*place.glob("*.libs")} if names else set()  # which wheels bring along
    return found


def python(engine, modules, trees: dict[str, Path]) -> str:
    """An image with Python, these modules with all that they import, and directories at their places. Its name."""
    name = "sluice-test/python:1"
    interpreter, stdlib = os.path.realpath(sys.executable), Path(sysconfig.get_path("stdlib"))
    files = {"usr/bin/python3": Path(interpreter), **below(stdlib, str(stdlib).lstrip("/"), ("test", "idlelib", "tkinter", "ensurepip", "site-packages"))}
    for package in packages_of(modules):
        files |= below(package, f"site/{package.name}") if package.is_dir() else {f"site/{package.name}": package}
    for inside, top in trees.items():
        files |= below(top, inside.strip("/"))
    libraries = loaded_by(interpreter)
    for path in list(files.values()):
        if ".so" in path.name:
            libraries |= loaded_by(path)
    files |= {inside: Path(path) for inside, path in libraries.items() if not path.startswith(sys.prefix)}
    engine.image(name, files, "ENV PYTHONPATH=/site PATH=/usr/bin PYTHONHOME=" + sys.base_prefix)
    return name
