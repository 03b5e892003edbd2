# logs.pl - what perl is used for: reads an access log line by line, counts by host, page and hour, follows sessions
# until they time out, and prints a report. The log itself is made up as it goes, from a fixed seed.
use strict;
use warnings;

my $lines = shift // 11000;
srand(20240229);
sub rnd { return int(rand($_[0])); } # perl's own generator: the same numbers on every machine

my @pages = map { "/" . join("/", map { substr("catalogue-item-review-basket-search", $_, 3 + $_) } 0 .. $_ % 4) } 1 .. 60;
my @agents = ("Mozilla/5.0 (X11; Linux x86_64)", "curl/7.88.1", "Mozilla/5.0 (compatible; crawler/2.1)");

sub log_line {
    my ($time) = @_;
    my $host = join(".", 10, rnd(4), rnd(16), rnd(32));
    my $page = $pages[rnd(rnd(60) + 1)];
    my $query = rnd(3) ? "" : "?id=" . rnd(5000) . "&sort=" . ("up", "down")[rnd(2)];
    my $status = (200, 200, 200, 200, 304, 404, 500)[rnd(7)];
    return sprintf('%s - - [%02d:%02d:%02d] "GET %s%s HTTP/1.1" %d %d "%s"', $host,
        $time / 3600, $time / 60 % 60, $time % 60, $page, $query, $status, rnd(40000), $agents[rnd(3)]);
}

my (%hosts, %pages, %hours, %open, @closed);

sub close_session {
    my ($host) = @_;
    my $session = delete $open{$host};
    my %seen = map { $_ => 1 } @{ $session->{path} };
    push @closed, { host => $host, pages => scalar(keys %seen), seconds => $session->{last} - $session->{first} };
    shift @closed if @closed > 500;
}

my $time = 0;
for my $n (1 .. $lines) {
    $time += rnd(5);
    my $line = log_line($time);
    next unless $line =~ m{^(\S+) \S+ \S+ \[(\d+):(\d+):(\d+)\] "(\w+) ([^ "]+) [^"]*" (\d+) (\d+) "([^"]*)"$};
    my ($host, $hour, $url, $status, $bytes, $agent) = ($1, $2, $6, $7, $8, $9);
    my ($path, $query) = split /\?/, $url, 2;
    my %arguments = map { split /=/, $_, 2 } split /&/, $query // "";
    $hosts{$host}{bytes} += $bytes;
    $hosts{$host}{agents}{$agent}++;
    push @{ $pages{$path}{$status} }, $arguments{id} // 0;
    $hours{ $hour + 0 }{$status}++;
    my $session = $open{$host} //= { first => $time, path => [] };
    $session->{last} = $time;
    push @{ $session->{path} }, $path;
    if ($n % 100 == 0) {
        close_session($_) for grep { $time - $open{$_}{last} > 900 } sort keys %open;
    }
}
close_session($_) for sort keys %open;

my @busy = (sort { $hosts{$b}{bytes} <=> $hosts{$a}{bytes} || $a cmp $b } keys %hosts)[0 .. 9];
printf "%-16s %10d bytes, %d agents\n", $_, $hosts{$_}{bytes}, scalar keys %{ $hosts{$_}{agents} } for @busy;
for my $page (sort keys %pages) {
    my $total = 0;
    $total += @{ $pages{$page}{$_} } for keys %{ $pages{$page} };
    print join("\t", $page, $total, map { "$_: " . scalar @{ $pages{$page}{$_} } } sort keys %{ $pages{$page} }), "\n";
}
for my $hour (sort { $a <=> $b } keys %hours) {
    print "$hour: ", join(" ", map { "$_=$hours{$hour}{$_}" } sort keys %{ $hours{$hour} }), "\n";
}
my $longest = (sort { $b->{seconds} <=> $a->{seconds} } @closed)[0];
print "longest of the last sessions: $longest->{host}, $longest->{pages} pages, $longest->{seconds} s\n";
