"""fsspec's s3fs as data loaders use it. Arguments: endpoint URL, an empty bucket."""

import os
import sys

import s3fs

url, bucket = sys.argv[1:3]
ca = os.environ.get("AWS_CA_BUNDLE")
fs = s3fs.S3FileSystem(endpoint_url=url, client_kwargs={"verify": ca} if ca else {}, use_listings_cache=False)

body = os.urandom(12 << 20)
with fs.open(f"{bucket}/dir/big", "wb", block_size=5 << 20) as f:
    f.write(body)
assert fs.cat(f"{bucket}/dir/big") == body
with fs.open(f"{bucket}/dir/big", "rb", block_size=1 << 20) as f:
    f.seek(6 << 20)
    assert f.read(100) == body[6 << 20:][:100]
fs.pipe(f"{bucket}/dir/small", b"one")
with fs.open(f"{bucket}/dir/small", "ab") as f:
    f.write(b" two")
assert fs.cat(f"{bucket}/dir/small") == b"one two"
with fs.open(f"{bucket}/dir/big", "ab") as f:
    f.write(b"tail")
assert fs.info(f"{bucket}/dir/big")["size"] == len(body) + 4
assert sorted(fs.ls(f"{bucket}/dir", detail=False)) == [f"{bucket}/dir/big", f"{bucket}/dir/small"]
assert fs.isdir(f"{bucket}/dir") and not fs.exists(f"{bucket}/none") and fs.exists(bucket)
assert sorted(fs.find(bucket)) == [f"{bucket}/dir/big", f"{bucket}/dir/small"]
try:
    with fs.open(f"{bucket}/dir/small", "xb") as f:
        f.write(b"no")
    raise SystemExit("mode x overwrote an object")
except FileExistsError:
    pass
fs.cp(f"{bucket}/dir/small", f"{bucket}/copy")
fs.mv(f"{bucket}/copy", f"{bucket}/moved")
assert fs.cat(f"{bucket}/moved") == b"one two" and not fs.exists(f"{bucket}/copy")
assert isinstance(fs.checksum(f"{bucket}/moved"), int)
try:
    fs.cat(f"{bucket}/none")
    raise SystemExit("a missing object was read")
except FileNotFoundError:
    pass
fs.rm(f"{bucket}/dir", recursive=True)
fs.rm(f"{bucket}/moved")
assert fs.find(bucket) == []
print("fsspec: ok")
