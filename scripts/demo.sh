#!/bin/bash
# demo.sh [DIR] - `make demo`: records a program that is running here, replays it and the recordings in traces/samples on
# every allocator, and draws the figures. DIR is new each time, so that nothing is written over.
set -eu
dir=${1:-out/demo-$(date -u +%Y%m%d-%H%M%S)}
mkdir -p "$dir"
recorded=$dir/words.trace

echo "demo 1/4: recording perl, which is on every Debian system, while it counts words"
# shellcheck disable=SC2016
./alloclab record -o "$recorded" -- perl -e '
    srand 1;
    my (%count, @lines);
    for my $line (1 .. 20000) {
        my $text = join " ", map { chr(97 + int rand 26) x (1 + int rand 9) } 1 .. 8;
        push @lines, $text if $line % 10 == 0;
        $count{$_}++ for split / /, $text;
    }
    my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
    print "most frequent word: $top[0], $count{$top[0]} times; ", scalar(@lines), " lines kept\n";'

echo
echo "demo 2/4: what was recorded"
./alloclab trace info "$recorded"

echo
echo "demo 3/4: replaying on every allocator (one to two minutes)"
traces=$recorded
for sample in traces/samples/{gcc,redis,requests}.trace; do
    traces=$traces,$sample
done
./alloclab run -w "$traces" -o "$dir" -r 8 --min-ms 100 --seed 1 # blocks enough for intervals

echo
echo "demo 4/4: drawing"
MAKEFLAGS='' make --no-print-directory figures DIR="$dir"

echo
echo "demo done. The table stands above; its rows are in $dir/results.csv (columns: alloclab list metrics)."
echo "Pictures:"
for picture in "$dir"/*.png; do
    echo "  $picture"
done
