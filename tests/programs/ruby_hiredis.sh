#!/usr/bin/env bash
# hiredis for Ruby: redisConnectNonBlock, then a select loop of Ruby's over the descriptor, with
# reader functions that make Ruby objects.
source "$(dirname "$0")/lib.sh"
need ruby

start_cluster
cat >"$work/test.rb" <<'R'
require "hiredis"

host, port = ARGV
KEYS = 60
connection = Hiredis::Connection.new
abort "not the C extension" unless connection.is_a?(Hiredis::Ext::Connection)
connection.connect(host, port.to_i, 10_000_000)
connection.timeout = 30_000_000

expect = lambda do |wanted|
  reply = connection.read
  abort "got #{reply.inspect[0, 200]} instead of #{wanted.inspect[0, 200]}" if reply != wanted
end
ask = lambda do |wanted, *command|
  connection.write(command)
  expect.call(wanted)
end

descriptor = connection.fileno
(1..KEYS).each { |i| ask.call("OK", "SET", "ruby:#{i}", "value-#{i}") }
(1..KEYS).each { |i| ask.call("value-#{i}", "GET", "ruby:#{i}") }
(1..KEYS).each { |i| connection.write(["GET", "ruby:#{i}"]) }
connection.flush
(1..KEYS).each { |i| expect.call("value-#{i}") }
# Not at the end: built for hiredis 1.x the gem itself drops it there.
ask.call(["value-9", nil, "value-1"], "MGET", "ruby:9", "none", "ruby:1")
long = "x" * (5 << 20)
ask.call("OK", "SET", "ruby:long", long)
ask.call(long, "GET", "ruby:long")
connection.write(["LPUSH", "ruby:1", "x"])
error = connection.read
abort "no WRONGTYPE: #{error.inspect}" unless error.is_a?(Exception) && error.message =~ /WRONGTYPE/
abort "the descriptor has changed" if connection.fileno != descriptor
connection.disconnect

begin
  Hiredis::Connection.new.connect(host, Integer(ENV["CLOSED_PORT"]), 1_000_000)
  abort "connected to a closed port"
rescue Errno::ECONNREFUSED
end
R
CLOSED_PORT=$(free_port) with_library ruby "$work/test.rb" "$host" "$port" || fail "see above"
for i in 1 30 60; do
    expect_value "ruby:$i" "value-$i"
done
expect_spread
pass "60 keys one by one and in a pipeline, 5 MB at once"
