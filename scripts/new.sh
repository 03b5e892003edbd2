#!/bin/sh
# new.sh NAME - writes allocators/NAME.c, a small design that compiles, registers and passes, to be changed part by
# part. Refuses (status 2) a name that is no stem of C symbols or that something has already.
set -eu
name=${1:-}

refuse() {
    echo "new.sh: $1" >&2
    exit 2
}

case $name in
"") refuse "no name: make new NAME=x" ;;
[!a-z]* | *[!a-z0-9_]*) refuse "'$name' is no name: use lower-case letters, digits and _, beginning with a letter" ;;
esac
[ ${#name} -le 24 ] || refuse "'$name' is longer than 24 characters: choose a shorter name"
for file in "allocators/$name.c" "workloads/$name.c"; do
    [ ! -e "$file" ] || refuse "'$name' is taken by $file: choose another name"
done

sed "s/@NAME@/$name/g" scripts/template.c.in >"allocators/$name.c.new"
if command -v clang-format >/dev/null; then
    clang-format -i --assume-filename="allocators/$name.c" "allocators/$name.c.new"
fi
mv "allocators/$name.c.new" "allocators/$name.c"
echo "allocators/$name.c: a working design to change; try: make && ./alloclab describe $name"
