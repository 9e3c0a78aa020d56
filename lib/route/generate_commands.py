#!/usr/bin/env python3
"""Writes command_table.inc from a running server's own tables and command_rules.json.

    generate_commands.py HOST PORT > command_table.inc

The output depends on the server's version and the rules only, so that running it twice shows what
changed. What the rules do not settle is an error here, not a guess there.
"""

import fnmatch
import json
import pathlib
import socket
import sys

FOLD = 0x2020202020202020
MASK = (1 << 64) - 1
HASH_BITS = 12
WORD = 8

FLAGS = {
    "write": "WRITE", "readonly": "READONLY", "blocking": "BLOCKING", "admin": "ADMIN",
    "pubsub": "PUBSUB", "noscript": "NOSCRIPT", "loading": "LOADING",
    "movablekeys": "MOVABLE_KEYS", "denyoom": "DENYOOM", "stale": "STALE", "fast": "FAST",
    "no_auth": "NO_AUTH", "may_replicate": "MAY_REPLICATE",
}
# Of no use to a client.
FLAGS_IGNORED = {
    "asking", "skip_monitor", "skip_slowlog", "no_mandatory_keys", "no_async_loading", "no_multi",
    "allow_busy",
}
RESPONSES = {
    "one_succeeded": "ONE_SUCCEEDED", "all_succeeded": "ALL_SUCCEEDED", "agg_logical_and": "AND",
    "agg_logical_or": "OR", "agg_min": "MIN", "agg_max": "MAX", "agg_sum": "SUM",
    "special": "SPECIAL",
}
POLICIES = {"multi_shard": "SPLIT", "all_shards": "ALL_SHARDS", "all_nodes": "ALL_NODES"}


# --- the server ---


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


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


# --- a command: from the server, then from the rules ---


class Command:
    def __init__(self, name, arity, flags, tips, specs):
        self.name, self.arity, self.specs = name, arity, specs
        self.flags = {FLAGS[f] for f in flags if f not in FLAGS_IGNORED}
        self.tips = pairs([part for tip in tips if ":" in tip for part in tip.split(":")])
        self.klass = self.response = None
        self.options = {}
        self.subcommands = []

    @property
    def word(self):
        return self.name.split("|")[-1]


def spec_from_server(spec):
    """None: the server does not know."""
    search, find = pairs(spec["begin_search"]), pairs(spec["find_keys"])
    begin, keys = pairs(search["spec"]), pairs(find["spec"])
    out = {}
    if search["type"] == "index":
        out.update(search="KEYS_AT_INDEX", start=begin["index"])
    elif search["type"] == "keyword":
        out.update(search="KEYS_AFTER_WORD", word=begin["keyword"].lower(),
                   start=begin["startfrom"])
    else:
        return None
    if find["type"] == "range":
        out.update(find="KEYS_TO_LAST", last=keys["lastkey"], step=keys["keystep"],
                   limit=keys["limit"])
    elif find["type"] == "keynum":
        out.update(find="KEYS_BY_COUNT", count_at=keys["keynumidx"], first=keys["firstkey"],
                   step=keys["keystep"])
    else:
        return None
    return None if "incomplete" in spec["flags"] else out


def command_from_server(row):
    command = Command(row[0], row[1], row[2], row[7],
                      [spec_from_server(pairs(s)) for s in row[8]])
    command.subcommands = [command_from_server(r) for r in row[9]]
    return command


def commands_from_server(server):
    return {c.name: c for c in map(command_from_server, server.command("COMMAND"))}


def add_newer(commands, rules):
    for rule in rules["newer"]:
        specs = [{"search": "KEYS_AT_INDEX", "start": rule["key"]}] if "key" in rule else []
        for name in rule["commands"]:
            command = Command(name, rule["arity"], rule["flags"], [], specs)
            container = commands.get(name.split("|")[0])
            if "|" not in name:
                commands.setdefault(name, command)
            elif name not in {c.name for c in container.subcommands}:
                container.subcommands.append(command)


def matching(rules, name):
    return [r for r in rules if any(fnmatch.fnmatchcase(name, p) for p in r["commands"])]


