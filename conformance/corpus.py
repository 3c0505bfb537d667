"""Thousands of requests with what the S3 API reference, and the RFCs that it stands on, say of their answers.

A case is a request and what to expect: statuses, codes of errors, headers, a root element. What is generic is checked of every answer
(check_generic). Expected answers are computed here from the documents' rules, never from what the server says.
"""

import base64
import dataclasses
import hashlib
import itertools
import zlib
from urllib.parse import quote

from test_cves_requests import ROUTES

NS = "http://s3.amazonaws.com/doc/2006-03-01/"
BODY = bytes(range(97, 107)) * 10  # of the object "k": 100 bytes
MD5 = hashlib.md5(BODY).hexdigest()
OLD, NEW = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2038 00:00:00 GMT"


@dataclasses.dataclass
class Case:
    family: str
    method: str
    path: str  # encoded; {b} is the bucket
    query: str = ""
    headers: tuple = ()
    body: bytes = b""
    status: tuple = ()
    code: tuple = ()  # of an error
    root: str = ""  # of a document
    expect: tuple = ()  # (header, value); a value of None: must not be there
    content: bytes | None = None
    sign: str = "good"  # how it is signed
    sha: str | None = None  # x-amz-content-sha256 instead of the right one

    def __str__(self):
        return f"{self.family}: {self.method} {self.path}?{self.query} {dict(self.headers)} {self.body[:120]!r} sign={self.sign}"


def b64(b):
    return base64.b64encode(b).decode()


# ---- every operation ----

VALUES = {"uploadId": "VXBsb2Fk", "partNumber": "1"}
EXTRA = {"CopyObject": (("x-amz-copy-source", "{b}/k"),), "UploadPartCopy": (("x-amz-copy-source", "{b}/k"),), "RenameObject": (("x-amz-rename-source", "{b}/k"),)}


def query_of(keys):
    return "&".join(sorted(f"{k}={quote(VALUES.get(k, ''))}" for k in keys if k))


def every_operation():
    ways = {"none": ((403,), ("AccessDenied",)), "unknown": ((403,), ("InvalidAccessKeyId",)), "wrong": ((403,), ("SignatureDoesNotMatch",)),
            "skewed": ((403,), ("RequestTimeTooSkewed",)), "scope": ((400,), ("AuthorizationHeaderMalformed",)),
            "uncovered": ((403,), ("AccessDenied",)), "garbled": ((400,), ("AuthorizationHeaderMalformed", "InvalidArgument"))}
    for method, level, keys, name in ROUTES:
        if name == "PostObject":
            continue
        path = {"SERVICE": "/", "BUCKET": "/{b}", "OBJECT": "/{b}/k"}[level]
        for way, (status, code) in ways.items():
            yield Case(f"signature {way} {name}", method, path, query_of(keys), EXTRA.get(name, ()), status=status, code=code, sign=way)
        if level == "SERVICE" or name in ("CreateBucket", "PostBatch"):
            continue
        yield Case(f"no bucket {name}", method, path.replace("{b}", "never-made-corpus"), query_of(keys), EXTRA.get(name, ()), status=(404,), code=("NoSuchBucket",))
        yield Case(f"bad bucket {name}", method, path.replace("{b}", "No_Bucket"), query_of(keys), EXTRA.get(name, ()), status=(400, 404), code=("InvalidBucketName", "NoSuchBucket"))


def missing_keys():
    for name, method, query in (("GetObject", "GET", ""), ("HeadObject", "HEAD", ""), ("GetObjectTagging", "GET", "tagging="), ("PutObjectTagging", "PUT", "tagging="),
                                ("GetObjectAttributes", "GET", "attributes="), ("DeleteObjectTagging", "DELETE", "tagging=")):
        for key in ("none", "k/", "K", "k%20", "%6b%00", "k%2F"):
            body = b"<Tagging><TagSet/></Tagging>" if name == "PutObjectTagging" else b""
            headers = (("x-amz-object-attributes", "ETag"),) if "attributes" in query else ()
            status = (400, 404) if key == "%6b%00" else (404,)
            yield Case(f"missing {name}", method, "/{b}/" + key, query, headers, body, status=status, code=("NoSuchKey", "InvalidArgument", "InvalidURI") if "%00" in key else ("NoSuchKey",))
    for key in ("none", "k/", "K"):
        yield Case("missing DeleteObject", "DELETE", "/{b}/" + key, status=(204,), content=b"")


