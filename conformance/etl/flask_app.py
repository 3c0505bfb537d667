from aistore.sdk.etl.webserver.flask_server import FlaskServer

from transforms import apply


class Many(FlaskServer):
    def transform(self, data, path, etl_args):
        return apply(data, path, etl_args)


app = Many().app
