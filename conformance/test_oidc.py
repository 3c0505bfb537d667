"""Tokens of an identity provider become credentials of a role: AssumeRoleWithWebIdentity."""

import http.server
import json
import threading
import time

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

import server as srv
from conftest import Endpoint
from test_identities import ACCOUNT, allow, client, code, doc
from test_native_auth import coded, openssl

ISSUER = "https://login.test/Realm"
ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/login.test/Realm"


class Key:
    def __init__(self, path, alg):
        self.path, self.alg = path, alg
        kind = ("RSA", "rsa_keygen_bits:2048") if alg == "RS256" else ("EC", "ec_paramgen_curve:P-256")
        openssl("genpkey", "-algorithm", kind[0], "-pkeyopt", kind[1], "-out", str(path))

    def jwk(self, kid):
        if self.alg == "RS256":
            modulus = openssl("rsa", "-in", str(self.path), "-modulus", "-noout").decode().strip().split("=")[1]
            return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": coded(bytes.fromhex(modulus)).decode(), "e": "AQAB"}
        point = openssl("pkey", "-in", str(self.path), "-pubout", "-outform", "DER")[-64:]
        return {"kty": "EC", "kid": kid, "crv": "P-256", "x": coded(point[:32]).decode(), "y": coded(point[32:]).decode()}

    def sign(self, said):
        signature = openssl("dgst", "-sha256", "-sign", str(self.path), data=said)
        if self.alg == "RS256":
            return signature
        halves, at = [], 2  # of DER, without the zeros in front
        for _ in range(2):
            n = signature[at + 1]
            halves.append(signature[at + 2:at + 2 + n].lstrip(b"\0").rjust(32, b"\0"))
            at += 2 + n
        return b"".join(halves)

    def token(self, kid, **claims):
        claims = {"iss": ISSUER, "aud": "sluice", "sub": "ann", "exp": int(time.time()) + 600} | claims
        said = coded(json.dumps({"alg": self.alg, "kid": kid}).encode()) + b"." + coded(json.dumps({k: v for k, v in claims.items() if v is not None}).encode())
        return (said + b"." + coded(self.sign(said))).decode()


class Provider:
    """Serves a key set that can be changed."""

    def __init__(self):
        self.asked, self.set, self.status, me = 0, [], 200, self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                me.asked += 1
                body = json.dumps({"keys": me.set}).encode()
                self.send_response(me.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    d = tmp_path_factory.mktemp("oidc")
    return {name: Key(d / name, alg) for name, alg in (("rsa", "RS256"), ("ec", "ES256"), ("other", "RS256"))}


@pytest.fixture(scope="module")
def provider(keys):
    p = Provider()
    p.set = [{"kty": "OKP", "kid": "x"}, {"kty": "RSA", "kid": "bad", "n": "!", "e": "AQAB"}, keys["rsa"].jwk("rsa"), keys["ec"].jwk("ec")]
    yield p
    p.server.shutdown()
    p.server.server_close()


@pytest.fixture(scope="module")
def endpoint(new_server, provider):
    extra = ("--identity-oidc-issuer", ISSUER, "--identity-oidc-audience", "sluice", "--identity-oidc-keys", f"http://127.0.0.1:{provider.server.server_port}/keys")
    with srv.running(new_server(extra=extra)) as s:
        e = Endpoint(s, "http")
        trust = doc({"Effect": "Allow", "Principal": {"Federated": ARN}, "Action": "sts:AssumeRoleWithWebIdentity",
                     "Condition": {"StringLike": {"login.test/Realm:sub": "ann*"}, "ForAnyValue:StringEquals": {"login.test/Realm:groups": "team"}}})
        iam = client(e, "iam")
        iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName="web", PolicyName="p", PolicyDocument=doc(allow("s3:ListAllMyBuckets")))
        yield e


@pytest.fixture
def sts(endpoint):
    return boto3.client("sts", endpoint_url=endpoint.url, region_name="us-east-1", config=Config(signature_version=UNSIGNED, retries={"max_attempts": 0}))


ROLE = f"arn:aws:iam::{ACCOUNT}:role/web"