# ---- ranges and conditions ----


def expected_range(text, size):
    """RFC 9110 section 14: None: the whole; "no": 416; else first and last."""
    if not text.startswith("bytes="):
        return None
    spec = text[6:]
    if "," in spec:  # S3 serves one range: more are ignored
        return None
    first, dash, last = spec.strip().partition("-")
    if not dash or not (first + last) or not (first + last).isdigit() or (first and last and int(first) > int(last)):
        return None
    if not first:
        n = int(last)
        return (max(size - n, 0), size - 1) if n else "no"
    if int(first) >= size:
        return "no"
    return int(first), min(int(last), size - 1) if last else size - 1


def ranges():
    texts = ["bytes=0-0", "bytes=0-", "bytes=0-99", "bytes=0-100", "bytes=99-", "bytes=99-99", "bytes=99-1000000", "bytes=100-", "bytes=100-100", "bytes=1000-2000",
             "bytes=-1", "bytes=-100", "bytes=-101", "bytes=-0", "bytes=5-4", "bytes=", "bytes=-", "bytes=x-y", "bytes=1", "bytes=1-x", "bytes=0-1,3-4", "bytes=0-0,-1",
             "bytes = 0-1", "octets=0-1", "items=0-1", "0-1", "", "bytes=18446744073709551615-", "bytes=0-18446744073709551616", "bytes=99999999999999999999-", "bytes=+1-2",
             "bytes=--1", "bytes=1--2", "bytes=0x1-2", "bytes=1-2-3"] + [f"bytes={i}-{j}" for i in range(0, 120, 15) for j in range(0, 140, 20)] + [f"bytes=-{i}" for i in range(1, 110, 9)]
    for text, method in itertools.product(texts, ("GET", "HEAD")):
        want = expected_range(text, len(BODY))
        if want is None:
            yield Case("range", method, "/{b}/k", headers=(("Range", text),), status=(200,), expect=(("content-length", "100"), ("content-range", None)), content=BODY)
        elif want == "no":
            yield Case("range", method, "/{b}/k", headers=(("Range", text),), status=(416,), code=("InvalidRange",))
        else:
            first, last = want
            yield Case("range", method, "/{b}/k", headers=(("Range", text),), status=(206,), content=BODY[first:last + 1],
                       expect=(("content-range", f"bytes {first}-{last}/100"), ("content-length", str(last - first + 1))))


MATCH = {None: None, f'"{MD5}"': True, MD5: True, '"no"': False, "*": True, f'"no", "{MD5}"': True}
SINCE = {None: None, OLD: True, NEW: False, "garbage": None}  # modified since