def classify(command, rules):
    rule = next(iter(matching(rules["classes"], command.name)), {})
    policy = POLICIES.get(command.tips.get("request_policy"))
    command.klass = rule.get("class") or policy or ("KEYED" if command.specs else None)
    if command.klass is None:
        sys.exit(f"{command.name} has no key and no policy: name its class in the rules")
    default = "DEFAULT_KEYED" if command.specs else "DEFAULT_KEYLESS"
    tip = RESPONSES.get(command.tips.get("response_policy"), default)
    command.response = rule.get("response") or tip
    if command.klass in ("ALL_SHARDS", "ALL_NODES") and command.response == "SPECIAL":
        sys.exit(f"{command.name} cannot be merged: name its class in the rules")


def apply_rules(command, rules):
    for rule in matching(rules["keys"], command.name):
        command.specs = [dict(s) for s in rule["specs"]]
    if None in command.specs:
        sys.exit(f"{command.name}: the server does not know its keys: name them in the rules")
    for rule in matching(rules["options"], command.name):
        command.options = rule["words"]
    command.flags |= {r["flag"] for r in matching(rules["flags"], command.name)}
    if "READONLY" in command.flags:
        command.flags.add("REPEATABLE")
    if command.flags >= {"REPEATABLE", "WRITE"}:
        sys.exit(f"{command.name} is a write and cannot be repeatable")
    classify(command, rules)


def check_rules_are_used(rules, names):
    for kind in ("classes", "flags", "options", "keys"):
        for rule in rules[kind]:
            for pattern in rule["commands"]:
                if not fnmatch.filter(names, pattern):
                    sys.exit(f"rules, {kind}: no command is called {pattern}")


# --- look-up ---


def words_of(text):
    """The first and the last eight bytes; a short word has no second half."""
    raw = text.encode()
    head = int.from_bytes(raw[:WORD], "little")
    tail = int.from_bytes(raw[-WORD:], "little") if len(raw) > WORD else 0
    return head, tail


def hash_input(text):
    head, tail = words_of(text)
    head |= FOLD
    if len(text) > WORD:
        tail |= FOLD
        head ^= (tail << 3 | tail >> 61) & MASK
    return head


def hash_of(value, multiplier):
    return (value * multiplier & MASK) >> (64 - HASH_BITS)


def find_multiplier(names):
    """A multiplier under which no two names meet; the first one of a fixed sequence."""
    inputs = [hash_input(n) for n in names]
    state = 0x9E3779B97F4A7C15
    for _ in range(10_000_000):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        seen = set()
        for value in inputs:
            place = hash_of(value, state | 1)
            if place in seen:
                break
            seen.add(place)
        else:
            return state | 1
    sys.exit("no multiplier found: raise HASH_BITS")


# --- output ---


def identifier(name):
    return name.replace("|", "_").replace("-", "_")


def only_key(command):
    if len(command.specs) != 1 or command.options:
        return 0
    spec = command.specs[0]
    single = spec["search"] == "KEYS_AT_INDEX" and spec.get("last", 0) == 0
    return spec["start"] if single and spec.get("find") != "KEYS_BY_COUNT" else 0


def spec_text(spec):
    fields = {"search": spec["search"], "find": spec.get("find", "KEYS_TO_LAST")}
    if "word" in spec:
        fields["word"] = f'"{spec["word"]}"'
    for field in ("start", "last", "limit", "count_at", "first"):
        if spec.get(field, 0) != 0:
            fields[field] = spec[field]
    fields["step"] = spec.get("step", 1)
    return "{" + ", ".join(f".{k} = {v}" for k, v in fields.items()) + "}"


class Pool:
    """Arrays that rows share; each distinct one is written once."""

    def __init__(self, declaration, prefix):
        self.declaration, self.prefix, self.names = declaration, prefix, {}

    def name_of(self, entries, owner):
        return self.names.setdefault(tuple(entries), f"{self.prefix}_{identifier(owner)}")

    def write(self, out):
        for entries, name in self.names.items():
            body = ",\n".join(f"    {e}" for e in entries)
            out.append(f"static const {self.declaration} {name}[] = {{\n{body},\n}};\n")


