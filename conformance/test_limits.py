"""How many requests a second buckets and users may have, by tags that only the owner gives."""

import time

import pytest
import requests

from conftest import close_connection
from test_identities import allow, bucket, client, code, doc, hers, iam, key, remove_user, s3, user  # noqa: F401 fixtures
from test_s3_policy import eventually

RATE = "sluice:requests-per-second"


def tags(n, **others):
    return {"TagSet": [{"Key": RATE, "Value": str(n)}] + [{"Key": k, "Value": v} for k, v in others.items()]}


def count(url, seconds):
    """Answers by status, of as many requests as can be asked."""
    session, found, end = requests.Session(), {}, time.monotonic() + seconds
    while time.monotonic() < end:
        status = session.get(url, timeout=30).status_code
        found[status] = found.get(status, 0) + 1
    return found


def presigned(s3, bucket, key="a/1"):
    return s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=300)


def test_a_bucket_has_a_rate(s3, bucket):  # noqa: F811
    url = presigned(s3, bucket)
    assert set(count(url, 0.5)) == {200}
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tags(10, other="x"))
    eventually(lambda: [requests.get(url, timeout=30).status_code for _ in range(60)].count(503) > 5 or pytest.fail())
    found = count(url, 3)
    assert set(found) == {200, 503} and 15 <= found[200] <= 2 * 45, found  # 3 s and what was left of one, for each gateway
    refused = next(r for r in iter(lambda: requests.get(url, timeout=30), None) if r.status_code == 503)
    assert b"<Code>SlowDown</Code>" in refused.content and refused.headers["Retry-After"] == "1"
    time.sleep(1.2)
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tags(100000))
    eventually(lambda: set(count(url, 0.5)) == {200} or pytest.fail())
    s3.delete_bucket_tagging(Bucket=bucket)


def test_a_user_has_a_rate(iam, s3, hers, user, bucket):  # noqa: F811
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=doc(allow("s3:*")))
    mine, theirs = presigned(hers, bucket), presigned(s3, bucket)
    assert requests.get(mine, timeout=30).status_code == 200
    iam.tag_user(UserName=user, Tags=[{"Key": RATE, "Value": "5"}])
    eventually(lambda: 503 in count(mine, 0.5) or pytest.fail())
    assert set(count(theirs, 0.5)) == {200}
    found = count(mine, 2)
    assert 0 < found[200] <= 2 * 16 < found[503], found
    iam.untag_user(UserName=user, TagKeys=[RATE])
    eventually(lambda: set(count(mine, 0.5)) == {200} or pytest.fail())


def test_only_the_owner_gives_rates(iam, s3, hers, user, bucket):  # noqa: F811
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=doc(allow("s3:*")))
    assert eventually(lambda: code(hers.put_bucket_tagging, Bucket=bucket, Tagging=tags(5))) == "AccessDenied"
    hers.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "other", "Value": "x"}]})
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tags(1000, other="x"))
    time.sleep(0.3)  # of a cluster: until every gateway knows
    assert code(hers.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": [{"Key": "other", "Value": "y"}]}) == "AccessDenied"
    assert code(hers.put_bucket_tagging, Bucket=bucket, Tagging=tags(1001, other="x")) == "AccessDenied"
    assert code(hers.delete_bucket_tagging, Bucket=bucket) == "AccessDenied"
    hers.put_bucket_tagging(Bucket=bucket, Tagging=tags(1000, other="z"))
    s3.delete_bucket_tagging(Bucket=bucket)


@pytest.mark.parametrize("value", ["", "0", "-1", "x", "1.5", "1000001", "1 "])
def test_rates_that_are_none(iam, s3, user, bucket, value):  # noqa: F811
    assert code(s3.put_bucket_tagging, Bucket=bucket, Tagging=tags(value)) == "InvalidTag"
    assert code(iam.tag_user, UserName=user, Tags=[{"Key": RATE, "Value": value}]) == "ValidationError"
    assert code(iam.tag_user, UserName=user, Tags=[{"Key": "sluice:else", "Value": "1"}]) == "ValidationError"
