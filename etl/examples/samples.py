"""A shard in, a shard out: each image of a TAR is resized, everything else stays as it was, in the same order."""

import io
import os
import tarfile

from aistore.sdk.etl.webserver.http_multi_threaded_server import HTTPMultiThreadedServer
from resize import resize

IMAGES = (".jpg", ".jpeg", ".png", ".webp")


class Samples(HTTPMultiThreadedServer):
    def transform(self, data: bytes, _path: str, etl_args: str) -> bytes:
        size, out = etl_args or os.environ.get("SIZE", "64x64"), io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(data)) as shard, tarfile.open(fileobj=out, mode="w") as made:
            for member in shard:
                if not member.isfile():
                    continue
                content = shard.extractfile(member).read()
                if member.name.lower().endswith(IMAGES):
                    content = resize(content, size)
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
        return out.getvalue()

    def get_mime_type(self) -> str:
        return "application/x-tar"


if __name__ == "__main__":
    Samples(port=8000).start()
