#!/bin/sh
# make.sh [NAME...] - records the samples again, into OUT (default: a new folder under build/; the ones that are
# checked in are not touched). Bounded: each command is ended after a minute. README.md says what each sample is.
#
# The programs come from Debian (scripts/install.sh samples installs them). Everything they do is drawn from fixed
# seeds, and addresses do not appear in a trace; README.md says which come out the same each time.
set -eu
cd "$(dirname "$0")/../.."
scripts/install.sh samples
out=${OUT:-build/samples}
mkdir -p "$out"
work=$(mktemp -d)
# Limited in time; the same environment for everybody, because programs copy it; no random addresses, because gcc
# orders things by them.
clean="timeout 60 setarch -R env -i PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0"
trap 'end_redis; rm -rf "$work"' EXIT

end_redis() { # if it still runs
    [ ! -S "$work/redis.sock" ] || redis-cli -s "$work/redis.sock" shutdown nosave >"$work/end" 2>&1 || true
}

record() { # NAME COMMAND...: only the command's own process
    name=$1
    shift
    $clean ./alloclab record --children=skip -o "$work/$name.trace" -- "$@"
    mv "$work/$name.trace" "$out"
}

sample_perl() {
    record perl perl traces/samples/src/logs.pl >"$work/report"
}

sample_sqlite() {
    awk -f traces/samples/src/orders.awk >"$work/orders.sql"
    record sqlite sqlite3 :memory: <"$work/orders.sql" >"$work/answers"
}

sample_gcc() { # the driver starts cc1: the second process is the sample
    $clean ./alloclab record -o "$work/gcc.trace" -- gcc -S -O3 -g -funroll-loops -fprofile-generate \
        -frandom-seed=1 -I. -o /dev/null traces/samples/src/requests.c
    mv "$work/gcc.1.trace" "$out/gcc.trace"
}

sample_requests() {
    gcc -O2 -I. -o "$work/requests" traces/samples/src/requests.c -ljansson
    record requests "$work/requests"
}

bench() { # REQUESTS KEYS COMMAND...: 50 clients, 8 commands in flight each
    requests=$1
    keys=$2
    shift 2
    timeout 60 redis-benchmark -q -s "$work/redis.sock" -c 50 -P 8 -n "$requests" -r "$keys" "$@" \
        >>"$work/bench"
}

sample_redis() {
    record redis redis-server traces/samples/src/redis.conf --unixsocket "$work/redis.sock" --dir "$work" >"$work/log" &
    server=$!
    tries=0
    until redis-cli -s "$work/redis.sock" ping >"$work/ping" 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { echo "make.sh: redis-server does not answer:" && cat "$work/log" && exit 1; } >&2
        sleep 0.1
    done
    value=$(printf '%0200d' 7)
    bench 6000 2500 set key:__rand_int__ "$value"
    bench 6500 30 rpush list:__rand_int__ "$value" element "$value$value"
    bench 4500 30 hset hash:__rand_int__ field:__rand_int__ "$value"
    bench 4500 30 zadd sorted:__rand_int__ 1 member:__rand_int__
    bench 3000 2500 get key:__rand_int__
    bench 600 30 lrange list:__rand_int__ 0 20
    bench 60 30 del list:__rand_int__
    bench 2000 2500 set key:__rand_int__ "$value$value$value"
    redis-cli -s "$work/redis.sock" flushall async >>"$work/bench"
    bench 2000 2500 set key:__rand_int__ "$value"
    end_redis
    wait $server
}

[ $# -gt 0 ] || set -- perl sqlite gcc redis requests
for name in "$@"; do
    sample_"$name"
done
ls -l "$out"
