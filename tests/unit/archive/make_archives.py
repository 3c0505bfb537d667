"""Writes archives of many kinds into a directory, and beside each FILE.want what must be found in it:
"ok" and a line "SIZE CRC32 NAME" for each member in order, or "bad"."""
import gzip
import io
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

out = Path(sys.argv[1])
rng = random.Random(7)


def content(n):
    block = bytes(rng.randrange(256) for _ in range(min(n, 997)))
    return (block * (n // max(len(block), 1) + 1))[:n]


MEMBERS = [("a.txt", content(1)), ("empty", b""), ("dir/b.bin", content(512)), ("dir/c.jpg", content(513)), ("d" * 120 + "/e", content(100000)),
           ("x" * 300, content(2000)), ("später/日本.txt", content(77)), ("dup", b"first"), ("dup", b"second"), ("tail", content(300000))]


def want(name, members):
    lines = ["ok"] + [f"{len(c)} {zlib.crc32(c)} {n}" for n, c in members]
    (out / (name + ".want")).write_text("\n".join(lines) + "\n")


def save(name, data, members=None):
    (out / name).write_bytes(data)
    if members is None:
        (out / (name + ".want")).write_text("bad\n")
    else:
        want(name, members)


def tar(fmt, members=MEMBERS, extra=None):
    f = io.BytesIO()
    with tarfile.open(fileobj=f, mode="w", format=fmt) as t:
        for n, c in members:
            info = tarfile.TarInfo(n)
            info.size = len(c)
            info.mtime = 1700000000
            t.addfile(info, io.BytesIO(c))
        if extra:
            extra(t)
    return f.getvalue()


plain = tar(tarfile.PAX_FORMAT)
save("pax.tar", plain, MEMBERS)
save("gnu.tar", tar(tarfile.GNU_FORMAT), MEMBERS)
ustar = [(n, c) for n, c in MEMBERS if len(n) < 100]
save("ustar.tar", tar(tarfile.USTAR_FORMAT, ustar), ustar)
f = io.BytesIO()
with tarfile.open(fileobj=f, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "about all", "mtime": "5"}) as t:
    for n, c in MEMBERS:
        info = tarfile.TarInfo(n)
        info.size = len(c)
        t.addfile(info, io.BytesIO(c))
save("global.tar", f.getvalue(), MEMBERS)
save("empty.tar", tar(tarfile.USTAR_FORMAT, []), [])


def others(t):
    for name, kind in (("dir/", tarfile.DIRTYPE), ("sym", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("fifo", tarfile.FIFOTYPE), ("dev", tarfile.CHRTYPE)):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = "/etc/passwd"
        t.addfile(info)
    for name in ("../up", "a/../../up", "..", "/", "./"):
        info = tarfile.TarInfo(name)
        info.size = 3
        t.addfile(info, io.BytesIO(b"bad"))
    for name in ("/absolute/x", "./dotted"):
        info = tarfile.TarInfo(name)
        info.size = 4
        t.addfile(info, io.BytesIO(b"good"))


save("others.tar", tar(tarfile.PAX_FORMAT, MEMBERS[:2], others), MEMBERS[:2] + [("absolute/x", b"good"), ("dotted", b"good")])
save("gz.tgz", gzip.compress(plain, 1), MEMBERS)
cut = [0, 512, 70000, 200000, len(plain)]
save("members.tar.gz", b"".join(gzip.compress(plain[a:b], 1) for a, b in zip(cut, cut[1:])), MEMBERS)
for tool, name in ((["lz4", "-c"], "one.tar.lz4"), (["zstd", "-c", "-q"], "one.tar.zst")):
    try:
        save(name, subprocess.run(tool, input=plain, capture_output=True, check=True).stdout, MEMBERS)
        save("frames-" + name, b"".join(subprocess.run(tool, input=plain[a:b], capture_output=True, check=True).stdout for a, b in zip(cut, cut[1:])), MEMBERS)
    except FileNotFoundError:
        pass
if shutil.which("lz4"):  # blocks of 64 KiB, each on its own: with a sum behind all, without, with sums of their own, with a size; and linked
    def lz4(data, *options):
        return subprocess.run(["lz4", "-c", "-B4", *options], input=data, capture_output=True, check=True).stdout
    for name, options in (("blocks", []), ("nosum", ["--no-frame-crc"]), ("sums", ["-BX"]), ("linked", ["-BD"])):
        save(name + ".tar.lz4", lz4(plain, *options), MEMBERS)
        save(name + "-cut.tar.lz4", lz4(plain, *options)[:-9])
    skippable = b"\x50\x2a\x4d\x18\3\0\0\0abc"
    save("mixed.tar.lz4", skippable + lz4(plain[:200000]) + lz4(b"") + skippable + lz4(plain[200000:300000], "--no-frame-crc") + lz4(plain[300000:]), MEMBERS)
if shutil.which("bsdtar"):
    work = out / "work"
    work.mkdir()
    files = [m for m in MEMBERS if m[0] != "dup" and len(m[0]) < 250]
    for n, c in files:
        (work / n).parent.mkdir(exist_ok=True)
        (work / n).write_bytes(c)
    names = [m[0] for m in files]
    for fmt in ("pax", "ustar", "gnutar"):
        save(f"bsd-{fmt}.tar", subprocess.run(["bsdtar", "-C", str(work), "--format", fmt, "-cf", "-", *names], capture_output=True, check=True).stdout, files)
    for fmt in ("v7", "oldgnu", "posix", "ustar"):
        few = [m for m in files if len(m[0]) < 90]
        save(f"gnu-{fmt}.tar", subprocess.run(["tar", "-C", str(work), "--format=" + fmt, "-cf", "-", *[m[0] for m in few]], capture_output=True, check=True).stdout, few)
    save("bsd.zip", subprocess.run(["bsdtar", "-C", str(work), "--format", "zip", "-cf", "-", *names], capture_output=True, check=True).stdout, files)
    if shutil.which("zip"):
        subprocess.run(["zip", "-q", "-X", str(out / "info.zip"), *names], cwd=work, check=True)
        want("info.zip", files)
    shutil.rmtree(work)
try:  # sparse files: no members, but what follows them is found
    sparse = out / "sparse-file"
    with open(sparse, "wb") as f:
        f.truncate(1 << 20)
        for at in range(0, 1 << 20, 40960):
            f.seek(at)
            f.write(b"hole")
    (out / "after").write_bytes(b"after")
    for fmt in ("gnu", "posix"):
        data = subprocess.run(["tar", "-C", str(out), "--format=" + fmt, "-S", "-cf", "-", "sparse-file", "after"], capture_output=True, check=True).stdout
        save(f"sparse-{fmt}.tar", data, [("after", b"after")])
    sparse.unlink()
    (out / "after").unlink()
except FileNotFoundError:
    pass


def zipped(members, method, **kw):
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", method, **kw) as z:
        for n, c in members:
            z.writestr(zipfile.ZipInfo(n, (2023, 1, 2, 3, 4, 6)), c, method)
    return f.getvalue()


import warnings
warnings.simplefilter("ignore")
stored = zipped(MEMBERS, zipfile.ZIP_STORED)
save("stored.zip", stored, MEMBERS)
save("deflated.zip", zipped(MEMBERS, zipfile.ZIP_DEFLATED), MEMBERS)
save("empty.zip", zipped([], zipfile.ZIP_STORED), [])
save("prefixed.zip", b"#!/bin/sh\n" * 10 + stored, MEMBERS)
f = io.BytesIO()
with zipfile.ZipFile(f, "w") as z:
    z.comment = b"PK\5\6 not the end"
    z.writestr("one", b"1")
    z.writestr("dir/", b"")
    z.writestr("../up", b"bad")
save("comment.zip", f.getvalue(), [("one", b"1")])
f = io.BytesIO()
with zipfile.ZipFile(f, "w") as z:  # a stream: sizes behind the content
    with z.open(zipfile.ZipInfo("streamed"), "w", force_zip64=True) as m:
        m.write(b"x" * 1000)
save("zip64.zip", f.getvalue(), [("streamed", b"x" * 1000)])

# what must be refused
for n in (1, 511, 512, 513, 1024, 1500, len(plain) // 2):
    if n % 512 or n < 512:
        save(f"cut-{n}.tar", plain[:n])
bad = bytearray(plain)
bad[10] ^= 1
save("sum.tar", bytes(bad))
huge = bytearray(plain[:512])
huge[124:136] = b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7
huge[148:156] = b"        "
huge[148:156] = b"%06o\0 " % sum(huge)
f = io.BytesIO()
with tarfile.open(fileobj=f, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"size": "512"}) as t:
    pass
save("global-size.tar", f.getvalue()[:1024] + plain)
save("huge.tar", bytes(huge) + plain[512:])
save("cut.tgz", gzip.compress(plain, 1)[:-100])
save("damaged.tgz", gzip.compress(plain, 1)[:2000] + b"\0" * 100 + gzip.compress(plain, 1)[2100:])
save("cut.zip", stored[:-10])
save("noise.tar", content(4096))
save("noise.zip", content(4096))
save("nothing.tar", b"")
save("zeros.tgz", b"\0" * 1000)
head = bytearray(tarfile.TarInfo("bomb").tobuf(tarfile.GNU_FORMAT))
head[124:136] = b"\x80" + (1 << 40).to_bytes(11, "big")
head[148:156] = b"        "
head[148:156] = b"%06o\0 " % sum(head)
if shutil.which("zstd"):  # deflate can't do more than the ratio that is allowed
    (out / "head").write_bytes(head)
    save("bomb.tar.zst", subprocess.run(f"(cat {out}/head; head -c 1300M /dev/zero) | zstd -1 -q -c", shell=True, capture_output=True, check=True).stdout)
    (out / "head").unlink()
overlap = bytearray(zipped([("a", content(5000)), ("b", content(5000))], zipfile.ZIP_STORED))
at = overlap.rfind(b"PK\1\2")
overlap[at + 42:at + 46] = struct.pack("<I", 100)
save("overlap.zip", bytes(overlap))
same = bytearray(overlap)
same[at + 42:at + 46] = struct.pack("<I", 0)
save("same.zip", bytes(same))
fewer = bytearray(zipped([("a", content(50)), ("b", content(50))], zipfile.ZIP_STORED))
at = fewer.rfind(b"PK\5\6")
fewer[at + 8:at + 12] = struct.pack("<HH", 1, 1)
save("fewer.zip", bytes(fewer))
ONE, TWO, TEN = ("one", content(50)), ("two", content(60)), ("ten", content(70))
two = zipped([ONE, TWO, TEN], zipfile.ZIP_STORED)
save("local-name.zip", two.replace(b"two", b"tow", 1), [ONE, TEN])
flags = bytearray(two)
flags[flags.rfind(b"PK\1\2") + 8] |= 1  # encrypted, the directory says
flags[6] |= 1  # and a local header
save("encrypted.zip", bytes(flags), [TWO])
method = bytearray(two)
at = method.find(b"PK\1\2")
method[at + 10:at + 12] = struct.pack("<H", 14)
save("lzma.zip", bytes(method), [TWO, TEN])
z64 = bytearray(two)
at = z64.rfind(b"PK\5\6")
n, size, where = struct.unpack("<10xHLL2x", z64[at:at + 22])
def end64(count, size, where, locator):
    return struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, where) + struct.pack("<4sLQL", b"PK\6\7", 0, locator, 1) + struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0)
save("end64.zip", bytes(z64[:at]) + end64(n, size, where, at), [ONE, TWO, TEN])
save("end64-far.zip", bytes(z64[:at]) + end64(n, size, 1 << 63, at))
save("end64-long.zip", bytes(z64[:at]) + end64(n, (1 << 64) - 1, where, at))
save("end64-many.zip", bytes(z64[:at]) + end64(1 << 40, size, where, at))
save("end64-none.zip", bytes(z64[:at]) + end64(n, size, where, (1 << 64) - 8)[56:])
outside = bytearray(zipped([("a", content(50))], zipfile.ZIP_STORED))
at = outside.rfind(b"PK\5\6")
outside[at + 16:at + 20] = struct.pack("<I", 1 << 30)
save("outside.zip", bytes(outside))
