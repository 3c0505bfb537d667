"""Objects cut into slices: any target may be killed, and every byte and range is still right."""

import random
import time

import cluster as cl
import oracle as orc
import server as srv

BUCKET = "cut"
SIZES = [256 << 10, (1 << 20) + 1, 8 << 20, (8 << 20) + 4321, 300_001, 1000]


def make(s3):
    def ask(request, **_):
        request.headers.add_header("x-sluice-redundancy", "ec=2+1")

    s3.meta.events.register("before-sign.s3.CreateBucket", ask)
    s3.create_bucket(Bucket=BUCKET)
    s3.meta.events.unregister("before-sign.s3.CreateBucket", ask)


def again(what, wait=30.0):
    """Repeats what is refused while the map learns of a death."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return what()
        except Exception as e:  # noqa: BLE001 (botocore's and urllib3's)
            status = getattr(e, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 503)
            if status < 500 or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def wait_in_sync(cluster, wait=90.0):
    """Who was out has what it missed, and takes part in everything."""
    deadline = time.monotonic() + wait
    while True:
        view = cluster.view()
        if all(n["alive"] and n["sync"] == "in" for n in view["nodes"]):
            return
        assert time.monotonic() < deadline, view
        time.sleep(0.2)


def compare(s3, rnd, objects):
    for key, body in objects.items():
        n = len(body)
        got = again(lambda: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        assert got == body, f"{key} is wrong"
        edges = [(0, 0), (n - 1, n - 1), (n // 2 - 1, n // 2 + 1), (1, n - 2)]
        for first, last in edges + [tuple(sorted((rnd.randrange(n), rnd.randrange(n)))) for _ in range(6)]:
            got = again(lambda: s3.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={first}-{last}")["Body"].read())
            assert got == body[first:last + 1], f"{key} {first}-{last} is wrong"


def upload_in_parts(s3, key, body):
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    parts = []
    for i in range(0, len(body), 5 << 20):
        part = s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=len(parts) + 1, Body=body[i:i + (5 << 20)])
        parts.append({"PartNumber": len(parts) + 1, "ETag": part["ETag"]})
    s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


def cut(args) -> str:
    """A bucket of ec=2+1 on three targets: each is killed in turn, all is read by ranges, written and deleted meanwhile."""
    rnd = random.Random(args.seed)
    cluster = cl.Cluster(targets=3, gateways=2)
    try:
        cluster.start()
        s3 = [orc.client(g.url, srv.ACCESS_KEY, srv.SECRET_KEY) for g in cluster.gateways]
        make(s3[0])
        objects = {}
        for i, n in enumerate(SIZES):
            objects[f"whole/{i}"] = rnd.randbytes(n)
            again(lambda: s3[0].put_object(Bucket=BUCKET, Key=f"whole/{i}", Body=objects[f"whole/{i}"]))
        objects["parts"] = rnd.randbytes((11 << 20) + 17)
        again(lambda: upload_in_parts(s3[0], "parts", objects["parts"]))
        again(lambda: s3[1].copy_object(Bucket=BUCKET, Key="copied", CopySource={"Bucket": BUCKET, "Key": "whole/3"}))
        objects["copied"] = objects["whole/3"]
        compare(s3[1], rnd, objects)
        for i, t in enumerate(cluster.targets):
            t.kill()
            compare(s3[i % 2], rnd, objects)
            key = f"without/{i}"
            objects[key] = rnd.randbytes((1 << 20) + i)
            again(lambda: s3[0].put_object(Bucket=BUCKET, Key=key, Body=objects[key]))
            again(lambda: s3[1].put_object(Bucket=BUCKET, Key="whole/2", Body=objects[key]))
            objects["whole/2"] = objects[key]
            again(lambda: s3[1].delete_object(Bucket=BUCKET, Key=f"whole/{i + 3}"))
            del objects[f"whole/{i + 3}"]
            compare(s3[1], rnd, objects)
            t.start()
            wait_in_sync(cluster)
            compare(s3[0], rnd, objects)
            listed = [o["Key"] for o in again(lambda: s3[1].list_objects_v2(Bucket=BUCKET)).get("Contents", [])]
            assert listed == sorted(objects), listed
        cluster.stop()
        return f"{len(objects)} objects"
    finally:
        cluster.clean()
