"""A directory tree with the shapes that trip sync tools, and its comparison."""

import hashlib
import random
from pathlib import Path


def make(root: Path) -> Path:
    rnd = random.Random(42)
    for name, size in [("empty", 0), ("small.txt", 10), ("with space.txt", 100), ("plus+sign&amp;.bin", 5000), ("ünïcode/ñ.txt", 300),
                       ("deep/a/b/c/d.bin", 70000), ("deep/a/x.bin", 16384), ("big.bin", (9 << 20) + 11), ("percent%41.txt", 17), ("a", 1), ("a.d/b", 2)]:
        p = root / name
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(rnd.randbytes(size))
    return root


def digest(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}
