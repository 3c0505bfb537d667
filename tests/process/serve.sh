#!/usr/bin/env bash
# serve SLUICE: the life of a server process: start, refusals, signals, TLS. Speaks HTTP with curl only.
set -u
sluice=$1
work=$(mktemp -d)
pids=()
passed=0
failed=0
unset "${!SLUICE_@}"

finish()
{
    for pid in "${pids[@]}"; do
        kill -9 "$pid" 2>/dev/null
    done
    wait 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT

check() # NAME STATUS
{
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
        sed 's/^/    /' "$work"/out "$work"/err 2>/dev/null | tail -n 30
    fi
}

# start ARGS...: a server in the background; sets pid and endpoint
start()
{
    : >"$work/out"
    "$sluice" serve "$@" >"$work/out" 2>"$work/err" &
    pid=$!
    pids+=("$pid")
    for _ in $(seq 200); do
        endpoint=$(grep -oE 'https?://[0-9.:]+' "$work/out" | head -n 1)
        [ -z "$endpoint" ] || return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# stop SIGNAL EXPECTED_STATUS
stop()
{
    local status=0
    kill "-$1" "$pid"
    wait "$pid" || status=$?
    [ "$status" -eq "$2" ]
}

# refuses STATUS TEXT ARGS...: it does not start, and says why on standard error
refuses()
{
    local expected=$1 text=$2 status=0
    shift 2
    timeout 30 "$sluice" serve "$@" >"$work/out" 2>"$work/err" || status=$?
    [ "$status" -eq "$expected" ] && grep -qF -- "$text" "$work/err"
}

status_of() # CURL ARGS...
{
    curl -s -o "$work/body" -w '%{http_code}' --max-time 10 "$@"
}

# ---- start ----
start --data "$work/a" --listen 127.0.0.1:0
check "first start" $?
grep -qE '^export AWS_ACCESS_KEY_ID=[A-Z0-9]{20}$' "$work/out" && grep -qE '^export AWS_SECRET_ACCESS_KEY=[A-Za-z0-9]{40}$' "$work/out"
check "first start prints the keys it made" $?
[ "$(stat -c %a "$work/a/credentials")" = 600 ]
check "credentials are private" $?
secret=$(awk -F'"' '/^secret_key/ { print $2 }' "$work/a/credentials")
! grep -qF "$secret" "$work/err"
check "the secret is not logged" $?
[ "$(status_of "$endpoint/v1/health")" = 200 ] && grep -q '"status":"ok"' "$work/body"
check "health" $?
[ "$(status_of "$endpoint/v1/metrics")" = 200 ] && grep -q '^sluice_build_info{' "$work/body"
check "metrics" $?
[ "$(status_of "$endpoint/")" = 403 ]
check "a request without a signature is refused" $?

# ---- refusals ----
port=${endpoint##*:}
refuses 1 "127.0.0.1:$port" --data "$work/b" --listen "127.0.0.1:$port"
check "a busy port" $?
refuses 1 "$work/a" --data "$work/a" --listen 127.0.0.1:0
check "a data directory in use" $?
refuses 2 'did you mean --listen?' --data "$work/b" --lisen :1
check "a misspelt flag" $?
refuses 2 'only for loopback' --data "$work/b" --auth none --listen :0
check "an open server beyond loopback" $?
refuses 2 '--data DIR' --listen 127.0.0.1:0
check "no data directory" $?
refuses 1 "$work/no.pem" --data "$work/b" --listen 127.0.0.1:0 --tls-cert "$work/no.pem" --tls-key "$work/no.pem"
check "a certificate that is not there" $?
touch "$work/file"
refuses 1 "$work/file" --data "$work/file/x" --listen 127.0.0.1:0
check "a data directory that cannot be made" $?
printf 'listen: 127.0.0.1:0\nlimits:\n  head_max: lots\n' >"$work/bad.yaml"
refuses 2 "$work/bad.yaml:3: limits.head_max: expected a size" --config "$work/bad.yaml"
check "a bad value in the file" $?

# ---- stop ----
stop TERM 0
check "SIGTERM ends it with 0" $?
start --data "$work/a" --listen 127.0.0.1:0
check "second start" $?
! grep -qF "$secret" "$work/out" "$work/err"
check "later starts show the secret to terminals only" $?
stop INT 0
check "SIGINT ends it with 0" $?
start --data "$work/a" --listen 127.0.0.1:0 --drain-timeout 20s
exec 3<>"/dev/tcp/127.0.0.1/${endpoint##*:}"
printf 'GET /v1/health HTTP/1.1\r\n' >&3 # a request that never gets complete: a drain waits for it
sleep 0.3
kill -TERM "$pid"
sleep 0.5
kill -0 "$pid" 2>/dev/null
check "a drain waits for requests" $?
stop TERM 1
check "a second signal ends it at once" $?
exec 3>&-

# ---- open server, keys from the environment, TLS ----
start --data "$work/a" --listen 127.0.0.1:0 --auth none
check "start without keys" $?
[ "$(status_of -X PUT "$endpoint/bucket")" = 200 ] && [ "$(status_of -T "$work/bad.yaml" "$endpoint/bucket/key")" = 200 ] &&
    [ "$(status_of "$endpoint/bucket/key")" = 200 ] && cmp -s "$work/body" "$work/bad.yaml"
check "auth none serves everybody" $?
kill -9 "$pid"
wait "$pid" 2>/dev/null
start --data "$work/a" --listen 127.0.0.1:0 --auth none
[ "$(status_of "$endpoint/bucket/key")" = 200 ] && cmp -s "$work/body" "$work/bad.yaml"
check "what was answered is there after kill -9" $?
! "$sluice" fsck --data "$work/a" >"$work/out" 2>&1
check "fsck refuses a directory in use" $?
id=$("$sluice" job start cleanup --data "$work/a") && "$sluice" job wait "$id" --data "$work/a" >"$work/out" 2>&1
check "a job runs to its end" $?
"$sluice" job list --data "$work/a" | grep -q "^$id  *cleanup  *done"
check "jobs are listed" $?
! "$sluice" job start nothing --data "$work/a" >"$work/out" 2>&1
check "there are not any jobs" $?
[ "$(stat -c %a "$work/a/jobs.sock")" = 600 ]
check "the socket for jobs is the owner's" $?
stop TERM 0
! "$sluice" job list --data "$work/a" >"$work/out" 2>&1 && [ ! -e "$work/a/jobs.sock" ]
check "without a server there is no socket for jobs" $?
"$sluice" fsck --data "$work/a" >"$work/out" 2>&1
check "fsck finds nothing wrong" $?
rm -rf "$work/a/index"
"$sluice" fsck --rebuild --data "$work/a" >"$work/out" 2>&1
check "fsck makes a lost index anew" $?
"$sluice" fsck --data "$work/a" >"$work/out" 2>&1
check "fsck agrees with what it made" $?

certificate() # NAME
{
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
        -addext 'subjectAltName=IP:127.0.0.1' -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
}
subject()
{
    openssl s_client -connect "127.0.0.1:${endpoint##*:}" </dev/null 2>/dev/null | openssl x509 -noout -subject
}
certificate first
start --data "$work/a" --listen 127.0.0.1:0 --tls-cert "$work/cert.pem" --tls-key "$work/key.pem"
check "start with TLS" $?
[[ $endpoint == https://* ]] && [ "$(status_of --cacert "$work/cert.pem" "$endpoint/v1/health")" = 200 ]
check "TLS serves" $?
certificate second
kill -HUP "$pid"
sleep 0.3
[[ $(subject) == *second* ]]
check "SIGHUP brings the new certificate" $?
echo broken >"$work/cert.pem"
kill -HUP "$pid"
sleep 0.3
[[ $(subject) == *second* ]] && grep -q 'certificate not reloaded' "$work/err"
check "a bad certificate leaves the old one" $?
stop TERM 0
check "SIGTERM with TLS" $?

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
