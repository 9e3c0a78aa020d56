#!/usr/bin/env python3
"""Writes command_table.inc from what servers say to COMMAND and command_rules.json.

    generate_commands.py > command_table.inc
    generate_commands.py --differences

commands/ has what each server says (record_commands.py writes it); the table has every command that
one of them has. What the rules do not settle is an error here, not a guess there, and so is a
difference between two servers of which the rules do not say why it changes nothing. The second form
lists those.
"""

import collections
import fnmatch
import json
import pathlib
import sys
import textwrap

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
    "asking", "skip_monitor", "skip_slowlog", "skip_commandlog", "no_mandatory_keys",
    "no_async_loading", "no_multi", "allow_busy", "module",
}
# Of those above, what decides where a command goes, or whether it goes twice.
FLAGS_DECIDING = {"WRITE", "READONLY", "BLOCKING", "PUBSUB", "MAY_REPLICATE"}
RESPONSES = {
    "one_succeeded": "ONE_SUCCEEDED", "all_succeeded": "ALL_SUCCEEDED", "agg_logical_and": "AND",
    "agg_logical_or": "OR", "agg_min": "MIN", "agg_max": "MAX", "agg_sum": "SUM",
    "special": "SPECIAL",
}
POLICIES = {"multi_shard": "SPLIT", "all_shards": "ALL_SHARDS", "all_nodes": "ALL_NODES"}


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


# --- a command: from one server ---


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
    """Modules write their names large."""
    command = Command(row[0].lower(), row[1], row[2], row[7],
                      [spec_from_server(pairs(s)) for s in row[8]])
    command.subcommands = [command_from_server(r) for r in row[9]]
    return command


def with_subcommands(commands):
    for command in commands:
        yield command
        yield from with_subcommands(command.subcommands)


def read_servers(folder):
    """By the servers' names, older versions first: name to command, subcommands included."""
    servers = {}
    for path in sorted(folder.glob("*.json")):
        said = json.loads(path.read_text())
        commands = with_subcommands(map(command_from_server, said["commands"]))
        servers[said["server"]] = {c.name: c for c in commands}
    return servers


# --- from several servers ---

FACTS = {
    "arity": lambda c: c.arity,
    "keys": lambda c: c.specs,
    "policy": lambda c: c.tips,
    "flags": lambda c: sorted(c.flags & FLAGS_DECIDING),
}


def versions_of(name, servers):
    return {server: commands[name] for server, commands in servers.items() if name in commands}


def differences(servers):
    """(fact, name) to what servers say, and which ones say so."""
    found = {}
    for name in sorted(set().union(*servers.values())):
        for fact, value_of in FACTS.items():
            said = collections.defaultdict(list)
            for server, command in versions_of(name, servers).items():
                said[json.dumps(value_of(command), sort_keys=True)].append(server)
            if len(said) > 1:
                found[fact, name] = said
    return found


def check_differences(servers, rules):
    found = set(differences(servers))
    settled = {(r["fact"], name) for r in rules["differences"] for name in r["commands"]}
    for fact, name in sorted(found - settled):
        sys.exit(f"{name}: servers differ about {fact} (--differences shows how): name it in the "
                 "rules, with the reason why it changes nothing")
    for fact, name in sorted(settled - found):
        sys.exit(f"rules, differences: servers agree about {fact} of {name}")


def most_lenient(arities):
    """A line that the connected server does not take is refused there."""
    least = min(map(abs, arities))
    return least if set(arities) == {least} else -least


def merge_servers(servers):
    """Top-level commands, each as the newest server has it that has it at all."""
    merged = {}
    for name in set().union(*servers.values()):
        versions = list(versions_of(name, servers).values())
        merged[name] = versions[-1]
        merged[name].arity = most_lenient([v.arity for v in versions])
        merged[name].subcommands = []
    for name, command in merged.items():
        if "|" in name:
            merged[name.split("|")[0]].subcommands.append(command)
    return [c for c in merged.values() if "|" not in c.name]


# --- from the rules ---


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


def only_key(command):
    if len(command.specs) != 1 or command.options:
        return 0
    spec = command.specs[0]
    single = spec["search"] == "KEYS_AT_INDEX" and spec.get("last", 0) == 0
    return spec["start"] if single and spec.get("find") != "KEYS_BY_COUNT" else 0


def apply_rules(command, rules):
    for rule in matching(rules["keys"], command.name):
        command.specs = [dict(s) for s in rule["specs"]]
    if None in command.specs:
        sys.exit(f"{command.name}: the server does not know its keys: name them in the rules")
    for rule in matching(rules["options"], command.name):
        command.options = rule["words"]
    if only_key(command) >= abs(command.arity):
        command.arity = -1 - only_key(command)  # modules say that any number of words is right
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


def spec_text(spec):
    fields = {"search": spec["search"], "find": spec.get("find", "KEYS_TO_LAST")}
    for field in ("word", "other_word"):
        if field in spec:
            fields[field] = f'"{spec[field]}"'
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
        return [fields + [f".number = {i}"] for i, fields in enumerate(rows, 1)]


def difference_lines(rules):
    """What servers do not agree about, for people who read the table."""
    for rule in rules["differences"]:
        yield f"{rule['fact']} of {', '.join(rule['commands'])}: {rule['reason']}"


def head_text(servers, rules):
    about = [f"Written by generate_commands.py from what {', '.join(servers)} say to COMMAND, and",
             "command_rules.json. Do not edit: change the rules and run", "",
             "    python3 generate_commands.py > command_table.inc", "",
             "Where those servers differ, and why that changes nothing:"]
    for line in difference_lines(rules):
        about += ["", *textwrap.wrap(line, 96)]
    return "/* " + "\n".join((" * " + line).rstrip() for line in about)[3:] + (
        "\n */\n/* clang-format off */\n")


def enumeration(constants):
    lines = "".join(f"    {name} = {value},\n" for name, value in constants.items())
    return f"enum {{\n{lines}}};\n"


def write_table(commands, head):
    writer = Writer()
    rows = writer.rows(commands)
    multiplier = find_multiplier([c.name for c in commands])
    out = [head]
    writer.specs.write(out)
    writer.options.write(out)
    out.append(enumeration({
        "TABLE_ROWS": len(rows) + 1,
        "HASH_BITS": HASH_BITS,
        "SHORTEST_NAME": min(len(c.name) for c in commands),
        "LONGEST_NAME": max(len(c.name) for c in commands),
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


def list_differences(servers):
    for (fact, name), said in differences(servers).items():
        print(f"{name}, {fact}:")
        for value, who in said.items():
            print(f"    {', '.join(who)}: {value}")


def main():
    if sys.argv[1:] not in ([], ["--differences"]):
        sys.exit(__doc__)
    folder = pathlib.Path(__file__).resolve().parent
    servers = read_servers(folder / "commands")
    if sys.argv[1:]:
        list_differences(servers)
        return
    rules = json.loads((folder / "command_rules.json").read_text())
    check_differences(servers, rules)
    ordered = sorted(merge_servers(servers), key=lambda c: c.name)
    for command in ordered:
        command.subcommands.sort(key=lambda c: c.name)
    everyone = list(with_subcommands(ordered))
    for command in everyone:
        apply_rules(command, rules)
    check_rules_are_used(rules, [c.name for c in everyone])
    write_table(ordered, head_text(servers, rules))


main()
