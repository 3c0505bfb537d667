"""Presigned URLs of both signature versions and SigV2 headers."""

import time

import pytest
import requests
from botocore.exceptions import ClientError


def get(endpoint, url, method="get", **kw):
    return requests.request(method, url, verify=endpoint.ca or True, timeout=20, **kw)


@pytest.mark.parametrize("version,region", [("s3v4", "us-east-1"), ("s3v4", "eu-central-1"), ("s3", "us-east-1"), (None, "us-east-1"), (None, "garage")])
def test_get_and_put(endpoint, bucket, version, region):
    s3 = endpoint.client(region=region, **({"signature_version": version} if version else {}))
    for key in ("plain", "odd +key/%é&=.txt"):
        url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": key}, ExpiresIn=60)
        assert get(endpoint, url, "put", data=b"through a link").status_code == 200
        url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key, "ResponseContentType": "x/y"}, ExpiresIn=60)
        r = get(endpoint, url)
        assert (r.status_code, r.content, r.headers["content-type"]) == (200, b"through a link", "x/y")
        assert get(endpoint, url, "delete").status_code == 403
        assert get(endpoint, url.replace("plain", "plaim").replace("odd", "ode")).status_code == 403
        url = s3.generate_presigned_url("head_object", {"Bucket": bucket, "Key": key}, ExpiresIn=60)
        assert get(endpoint, url, "head").headers["content-length"] == "14"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_expiry_and_tampering(endpoint, bucket, version):
    s3 = endpoint.client(signature_version=version)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=1)
    assert get(endpoint, url).status_code == 200
    time.sleep(2.2)
    r = get(endpoint, url)
    assert r.status_code == 403 and "AccessDenied" in r.text and "expired" in r.text
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=100)
    longer = url.replace("X-Amz-Expires=100", "X-Amz-Expires=1000") if version == "s3v4" else url.replace("Expires=", "Expires=9")
    assert get(endpoint, longer).status_code == 403
    assert get(endpoint, url + "&response-content-type=a").status_code == 403
    if version == "s3v4":
        r = get(endpoint, url.replace("X-Amz-Expires=100", "X-Amz-Expires=9999999"))
        assert (r.status_code, "AuthorizationQueryParametersError" in r.text) == (400, True)


def test_sigv2_headers(endpoint, bucket):
    s3 = endpoint.client(signature_version="s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"old way", Metadata={"a": "b"})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old way"
    assert s3.list_objects(Bucket=bucket, Prefix="k")["Contents"][0]["Key"] == "k"
    u = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    p = s3.upload_part(Bucket=bucket, Key="m", UploadId=u, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=u, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": p["ETag"]}]})
    with pytest.raises(ClientError) as e:
        endpoint.client(signature_version="s3", secret="wrong").get_object(Bucket=bucket, Key="k")
    assert e.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_presigned_part(endpoint, s3, bucket):
    u = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    url = s3.generate_presigned_url("upload_part", {"Bucket": bucket, "Key": "m", "UploadId": u, "PartNumber": 1}, ExpiresIn=60)
    etag = get(endpoint, url, "put", data=b"part").headers["etag"]
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=u, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == b"part"


def test_anonymous_is_refused(endpoint, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for method, path in [("get", f"/{bucket}/k"), ("get", f"/{bucket}"), ("get", "/"), ("put", f"/{bucket}/n"), ("delete", f"/{bucket}/k"),
                         ("post", f"/{bucket}?delete"), ("put", f"/{bucket}-new"), ("get", f"/{bucket}?policy")]:
        r = get(endpoint, endpoint.url + path, method)
        assert r.status_code == 403, (method, path)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_session_tokens_are_not_ignored(endpoint, bucket):
    import boto3
    s3 = boto3.client("s3", endpoint_url=endpoint.url, aws_access_key_id=endpoint.access_key, aws_secret_access_key=endpoint.secret_key,
                      aws_session_token="token", region_name="us-east-1", verify=endpoint.ca or False)
    with pytest.raises(ClientError) as e:
        s3.list_objects_v2(Bucket=bucket)
    assert e.value.response["Error"]["Code"] in ("InvalidToken", "InvalidTokenId")