@pytest.mark.parametrize("kid", ["rsa", "ec"])
def test_a_token_becomes_credentials(endpoint, sts, keys, kid):
    made = sts.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="ann", WebIdentityToken=keys[kid].token(kid, groups=["x", "team"]))
    assert made["SubjectFromWebIdentityToken"] == "ann" and made["Audience"] == "sluice" and made["Provider"] == ARN
    s3 = client(endpoint, "s3", made["Credentials"])
    s3.list_buckets()
    assert code(s3.create_bucket, Bucket="not-for-the-role") == "AccessDenied"
    assert client(endpoint, "sts", made["Credentials"]).get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/web/ann"


def test_tokens_that_are_not_believed(sts, keys):
    def said(token):
        return code(sts.assume_role_with_web_identity, RoleArn=ROLE, RoleSessionName="ann", WebIdentityToken=token)

    good = keys["rsa"].token("rsa", groups=["team"])
    bad = [keys["other"].token("rsa", groups=["team"]), keys["rsa"].token("rsa", groups=["team"], exp=int(time.time()) - 100), keys["rsa"].token("rsa", groups=["team"], exp=None),
           keys["rsa"].token("rsa", groups=["team"], iss="https://login.test/realm"), keys["rsa"].token("rsa", groups=["team"], aud="another"), good[:-6] + "AAAAAA", "x.y.z.w.v", good.split(".")[0] + "..." + " ",
           coded(b'{"alg":"none"}').decode() + "." + good.split(".")[1] + ".AAAA"]
    assert [said(t) for t in bad] == ["InvalidIdentityToken"] * len(bad)
    # believed, but not trusted by the role
    assert said(keys["rsa"].token("rsa", groups=["team"], sub="bob")) == "AccessDenied"
    assert said(keys["rsa"].token("rsa", groups=["teams"])) == "AccessDenied"
    assert said(keys["rsa"].token("rsa")) == "AccessDenied"
    assert code(sts.assume_role_with_web_identity, RoleArn=ROLE + "x", RoleSessionName="ann", WebIdentityToken=good) == "AccessDenied"


def test_keys_are_not_fetched_for_each_token(sts, keys, provider):
    sts.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="ann", WebIdentityToken=keys["rsa"].token("rsa", groups=["team"]))
    before = provider.asked
    for _ in range(5):
        sts.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="ann", WebIdentityToken=keys["ec"].token("ec", groups=["team"]))
        with pytest.raises(ClientError):
            sts.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="ann", WebIdentityToken=keys["other"].token("unknown", groups=["team"]))
    assert provider.asked - before <= 4  # at most once in half a minute, by each gateway, and at first


def test_without_a_provider(http_endpoint, keys):
    sts = boto3.client("sts", endpoint_url=http_endpoint.url, region_name="us-east-1", config=Config(signature_version=UNSIGNED, retries={"max_attempts": 0}))
    assert code(sts.assume_role_with_web_identity, RoleArn=ROLE, RoleSessionName="ann", WebIdentityToken=keys["rsa"].token("rsa")) == "NotImplemented"


def test_a_key_set_in_a_file(keys, tmp_path):
    (tmp_path / "set").write_text(json.dumps({"keys": [keys["rsa"].jwk("rsa")]}))
    extra = ("--identity-oidc-issuer", ISSUER, "--identity-oidc-audience", "sluice", "--identity-oidc-keys", str(tmp_path / "set"))
    with srv.running(srv.Server(extra=extra)) as s:
        sts = boto3.client("sts", endpoint_url=s.http, region_name="us-east-1", config=Config(signature_version=UNSIGNED, retries={"max_attempts": 0}))
        client(Endpoint(s, "http"), "iam").create_role(RoleName="web", AssumeRolePolicyDocument=doc(
            {"Effect": "Allow", "Principal": {"Federated": ARN}, "Action": "sts:AssumeRoleWithWebIdentity"}))
        sts.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="ann", WebIdentityToken=keys["rsa"].token("rsa"))
    (tmp_path / "set").write_text("{}")
    broken = srv.Server(extra=extra)
    try:
        with pytest.raises(Exception):
            broken.start()
        assert "identity.oidc_keys" in broken.logs()
    finally:
        broken.clean()