def conditions():
    """RFC 9110 section 13.2.2."""
    for match, none, since, unmodified, method in itertools.product(list(MATCH)[:5], list(MATCH)[:5], SINCE, SINCE, ("GET", "HEAD")):
        headers = tuple((k, v) for k, v in (("If-Match", match), ("If-None-Match", none), ("If-Modified-Since", since), ("If-Unmodified-Since", unmodified)) if v)
        status = 200
        if MATCH[match] is False or (match is None and SINCE[unmodified] is True):
            status = 412
        elif MATCH[none] is True or (none is None and SINCE[since] is False and since != NEW):
            status = 304
        if none is None and since == NEW and status == 200:  # a date to come is no date (section 13.1.3)
            yield Case("condition", method, "/{b}/k", headers=headers, status=(200, 304))
            continue
        yield Case("condition", method, "/{b}/k", headers=headers, status=(status,), code=("PreconditionFailed",) if status == 412 else (),
                   content=BODY if status == 200 else b"" if status == 304 else None)
    for match, none, since, unmodified in itertools.product((None, f'"{MD5}"', '"no"'), (None, f'"{MD5}"', '"no"'), (None, OLD, NEW), (None, OLD, NEW)):
        headers = tuple((f"x-amz-copy-source-if-{k}", v) for k, v in (("match", match), ("none-match", none), ("modified-since", since), ("unmodified-since", unmodified)) if v)
        fails = MATCH[match] is False or (match is None and unmodified == OLD) or MATCH[none] is True
        unsure = not fails and none is None and since == NEW
        yield Case("copy condition", "PUT", "/{b}/copied", headers=(("x-amz-copy-source", "{b}/k"), *headers), status=(200, 412) if unsure else (412,) if fails else (200,),
                   code=("PreconditionFailed",) if fails else (), root="" if fails or unsure else "CopyObjectResult")
    for key, there in (("k2", True), ("never-written-corpus", False)):
        for match, none in ((None, "*"), ('"no"', None), (f'"{MD5}"', None), ("*", None)):
            headers = tuple((k, v) for k, v in (("If-Match", match), ("If-None-Match", none)) if v)
            if there and none:
                status, code = 412, ("PreconditionFailed",)
            elif match and not there:
                status, code = 404, ("NoSuchKey",)
            elif match == '"no"':
                status, code = 412, ("PreconditionFailed",)
            else:
                continue  # would write
            yield Case("write condition", "PUT", "/{b}/" + key, headers=headers, body=b"other", status=(status,) if status != 404 else (404, 412), code=code + (("PreconditionFailed",) if status == 404 else ()))
    for none in ('"x"', "0" * 32):  # S3 answers NotImplemented: docs/s3-compatibility.md, "Where answers differ"
        yield Case("write condition", "PUT", "/{b}/k2", headers=(("If-None-Match", none),), body=b"x", status=(200,))


# ---- parameters ----

COUNTS = [("0", True), ("1", True), ("999", True), ("1000", True), ("1001", True), ("2147483647", True), ("-1", False), ("x", False), ("1x", False), ("1.5", False), ("0x10", False), ("%201", False)]


