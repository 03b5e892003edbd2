#!/bin/sh
# foreign.sh ARCH FOLDER PACKAGE ... - Debian packages of another architecture, unpacked under FOLDER/files: libraries for
# cross builds, kernels for emulated machines. apt has a state of its own in FOLDER, so this machine's package database
# knows nothing of it. A package that is there is not fetched again; "linux" stands for the newest kernel of the
# architecture, of which boot/ alone is unpacked.
set -eu

if [ $# -lt 3 ]; then
    echo "foreign.sh: usage: foreign.sh arm64|riscv64 FOLDER PACKAGE ..." >&2
    exit 2
fi
arch=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
shift 2

case $arch in
arm64) suite=bookworm kernel=linux-image-cloud-arm64 ;;
riscv64) suite=trixie kernel=linux-image-riscv64 ;; # it is no architecture of Debian 12
*)
    echo "foreign.sh: no architecture '$arch': use arm64 or riscv64" >&2
    exit 2
    ;;
esac

missing=""
for package in "$@"; do
    [ -e "$folder/there/$package" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

mkdir -p "$folder/state/lists/partial" "$folder/cache/archives/partial" "$folder/parts" "$folder/debs" "$folder/files" \
    "$folder/there"
: >"$folder/status"
echo "deb [arch=$arch signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" \
    >"$folder/sources.list"
cat >"$folder/apt.conf" <<END
Dir::State "$folder/state";
Dir::State::status "$folder/status";
Dir::Cache "$folder/cache";
Dir::Etc::sourcelist "$folder/sources.list";
Dir::Etc::sourceparts "$folder/parts";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
END
export APT_CONFIG="$folder/apt.conf"

echo "fetching for $arch:$missing"
if ! apt-get -qq update; then
    echo "foreign.sh: the package lists of Debian's $suite for $arch cannot be had: see above" >&2
    exit 2
fi
for package in $missing; do
    name=$package
    if [ "$package" = linux ]; then
        name=$(apt-cache depends "$kernel" | awk '/Depends: linux-image-/ { print $2; exit }')
    fi
    rm -f "$folder/debs/${name}_"*.deb
    if ! (cd "$folder/debs" && apt-get -qq download "$name"); then
        echo "foreign.sh: $name for $arch cannot be fetched: see above" >&2
        exit 2
    fi
    if [ "$package" = linux ]; then
        rm -rf "$folder/files/boot"
        dpkg-deb --fsys-tarfile "$folder/debs/${name}_"*.deb | tar -x -C "$folder/files" ./boot
    else
        dpkg -x "$folder/debs/${name}_"*.deb "$folder/files"
    fi
    : >"$folder/there/$package"
done
