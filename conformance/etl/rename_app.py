"""Copies objects whose names match FILE_PATTERN into another bucket under DST_PREFIX, and hands on what it got: what batch_rename does."""

import os

from aistore.sdk import Client
from aistore.sdk.etl.webserver.fastapi_server import FastAPIServer

from transforms import content, renamed


class Rename(FastAPIServer):
    def __init__(self):
        super().__init__()
        self.bucket = Client(os.environ["AIS_ENDPOINT"]).bucket(os.environ["DST_BUCKET"])

    def transform(self, data, path, etl_args):
        name, data = renamed(path, os.environ["FILE_PATTERN"], os.environ["DST_PREFIX"]), content(data)
        if name:
            self.bucket.object(name).get_writer().put_content(data)
        return data


app = Rename().app
