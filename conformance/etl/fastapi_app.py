from aistore.sdk.etl.webserver.fastapi_server import FastAPIServer

from transforms import apply


class Many(FastAPIServer):
    def transform(self, data, path, etl_args):
        return apply(data, path, etl_args)


app = Many().app
