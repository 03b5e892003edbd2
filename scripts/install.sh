#!/bin/sh
# install.sh [GROUP ...] - the one list of what alloclab needs from Debian, and the one place that installs it: the
# groups named, or base. `base` builds, draws and demonstrates; `test` is recorded by tests; `lint` is for make lint and
# make fmt; `samples` are the programs that traces/samples/make.sh records; `rivals` are other people's allocators, to be
# measured beside ours; `locality` is what simulates caches for `--passes locality`, `programs` what make bench-programs
# runs, `recorded` what make record-programs records; `cross` builds for arm64 and riscv64, and `emulator` runs that (make
# prove-pmu); `fuzz` is for make fuzz. Quiet and fast when nothing is missing; otherwise apt-get, or a clear message and
# status 2 when it has no right to.
set -eu

group() { # name: its packages
    case $1 in
    base) echo gcc g++ libc6-dev make libzstd-dev libxxhash-dev zlib1g-dev libpfm4-dev libcmocka-dev python3 python3-numpy \
        python3-matplotlib elfutils ;;
    test) echo perl sqlite3 pkgconf libjemalloc2 git redis-server pigz binutils hyperfine python3-scipy valgrind zstd ltrace \
        heaptrack apache2-bin curl imagemagick \
        busybox-static musl-tools ;;
    recorded) echo bash git gcc make redis-server nginx-light apache2-bin curl nodejs php-cli python3 sqlite3 ffmpeg imagemagick xvfb \
        xterm mousepad xdotool busybox-static bubblewrap ;;
    samples) echo perl sqlite3 gcc redis-server libjansson-dev mawk ;;
    rivals) echo libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4 libtbbmalloc2 ;;
    locality) echo valgrind ;;
    programs) echo hyperfine perl sqlite3 git redis-server pigz gcc g++ ;;
    cross) echo gcc-aarch64-linux-gnu gcc-riscv64-linux-gnu libc6-dev-arm64-cross libc6-dev-riscv64-cross \
        debian-archive-keyring ;;
    fuzz) echo clang ;;
    emulator) echo qemu-system-arm qemu-system-misc opensbi cpio ;;
    lint) echo clang-format clang-tidy cppcheck shellcheck pyflakes3 binutils ;;
    *)
        echo "install.sh: no group '$1': use base, test, lint, samples, rivals, locality, programs, recorded, cross, fuzz or emulator" >&2
        exit 2
        ;;
    esac
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    # Nothing to ask: the compiler says what it lacks.
    exit 0
fi

[ $# -gt 0 ] || set -- base
wanted=""
for name in "$@"; do
    wanted="$wanted $(group "$name")"
done

# shellcheck disable=SC2086,SC2016 # words are meant to split; dpkg-query expands ${...} itself
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null) || true
missing=""
for package in $wanted; do
    case "
$installed
" in
    *"
$package installed
"*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install.sh: missing:$missing; no right to install: run as root: apt-get install$missing" >&2
        exit 2
    fi
    sudo="sudo"
    if ! (: </dev/tty) 2>/dev/null && ! sudo -n true 2>/dev/null; then
        echo "install.sh: missing:$missing; sudo wants a password, and there is no terminal to ask on:" \
            "run: sudo apt-get install$missing" >&2
        exit 2
    fi
fi

apt() { # waits for another apt to finish
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any "$@" \
        </dev/null
}

echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
tries=1
until apt update >"$log" 2>&1; do
    if [ "$tries" -ge 3 ]; then
        cat "$log" >&2
        echo "install.sh: apt-get update failed: see above; trying with the package lists that are here" >&2
        break
    fi
    tries=$((tries + 1))
    sleep 5
done
# shellcheck disable=SC2086 # words are meant to split
if ! apt install -y --no-install-recommends $missing >"$log" 2>&1; then
    cat "$log" >&2
    echo "install.sh: apt-get could not install:$missing; its words are above; mend that, then run make again" >&2
    exit 2
fi
