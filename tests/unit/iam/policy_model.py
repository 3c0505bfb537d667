"""policy_model.py ASK_POLICY [QUESTIONS [SEED]]: random policies and requests, decided by ask_policy and by an evaluator of its own, written from the
IAM User Guide with nothing shared. Prints the first disagreements; they can be made again by the seed."""

import base64
import datetime
import ipaddress
import json
import random
import re
import subprocess
import sys

ACCOUNT = "000000000000"
NOW = 1700000000
OWNER = {"kind": 1, "account": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "id": ACCOUNT, "canonical_id": "ab" * 32}
ANONYMOUS = {"kind": 0}
USERS = [{"kind": 2, "account": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:user/{n}", "name": n, "id": "AIDA" + n.upper()} for n in ("alice", "bob", "a*")]
SESSION = {"kind": 3, "account": ACCOUNT, "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/job/s1", "role_arn": f"arn:aws:iam::{ACCOUNT}:role/job", "id": "AROA1:s1"}
WHO = [OWNER, ANONYMOUS, SESSION, *USERS]
TYPES = {0: "Anonymous", 1: "Account", 2: "User", 3: "AssumedRole"}

# ---- the evaluator ----


def glob(pattern, text, wild=True):
    """`pattern`: a list of characters, or of (character,) where it stands for itself."""
    parts = [".*" if wild and c == "*" else "." if wild and c == "?" else re.escape(c[0]) for c in pattern]
    return re.fullmatch("".join(parts), text, re.S) is not None


def own(who, key):
    role = who.get("role_arn") or who.get("arn", "")
    iso = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {"aws:username": who.get("name", ""), "aws:userid": "anonymous" if who["kind"] == 0 else who.get("id", ""), "aws:principalarn": role,
            "aws:principalaccount": who.get("account", ""), "aws:principaltype": TYPES[who["kind"]], "aws:currenttime": iso, "aws:epochtime": str(NOW)}.get(key)


def values_of(q, key):
    head, slash, tail = key.partition("/")
    key = head.lower() + slash + tail
    mine = own(q["who"], key)
    if mine is not None:
        return [mine] if mine else []
    return q["context"].get(key, [])


def expand(q, policy, pattern):
    """A list for glob(), or None when a variable has no value."""
    out, rest = [], pattern
    while rest:
        m = re.match(r"\$\{([^}]*)\}", rest) if policy.get("Version") == "2012-10-17" else None
        if not m:
            out.append(rest[0])
            rest = rest[1:]
            continue
        rest = rest[m.end():]
        if m.group(1) in ("*", "?", "$"):
            out.append((m.group(1),))
            continue
        key, _, fallback = m.group(1).partition(",")
        found = values_of(q, key.strip())
        value = found[0] if len(found) == 1 else fallback.strip()[1:-1] if fallback else None
        if value is None:
            return None
        out += [(c,) for c in value]
    return out


def listed(x):
    return x if isinstance(x, list) else [x]


def text_of(v):
    return v if isinstance(v, str) else json.dumps(v)


def moment(text):
    try:
        return float(text)
    except ValueError:
        at = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc)).timestamp()


def attempt(function, *args):
    try:
        return function(*args)
    except ValueError:
        return None


def ordered(name, left, right):
    if left is None or right is None:
        return False
    return {"Equals": left == right, "LessThan": left < right, "LessThanEquals": left <= right, "GreaterThan": left > right, "GreaterThanEquals": left >= right}[name]


def split_arn(chars):
    parts, part = [], []
    for c in chars:
        if c[0] == ":" and len(parts) < 5:
            parts.append(part)
            part = []
        else:
            part.append(c)
    return parts + [part] if len(parts) == 5 else None


def address_in(text, network):
    address = attempt(ipaddress.ip_address, text)
    net = ipaddress.ip_network(network, strict=False)
    return address is not None and address.version == net.version and address in net


def fits_one(q, policy, operator, wanted, text):
    if operator.startswith(("String", "Arn")):
        chars = expand(q, policy, wanted)
        if chars is None:
            return False
        if operator == "StringLike":
            return glob(chars, text)
        if operator.startswith("Arn"):
            pattern, arn = split_arn(chars), split_arn(text)
            return pattern is not None and arn is not None and all(glob(p, "".join(c[0] for c in a)) for p, a in zip(pattern, arn))
        plain = "".join(c[0] for c in chars)
        return plain.lower() == text.lower() if operator == "StringEqualsIgnoreCase" else plain == text
    if operator.startswith("Numeric"):
        return ordered(operator[7:], attempt(float, text), float(wanted))
    if operator.startswith("Date"):
        return ordered(operator[4:], attempt(moment, text), moment(wanted))
    if operator == "Bool":
        return text.lower() == wanted.lower() and text.lower() in ("true", "false")
    if operator == "BinaryEquals":
        return attempt(base64.b64decode, text) == base64.b64decode(wanted)
    return address_in(text, wanted)


