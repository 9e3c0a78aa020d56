#!/usr/bin/env bash
# Redis::Fast for Perl: asynchronous contexts in a poll loop of its own, which looks into hiredis'
# structures and sets the event hooks by hand.
source "$(dirname "$0")/lib.sh"
need perl

start_cluster
cat >"$work/test.pl" <<'P'
use strict;
use warnings;
use Redis::Fast;

my ($server, $keys) = (shift, 60);
my $redis = Redis::Fast->new(server => $server, reconnect => 2, every => 100_000,
    cnx_timeout => 10, read_timeout => 30, write_timeout => 30);

for my $i (1 .. $keys) {
    $redis->set("perl:$i", "value-$i") eq 'OK' or die "SET $i";
}
for my $i (1 .. $keys) {
    my $value = $redis->get("perl:$i");
    defined $value && $value eq "value-$i" or die "GET $i";
}

# With callbacks nobody waits: one pipeline over all nodes, answered in order.
my @seen;
for my $i (1 .. $keys) {
    $redis->get("perl:$i", sub { my ($value, $error) = @_; push @seen, $value // $error // 'nil' });
}
$redis->wait_all_responses;
"@seen" eq join(' ', map { "value-$_" } 1 .. $keys) or die "callbacks: @seen";

my @values = $redis->mget(map { "perl:$_" } 9, 1, 5);
"@values" eq 'value-9 value-1 value-5' or die "MGET: @values";
my $bytes = join '', map { chr } 0 .. 255;
$redis->set('perl:bytes', $bytes);
$redis->get('perl:bytes') eq $bytes or die 'bytes';
my $long = 'x' x 3_000_000;
$redis->set('perl:long', $long);
$redis->get('perl:long') eq $long or die 'long value';
eval { $redis->lpush('perl:1', 'x') };
$@ =~ /WRONGTYPE/ or die "no WRONGTYPE: $@";
$redis->ping or die 'PING';
scalar($redis->keys('perl:*')) == $keys + 2 or die 'KEYS';
$redis->quit;
P
with_library perl "$work/test.pl" "$host:$port" || fail "see above"
for i in 1 30 60; do
    expect_value "perl:$i" "value-$i"
done
expect_spread
pass "60 keys one by one, and in one pipeline with callbacks"
