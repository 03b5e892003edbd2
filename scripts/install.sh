#!/bin/sh
# install.sh - the one list of what alloclab needs from Debian, and the one place that installs it.
# Quiet and fast when nothing is missing; otherwise apt-get, or a clear message when it has no right to.
set -eu
packages="gcc g++ make libc6-dev libzstd-dev libxxhash-dev zlib1g-dev libcmocka-dev python3 python3-numpy \
python3-matplotlib"
[ "${1:-}" = --all ] && packages="$packages $2"
missing=""
for p in $packages; do
    [ -e "/var/lib/dpkg/info/$p.list" ] || [ -e "/var/lib/dpkg/info/$p:$(dpkg --print-architecture).list" ] ||
        missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "install.sh: missing packages:$missing; this is not a Debian system: install their equivalents" >&2
    exit 2
fi
sudo=""
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo="sudo -n"
    else
        echo "install.sh: missing packages:$missing" >&2
        echo "install.sh: no right to install them: run as root: apt-get install$missing" >&2
        exit 2
    fi
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -qq update
# shellcheck disable=SC2086
$sudo apt-get -qq install -y --no-install-recommends $missing >/dev/null
