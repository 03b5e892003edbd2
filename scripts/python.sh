#!/bin/sh
# python.sh - prints a python3 that can import matplotlib; the first on PATH is not always Debian's. Falls back to
# /usr/bin/python3, into which `make deps` installs it.
for p in /usr/bin/python3 python3; do
    if "$p" -c 'import matplotlib' 2>/dev/null; then
        echo "$p"
        exit 0
    fi
done
echo /usr/bin/python3
