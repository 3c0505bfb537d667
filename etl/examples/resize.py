"""Images within WIDTHxHEIGHT, as JPEG. The size is that of etl_args, or of the environment's SIZE."""

import io
import os

from aistore.sdk.etl.webserver.http_multi_threaded_server import HTTPMultiThreadedServer
from PIL import Image


def resize(data: bytes, size: str) -> bytes:
    width, _, height = size.partition("x")
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((int(width), int(height or width)))
        image.convert("RGB").save(out, "JPEG", quality=90)
    return out.getvalue()


class Resize(HTTPMultiThreadedServer):
    def transform(self, data: bytes, _path: str, etl_args: str) -> bytes:
        return resize(data, etl_args or os.environ.get("SIZE", "256x256"))

    def get_mime_type(self) -> str:
        return "image/jpeg"


if __name__ == "__main__":
    Resize(port=8000).start()
