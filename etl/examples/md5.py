"""The MD5 digest of an object, in hex."""

import hashlib

from aistore.sdk.etl.webserver.http_multi_threaded_server import HTTPMultiThreadedServer


class Md5(HTTPMultiThreadedServer):
    def transform(self, data: bytes, _path: str, _etl_args: str) -> bytes:
        return hashlib.md5(data).hexdigest().encode()

    def get_mime_type(self) -> str:
        return "text/plain"


if __name__ == "__main__":
    Md5(port=8000).start()
