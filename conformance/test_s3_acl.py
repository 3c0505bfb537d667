"""Access control lists and ownership controls: canned ones, grants, documents; where they count and where they are refused."""

import time
import uuid

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import close_connection, empty_bucket
from expect import refused
from wire import Signer

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
SOMEBODY = "ab" * 32


@pytest.fixture
def s3(http_endpoint):
    return http_endpoint.client()


@pytest.fixture
def nobody(http_endpoint):
    client = boto3.client("s3", endpoint_url=http_endpoint.url, region_name="us-east-1",
                          config=Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, retries={"max_attempts": 0}))
    if http_endpoint.alternates:
        client.meta.events.register("before-send.s3", close_connection)
    return client


def eventually(what, seconds=20.0):
    """Another gateway may know a moment later."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return what()
        except (AssertionError, ClientError, pytest.fail.Exception):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def always(what, times=6):
    """On every gateway."""

    def all_of_them():
        for _ in range(times):
            what()

    return eventually(all_of_them)


def make(s3, **kw):
    name = "acl-" + uuid.uuid4().hex[:10]
    s3.create_bucket(Bucket=name, **kw)
    return name


def drop(s3, name):
    eventually(lambda: empty_bucket(s3, name))
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def enforced(s3):
    """As buckets are made without a word."""
    name = make(s3)
    yield name
    drop(s3, name)


@pytest.fixture
def bucket(s3):
    """One in which lists count."""
    name = make(s3, ObjectOwnership="BucketOwnerPreferred")

    def known():
        assert s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerPreferred"}]

    always(known)
    yield name
    drop(s3, name)


def owner(s3):
    return s3.list_buckets()["Owner"]["ID"]


def grants(answer):
    return [(g["Permission"], g["Grantee"].get("URI") or g["Grantee"]["ID"]) for g in answer["Grants"]]


def code(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response["Error"]["Code"]


def controls(ownership):
    return {"Rules": [{"ObjectOwnership": ownership}]}


# ---- where lists don't count ----


def test_without_a_word_the_owner_has_everything(s3, enforced):
    s3.put_object(Bucket=enforced, Key="k", Body=b"x")
    assert code(s3.get_bucket_ownership_controls, Bucket=enforced) == "OwnershipControlsNotFoundError"
    for answer in (s3.get_bucket_acl(Bucket=enforced), s3.get_object_acl(Bucket=enforced, Key="k")):
        assert grants(answer) == [("FULL_CONTROL", owner(s3))] and answer["Owner"]["ID"] == owner(s3)
    assert code(s3.get_object_acl, Bucket=enforced, Key="missing") == "NoSuchKey"


def test_enforced_refuses_lists_but_what_is_so(s3, enforced):
    for acl in ("private", "bucket-owner-full-control"):
        s3.put_object(Bucket=enforced, Key="k", Body=b"x", ACL=acl)
        s3.copy_object(Bucket=enforced, Key="c", CopySource=f"{enforced}/k", ACL=acl)
        s3.put_object_acl(Bucket=enforced, Key="k", ACL=acl)
        s3.abort_multipart_upload(Bucket=enforced, Key="m", UploadId=s3.create_multipart_upload(Bucket=enforced, Key="m", ACL=acl)["UploadId"])
    s3.put_bucket_acl(Bucket=enforced, ACL="private")
    s3.put_object(Bucket=enforced, Key="k", Body=b"x", GrantFullControl=f'id="{owner(s3)}"')
    for call in (lambda **kw: s3.put_object(Bucket=enforced, Key="n", Body=b"x", **kw), lambda **kw: s3.copy_object(Bucket=enforced, Key="n", CopySource=f"{enforced}/k", **kw),
                 lambda **kw: s3.create_multipart_upload(Bucket=enforced, Key="n", **kw), lambda **kw: s3.put_object_acl(Bucket=enforced, Key="k", **kw),
                 lambda **kw: s3.put_bucket_acl(Bucket=enforced, **kw)):
        for kw in ({"ACL": "public-read"}, {"GrantRead": f'uri="{ALL}"'}, {"GrantFullControl": f"id={SOMEBODY}"}):
            assert code(call, **kw) == "AccessControlListNotSupported"
    assert code(s3.head_object, Bucket=enforced, Key="n") == "404"
    assert code(s3.create_bucket, Bucket=enforced + "-n", ACL="public-read") == "InvalidBucketAclWithObjectOwnership"
    assert code(s3.create_bucket, Bucket=enforced + "-n", ACL="public-read", ObjectOwnership="BucketOwnerEnforced") == "InvalidBucketAclWithObjectOwnership"
    assert code(s3.head_bucket, Bucket=enforced + "-n") == "404"


# ---- ownership controls ----


def test_ownership_controls(s3, nobody, enforced):
    s3.put_object(Bucket=enforced, Key="k", Body=b"x")
    for ownership in ("ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced", "BucketOwnerPreferred"):
        s3.put_bucket_ownership_controls(Bucket=enforced, OwnershipControls=controls(ownership))

        def told():
            assert s3.get_bucket_ownership_controls(Bucket=enforced)["OwnershipControls"] == controls(ownership)

        always(told)
    s3.put_object_acl(Bucket=enforced, Key="k", ACL="public-read")
    s3.put_bucket_acl(Bucket=enforced, ACL="public-read")
    always(lambda: nobody.list_objects_v2(Bucket=enforced))
    assert nobody.get_object(Bucket=enforced, Key="k")["Body"].read() == b"x"
    always(lambda: code(s3.put_bucket_ownership_controls, Bucket=enforced, OwnershipControls=controls("BucketOwnerEnforced")) == "InvalidBucketAclWithObjectOwnership")
    s3.put_bucket_acl(Bucket=enforced, ACL="private")

    def taken():
        s3.put_bucket_ownership_controls(Bucket=enforced, OwnershipControls=controls("BucketOwnerEnforced"))

    eventually(taken)

    def closed():
        assert code(nobody.get_object, Bucket=enforced, Key="k") == "AccessDenied"

    always(closed)
    s3.delete_bucket_ownership_controls(Bucket=enforced)

    def gone():
        assert code(s3.get_bucket_ownership_controls, Bucket=enforced) == "OwnershipControlsNotFoundError"

    always(gone)


@pytest.mark.parametrize("body", ["<X/>", "<OwnershipControls/>", "<OwnershipControls><Rule/></OwnershipControls>",
                                  "<OwnershipControls><Rule><ObjectOwnership>Mine</ObjectOwnership></Rule></OwnershipControls>"])
def test_malformed_controls(http_endpoint, s3, enforced, body):
    headers = Signer(http_endpoint).headers("PUT", f"/{enforced}", "UNSIGNED-PAYLOAD", query="ownershipControls=")
    r = requests.put(f"{http_endpoint.url}/{enforced}?ownershipControls", data=body, headers=dict(headers), timeout=30)
    assert r.status_code == 400 and "MalformedXML" in r.text, r.text
    assert code(s3.create_bucket, Bucket=enforced + "-n", ObjectOwnership="Mine") == "InvalidArgument"


# ---- canned ----


def test_canned_lists_of_objects(s3, nobody, bucket):
    me = owner(s3)
    for acl, others in (("private", []), ("public-read", [("READ", ALL)]), ("public-read-write", [("READ", ALL), ("WRITE", ALL)]),
                        ("authenticated-read", [("READ", AUTHENTICATED)]), ("bucket-owner-read", []), ("bucket-owner-full-control", [])):
        s3.put_object(Bucket=bucket, Key=acl, Body=b"x", ACL=acl)
        assert grants(s3.get_object_acl(Bucket=bucket, Key=acl)) == [("FULL_CONTROL", me)] + others, acl
        if acl.startswith("public"):
            r = nobody.get_object(Bucket=bucket, Key=acl)
            assert r["Body"].read() == b"x" and not [h for h in r["ResponseMetadata"]["HTTPHeaders"] if "sluice" in h]
            assert nobody.head_object(Bucket=bucket, Key=acl)["ContentLength"] == 1
        else:
            assert code(nobody.get_object, Bucket=bucket, Key=acl) == "AccessDenied"
        with refused(403):
            nobody.put_object(Bucket=bucket, Key=acl, Body=b"")
        assert s3.get_object(Bucket=bucket, Key=acl)["Body"].read() == b"x"
    assert code(s3.put_object, Bucket=bucket, Key="n", Body=b"", ACL="aws-exec-read") == "NotImplemented"
    assert code(s3.put_object, Bucket=bucket, Key="n", Body=b"", ACL="mine") == "InvalidArgument"


def test_canned_lists_of_buckets(s3, nobody, bucket):
    me = owner(s3)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")

    def listed():
        assert nobody.list_objects_v2(Bucket=bucket)["KeyCount"] == 1

    always(listed)
    nobody.head_bucket(Bucket=bucket)
    assert grants(s3.get_bucket_acl(Bucket=bucket)) == [("FULL_CONTROL", me), ("READ", ALL)]
    for call in (lambda: nobody.get_object(Bucket=bucket, Key="k"), lambda: nobody.put_object(Bucket=bucket, Key="n", Body=b""),
                 lambda: nobody.get_bucket_acl(Bucket=bucket), lambda: nobody.put_bucket_acl(Bucket=bucket, ACL="private")):
        with refused(403):
            call()
    with refused(404):
        nobody.get_object(Bucket=bucket, Key="missing")  # who may list may know
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    always(lambda: nobody.put_object(Bucket=bucket, Key="n", Body=b"new"))
    nobody.delete_object(Bucket=bucket, Key="n")
    with refused(403):
        nobody.delete_bucket(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="authenticated-read")

    def closed():
        assert code(nobody.list_objects_v2, Bucket=bucket) == "AccessDenied"

    always(closed)
    assert code(s3.put_bucket_acl, Bucket=bucket, ACL="log-delivery-write") == "NotImplemented"
    s3.put_bucket_acl(Bucket=bucket, ACL="private")

    def private():
        assert grants(s3.get_bucket_acl(Bucket=bucket)) == [("FULL_CONTROL", me)]

    always(private)


def test_a_bucket_is_made_with_its_list(s3, nobody):
    name = make(s3, ACL="public-read", ObjectOwnership="ObjectWriter")
    always(lambda: nobody.list_objects_v2(Bucket=name))
    s3.create_bucket(Bucket=name)  # again: changes nothing
    always(lambda: nobody.list_objects_v2(Bucket=name))
    drop(s3, name)


# ---- what keeps a list, what loses it ----


def test_lists_with_their_objects(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read", Metadata={"a": "b"}, Tagging="t=1", ContentType="text/x-y")
    before = s3.head_object(Bucket=bucket, Key="k")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert code(nobody.get_object, Bucket=bucket, Key="copy") == "AccessDenied"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", ACL="public-read", MetadataDirective="REPLACE")
    assert nobody.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"x"
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "t", "Value": "2"}]})
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    assert code(nobody.get_object, Bucket=bucket, Key="k") == "AccessDenied"
    after = s3.head_object(Bucket=bucket, Key="k")
    for name in ("ETag", "LastModified", "Metadata", "ContentType", "ContentLength"):
        assert before[name] == after[name]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "t", "Value": "2"}]
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    assert code(nobody.get_object, Bucket=bucket, Key="k") == "AccessDenied"


def test_a_multipart_upload_keeps_the_list_it_was_begun_with(s3, nobody, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", ACL="public-read")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"part")
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert nobody.get_object(Bucket=bucket, Key="m")["Body"].read() == b"part"
    s3.put_object_acl(Bucket=bucket, Key="m", ACL="private")
    assert s3.head_object(Bucket=bucket, Key="m")["ETag"].endswith('-1"')
    assert code(nobody.get_object, Bucket=bucket, Key="m") == "AccessDenied"


def test_each_version_has_its_own_list(s3, nobody, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old", ACL="public-read")["VersionId"]
    new = s3.put_object(Bucket=bucket, Key="k", Body=b"new")["VersionId"]
    assert nobody.get_object(Bucket=bucket, Key="k", VersionId=old)["Body"].read() == b"old"
    assert code(nobody.get_object, Bucket=bucket, Key="k") == "AccessDenied"
    assert code(nobody.get_object, Bucket=bucket, Key="k", VersionId=new) == "AccessDenied"
    assert len(s3.get_object_acl(Bucket=bucket, Key="k", VersionId=old)["Grants"]) == 2 and len(s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 1
    s3.put_object_acl(Bucket=bucket, Key="k", VersionId=old, ACL="private")
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert code(nobody.get_object, Bucket=bucket, Key="k", VersionId=old) == "AccessDenied"
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"
    assert [v["VersionId"] for v in s3.list_object_versions(Bucket=bucket)["Versions"]] == [new, old]
    assert code(nobody.get_object, Bucket=bucket, Key="k", VersionId="none-of-ours") == "AccessDenied"
    s3.delete_object(Bucket=bucket, Key="k")
    r = pytest.raises(ClientError, nobody.get_object, Bucket=bucket, Key="k").value.response
    assert r["Error"]["Code"] == "AccessDenied" and "x-amz-delete-marker" not in r["ResponseMetadata"]["HTTPHeaders"]
    for page in s3.list_object_versions(Bucket=bucket), s3.list_object_versions(Bucket=bucket):
        for v in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=v["Key"], VersionId=v["VersionId"])


def test_changes_at_the_same_time_lose_nothing(s3, run_together):
    """Lists, tags and locks are parts of one record."""
    name = make(s3, ObjectOwnership="BucketOwnerPreferred", ObjectLockEnabledForBucket=True)
    always(lambda: s3.get_bucket_ownership_controls(Bucket=name))
    for i in range(20):
        key = f"k{i}"
        version = s3.put_object(Bucket=name, Key=key, Body=b"x" * (1 if i % 2 else 100000))["VersionId"]

        def again(call, **kw):
            def attempt():
                return call(Bucket=name, Key=key, **kw)

            return lambda: eventually(attempt)

        outcome = run_together(again(s3.put_object_acl, ACL="public-read"), again(s3.put_object_tagging, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
                               again(s3.put_object_legal_hold, LegalHold={"Status": "ON"}))
        assert not [o for o in outcome if isinstance(o, Exception)], outcome
        seen = len(s3.get_object_acl(Bucket=name, Key=key)["Grants"]), len(s3.get_object_tagging(Bucket=name, Key=key)["TagSet"]), s3.get_object_legal_hold(Bucket=name, Key=key)["LegalHold"]["Status"]
        s3.put_object_legal_hold(Bucket=name, Key=key, LegalHold={"Status": "OFF"})
        s3.delete_object(Bucket=name, Key=key, VersionId=version)
        assert seen == (2, 1, "ON"), (i, seen)
    s3.delete_bucket(Bucket=name)


def test_a_form_with_a_list(http_endpoint, s3, nobody, bucket):
    form = http_endpoint.client(region="eu-central-1").generate_presigned_post(bucket, "f", Fields={"acl": "public-read"}, Conditions=[{"acl": "public-read"}])
    assert requests.post(form["url"], data=form["fields"], files={"file": ("f", b"data")}, timeout=30).status_code == 204
    assert nobody.get_object(Bucket=bucket, Key="f")["Body"].read() == b"data"


# ---- grants ----


def test_grants_by_header(s3, nobody, bucket):
    me = owner(s3)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", GrantRead=f'uri="{ALL}", id="{SOMEBODY.upper()}"', GrantReadACP=f"uri={ALL}", GrantFullControl=f'id="{me}"')
    assert sorted(grants(s3.get_object_acl(Bucket=bucket, Key="k"))) == sorted([("READ", ALL), ("READ", SOMEBODY), ("READ_ACP", ALL), ("FULL_CONTROL", me)])
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert len(nobody.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 4
    with refused(403):
        nobody.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    s3.put_object_acl(Bucket=bucket, Key="k", GrantWriteACP=f'uri="{ALL}"')
    assert code(nobody.get_object, Bucket=bucket, Key="k") == "AccessDenied"
    nobody.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    for kw, error in (({"GrantRead": 'emailAddress="a@b.example"'}, "UnresolvableGrantByEmailAddress"), ({"GrantRead": 'id="me"'}, "InvalidArgument"),
                      ({"GrantRead": 'uri="http://acs.amazonaws.com/groups/s3/LogDelivery"'}, "NotImplemented"), ({"GrantRead": 'uri="x"'}, "InvalidArgument"),
                      ({"GrantRead": "whom"}, "InvalidArgument"), ({"GrantRead": f"uri={ALL}", "ACL": "private"}, "InvalidRequest")):
        assert code(s3.put_object, Bucket=bucket, Key="n", Body=b"", **kw) == error
        assert code(s3.put_object_acl, Bucket=bucket, Key="k", **kw) == error


def test_grants_by_document(s3, nobody, bucket):
    me = owner(s3)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    policy = {"Owner": {"ID": me}, "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": me}, "Permission": "FULL_CONTROL"},
                                              {"Grantee": {"Type": "Group", "URI": ALL}, "Permission": "READ"}]}
    s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=policy)
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert grants(s3.get_object_acl(Bucket=bucket, Key="k")) == [("FULL_CONTROL", me), ("READ", ALL)]
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy)
    always(lambda: nobody.list_objects_v2(Bucket=bucket))
    assert code(s3.put_object_acl, Bucket=bucket, Key="k", AccessControlPolicy=policy | {"Owner": {"ID": SOMEBODY}}) == "AccessDenied"
    assert code(s3.put_object_acl, Bucket=bucket, Key="missing", AccessControlPolicy=policy) == "NoSuchKey"
    many = [{"Grantee": {"Type": "CanonicalUser", "ID": f"{i:064x}"}, "Permission": "READ"} for i in range(101)]
    assert code(s3.put_object_acl, Bucket=bucket, Key="k", AccessControlPolicy=policy | {"Grants": many}) == "MalformedACLError"
    s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=policy | {"Grants": many[:100]})
    assert len(s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 100
    s3.put_bucket_acl(Bucket=bucket, ACL="private")


@pytest.mark.parametrize("body", ["<X/>", "<AccessControlPolicy/>", "<AccessControlPolicy><Owner><ID>{me}</ID></Owner></AccessControlPolicy>",
                                  "<AccessControlPolicy><Owner><ID>{me}</ID></Owner><AccessControlList><Grant><Grantee><ID>{me}</ID></Grantee></Grant></AccessControlList></AccessControlPolicy>",
                                  "<AccessControlPolicy><Owner><ID>{me}</ID></Owner><AccessControlList><Grant><Grantee><ID>{me}</ID></Grantee><Permission>ALL</Permission></Grant></AccessControlList></AccessControlPolicy>",
                                  "<AccessControlPolicy>", "<!DOCTYPE x><AccessControlPolicy/>"])
def test_malformed_documents(http_endpoint, s3, bucket, body):
    headers = Signer(http_endpoint).headers("PUT", f"/{bucket}", "UNSIGNED-PAYLOAD", query="acl=")
    r = requests.put(f"{http_endpoint.url}/{bucket}?acl", data=body.replace("{me}", owner(s3)), headers=dict(headers), timeout=30)
    assert r.status_code == 400 and "MalformedACLError" in r.text, r.text
    r = requests.put(f"{http_endpoint.url}/{bucket}?acl", headers=dict(headers), timeout=30)
    assert r.status_code == 400 and "MissingSecurityHeader" in r.text, r.text


# ---- beside policies ----


def test_blocks(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})

    def ignored():
        assert code(nobody.get_object, Bucket=bucket, Key="k") == "AccessDenied"

    always(ignored)
    assert len(s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 2
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})

    def blocked():
        assert code(s3.put_object, Bucket=bucket, Key="n", Body=b"", ACL="public-read") == "AccessDenied"
        assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"

    always(blocked)
    assert code(s3.put_bucket_acl, Bucket=bucket, ACL="authenticated-read") == "AccessDenied"
    assert code(s3.put_object_acl, Bucket=bucket, Key="k", GrantRead=f"uri={ALL}") == "AccessDenied"
    s3.put_object(Bucket=bucket, Key="n", Body=b"", GrantRead=f"id={SOMEBODY}")


def test_a_policy_denies_what_a_list_allows(s3, nobody, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    s3.put_bucket_policy(Bucket=bucket, Policy='{"Statement":[{"Effect":"Deny","Principal":"*","Action":["s3:GetObject","s3:PutObjectAcl"],"Resource":"arn:aws:s3:::%s/*"}]}' % bucket)

    def denied():
        assert code(nobody.get_object, Bucket=bucket, Key="k") == "AccessDenied"

    always(denied)
    s3.put_object(Bucket=bucket, Key="n", Body=b"")
    assert code(s3.put_object, Bucket=bucket, Key="n", Body=b"", ACL="public-read") == "AccessDenied"
    s3.delete_bucket_policy(Bucket=bucket)

    def shown():
        assert nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"

    always(shown)
