# hashes.pl - words counted and grouped in hashes of hashes and lists, over and over: some 6 million calls.
my ($x, $sum) = (1, 0);
for my $round (1 .. 18) {
    my (%count, %by_length);
    for my $i (1 .. 60000) {
        $x = ($x * 1103515245 + 12345) & 0x7fffffff;
        my $word = "w" . ($x % 20011) . ("x" x ($x % 23));
        $count{$word}{lines}++;
        push @{$by_length{length $word}}, "$word:$i";
    }
    $sum += scalar(keys %count) + scalar map { sort @$_ } values %by_length;
}
print "$sum\n";
