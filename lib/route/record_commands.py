#!/usr/bin/env python3
"""Writes what a running server says to COMMAND, a line for each command, for generate_commands.py.

    record_commands.py HOST PORT > commands/redis-8.0.json

Sorted, because servers give their commands in an order that is another one each time.
"""

import json
import socket
import sys

NAME, SUBCOMMANDS = 0, 9


class Server:
    def __init__(self, host, port):
        self.stream = socket.create_connection((host, port)).makefile("rwb")

    def command(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        parts += [b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words]
        self.stream.write(b"".join(parts))
        self.stream.flush()
        return self.reply()

    def reply(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            sys.exit(f"the server says: {rest}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self.stream.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return rest


def name_of(server):
    """Redis 8.0.2, or Valkey 8.1.1: which says of itself that it is a Redis 7.2, too."""
    lines = server.command("INFO", "server").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    if "valkey_version" in fields:
        return "Valkey " + fields["valkey_version"]
    return "Redis " + fields["redis_version"]


def in_order(rows):
    for row in rows:
        row[SUBCOMMANDS] = in_order(row[SUBCOMMANDS])
    return sorted(rows, key=lambda row: row[NAME].lower())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    server = Server(sys.argv[1], int(sys.argv[2]))
    rows = [json.dumps(row, separators=(",", ":")) for row in in_order(server.command("COMMAND"))]
    print('{"server":' + json.dumps(name_of(server)) + ',"commands":[\n' + ",\n".join(rows) + "\n]}")


if __name__ == "__main__":
    main()
