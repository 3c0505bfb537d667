"""Users, groups, roles, keys and policies by boto3's IAM and STS clients, and what they let S3's do."""

import datetime
import io
import json
import shutil
import subprocess
import time
import urllib.parse
import uuid

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

import server as srv
from conftest import Endpoint, close_connection, empty_bucket
from test_s3_policy import eventually
from wire import Signer

ACCOUNT = "000000000000"


def client(endpoint, service, key=None, **more):
    """At one gateway: others may know of a change a moment later."""
    key = key or {"AccessKeyId": endpoint.access_key, "SecretAccessKey": endpoint.secret_key}
    return boto3.client(service, endpoint_url=endpoint.url, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                        aws_secret_access_key=key["SecretAccessKey"], aws_session_token=key.get("SessionToken"),
                        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, **more))


def code(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response["Error"]["Code"]


def doc(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", effect="Allow", **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def trust(principal, **more):
    return doc({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more})


@pytest.fixture
def iam(http_endpoint):
    return client(http_endpoint, "iam")


@pytest.fixture
def sts(http_endpoint):
    return client(http_endpoint, "sts")


@pytest.fixture
def s3(http_endpoint):
    return client(http_endpoint, "s3")


@pytest.fixture
def bucket(s3):
    name = "identities-" + uuid.uuid4().hex[:8]
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a/1", Body=b"one")
    s3.put_object(Bucket=name, Key="b/1", Body=b"two")
    yield name
    s3.delete_bucket_policy(Bucket=name)
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


def remove_user(iam, name):
    for k in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=k["AccessKeyId"])
    for p in iam.list_user_policies(UserName=name)["PolicyNames"]:
        iam.delete_user_policy(UserName=name, PolicyName=p)
    for p in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=name, PolicyArn=p["PolicyArn"])
    for g in iam.list_groups_for_user(UserName=name)["Groups"]:
        iam.remove_user_from_group(UserName=name, GroupName=g["GroupName"])
    iam.delete_user(UserName=name)


@pytest.fixture
def user(iam):
    name = "u-" + uuid.uuid4().hex[:8]
    iam.create_user(UserName=name)
    yield name
    remove_user(iam, name)


@pytest.fixture
def key(iam, user):
    return iam.create_access_key(UserName=user)["AccessKey"]


@pytest.fixture
def hers(http_endpoint, key):
    """The user's S3."""
    return client(http_endpoint, "s3", key)


@pytest.fixture
def role(iam, user):
    name = "r-" + uuid.uuid4().hex[:8]
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/{user}"}))
    yield name
    for p in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=p)
    for p in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=p["PolicyArn"])
    iam.delete_role(RoleName=name)


