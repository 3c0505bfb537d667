"""Who may use the native API: tokens of `sluice token`, those of an issuer whose public keys are configured, signatures as of S3."""

import base64
import json
import os
import subprocess
import time

import pytest
import requests

import server as srv


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two RSA keys; the first one's public half is configured."""
    d = tmp_path_factory.mktemp("keys")
    for name in ("ours", "other"):
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(d / name))
    openssl("pkey", "-in", str(d / "ours"), "-pubout", "-out", str(d / "public.pem"))
    return d


@pytest.fixture(scope="module")
def closed(new_server, keys):
    extra = ("--tokens-keys", str(keys / "public.pem"), "--tokens-issuer", "us", "--tokens-audience", "sluice")
    with srv.running(new_server(extra=extra)) as s:
        yield s


def coded(b):
    return base64.urlsafe_b64encode(b).rstrip(b"=")


def token(key, alg="RS256", **claims):
    claims = {"sub": "me", "exp": int(time.time()) + 600, "iss": "us", "aud": "sluice"} | claims
    said = coded(json.dumps({"alg": alg, "typ": "JWT"}).encode()) + b"." + coded(json.dumps({k: v for k, v in claims.items() if v is not None}).encode())
    return (said + b"." + coded(openssl("dgst", "-sha256", "-sign", str(key), data=said))).decode()


def buckets(s, authorization=None):
    headers = {"Authorization": authorization} if authorization is not None else {}
    return requests.get(s.http + "/v1/buckets", json={"action": "list"}, headers=headers, timeout=30)


def own_token():
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {"SLUICE_ACCESS_KEY": srv.ACCESS_KEY, "SLUICE_SECRET_KEY": srv.SECRET_KEY}
    return subprocess.run([str(srv.binary()), "token"], env=env, capture_output=True, text=True, check=True).stdout.strip()


def test_without_a_token_nobody_is_let_in(closed):
    for header in (None, "Bearer", "Bearer ", "Bearer x.y.z", "Basic abc"):
        r = buckets(closed, header)
        assert r.status_code in (401, 403) and r.json()["message"], (header, r.text)
    assert buckets(closed).status_code == buckets(closed, "Bearer ").status_code == 401
    assert requests.get(closed.http + "/v1/health", timeout=30).status_code == 200


def test_own_tokens(closed):
    assert buckets(closed, "Bearer " + own_token()).status_code == 200
    assert buckets(closed, "Bearer " + own_token()[:-8] + "AAAAAAAA").status_code == 401


def test_tokens_of_the_issuer(closed, keys):
    assert buckets(closed, "Bearer " + token(keys / "ours")).status_code == 200
    assert buckets(closed, "bearer " + token(keys / "ours", aud=["x", "sluice"])).status_code == 200
    for bad in (token(keys / "other"), token(keys / "ours", exp=int(time.time()) - 3600), token(keys / "ours", exp=None), token(keys / "ours", iss="them"),
                token(keys / "ours", aud="x"), token(keys / "ours", sub=None), token(keys / "ours", nbf=int(time.time()) + 3600),
                token(keys / "ours", alg="HS256"), token(keys / "ours", alg="none"), token(keys / "ours", alg="RS512")):
        r = buckets(closed, "Bearer " + bad)
        assert r.status_code == 401 and "not authenticated" in r.json()["message"], r.text


def test_the_sdk_with_a_token(closed, keys):
    sdk = pytest.importorskip("aistore.sdk", reason="the aistore SDK is not installed")
    b = sdk.Client(closed.http, timeout=60, token=token(keys / "ours")).bucket("tokens").create()
    b.object("o").get_writer().put_content(b"x")
    assert sdk.Client(closed.http, timeout=60, token=own_token()).bucket("tokens").object("o").get_reader().read_all() == b"x"
    with pytest.raises(Exception, match="401"):
        sdk.Client(closed.http, timeout=60, token=token(keys / "other"), retry_config=None).bucket("tokens").object("o").get_reader().read_all()
    b.delete()