class Writer:
    def __init__(self):
        self.specs = Pool("struct key_spec", "keys")
        self.options = Pool("struct command_option", "options")

    def row(self, command):
        head, tail = words_of(command.word)
        flags = sorted(command.flags)
        fields = [
            f".word = {{0x{head:x}, 0x{tail:x}}}", f".length = {len(command.word)}",
            f".klass = COMMAND_{command.klass}", f".response = RESPONSE_{command.response}",
            f".arity = {command.arity}", f'.name = "{command.name}"',
            ".flags = " + (" | ".join("COMMAND_" + f for f in flags) or "0"),
        ]
        if only_key(command):
            fields.append(f".only_key = {only_key(command)}")
        if command.specs:
            specs = self.specs.name_of(map(spec_text, command.specs), command.name)
            fields += [f".key_specs = {specs}", f".key_spec_count = {len(command.specs)}"]
        if command.options:
            entries = [f'{{"{w}", {n}}}' for w, n in command.options.items()] + ["{NULL, 0}"]
            fields.append(f".options = {self.options.name_of(entries, command.name)}")
        return fields

    def rows(self, commands):
        """Containers first have a place, then their subcommands, behind all top-level rows."""
        rows, behind = [], len(commands) + 1
        for command in commands:
            fields = self.row(command)
            if command.subcommands:
                fields += [f".subcommands = &table[{behind}]",
                           f".subcommand_count = {len(command.subcommands)}"]
                behind += len(command.subcommands)
            rows.append(fields)
        for command in commands:
            rows += [self.row(s) for s in command.subcommands]
        return rows


def head_text(version):
    return (f"/* Written by generate_commands.py from redis-server {version} and "
            "command_rules.json. Do not edit:\n"
            " * change the rules, start a server and run\n"
            " *\n"
            " *     python3 generate_commands.py 127.0.0.1 6379 > command_table.inc\n"
            " */\n"
            "/* clang-format off */\n")


def enumeration(constants):
    lines = "".join(f"    {name} = {value},\n" for name, value in constants.items())
    return f"enum {{\n{lines}}};\n"


def write_table(commands, version):
    writer = Writer()
    rows = writer.rows(commands)
    multiplier = find_multiplier([c.name for c in commands])
    out = [head_text(version)]
    writer.specs.write(out)
    writer.options.write(out)
    out.append(enumeration({
        "TABLE_ROWS": len(rows) + 1,
        "HASH_BITS": HASH_BITS,
        "SHORTEST_NAME": min(len(c.name) for c in commands),
        "LONGEST_NAME": max(len(c.name) for c in commands),
        "LONGEST_CONTAINER": max(len(c.name) for c in commands if c.subcommands),
    }))
    out.append(f"#define HASH_MULTIPLIER UINT64_C(0x{multiplier:x})\n")
    out.append("/* Row 0 is nobody's: what the hash of an unknown name leads to. */")
    out.append("static const struct command table[TABLE_ROWS] = {\n    {.length = 0},")
    for fields in rows:
        out.append("    {" + ",\n     ".join(", ".join(fields[i:i + 3])
                                             for i in range(0, len(fields), 3)) + "},")
    out.append("};\n")
    places = sorted((hash_of(hash_input(c.name), multiplier), i + 1)
                    for i, c in enumerate(commands))
    out.append("/* Hash of a name to its row. */")
    out.append("static const uint16_t row_of_hash[1 << HASH_BITS] = {")
    cells = [f"[{place}] = {row}," for place, row in places]
    out += ["    " + " ".join(cells[i:i + 6]) for i in range(0, len(cells), 6)]
    out.append("};")
    print("\n".join(out))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    server = Server(sys.argv[1], int(sys.argv[2]))
    folder = pathlib.Path(__file__).resolve().parent
    rules = json.loads((folder / "command_rules.json").read_text())
    version = pairs(server.command("HELLO"))["version"]
    commands = commands_from_server(server)
    add_newer(commands, rules)
    ordered = sorted(commands.values(), key=lambda c: c.name)
    for command in ordered:
        command.subcommands.sort(key=lambda c: c.name)
    everyone = [c for top in ordered for c in [top, *top.subcommands]]
    for command in everyone:
        apply_rules(command, rules)
    check_rules_are_used(rules, [c.name for c in everyone])
    write_table(ordered, version)


main()