def parameters():
    lists = {"list-type=2": ("max-keys", "ListBucketResult"), "": ("max-keys", "ListBucketResult"), "versions=": ("max-keys", "ListVersionsResult"), "uploads=": ("max-uploads", "ListMultipartUploadsResult")}
    for base, (count, root) in lists.items():
        def case(more, good, code=("InvalidArgument",), base=base, root=root):
            query = "&".join(sorted(x for x in (base, more) if x))
            return Case("parameter", "GET", "/{b}", query, status=(200,) if good else (400,), root=root if good else "", code=() if good else code)

        for value, good in COUNTS:
            yield case(f"{count}={value}", good)
        for value, good in (("url", True), ("base64", False), ("xml", False)):
            yield case(f"encoding-type={value}", good)
        for name in ("prefix", "delimiter", "marker" if base == "" else "start-after" if "list-type" in base else "key-marker"):
            for value in ("", "a", "%2F", "%C3%BC", "a%20b", "%26%3C%3E", "%F0%9F%98%80", "x" * 200, "%25", "%2B"):
                yield case(f"{name}={value}", True)
            for value in ("%FF", "%C3", "a%00"):
                yield case(f"{name}={value}", False)
    for value in ("garbage", "AAAA", "%FF"):
        yield Case("parameter", "GET", "/{b}", f"continuation-token={value}&list-type=2", status=(400,), code=("InvalidArgument",))
    for value in ("0", "-1", "10001", "x", "1.5"):
        yield Case("part number", "PUT", "/{b}/k", f"partNumber={value}&uploadId=VXBsb2Fk", body=b"x", status=(400, 404), code=("InvalidArgument", "NoSuchUpload"))
        yield Case("part number", "GET", "/{b}/k", f"partNumber={value}", status=(400, 416), code=("InvalidArgument", "InvalidPartNumber", "InvalidRange"))
    yield Case("part number", "GET", "/{b}/k", "partNumber=1", status=(200, 206), content=BODY)
    yield Case("part number", "GET", "/{b}/k", "partNumber=2", status=(416,), code=("InvalidPartNumber", "InvalidRange"))
    for upload in ("x", "VXBsb2Fk", "%00", "%FF", "..%2F..", "0" * 300):
        for method, query, body in (("PUT", f"partNumber=1&uploadId={upload}", b"x"), ("GET", f"uploadId={upload}", b""), ("DELETE", f"uploadId={upload}", b""),
                                    ("POST", f"uploadId={upload}", b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;%s&quot;</ETag></Part></CompleteMultipartUpload>" % MD5.encode())):
            yield Case("upload id", method, "/{b}/k", query, body=body, status=(404,), code=("NoSuchUpload",))
    for version in ("x", "%00", "..", "0", "nulL", "3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY+MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo".replace("+", "%2B")):
        for method in ("GET", "HEAD", "DELETE"):
            yield Case("version id", method, "/{b}/k", f"versionId={version}", status=(400, 404), code=("InvalidArgument", "NoSuchVersion"))
    for name in ("content-type", "content-language", "expires", "cache-control", "content-disposition", "content-encoding"):
        for value in ("plain", "a; b=c", "%22quoted%22", "x" * 200):
            yield Case("response override", "GET", "/{b}/k", f"response-{name}={quote(value, safe='%')}", status=(200,), expect=((name, value.replace("%22", '"')),), content=BODY)
        for value in ("a%0Ab", "a%0D%0Ab%3A%20c", "%00"):
            yield Case("response override", "GET", "/{b}/k", f"response-{name}={value}", status=(400,), code=("InvalidArgument",))


# ---- bodies ----

DOCUMENTS = {"cors": "CORSConfiguration", "lifecycle": "LifecycleConfiguration", "tagging": "Tagging", "versioning": "VersioningConfiguration", "website": "WebsiteConfiguration",
             "publicAccessBlock": "PublicAccessBlockConfiguration", "ownershipControls": "OwnershipControls", "requestPayment": "RequestPaymentConfiguration",
             "accelerate": "AccelerateConfiguration", "acl": "AccessControlPolicy", "logging": "BucketLoggingStatus", "notification": "NotificationConfiguration",
             "encryption": "ServerSideEncryptionConfiguration"}
NO_XML = [b"", b"x", b"<", b"<a", b"<a>", b"</a>", b"<a></b>", b"<a/><b/>", b"<a>&nothing;</a>", b"<a>\x00</a>", b"<a>\xff</a>", b"<?xml version='1.0'?>", b"{}", b"<Wrong/>", b"<a" + b"/" * 50,
          b"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", b"<a b='1' b='2'/>", b"<a>" * 300 + b"</a>" * 300]


def documents():
    for sub, root in DOCUMENTS.items():
        for body in [*NO_XML, f"<{root}".encode(), f"<{root}><Nonsense/></{root}>".encode(), f"<{root}>text".encode(), f"<x:{root} xmlns:x='y'>".encode()]:
            if sub == "versioning" and b"Nonsense" in body:
                continue  # a Status that is not there, with what is not known
            yield Case(f"document {sub}", "PUT", "/{b}", f"{sub}=", body=body, status=(400, 501), code=(
                "MalformedXML", "MissingRequestBodyError", "InvalidRequest", "InvalidArgument", "IllegalVersioningConfigurationException", "NotImplemented", "MalformedACLError", "MissingSecurityHeader",
                "AccessControlListNotSupported"))
    for body in NO_XML + [b"<Delete/>", b"<Delete><Object/></Delete>", b"<Delete><Object><Key></Key></Object></Delete>", b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1001 + b"</Delete>"]:
        yield Case("document delete", "POST", "/{b}", "delete=", (("Content-MD5", b64(hashlib.md5(body).digest())),), body, status=(400,),
                   code=("MalformedXML", "MissingRequestBodyError", "UserKeyMustBeSpecified", "InvalidArgument"))
    for body in NO_XML:
        yield Case("document object tagging", "PUT", "/{b}/k", "tagging=", body=body, status=(400,), code=("MalformedXML", "MissingRequestBodyError"))
        yield Case("document policy", "PUT", "/{b}", "policy=", body=body, status=(400,), code=("MalformedPolicy", "MissingRequestBodyError"))
    tags = [([("", "v")], False), ([("a" * 128, "v" * 256)], True), ([("a" * 129, "v")], False), ([("a", "v" * 257)], False), ([("a", "1"), ("a", "2")], False), ([("aws:x", "1")], False),
            ([(f"k{i}", "v") for i in range(10)], True), ([(f"k{i}", "v") for i in range(11)], False), ([("a b+-=._:/@", "")], True), ([("\u00fc", "\u00e9")], True), ([("a?", "v")], False), ([("a", "v;")], False)]
    for pairs, good in tags:
        body = "<Tagging><TagSet>" + "".join(f"<Tag><Key>{k}</Key><Value>{v}</Value></Tag>" for k, v in pairs) + "</TagSet></Tagging>"
        yield Case("tags", "PUT", "/{b}/k2", "tagging=", body=body.encode(), status=(200,) if good else (400,), code=() if good else ("InvalidTag", "BadRequest", "MalformedXML"))
        header = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in pairs)
        if len(header) < 1500:
            yield Case("tags", "PUT", "/{b}/tagged", headers=(("x-amz-tagging", header),), body=b"x", status=(200,) if good else (400,), code=() if good else ("InvalidTag", "BadRequest", "InvalidArgument"))


# ---- digests ----


def digests():
    def crc32c(data):
        crc = 0xffffffff
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
        return (crc ^ 0xffffffff).to_bytes(4, "big")

    data = b"some data that is checked"
    right = {"crc32": zlib.crc32(data).to_bytes(4, "big"), "crc32c": crc32c(data), "sha1": hashlib.sha1(data).digest(), "sha256": hashlib.sha256(data).digest()}
    for name, value in right.items():
        yield Case("checksum", "PUT", "/{b}/summed", headers=((f"x-amz-checksum-{name}", b64(value)),), body=data, status=(200,), expect=((f"x-amz-checksum-{name}", b64(value)),))
        wrong = bytes([value[0] ^ 1]) + value[1:]
        yield Case("checksum", "PUT", "/{b}/k", headers=((f"x-amz-checksum-{name}", b64(wrong)),), body=data, status=(400,), code=("BadDigest", "XAmzContentChecksumMismatch"))
        for bad in ("", "x", "====", b64(value[:-1]), b64(value + b"x"), value.hex()):
            yield Case("checksum", "PUT", "/{b}/k", headers=((f"x-amz-checksum-{name}", bad),), body=data, status=(400,), code=("InvalidRequest", "BadDigest", "InvalidDigest", "InvalidArgument"))
    for a, b in itertools.combinations(right, 2):
        yield Case("checksum", "PUT", "/{b}/k", headers=((f"x-amz-checksum-{a}", b64(right[a])), (f"x-amz-checksum-{b}", b64(right[b]))), body=data, status=(400,), code=("InvalidRequest",))
    for name in ("md5", "crc33", "sha512", "CRC32"):
        yield Case("checksum", "PUT", "/{b}/k", headers=(("x-amz-sdk-checksum-algorithm", name), ("x-amz-trailer", f"x-amz-checksum-{name}")), body=data, status=(400, 501) if name != "CRC32" else (200, 400),
                   code=("InvalidRequest", "InvalidArgument", "NotImplemented", "MalformedTrailerError"))
    good = b64(hashlib.md5(data).digest())
    yield Case("md5", "PUT", "/{b}/summed", headers=(("Content-MD5", good),), body=data, status=(200,), expect=(("etag", f'"{hashlib.md5(data).hexdigest()}"'),))
    yield Case("md5", "PUT", "/{b}/k", headers=(("Content-MD5", b64(hashlib.md5(b"other").digest())),), body=data, status=(400,), code=("BadDigest",))
    for bad in ("", "x", hashlib.md5(data).hexdigest(), good[:-2], good + "AA", "====", "!" * 24):
        yield Case("md5", "PUT", "/{b}/k", headers=(("Content-MD5", bad),), body=data, status=(400,), code=("InvalidDigest",))
    yield Case("sha256", "PUT", "/{b}/k", body=data, sha=hashlib.sha256(b"other").hexdigest(), status=(400,), code=("XAmzContentSHA256Mismatch",))
    for bad in ("x", "unsigned-payload", "STREAMING", hashlib.sha256(data).hexdigest()[:-1], hashlib.sha256(data).hexdigest().upper() + "0", "STREAMING-AWS4-HMAC-SHA512-PAYLOAD"):
        yield Case("sha256", "PUT", "/{b}/k", body=data, sha=bad, status=(400,), code=("InvalidArgument",))


# ---- names ----


def names():
    long = "a" * 63
    good = ["abc", "a-b", "a.b", "a1b", "1ab", "ab1", "corpus-" + "x" * 56, "a.b.c.d", "a--b", "123"]
    bad = ["ab", "a", long + "a", "-ab", "ab-", ".ab", "ab.", "a..b", "a_b", "Abc", "aBc", "a%20b", "192.168.5.4", "1.2.3.4", "xn--abc", "abc-s3alias", "%C3%BCbc", "a*b", "a+b", "a%3Fb", "sthree-abc", "abc--ol-s3",
           "a@b", "a%23b", "a%22b", "%2e%2e%2e"]
    for name in bad:
        for method, query in (("PUT", ""), ("GET", ""), ("HEAD", ""), ("DELETE", ""), ("GET", "location=")):
            yield Case("bucket name", method, f"/{name}", query, status=(400, 404) if method != "PUT" else (400,), code=("InvalidBucketName", "NoSuchBucket"))
    for name in good:
        yield Case("bucket name", "HEAD", f"/corpus-never.{name}"[:64], status=(404,))
    keys = ["a", "a/b", "a//b", "/a", "//", "a/", ".", "..", "a/../b", "./a", "a/./b", " ", "a b", "a+b", "a%b", "a%2Fb", "a?b", "a#b", "a&b", "a=b", "a;b", "a:b", "a@b", "a$b", "a,b", "a\\b", "a\"b", "a'b", "a<b>c", "a|b",
            "a{b}", "a^b", "a`b", "a~b", "a[b]", "\u00fc", "\u4e2d\u6587", "\U0001f600", "e\u0301", "\t", "a\nb", "\r", "\x7f", "a" * 1024, "\u00fc" * 512, "-", "--", "*", "%", "%00", "aux", "CON", "index.html", ".sys",
            "a\u200bb", "\u202eabc", "k" * 255 + "/" + "k" * 255]
    for key in keys:
        path = "/{b}/n/" + quote(key, safe="")
        if key == "a" * 1024 or key == "\u00fc" * 512:
            path = "/{b}/" + quote(key, safe="")
        body = key.encode()
        yield Case("key", "PUT", path, body=body, status=(200,), expect=(("etag", f'"{hashlib.md5(body).hexdigest()}"'),))
        yield Case("key", "GET", path, status=(200,), content=body)
        yield Case("key", "HEAD", path, status=(200,), expect=(("content-length", str(len(body))),))
        yield Case("key", "GET", "/{b}", "list-type=2&prefix=" + path[5:].replace("/", "%2F"), status=(200,), root="ListBucketResult")
        yield Case("key", "DELETE", path, status=(204,), content=b"")
        yield Case("key", "GET", path, status=(404,), code=("NoSuchKey",))
    for key in ("a" * 1025, "\u00fc" * 513, "/" * 1025):
        for method in ("PUT", "GET", "DELETE", "HEAD"):
            yield Case("key", method, "/{b}/" + quote(key, safe=""), status=(400,), code=("KeyTooLongError",))
    for raw in ("%FF", "%C3", "%ED%A0%80", "%C0%80", "a%00b"):
        for method in ("PUT", "GET"):
            yield Case("key", method, "/{b}/" + raw, status=(400,), code=("InvalidURI", "InvalidArgument"))
    for raw in ("%", "%zz", "%1"):
        yield Case("key", "GET", "/{b}/" + raw, status=(400,), code=("InvalidURI", "SignatureDoesNotMatch"), sign="raw")


# ---- headers that are kept ----


def kept():
    for i, (name, value) in enumerate(itertools.product(("Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires"),
                                                        ("x", "text/plain; charset=utf-8", 'a "b" c', "a, b", "x" * 500, "Thu, 01 Dec 2094 16:00:00 GMT"))):
        yield Case("kept", "PUT", f"/{{b}}/kept{i}", headers=((name, value),), body=b"x", status=(200,))
        for method in ("GET", "HEAD"):
            yield Case("kept", method, f"/{{b}}/kept{i}", status=(200,), expect=((name.lower(), value),))
    for i, (name, value) in enumerate((("a", "1"), ("A-B", "x"), ("a.b", "c"), ("a_b", ""), ("n" * 100, "v" * 1900), ("json", '{"a": 1}'), ("spaces", "a  b"), ("comma", "a,b"))):
        yield Case("metadata", "PUT", f"/{{b}}/meta{i}", headers=((f"x-amz-meta-{name}", value),), body=b"x", status=(200,))
        yield Case("metadata", "HEAD", f"/{{b}}/meta{i}", status=(200,), expect=((f"x-amz-meta-{name.lower()}", value),))
    yield Case("metadata", "PUT", "/{b}/k", headers=(("x-amz-meta-a", "v" * 2048),), body=b"x", status=(400,), code=("MetadataTooLarge",))
    yield Case("metadata", "PUT", "/{b}/k", headers=tuple((f"x-amz-meta-a{i}", "v" * 100) for i in range(21)), body=b"x", status=(400,), code=("MetadataTooLarge",))
    for value in ("STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING", "GLACIER_IR"):
        yield Case("class", "PUT", "/{b}/class", headers=(("x-amz-storage-class", value),), body=b"x", status=(200, 501))
    for value in ("", "standard", "NONE", "x"):
        yield Case("class", "PUT", "/{b}/k", headers=(("x-amz-storage-class", value),), body=b"x", status=(400,), code=("InvalidStorageClass",))
    for name, value in (("x-amz-server-side-encryption", "x"), ("x-amz-server-side-encryption", "aws:kms"), ("x-amz-acl", "nonsense"), ("x-amz-object-lock-mode", "x"), ("x-amz-object-lock-legal-hold", "x"),
                        ("x-amz-object-lock-retain-until-date", "x"), ("x-amz-grant-read", "nonsense"), ("x-amz-server-side-encryption-customer-algorithm", "AES256"), ("x-amz-write-offset-bytes", "x"),
                        ("x-amz-write-offset-bytes", "-1"), ("x-amz-website-redirect-location", "nonsense"), ("x-amz-tagging", "a=b=c&%zz")):
        yield Case("header", "PUT", "/{b}/k", headers=((name, value),), body=b"x", status=(400, 403, 404, 501), code=(
            "InvalidArgument", "InvalidRequest", "NotImplemented", "InvalidEncryptionAlgorithmError", "AccessControlListNotSupported", "InvalidRedirectLocation", "InvalidTag", "ObjectLockConfigurationNotFoundError"))
    for method, target, headers in (("PUT", "/{b}/sse", ()), ("PUT", "/{b}/sse-copy", (("x-amz-copy-source", "{b}/k"),))):
        yield Case("encryption", method, target, headers=(("x-amz-server-side-encryption", "AES256"), *headers), body=b"" if headers else b"x", status=(200,), expect=(("x-amz-server-side-encryption", "AES256"),))
        for read in ("GET", "HEAD"):
            yield Case("encryption", read, target, status=(200,), expect=(("x-amz-server-side-encryption", "AES256"),))
    sources = ["", "/", "x", "{b}", "{b}/", "/{b}", "{b}/none", "/{b}/none", "never-made-corpus/k", "{b}/k?versionId=x", "{b}%2Fnone", "arn:aws:s3:::x/y", "{b}/%zz", "{b}/%FF", "No_Bucket/k"]
    for source in sources:
        yield Case("copy source", "PUT", "/{b}/k2", headers=(("x-amz-copy-source", source),), status=(400, 403, 404, 501),
                   code=("InvalidArgument", "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "InvalidBucketName", "NotImplemented", "InvalidRequest", "InvalidURI", "AccessDenied"))
    for directive in ("REPLACE", "COPY"):
        yield Case("copy", "PUT", "/{b}/copied", headers=(("x-amz-copy-source", "{b}/k"), ("x-amz-metadata-directive", directive)), status=(200,), root="CopyObjectResult")
    for name in ("x-amz-metadata-directive", "x-amz-tagging-directive"):
        for value in ("x", "replace", ""):
            yield Case("copy", "PUT", "/{b}/copied", headers=(("x-amz-copy-source", "{b}/k"), (name, value)), status=(400,), code=("InvalidArgument", "InvalidRequest"))
    yield Case("copy", "PUT", "/{b}/k", headers=(("x-amz-copy-source", "{b}/k"),), status=(400,), code=("InvalidRequest",))


# ---- documents that are answered ----


def shapes():
    for query, root in (("", "ListBucketResult"), ("list-type=2", "ListBucketResult"), ("versions=", "ListVersionsResult"), ("uploads=", "ListMultipartUploadsResult"), ("location=", "LocationConstraint"),
                        ("versioning=", "VersioningConfiguration"), ("acl=", "AccessControlPolicy"), ("requestPayment=", "RequestPaymentConfiguration"), ("logging=", "BucketLoggingStatus"),
                        ("notification=", "NotificationConfiguration"), ("accelerate=", "AccelerateConfiguration")):
        yield Case("shape", "GET", "/{b}", query, status=(200,), root=root)
    for query, code in (("cors=", "NoSuchCORSConfiguration"), ("lifecycle=", "NoSuchLifecycleConfiguration"), ("policy=", "NoSuchBucketPolicy"), ("tagging=", "NoSuchTagSet"), ("website=", "NoSuchWebsiteConfiguration"),
                        ("encryption=", "ServerSideEncryptionConfigurationNotFoundError"), ("replication=", "ReplicationConfigurationNotFoundError"), ("object-lock=", "ObjectLockConfigurationNotFoundError"),
                        ("publicAccessBlock=", "NoSuchPublicAccessBlockConfiguration"), ("policyStatus=", "NoSuchBucketPolicy"), ("ownershipControls=", "OwnershipControlsNotFoundError")):
        yield Case("shape", "GET", "/{b}", query, status=(404,), code=(code,))
    yield Case("shape", "GET", "/", status=(200,), root="ListAllMyBucketsResult")
    yield Case("shape", "GET", "/{b}/k", "tagging=", status=(200,), root="Tagging")
    yield Case("shape", "GET", "/{b}/k", "acl=", status=(200,), root="AccessControlPolicy")
    for what in ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize", "ETag,ObjectSize"):
        yield Case("shape", "GET", "/{b}/k", "attributes=", (("x-amz-object-attributes", what),), status=(200,), root="GetObjectAttributesResponse")
    for what in ("", "x", "ETag,x"):
        yield Case("shape", "GET", "/{b}/k", "attributes=", (("x-amz-object-attributes", what),), status=(400,), code=("InvalidArgument", "InvalidRequest"))
    for method in ("PATCH", "TRACE", "FOO", "PROPFIND"):
        for path in ("/", "/{b}", "/{b}/k"):
            yield Case("method", method, path, status=(405, 400, 501), code=("MethodNotAllowed", "BadRequest", "NotImplemented"))
    for method, path in (("PUT", "/"), ("DELETE", "/"), ("POST", "/{b}/k"), ("HEAD", "/")):
        yield Case("method", method, path, status=(405, 400), code=("MethodNotAllowed",))


FAMILIES = {f.__name__: f for f in (every_operation, missing_keys, ranges, conditions, parameters, documents, digests, names, kept, shapes)}