def condition_holds(q, policy, operator, key, wanted):
    qualifier, _, operator = operator.rpartition(":")
    if_exists = operator.endswith("IfExists")
    operator = operator.removesuffix("IfExists")
    negated = operator.startswith("Not") or "Not" in operator
    operator = operator.replace("Not", "")
    found = values_of(q, key)
    wanted = [text_of(w) for w in listed(wanted)]
    if operator == "Null":
        return any((w.lower() == "true") == (not found) for w in wanted)
    if not found:
        return if_exists or qualifier == "ForAllValues" or (qualifier == "" and negated)
    each = [any(fits_one(q, policy, operator, w, f) for w in wanted) != negated for f in found]
    if qualifier == "ForAllValues" or (qualifier == "" and negated):
        return all(each)
    return any(each)


def names(q, principal, whole_account):
    who = q["who"]
    if principal == "*":
        return True
    for family, items in principal.items():
        for p in listed(items):
            if family == "CanonicalUser":
                if p.lower() == who.get("canonical_id"):
                    return True
            elif family == "AWS":
                if p == "*" or p in (who.get("arn"), who.get("role_arn")):
                    if not (p.endswith(":root") and who["kind"] != 1):
                        return True
                if p in (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root") and who.get("account") == ACCOUNT and (whole_account or who["kind"] == 1):
                    return True
                if who["kind"] == 2 and p in (who["name"], who["id"]):
                    return True
    return False


def statement_fits(q, policy, s):
    if q["kind"] == "resource":
        deny = s["Effect"] == "Deny"
        if not names(q, s["Principal"], deny) if "Principal" in s else names(q, s["NotPrincipal"], False):
            return False
    found = any(glob(a.lower(), q["action"].lower()) for a in listed(s.get("Action", s.get("NotAction"))))
    if found != ("Action" in s):
        return False
    patterns = [expand(q, policy, r) for r in listed(s.get("Resource", s.get("NotResource")))]
    if any(p is not None and glob(p, q["resource"]) for p in patterns) != ("Resource" in s):
        return False
    return all(condition_holds(q, policy, op, key, wanted) for op, keys in s.get("Condition", {}).items() for key, wanted in keys.items())


def decide(q):
    policy = json.loads(q["policy"])
    verdict = "silent"
    for s in listed(policy["Statement"]):
        if statement_fits(q, policy, s):
            if s["Effect"] == "Deny":
                return "deny"
            verdict = "allow"
    return verdict


# ---- the questions ----

WORDS = ["red", "Red", "blue", "r", "", "red/blue", "a*b", "x?y", "äöü"]
TEXTS = WORDS + ["r*", "*", "?ed", "*e*", "${aws:username}", "${k:one}", "${k:none, 'red'}", "${*}", "x${?}y", "*${k:one}?", "${aws:userid}*"]
NUMBERS = ["0", "1", "10", "9.5", "-3", "1e2", "1700000000"]
DATES = ["2023-11-14T22:13:20Z", "2023-11-14", "2023-11-15T00:00:00+02:00", "1700000000", "2024-01-01T00:00:00Z", "1600000000"]
NETWORKS = ["10.0.0.0/8", "10.1.2.3", "10.1.2.0/31", "0.0.0.0/0", "2001:db8::/32", "2001:db8::1", "::/0", "192.168.4.4/30"]
ADDRESSES = ["10.1.2.3", "10.255.0.1", "192.168.4.7", "2001:db8::1", "2001:db9::1", "nowhere"]
ARNS = ["arn:aws:iam::*:user/*", f"arn:aws:iam::{ACCOUNT}:user/alice", "arn:aws:*:x", "arn:*:*:*:*:*", "arn:aws:sns:e?:1:${aws:username}", "red"]
TRUTHS = ["true", "false", "True", "FALSE"]
BYTES = ["QmE=", "QmI=", ""]
KEYS = ["k:one", "K:two", "k:none", "aws:username", "aws:UserId", "aws:PrincipalArn", "aws:PrincipalType", "s3:ExistingObjectTag/Team", "s3:existingobjecttag/team"]
RESOURCES = ["arn:aws:s3:::b", "arn:aws:s3:::b/k", "arn:aws:s3:::b/alice/k", "arn:aws:s3:::b/a*/k", "arn:aws:s3:::c/red/x", "arn:aws:s3:::b/äé"]
PATTERNS = ["*", "arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::*/k", "arn:aws:s3:::b/??", "arn:aws:s3:::?/*e*/*",
            "arn:aws:s3:::b/${k:one, 'alice'}/k", "arn:aws:s3:::b/a${*}/k", "arn:aws:s3:::${k:none}/k"]
ACTIONS = ["*", "s3:*", "S3:getobject", "s3:Get*", "s3:?etObject", "s3:*Object*", "sts:AssumeRole", "s3:PutObject"]
PRINCIPALS = ["*", {"AWS": "*"}, {"AWS": ACCOUNT}, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, {"AWS": ["alice", "bob"]}, {"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"},
              {"AWS": f"arn:aws:iam::{ACCOUNT}:role/job"}, {"AWS": SESSION["arn"]}, {"CanonicalUser": "AB" * 32}, {"Service": "ec2.amazonaws.com"}, {"AWS": "AIDAALICE"}]
OPERATORS = {"String": (["Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike"], TEXTS, KEYS, WORDS),
             "Numeric": (["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"], NUMBERS, ["k:n", "aws:EpochTime"], NUMBERS + ["x"]),
             "Date": (["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"], DATES, ["k:d", "aws:CurrentTime", "aws:EpochTime"], DATES + ["x"]),
             "Bool": ([""], TRUTHS, ["k:t"], TRUTHS + ["x"]), "Binary": (["Equals"], BYTES, ["k:b"], BYTES),
             "Ip": (["Address"], NETWORKS, ["aws:SourceIp"], ADDRESSES), "NotIp": (["Address"], NETWORKS, ["aws:SourceIp"], ADDRESSES),
             "Arn": (["Equals", "Like", "NotEquals", "NotLike"], ARNS, ["k:a", "aws:PrincipalArn"], ["arn:aws:sns:eu:1:alice", "arn:aws:iam::1:user/x:y", "red"]),
             "Null": ([""], ["true", "false"], KEYS + ["k:n"], [])}


def some(r, values, most=3):
    chosen = r.sample(values, r.randint(1, min(most, len(values))))
    return chosen[0] if len(chosen) == 1 and r.random() < .5 else chosen


def condition(r):
    out = {}
    for _ in range(r.choice([0, 0, 1, 1, 2])):
        family, (verbs, wanted, keys, _) = r.choice(list(OPERATORS.items()))
        operator = family + r.choice(verbs)
        if family != "Null":
            operator = r.choice(["", "", "ForAllValues:", "ForAnyValue:"]) + operator + r.choice(["", "", "IfExists"])
        out.setdefault(operator, {})[r.choice(keys)] = some(r, wanted)
    return out


def statement(r, kind):
    s = {"Effect": r.choice(["Allow", "Allow", "Deny"])}
    if kind == "resource":
        s["NotPrincipal" if s["Effect"] == "Deny" and r.random() < .3 else "Principal"] = r.choice(PRINCIPALS)
    s[r.choice(["Action"] * 4 + ["NotAction"])] = some(r, ACTIONS)
    s[r.choice(["Resource"] * 4 + ["NotResource"])] = some(r, PATTERNS)
    if (c := condition(r)):
        s["Condition"] = c
    return s


def context(r):
    out = {}
    for _, (_, _, keys, values) in OPERATORS.items():
        for key in keys:
            if values and r.random() < .6 and own(OWNER, key.lower()) is None:
                head, slash, tail = key.partition("/")
                out[head.lower() + slash + tail] = r.sample(values, r.choice([0, 1, 1, 1, 2]))
    return out


def question(r):
    kind = r.choice(["identity", "resource"])
    policy = {"Version": r.choice(["2012-10-17"] * 4 + ["2008-10-17"]), "Statement": [statement(r, kind) for _ in range(r.randint(1, 4))]}
    return {"policy": json.dumps(policy), "kind": kind, "who": r.choice(WHO), "action": r.choice(["s3:GetObject", "s3:PutObject", "s3:ListBucket", "sts:AssumeRole"]),
            "resource": r.choice(RESOURCES), "now": NOW, "context": context(r)}


def main():
    count, seed = (int(a) for a in (sys.argv[2:] + ["20000", "1"][len(sys.argv) - 2:])[:2])
    r = random.Random(seed)
    questions = [question(r) for _ in range(count)]
    answers = subprocess.run([sys.argv[1]], input="".join(json.dumps(q) + "\n" for q in questions), capture_output=True, text=True, check=True).stdout.split()
    assert len(answers) == count, len(answers)
    wrong, verdicts = [], {}
    for q, answer in zip(questions, answers):
        mine = decide(q)
        verdicts[mine] = verdicts.get(mine, 0) + 1
        if mine != answer:
            wrong.append((mine, answer, q))
    print(f"{count} questions, seed {seed}: {verdicts}, {len(wrong)} disagreements")
    for mine, answer, q in wrong[:5]:
        print(f"{answer} instead of {mine}: {json.dumps(q, ensure_ascii=False)}")
    sys.exit(1 if wrong or min(verdicts.get(v, 0) for v in ("silent", "allow", "deny")) < count // 20 else 0)


if __name__ == "__main__":
    main()
