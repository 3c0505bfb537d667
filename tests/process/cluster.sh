#!/usr/bin/env bash
# cluster SLUICE: `sluice cluster` against a real etcd; the map and the leases are written by hand.
set -u
sluice=$1
PATH=$PATH:/usr/sbin:/usr/local/bin
command -v etcd etcdctl >/dev/null || exit 77
work=$(mktemp -d)
passed=0
failed=0
unset "${!SLUICE_@}"
read -r client peer < <(python3 -c 'import socket
s = [socket.socket() for _ in range(2)]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*(x.getsockname()[1] for x in s))')
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=http://127.0.0.1:$client SLUICE_CLUSTER_ETCD=http://127.0.0.1:$client
etcd --data-dir "$work/etcd" --listen-client-urls "$ETCDCTL_ENDPOINTS" --advertise-client-urls "$ETCDCTL_ENDPOINTS" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer" >"$work/etcd.log" 2>&1 &
etcd=$!
trap 'kill -9 $etcd 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

# expect CODE TEXT ARGS...: the exit code, and what standard output or error says
expect()
{
    local code=$1 text=$2
    shift 2
    "$sluice" cluster "$@" >"$work/out" 2>&1
    local got=$?
    if [ "$got" = "$code" ] && grep -qF -- "$text" "$work/out"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: cluster $*: exit code $got, expected $code and: $text"
        sed 's/^/    /' "$work/out"
    fi
}

put()
{
    etcdctl put "/sluice/default/$1" "$2" >/dev/null || failed=$((failed + 1))
}

for _ in $(seq 100); do
    etcdctl endpoint health >/dev/null 2>&1 && break
    sleep 0.1
done
A=00000000000000aa B=00000000000000bb
node() # ID ZONE ADDRESS WEIGHT
{
    echo "{\"id\":\"$1\",\"zone\":\"$2\",\"address\":\"$3\",\"public\":\"\",\"weight\":$4,\"state\":\"active\",\"share\":$4}"
}

expect 2 "say what to do"
expect 2 "say what to do" nonsense
expect 2 "say which target" maintenance
expect 2 "does not take --json" maintenance $A --json
expect 2 "--nonsense" status --nonsense
expect 3 "epoch 0, 0 targets, no placement yet" status
expect 1 "there is no target $A" maintenance $A
put map "{\"format\":1,\"epoch\":5,\"nodes\":[$(node $A rack1 10.0.0.1:9100 300),$(node $B '' 10.0.0.2:9100 100)]}"
put alive/$A '{"address":"10.0.0.1:9100"}'
expect 3 "$B  active       no" status
put alive/$B '{"address":"10.0.0.2:9100"}'
expect 0 "epoch 5, 2 targets, nothing is moving" status
expect 0 "$A  active       yes    in sync                75.0%       300  rack1         10.0.0.1:9100" status
expect 0 '"sync":"in"' status --json
expect 0 '"share":100,"share_percent":25.0' status --json
python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$work/out" || failed=$((failed + 1))
expect 0 "target $B is not asked for its objects any more (epoch 6)" maintenance $B
expect 0 "(epoch 6)" maintenance $B
expect 3 "$B  maintenance  yes    out since epoch 6" status
expect 0 "target $B is active (epoch 7)" activate $B
expect 0 "target $B leaves when its objects have moved (epoch 8)" decommission $B
expect 0 "objects are moving since epoch 8" status
expect 1 "being decommissioned" maintenance $B
expect 1 "no other target would be left" decommission $A
expect 2 "lost for good" remove $B
expect 1 "is alive" remove $B --yes
etcdctl del /sluice/default/alive/$B >/dev/null
expect 0 "target $B is removed (epoch 9)" remove $B --yes
expect 1 "there is no target" remove $B --yes
expect 0 "epoch 9, 1 target, objects are moving since epoch 9" status # no target runs that could settle
etcdctl get "/sluice/default/removed/$B" --print-value-only | grep -q '"epoch":9' || {
    failed=$((failed + 1))
    echo "FAILED: a removed target leaves a record"
}
expect 3 "0 targets" status --cluster-prefix /other/
kill -9 $etcd
wait $etcd 2>/dev/null
expect 1 "sluice: " status
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
