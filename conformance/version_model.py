"""What S3 says of versions: a model, and random histories that are compared with it."""

import random
import time

from botocore.exceptions import ClientError


def set_status(s3, bucket, value):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": value})


def listing(s3, bucket, **kw):
    """All versions as (key, time, id, latest, marker, size), and the common prefixes."""
    found, prefixes = [], []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, **kw):
        found += [(v["Key"], v["LastModified"], v["VersionId"], v["IsLatest"], False, v["Size"]) for v in page.get("Versions", [])]
        found += [(v["Key"], v["LastModified"], v["VersionId"], v["IsLatest"], True, None) for v in page.get("DeleteMarkers", [])]
        prefixes += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
    return found, prefixes


def empty(s3, bucket, **kw):
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        old = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]]
        if old:
            assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": old, "Quiet": True}, **kw)


class Key:
    """The versions of one: newest first, as (id, marker, body)."""

    def __init__(self):
        self.versions = []

    def put(self, id, body, null):
        if null:
            self.drop("null")
        self.versions.insert(0, (id, body is None, body))

    def drop(self, id):
        self.versions = [v for v in self.versions if v[0] != id]

    def current(self):
        return None if not self.versions or self.versions[0][1] else self.versions[0]


class History:
    """Random calls, each noted in the model. `state`: of the bucket, None while it never had versions."""

    def __init__(self, s3, bucket, seed, keys, state=None):
        self.s3, self.bucket, self.rng, self.state = s3, bucket, random.Random(seed), state
        self.keys = {k: Key() for k in keys}
        self.steps = 0

    def step(self, states=True):
        self.steps += 1
        choices = {"put": 5, "delete": 3, "drop": 4, "copy": 1, "tag": 1, "parts": 1, "state": 1 if states else 0}
        what = self.rng.choices(list(choices), list(choices.values()))[0]
        if self.steps == 5 and states:
            what = "state"
        name = self.rng.choice(list(self.keys))
        if what == "state":
            self.set_state(self.rng.choice(["Enabled", "Enabled", "Suspended"]))
        else:
            getattr(self, what)(name, self.keys[name])
        self.check_current(name)

    def put(self, name, key):
        body = self.rng.randbytes(self.rng.choice([0, 10, 20_000, 40_000]))
        self.note(key, self.s3.put_object(Bucket=self.bucket, Key=name, Body=body), body)

    def parts(self, name, key):
        body = self.rng.randbytes(5)
        u = self.s3.create_multipart_upload(Bucket=self.bucket, Key=name)["UploadId"]
        etag = self.upload(name, u, body)
        self.note(key, self.s3.complete_multipart_upload(Bucket=self.bucket, Key=name, UploadId=u,
                                                         MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}), body)

    def upload(self, name, upload, body):
        """While targets join, one that can't be asked for the upload yet answers 503, as to any client: a part may be sent again."""
        for tries in range(4):
            try:
                return self.s3.upload_part(Bucket=self.bucket, Key=name, UploadId=upload, PartNumber=1, Body=body)["ETag"]
            except ClientError as e:
                if e.response["Error"]["Code"] != "ServiceUnavailable" or tries == 3:
                    raise
                time.sleep(0.5)

    def note(self, key, answer, body):
        id = answer.get("VersionId", "null")
        assert (id == "null") == (self.state != "Enabled")
        key.put(id, body, id == "null")

    def copy(self, name, key):
        to = self.rng.choice(list(self.keys))
        old = [v for v in key.versions if not v[1]]
        if not old or not self.state:
            return
        id, _, body = self.rng.choice(old)
        if to == name and id == key.versions[0][0]:
            return
        self.note(self.keys[to], self.s3.copy_object(Bucket=self.bucket, Key=to, CopySource={"Bucket": self.bucket, "Key": name, "VersionId": id}), body)

    def delete(self, name, key):
        d = self.s3.delete_object(Bucket=self.bucket, Key=name)
        if self.state:
            assert d["DeleteMarker"] is True and (d["VersionId"] == "null") == (self.state == "Suspended")
            key.put(d["VersionId"], None, d["VersionId"] == "null")
        else:
            key.versions = []

    def drop(self, name, key):
        if key.versions and self.state:
            id = self.rng.choice(key.versions)[0]
            self.s3.delete_object(Bucket=self.bucket, Key=name, VersionId=id)
            key.drop(id)

    def tag(self, name, key):
        old = [v for v in key.versions if not v[1]]
        if old and self.state:
            self.s3.put_object_tagging(Bucket=self.bucket, Key=name, VersionId=self.rng.choice(old)[0],
                                       Tagging={"TagSet": [{"Key": "step", "Value": str(self.steps)}]})

    def set_state(self, state):
        set_status(self.s3, self.bucket, state)
        self.state = state

    def check_current(self, name):
        current = self.keys[name].current()
        if current:
            got = self.s3.get_object(Bucket=self.bucket, Key=name)
            assert got["Body"].read() == current[2] and got.get("VersionId", "null") == current[0], name
        else:
            try:
                self.s3.get_object(Bucket=self.bucket, Key=name)
            except ClientError as e:
                assert e.response["Error"]["Code"] == "NoSuchKey"
            else:
                raise AssertionError(f"{name} is there")

    def check(self):
        rows, _ = listing(self.s3, self.bucket)
        for name, key in self.keys.items():
            assert {(r[2], r[4], r[3]) for r in rows if r[0] == name} == {(v[0], v[1], i == 0) for i, v in enumerate(key.versions)}, name
            for id, marker, body in key.versions:
                if not marker:
                    assert self.s3.get_object(Bucket=self.bucket, Key=name, VersionId=id)["Body"].read() == body
        seen = [o["Key"] for p in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket) for o in p.get("Contents", [])]
        assert sorted(seen) == sorted(k for k, v in self.keys.items() if v.current())