@pytest.fixture
def policy(iam):
    """Makes managed policies."""
    made = []

    def make(document, **kw):
        made.append(iam.create_policy(PolicyName="p-" + uuid.uuid4().hex[:8], PolicyDocument=document, **kw)["Policy"]["Arn"])
        return made[-1]

    yield make
    for arn in made:
        who = iam.list_entities_for_policy(PolicyArn=arn)
        for u in who["PolicyUsers"]:
            iam.detach_user_policy(UserName=u["UserName"], PolicyArn=arn)
        for g in who["PolicyGroups"]:
            iam.detach_group_policy(GroupName=g["GroupName"], PolicyArn=arn)
        for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not v["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=arn, VersionId=v["VersionId"])
        iam.delete_policy(PolicyArn=arn)


# ---- users ----


def test_life_of_a_user(iam):
    name = "life-" + uuid.uuid4().hex[:8]
    made = iam.create_user(UserName=name, Path="/team/a/", Tags=[{"Key": "k", "Value": "v & <w>"}])["User"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/team/a/{name}" and made["UserId"].startswith("AIDA")
    assert code(iam.create_user, UserName=name) == "EntityAlreadyExists"
    got = iam.get_user(UserName=name)["User"]
    assert {k: got[k] for k in ("Arn", "UserId", "Path", "CreateDate")} == {k: made[k] for k in ("Arn", "UserId", "Path", "CreateDate")}
    assert abs((got["CreateDate"] - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) < 60
    assert iam.list_user_tags(UserName=name)["Tags"] == [{"Key": "k", "Value": "v & <w>"}]
    iam.tag_user(UserName=name, Tags=[{"Key": "k", "Value": "2"}, {"Key": "b", "Value": ""}])
    iam.untag_user(UserName=name, TagKeys=["b"])
    assert iam.list_user_tags(UserName=name)["Tags"] == [{"Key": "k", "Value": "2"}]
    iam.update_user(UserName=name, NewPath="/team/b/")
    assert [u["UserName"] for u in iam.list_users(PathPrefix="/team/b/")["Users"] if u["UserName"] == name] == [name]
    assert name not in [u["UserName"] for u in iam.list_users(PathPrefix="/team/a/")["Users"]]
    k = iam.create_access_key(UserName=name)["AccessKey"]
    assert code(iam.delete_user, UserName=name) == "DeleteConflict"
    iam.delete_access_key(UserName=name, AccessKeyId=k["AccessKeyId"])
    iam.delete_user(UserName=name)
    assert code(iam.get_user, UserName=name) == "NoSuchEntity"
    assert code(iam.delete_user, UserName=name) == "NoSuchEntity"


def test_pages(iam):
    names = sorted(f"page-{uuid.uuid4().hex[:8]}" for _ in range(5))
    for n in names:
        iam.create_user(UserName=n, Path="/pages/")
    try:
        pages = list(iam.get_paginator("list_users").paginate(PathPrefix="/pages/", PaginationConfig={"PageSize": 2}))
        assert [u["UserName"] for p in pages for u in p["Users"]] == names
        assert [len(p["Users"]) for p in pages] == [2, 2, 1] and [p["IsTruncated"] for p in pages] == [True, True, False]
    finally:
        for n in names:
            iam.delete_user(UserName=n)


@pytest.mark.parametrize("call,kw", [("create_user", {"UserName": "a b"}), ("create_user", {"UserName": "a/b"}), ("create_user", {"UserName": "x", "Path": "no"}),
                                     ("create_group", {"GroupName": "ü"}), ("create_user", {"UserName": "x" * 64 + "y"}),
                                     ("list_users", {"MaxItems": 1000, "PathPrefix": "/", "Marker": "\u0000"})])
def test_bad_names_are_named(iam, call, kw):
    strict = boto3.client("iam", endpoint_url=iam.meta.endpoint_url, region_name="us-east-1", aws_access_key_id=iam._request_signer._credentials.access_key,
                          aws_secret_access_key=iam._request_signer._credentials.secret_key, config=Config(parameter_validation=False, retries={"max_attempts": 0}))
    assert code(getattr(strict, call), **kw) == "ValidationError"


# ---- what users may ----


def test_a_user_may_nothing_at_first(hers, bucket):
    assert code(hers.list_buckets) == "AccessDenied"
    assert code(hers.get_object, Bucket=bucket, Key="a/1") == "AccessDenied"
    assert code(hers.create_bucket, Bucket="never-made") == "AccessDenied"
    assert code(hers.get_bucket_policy, Bucket=bucket) == "AccessDenied"


def test_inline_policies(iam, s3, hers, user, bucket):
    iam.put_user_policy(UserName=user, PolicyName="read", PolicyDocument=doc(
        allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/a/*"), allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition={"StringLike": {"s3:prefix": "a/*"}})))
    assert hers.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    assert code(hers.get_object, Bucket=bucket, Key="b/1") == "AccessDenied"
    hers.put_object(Bucket=bucket, Key="a/2", Body=b"new")
    assert s3.get_object(Bucket=bucket, Key="a/2")["Body"].read() == b"new"
    assert code(hers.put_object, Bucket=bucket, Key="b/2") == "AccessDenied"
    assert code(hers.delete_object, Bucket=bucket, Key="a/1") == "AccessDenied"
    assert [o["Key"] for o in hers.list_objects_v2(Bucket=bucket, Prefix="a/")["Contents"]] == ["a/1", "a/2"]
    assert code(hers.list_objects_v2, Bucket=bucket) == "AccessDenied"
    # of a copy both ends count, of a bulk deletion every key
    assert code(hers.copy_object, Bucket=bucket, Key="a/3", CopySource=f"{bucket}/b/1") == "AccessDenied"
    hers.copy_object(Bucket=bucket, Key="a/3", CopySource=f"{bucket}/a/1")
    assert {e["Code"] for e in hers.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/1"}, {"Key": "b/1"}]})["Errors"]} == {"AccessDenied"}
    # an explicit denial wins
    iam.put_user_policy(UserName=user, PolicyName="not", PolicyDocument=doc(allow("s3:*", f"arn:aws:s3:::{bucket}/a/1", "Deny")))
    assert code(hers.get_object, Bucket=bucket, Key="a/1") == "AccessDenied"
    assert hers.get_object(Bucket=bucket, Key="a/2")["Body"].read() == b"new"
    assert iam.list_user_policies(UserName=user)["PolicyNames"] == ["not", "read"]
    assert iam.get_user_policy(UserName=user, PolicyName="not")["PolicyDocument"]["Statement"][0]["Effect"] == "Deny"
    iam.delete_user_policy(UserName=user, PolicyName="not")
    assert code(iam.delete_user_policy, UserName=user, PolicyName="not") == "NoSuchEntity"
    assert hers.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"


def test_variables_and_own_folders(iam, hers, user, bucket):
    iam.put_user_policy(UserName=user, PolicyName="home", PolicyDocument=doc(allow("s3:*Object", f"arn:aws:s3:::{bucket}/home/${{aws:username}}/*")))
    hers.put_object(Bucket=bucket, Key=f"home/{user}/x", Body=b"mine")
    assert code(hers.put_object, Bucket=bucket, Key="home/other/x") == "AccessDenied"


def test_buckets_of_users_belong_to_the_account(iam, s3, hers, user):
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=doc(allow("s3:*")))
    name = "hers-" + uuid.uuid4().hex[:8]
    hers.create_bucket(Bucket=name)
    try:
        assert name in [b["Name"] for b in s3.list_buckets()["Buckets"]]
        assert hers.list_buckets()["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"] == s3.get_bucket_acl(Bucket=name)["Owner"]["ID"]
    finally:
        s3.delete_bucket(Bucket=name)


def test_policies_of_buckets_and_of_users_add_up(iam, s3, hers, user, bucket):
    arn = f"arn:aws:iam::{ACCOUNT}:user/{user}"
    s3.put_bucket_policy(Bucket=bucket, Policy=doc({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/a/*"}))
    assert eventually(lambda: hers.get_object(Bucket=bucket, Key="a/1"))["Body"].read() == b"one"
    # who is named as the whole account may only what its own policies say
    s3.put_bucket_policy(Bucket=bucket, Policy=doc({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}))
    eventually(lambda: code(hers.get_object, Bucket=bucket, Key="a/1") == "AccessDenied" or pytest.fail())
    iam.put_user_policy(UserName=user, PolicyName="b", PolicyDocument=doc(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/b/*")))
    assert hers.get_object(Bucket=bucket, Key="b/1")["Body"].read() == b"two"
    s3.put_bucket_policy(Bucket=bucket, Policy=doc({"Effect": "Deny", "Principal": {"AWS": arn}, "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}))
    eventually(lambda: code(hers.get_object, Bucket=bucket, Key="b/1") == "AccessDenied" or pytest.fail())


def test_tags_of_objects_decide(iam, s3, hers, user, bucket):
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="team=red")
    iam.put_user_policy(UserName=user, PolicyName="t", PolicyDocument=doc(
        allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Condition={"StringEquals": {"s3:ExistingObjectTag/team": "red"}}),
        allow("s3:PutObject*", f"arn:aws:s3:::{bucket}/*", Condition={"StringEquals": {"s3:RequestObjectTag/team": "red"}})))
    assert hers.get_object(Bucket=bucket, Key="tagged")["Body"].read() == b"x"
    assert code(hers.get_object, Bucket=bucket, Key="a/1") == "AccessDenied"
    hers.put_object(Bucket=bucket, Key="red", Body=b"r", Tagging="team=red")
    assert code(hers.put_object, Bucket=bucket, Key="blue", Body=b"r", Tagging="team=blue") == "AccessDenied"
    assert code(hers.put_object_tagging, Bucket=bucket, Key="red", Tagging={"TagSet": [{"Key": "team", "Value": "blue"}]}) == "AccessDenied"


# ---- groups, managed policies ----


def test_groups(iam, hers, user, bucket):
    group = "g-" + uuid.uuid4().hex[:8]
    assert iam.create_group(GroupName=group)["Group"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/{group}"
    iam.put_group_policy(GroupName=group, PolicyName="read", PolicyDocument=doc(allow("s3:GetObject")))
    assert code(hers.get_object, Bucket=bucket, Key="a/1") == "AccessDenied"
    iam.add_user_to_group(GroupName=group, UserName=user)
    assert hers.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    assert [u["UserName"] for u in iam.get_group(GroupName=group)["Users"]] == [user]
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName=user)["Groups"]] == [group]
    iam.delete_group_policy(GroupName=group, PolicyName="read")
    assert code(iam.delete_group, GroupName=group) == "DeleteConflict"
    assert code(hers.get_object, Bucket=bucket, Key="a/1") == "AccessDenied"
    iam.remove_user_from_group(GroupName=group, UserName=user)
    assert code(iam.remove_user_from_group, GroupName=group, UserName=user) == "NoSuchEntity"
    iam.delete_group(GroupName=group)
    assert code(iam.add_user_to_group, GroupName=group, UserName=user) == "NoSuchEntity"


def test_managed_policies_and_their_versions(iam, hers, user, bucket, policy):
    arn = policy(doc(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/a/*")), Description="of a")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 0
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    got = iam.get_policy(PolicyArn=arn)["Policy"]
    assert got["AttachmentCount"] == 1 and got["DefaultVersionId"] == "v1" and got["Description"] == "of a"
    assert [p["PolicyArn"] for p in iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]] == [arn]
    assert hers.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=doc(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/b/*")))["PolicyVersion"]["VersionId"] == "v2"
    assert code(hers.get_object, Bucket=bucket, Key="b/1") == "AccessDenied"
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert hers.get_object(Bucket=bucket, Key="b/1")["Body"].read() == b"two"
    assert code(hers.get_object, Bucket=bucket, Key="a/1") == "AccessDenied"
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]["Statement"][0]["Resource"].endswith("/a/*")
    assert [(v["VersionId"], v["IsDefaultVersion"]) for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == [("v2", True), ("v1", False)]
    for _ in range(3):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=doc(allow("s3:*")))
    assert code(iam.create_policy_version, PolicyArn=arn, PolicyDocument=doc(allow("s3:*"))) == "LimitExceeded"
    assert code(iam.delete_policy_version, PolicyArn=arn, VersionId="v2") == "DeleteConflict"
    assert code(iam.delete_policy, PolicyArn=arn) == "DeleteConflict"
    assert [u["UserName"] for u in iam.list_entities_for_policy(PolicyArn=arn)["PolicyUsers"]] == [user]
    iam.detach_user_policy(UserName=user, PolicyArn=arn)
    assert code(hers.get_object, Bucket=bucket, Key="b/1") == "AccessDenied"
    assert code(iam.attach_user_policy, UserName=user, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/none") == "NoSuchEntity"


def test_a_policy_made_anew_is_not_attached(iam, hers, user, bucket):
    name = "again-" + uuid.uuid4().hex[:8]
    arn = iam.create_policy(PolicyName=name, PolicyDocument=doc(allow("s3:GetObject")))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    iam.detach_user_policy(UserName=user, PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    iam.create_policy(PolicyName=name, PolicyDocument=doc(allow("s3:GetObject")))
    assert code(hers.get_object, Bucket=bucket, Key="a/1") == "AccessDenied"
    iam.delete_policy(PolicyArn=arn)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Version":"2012-10-17"}', '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*"}]}',
                                  '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Principal":"*"}]}',
                                  '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"s3:nonsense":"x"}}}]}'])
def test_documents_that_are_none(iam, user, text):
    with pytest.raises(ClientError) as e:
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=text or " ")
    assert e.value.response["Error"]["Code"] == "MalformedPolicyDocument"
    assert iam.list_user_policies(UserName=user)["PolicyNames"] == []


# ---- keys ----


def test_keys_are_switched_off_and_removed(iam, hers, user, key):
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=doc(allow("s3:*")))
    hers.list_buckets()
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert code(hers.list_buckets) == "InvalidAccessKeyId"
    assert iam.list_access_keys(UserName=user)["AccessKeyMetadata"][0]["Status"] == "Inactive"
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Active")
    hers.list_buckets()
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    assert code(hers.list_buckets) == "InvalidAccessKeyId"


def test_a_user_made_anew_is_another(iam, http_endpoint):
    name = "twice-" + uuid.uuid4().hex[:8]
    first = iam.create_user(UserName=name)["User"]["UserId"]
    iam.delete_user(UserName=name)
    assert iam.create_user(UserName=name)["User"]["UserId"] != first
    iam.delete_user(UserName=name)


def extra(http_endpoint, user, key=None, **more):
    """A key made with parameters that boto3 does not know."""
    c = client(http_endpoint, "iam", key)
    c.meta.events.register("before-call.iam.CreateAccessKey", lambda params, **_: params["body"].update(more))
    return c.create_access_key(UserName=user)["AccessKey"]


def test_keys_that_end_and_keys_with_a_scope(iam, http_endpoint, user, bucket):
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=doc(allow("s3:*"), allow("iam:*")))
    short = extra(http_endpoint, user, DurationSeconds="3")
    s3 = client(http_endpoint, "s3", short)
    s3.list_buckets()
    narrow = extra(http_endpoint, user, Policy=doc(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/a/*"), allow("iam:*")))
    less = client(http_endpoint, "s3", narrow)
    assert less.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    assert code(less.get_object, Bucket=bucket, Key="b/1") == "AccessDenied"
    assert code(less.list_buckets) == "AccessDenied"
    # what has a scope can't make itself another key
    assert code(client(http_endpoint, "iam", narrow).create_access_key, UserName=user) == "AccessDenied"
    # and its sessions have it, too
    session = client(http_endpoint, "sts", narrow).get_session_token()["Credentials"]
    less = client(http_endpoint, "s3", session)
    assert less.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    assert code(less.get_object, Bucket=bucket, Key="b/1") == "AccessDenied"
    time.sleep(3)
    assert eventually(lambda: code(s3.list_buckets)) == "InvalidAccessKeyId"


def test_keys_of_another_server_are_taken_over(http_endpoint, iam, user, bucket):
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=doc(allow("s3:*"), allow("iam:*")))
    given = {"AccessKeyId": "old-" + uuid.uuid4().hex[:16], "SecretAccessKey": "an+old/secret=" + uuid.uuid4().hex}
    made = extra(http_endpoint, user, **given)
    assert {k: made[k] for k in given} == given
    assert client(http_endpoint, "s3", given).get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    for more, expected in (({}, "EntityAlreadyExists"), ({"AccessKeyId": http_endpoint.access_key}, "EntityAlreadyExists"), ({"AccessKeyId": "ASIAOLD"}, "ValidationError"), ({"AccessKeyId": "a b"}, "ValidationError"),
                           ({"AccessKeyId": "another", "SecretAccessKey": "short"}, "ValidationError"), ({"AccessKeyId": "another", "SecretAccessKey": "with a space"}, "ValidationError")):
        with pytest.raises(ClientError) as e:
            extra(http_endpoint, user, **{**given, **more})
        assert e.value.response["Error"]["Code"] == expected, more
    with pytest.raises(ClientError) as e:
        extra(http_endpoint, user, key=given, **{**given, "AccessKeyId": "another"})
    assert e.value.response["Error"]["Code"] == "AccessDenied"


def test_the_command_of_the_documents(http_endpoint, iam, user):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    r = subprocess.run(["curl", "-sS", "--aws-sigv4", "aws:amz:us-east-1:iam", "--user", f"{http_endpoint.access_key}:{http_endpoint.secret_key}", http_endpoint.url + "/",
                        "--data-urlencode", "Action=CreateAccessKey", "--data-urlencode", "Version=2010-05-08", "--data-urlencode", f"UserName={user}",
                        "--data-urlencode", f"AccessKeyId={user}-from-elsewhere", "--data-urlencode", "SecretAccessKey=its/old+secret"], capture_output=True, text=True, timeout=60)
    assert f"<AccessKeyId>{user}-from-elsewhere</AccessKeyId>" in r.stdout, r.stdout + r.stderr
    assert client(http_endpoint, "sts", {"AccessKeyId": f"{user}-from-elsewhere", "SecretAccessKey": "its/old+secret"}).get_caller_identity()["Arn"].endswith(user)


def test_the_owner_has_further_keys(iam, http_endpoint, bucket):
    k = iam.create_access_key()["AccessKey"]
    try:
        assert "UserName" not in k or not k["UserName"]
        s3 = client(http_endpoint, "s3", k)
        assert s3.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
        assert client(http_endpoint, "sts", k).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
        assert [x["AccessKeyId"] for x in iam.list_access_keys()["AccessKeyMetadata"] if x["AccessKeyId"] == k["AccessKeyId"]]
    finally:
        iam.delete_access_key(AccessKeyId=k["AccessKeyId"])
    assert code(s3.list_buckets) == "InvalidAccessKeyId"


def test_secrets_are_nowhere_in_the_clear(tmp_path):
    server = srv.Server()
    with srv.running(server):
        endpoint = Endpoint(server, "http")
        iam = client(endpoint, "iam")
        iam.create_user(UserName="kept")
        secret = iam.create_access_key(UserName="kept")["AccessKey"]
        iam.put_user_policy(UserName="kept", PolicyName="p", PolicyDocument=doc(allow("s3:*")))
        server.stop()
        assert subprocess.run(["grep", "-rlaF", secret["SecretAccessKey"], *map(str, server.data)], capture_output=True, text=True).stdout == ""
        assert secret["SecretAccessKey"] not in server.logs()
        server.start()
        client(Endpoint(server, "http"), "s3", secret).list_buckets()  # who is there is there after a restart


# ---- who may change identities ----


def test_users_need_permission_for_calls(iam, http_endpoint, user, key):
    mine = client(http_endpoint, "iam", key)
    assert code(mine.list_users) == "AccessDenied"
    assert code(mine.create_user, UserName="x") == "AccessDenied"
    assert code(mine.create_access_key) == "AccessDenied"
    iam.put_user_policy(UserName=user, PolicyName="self", PolicyDocument=doc(
        allow(["iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:ListAccessKeys", "iam:GetUser"], f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}")))
    assert mine.get_user()["User"]["UserName"] == user
    k = mine.create_access_key()["AccessKey"]
    assert k["UserName"] == user
    mine.delete_access_key(AccessKeyId=k["AccessKeyId"])
    assert code(mine.put_user_policy, UserName=user, PolicyName="more", PolicyDocument=doc(allow("*"))) == "AccessDenied"
    other = iam.create_user(UserName="o-" + uuid.uuid4().hex[:8])["User"]["UserName"]
    try:
        assert code(mine.create_access_key, UserName=other) == "AccessDenied"
    finally:
        iam.delete_user(UserName=other)


def test_users_are_not_owners_of_the_native_api(http_endpoint, iam, user, key):
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=doc(allow("*")))
    s = Signer(http_endpoint)
    s.key, s.access_key = key["SecretAccessKey"].encode(), key["AccessKeyId"]
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    r = AWSRequest("GET", http_endpoint.url + "/v1/buckets", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    S3SigV4Auth(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), "s3", "us-east-1").add_auth(r)
    assert requests.get(r.url, headers=dict(r.headers), timeout=30).status_code == 403


# ---- sessions ----


def test_session_tokens(iam, http_endpoint, user, key, bucket):
    iam.put_user_policy(UserName=user, PolicyName="read", PolicyDocument=doc(allow("s3:GetObject"), allow("iam:*")))
    made = client(http_endpoint, "sts", key).get_session_token(DurationSeconds=900)["Credentials"]
    assert made["AccessKeyId"].startswith("ASIA") and 800 < (made["Expiration"] - datetime.datetime.now(datetime.timezone.utc)).total_seconds() <= 900
    s3 = client(http_endpoint, "s3", made)
    assert s3.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a/1"})
    assert requests.get(url, timeout=30).content == b"one"
    form = s3.generate_presigned_post(bucket, "a/form")
    iam.put_user_policy(UserName=user, PolicyName="write", PolicyDocument=doc(allow("s3:PutObject")))
    assert requests.post(form["url"], data=form["fields"], files={"file": b"formed"}, timeout=30).status_code == 204
    s3.upload_fileobj(io.BytesIO(b"z" * (9 << 20)), bucket, "a/parts")
    assert code(client(http_endpoint, "sts", made).get_session_token) == "AccessDenied"
    assert code(client(http_endpoint, "iam", made).create_access_key, UserName=user) == "AccessDenied"
    # without its token, with a wrong one, or with another's, the key is nobody's
    for token in (None, "x", made["SessionToken"][:-8] + "AAAAAAA=", client(http_endpoint, "sts", key).get_session_token()["Credentials"]["SessionToken"]):
        assert code(client(http_endpoint, "s3", {**made, "SessionToken": token}).get_object, Bucket=bucket, Key="a/1") in ("InvalidAccessKeyId", "InvalidToken")
    iam.delete_user_policy(UserName=user, PolicyName="read")
    assert code(s3.get_object, Bucket=bucket, Key="a/1") == "AccessDenied"


def test_sessions_end_with_their_user(iam, http_endpoint, bucket):
    name = "gone-" + uuid.uuid4().hex[:8]
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=doc(allow("s3:*")))
    made = client(http_endpoint, "sts", iam.create_access_key(UserName=name)["AccessKey"]).get_session_token()["Credentials"]
    s3 = client(http_endpoint, "s3", made)
    s3.list_buckets()
    remove_user(iam, name)
    assert code(s3.list_buckets) == "InvalidAccessKeyId"
    iam.create_user(UserName=name)  # another of the same name
    assert code(s3.list_buckets) == "InvalidAccessKeyId"
    iam.delete_user(UserName=name)


def test_a_token_must_be_signed(http_endpoint, sts, bucket):
    made = sts.get_session_token()["Credentials"]
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    r = AWSRequest("GET", f"{http_endpoint.url}/{bucket}/a/1", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    S3SigV4Auth(Credentials(made["AccessKeyId"], made["SecretAccessKey"]), "s3", "us-east-1").add_auth(r)
    headers = dict(r.headers) | {"x-amz-security-token": made["SessionToken"]}
    answer = requests.get(r.url, headers=headers, timeout=30)
    assert answer.status_code == 403 and b"HeadersNotSigned" in answer.content
    answer = requests.get(r.url + "?X-Amz-Security-Token=" + urllib.parse.quote(made["SessionToken"]), headers=dict(r.headers), timeout=30)
    assert answer.status_code in (400, 403)


def test_roles(iam, sts, http_endpoint, user, key, role, bucket):
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    hers = client(http_endpoint, "sts", key)
    made = hers.assume_role(RoleArn=arn, RoleSessionName="job-1")
    assert made["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/job-1"
    s3 = client(http_endpoint, "s3", made["Credentials"])
    assert code(s3.get_object, Bucket=bucket, Key="a/1") == "AccessDenied"
    iam.put_role_policy(RoleName=role, PolicyName="read", PolicyDocument=doc(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*")))
    assert s3.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    assert client(http_endpoint, "sts", made["Credentials"]).get_caller_identity() | {"ResponseMetadata": 0} == {
        "Account": ACCOUNT, "Arn": made["AssumedRoleUser"]["Arn"], "UserId": made["AssumedRoleUser"]["AssumedRoleId"], "ResponseMetadata": 0}
    # a policy of the session takes away
    less = client(http_endpoint, "s3", hers.assume_role(RoleArn=arn, RoleSessionName="job", Policy=doc(allow("s3:*", f"arn:aws:s3:::{bucket}/a/*")))["Credentials"])
    assert less.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    assert code(less.get_object, Bucket=bucket, Key="b/1") == "AccessDenied"
    assert code(less.list_buckets) == "AccessDenied"
    # whom the trust policy does not name may not
    assert code(sts.assume_role, RoleArn=arn, RoleSessionName="job") == "AccessDenied"
    assert code(hers.assume_role, RoleArn=arn + "x", RoleSessionName="job") == "AccessDenied"
    assert code(hers.assume_role, RoleArn=arn, RoleSessionName="job", DurationSeconds=7200) == "ValidationError"
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, Condition={"StringEquals": {"sts:ExternalId": "ee"}}))
    assert code(hers.assume_role, RoleArn=arn, RoleSessionName="job", ExternalId="ee") == "AccessDenied"  # of the account: its own policy is needed
    iam.put_user_policy(UserName=user, PolicyName="assume", PolicyDocument=doc(allow("sts:AssumeRole", arn)))
    hers.assume_role(RoleArn=arn, RoleSessionName="job", ExternalId="ee")
    assert code(hers.assume_role, RoleArn=arn, RoleSessionName="job") == "AccessDenied"


def test_roles_in_policies_of_buckets(iam, s3, http_endpoint, user, key, role, bucket):
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    made = client(http_endpoint, "sts", key).assume_role(RoleArn=arn, RoleSessionName="job-1")["Credentials"]
    s3.put_bucket_policy(Bucket=bucket, Policy=doc({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/a/*"}))
    hers = client(http_endpoint, "s3", made)
    assert eventually(lambda: hers.get_object(Bucket=bucket, Key="a/1"))["Body"].read() == b"one"
    assert code(hers.get_object, Bucket=bucket, Key="b/1") == "AccessDenied"


# ---- the wire ----


def call(endpoint, body, headers=None):
    return requests.post(endpoint.url + "/", data=body, headers={"Content-Type": "application/x-www-form-urlencoded"} | (headers or {}), timeout=30)


def test_unsigned_calls_are_refused(http_endpoint):
    for action in ("ListUsers", "CreateUser", "GetCallerIdentity", "AssumeRole"):
        version = "2011-06-15" if action in ("GetCallerIdentity", "AssumeRole") else "2010-05-08"
        answer = call(http_endpoint, {"Action": action, "Version": version, "UserName": "x"})
        assert answer.status_code == 403 and b"MissingAuthenticationToken" in answer.content


def test_what_is_signed_is_what_is_done(http_endpoint):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    def signed(body, service="iam", query=""):
        r = AWSRequest("POST", http_endpoint.url + "/" + query, data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
        SigV4Auth(Credentials(http_endpoint.access_key, http_endpoint.secret_key), service, "us-east-1").add_auth(r)
        return r

    good = signed("Action=ListUsers&Version=2010-05-08")
    assert call(http_endpoint, good.data, dict(good.headers)).status_code == 200
    assert b"SignatureDoesNotMatch" in call(http_endpoint, "Action=CreateUser&Version=2010-05-08&UserName=evil", dict(good.headers)).content
    wrong = signed("Action=ListUsers&Version=2010-05-08", service="s3")
    assert call(http_endpoint, wrong.data, dict(wrong.headers)).status_code in (400, 403)
    for body, code in (("Action=Nonsense&Version=2010-05-08", b"InvalidAction"), ("Action=ListUsers&Version=1999-01-01", b"InvalidAction"), ("", b"InvalidAction"),
                       ("Action=ListUsers&Action=CreateUser&Version=2010-05-08", b"ValidationError"), ("Action=ListUsers&Version=2010-05-08&PathPrefix=%00", b"ValidationError"),
                       ("Action=ListUsers&Version=2010-05-08&PathPrefix=%ff", b"ValidationError"), ("&".join(f"a{i}=1" for i in range(600)), b"ValidationError")):
        r = signed(body)
        answer = call(http_endpoint, body, dict(r.headers))
        assert answer.status_code == 400 and code in answer.content, (body, answer.content)
    assert call(http_endpoint, b"x" * (300 << 10)).status_code in (400, 413)


def test_servers_for_everybody_have_no_identities(open_server):
    answer = requests.post(open_server.http + "/", data={"Action": "ListUsers", "Version": "2010-05-08"}, timeout=30)
    assert answer.status_code == 501 and b"NotImplemented" in answer.content


def test_other_gateways_know_within_two_seconds(iam, http_endpoint, user, key, bucket):
    """Each request over a connection of its own: of a cluster, at any of its gateways."""
    def asked():
        s3 = client(http_endpoint, "s3", key)
        s3.meta.events.register("before-send.s3", close_connection)
        try:
            return s3.get_object(Bucket=bucket, Key="a/1")["Body"].read()
        except ClientError as e:
            return e.response["Error"]["Code"]

    def all_say(what):
        began = time.monotonic()
        while any(asked() != what for _ in range(12)):
            assert time.monotonic() - began < 10  # of a machine with much else to do
        return time.monotonic() - began

    iam.put_user_policy(UserName=user, PolicyName="read", PolicyDocument=doc(allow("s3:GetObject")))
    all_say(b"one")
    iam.delete_user_policy(UserName=user, PolicyName="read")
    all_say("AccessDenied")
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    all_say("InvalidAccessKeyId")


def test_users_make_no_views_of_what_they_may_not_read(iam, s3, hers, user, bucket):
    """A bucket's settings can show what is in another, or at another store."""
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=doc(allow("s3:*", ["arn:aws:s3:::hers-*", "arn:aws:s3:::hers-*/*"])))
    hers.meta.events.register("before-call.s3.CreateBucket", lambda params, **_: params["headers"].update({"x-sluice-settings": '{"members":true}'}))
    assert code(hers.create_bucket, Bucket="hers-" + uuid.uuid4().hex[:8]) == "AccessDenied"
