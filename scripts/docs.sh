#!/bin/sh
# docs.sh [--check] - rewrites the documents that are made from tables in the source, or (--check) fails if one differs.
set -eu
metrics() {
    echo "# Columns of results.csv"
    echo
    echo "Made by \`make docs\` from the table in harness/metrics.h; \`alloclab list metrics\` prints the same. What was not"
    echo "measured is empty, never 0. *how*: id says what the row is; exact is the same on every run and machine; sampled"
    echo "is looked at now and then; timed depends on the machine and its noise. L live requested, U live usable, M metadata,"
    echo "C committed, V reserved, R resident bytes. Fragmentation ratios use points where L is at least 1 MiB and at least 1 %"
    echo "of its maximum; elsewhere they would mean nothing, and the column is empty. Columns based on C are empty where memory"
    echo "does not come through the door (libc and rivals under it)."
    echo
    echo "    name, unit, better, how, definition"
    ./alloclab list metrics | sed 's/^/  /'
}
page=docs/metrics.md
if [ "${1:-}" = --check ]; then
    metrics | cmp - "$page" || {
        echo "$page differs from the table in the source: run make docs" >&2
        exit 1
    }
else
    metrics > "$page.new" && mv "$page.new" "$page"
fi
