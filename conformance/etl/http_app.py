from aistore.sdk.etl.webserver.http_multi_threaded_server import HTTPMultiThreadedServer

from transforms import apply


class Many(HTTPMultiThreadedServer):
    def transform(self, data, path, etl_args):
        return apply(data, path, etl_args)


if __name__ == "__main__":
    Many(port=8000).start()
