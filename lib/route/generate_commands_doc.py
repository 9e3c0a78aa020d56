#!/usr/bin/env python3
"""Writes doc/commands.md from command_table.inc, command_rules.json and commands/.

    generate_commands_doc.py > doc/commands.md

The table says what happens, the rules say why, and commands/ which server has a command. Where table
and rules disagree the table is older than the rules, and that is an error.
"""

import fnmatch
import json
import pathlib
import re
import sys

# Class: what happens, how that differs from one server ("" is: it does not).
CLASSES = {
    "KEYED": ("sent to the node of its keys' slot",
              "keys in several slots: the server's own CROSSSLOT error"),
    "SPLIT": ("split by the slots of its keys",
              "keys in several slots: each slot's part is atomic, the whole is not; when one part "
              "fails, others may have been executed"),
    "ALL_SHARDS": ("sent to every master", "not at one moment: each master executes its own part"),
    "ALL_NODES": ("sent to every node, replicas included",
                  "not at one moment; a node that cannot be reached makes it an error"),
    "ANY_NODE": ("sent to one node", ""),
    "SLOT": ("sent to the node that owns the slot", ""),
    "MASTER": ("sent to one master, that of the dialled node's shard",
               "is about that master, not about the whole cluster"),
    "STATE": ("sent to the dialled node, and said again on every connection opened later",
              "waits for what was issued before it"),
    "READ_MODE": ("answered OK here", "has no effect: the configuration says where reads go"),
    "CONNECTION": ("sent to the dialled node, always over the same connection",
                   "is about one of the context's several connections"),
    "QUIT": ("answered OK here, and the connection ends", ""),
    "TRANSACTION": ("held or sent so that the transaction runs on one node",
                    "all keys have to be in one slot"),
    "RESET": ("answered here, and the connection begins anew", ""),
    "SUBSCRIBE": ("subscribed on connections of its own, which follow the cluster",
                  "messages published while a connection is being replaced are missed, or arrive again from a node that lags"),
    "UNSUBSCRIBE": ("ends subscriptions", ""),
    "MONITOR": ("the masters' streams, as one",
                "lines of different masters come in the order of their arrival"),
    "REPLY_MODE": ("kept here; servers answer, the answers are not delivered", ""),
    "TRACKING": ("said on every connection, where that is possible", ""),
    "CACHING": ("goes with the next command, on each connection that it is sent over", ""),
    "KILL": ("sent to every node; an id is one node's", ""),
    "SCAN": ("sent to one master after the other, by cursors of the cluster",
             "keys may come twice when slots moved meanwhile; see scan.md"),
    "UNSUPPORTED": ("refused with an error that begins with UNSUPPORTED", "cannot be used"),
}
KEYLESS = "sent to one node"

# What the class alone does not say.
DIFFERS = {
    "client|tracking": "REDIRECT is refused; when a connection to a node is lost, everything is invalidated; "
                       "with NOLOOP and reads from replicas, own writes are invalidations there",
    "select": "any database but 0: the server's own error",
    "move": "the server's own error: there is one database",
    "swapdb": "the server's own error: there is one database",
    "wait": "the number of replicas of the master that has the fewest; what was written over a "
            "connection that was lost since is not waited for",
    "waitaof": "as WAIT",
    "cluster|slot-stats": "ORDERBY and LIMIT hold for each master: sort and cut what comes",
    "commandlog|get": "the count holds for each node; one that cannot be reached makes it an error",
    "slowlog|get": "the count holds for each node; one that cannot be reached makes it an error",
}
BLOCKING = "nothing behind it is sent before it returns"

RESPONSES = {
    "DEFAULT_KEYLESS": "arrays are put one behind the other",
    "DEFAULT_KEYED": "an element for each key, in the order of the keys",
    "ONE_SUCCEEDED": "one success is enough",
    "ALL_SUCCEEDED": "all have to succeed",
    "AND": "logical and", "OR": "logical or",
    "MIN": "the smallest number", "MAX": "the greatest number", "SUM": "the sum",
    "UNION": "every element once", "ANY": "one that is not nil, of any master", "SUM_OF_NAMED": "the numbers of each name are summed",
    "INFO": "one report: what was counted is summed, what identifies a server is that of one master",
    "TEXT": "texts are put one behind the other", "SPECIAL": "all have to succeed",
}
MERGED = {"SPLIT", "ALL_SHARDS", "ALL_NODES"}

HEAD = """\
<!-- Written by lib/route/generate_commands_doc.py. Do not edit: change the table or the rules. -->
# Commands

What becomes of each command on a cluster. *Differs* says what a program can notice that ran on one
server before; an empty cell: nothing. On a server that is no cluster, nothing is routed or changed.

Commands that are not listed (those of modules, newer ones, and those that a server was told to call
otherwise) are looked up at the cluster when a process says them for the first time, and then treated
by what the server says of them: its key specifications, its command tips, its flags. Where the server
itself can only tell the keys of a whole command line, it is asked with each (COMMAND GETKEYS), which
costs a round trip. What would change one server that nobody has chosen (an administrative command
without a key and without a tip), and renamed commands that a session has to recognise (MULTI,
SUBSCRIBE, AUTH …), are refused. A command that no server knows waits for what was issued before it and
is sent to one node, whose error is the answer; it is looked up again after ten seconds. So are
commands beyond the first two thousand names, and all of them when the user may not say COMMAND INFO;
a redirection, if the node answers with one, is followed then.
"""


def rows_of(table):
    """One dictionary a row of the table: name, klass, response and what its keys are."""
    body = table[table.index("static const struct command table["):]
    rows = []
    for text in re.findall(r"\{(\.word = .*?)\},\n(?=    \{|\};)", body, re.S):
        row = {f: re.search(rf"\.{f} = (?:COMMAND_|RESPONSE_)?\"?([^\",\n]+)", text).group(1)
               for f in ("name", "klass", "response")}
        row["has_key"] = ".key_specs" in text
        row["has_one_key"] = ".only_key" in text
        row["is_blocking"] = bool(re.search(r"COMMAND_BLOCKING\b", text))
        rows.append(row)
    declared = int(re.search(r"TABLE_ROWS = (\d+)", table).group(1))
    if len(rows) != declared - 1:
        sys.exit(f"{len(rows)} of {declared - 1} rows of the table were read")
    return rows


def rule_of(name, rules):
    for rule in rules["classes"]:
        if any(fnmatch.fnmatchcase(name, p) for p in rule["commands"]):
            return rule
    return {}


def differs_of(row):
    differs = CLASSES[row["klass"]][1]
    if row["klass"] == "KEYED" and (row["has_one_key"] or not row["has_key"]):
        differs = ""
    parts = [DIFFERS.get(row["name"], differs)]
    if row["is_blocking"] and row["klass"] == "KEYED":
        parts.append(BLOCKING)
    return "; ".join(p for p in parts if p)


def line_of(row, rules):
    klass, rule = row["klass"], rule_of(row["name"], rules)
    if klass not in CLASSES or row["response"] not in RESPONSES:
        sys.exit(f"{row['name']}: {klass}, {row['response']}: describe it in this script")
    if rule.get("class", klass) != klass:
        sys.exit(f"{row['name']}: {klass} in the table, {rule['class']} in the rules: "
                 "write the table again")
    what = CLASSES[klass][0]
    if klass == "KEYED" and not row["has_key"]:
        what = KEYLESS
    if klass in MERGED:
        what += "; replies: " + RESPONSES[row["response"]]
    name = row["name"].replace("|", " ").upper()
    return f"| {name} | {klass} | {what} | {differs_of(row)} | {rule.get('reason', '')} |"


def servers_of(folder):
    """Server to the names of its commands."""
    names = {}
    for path in sorted(folder.glob("*.json")):
        said = json.loads(path.read_text())
        rows = [r for row in said["commands"] for r in (row, *row[9])]
        names[said["server"]] = {row[0].lower() for row in rows}
    return names


def text_of(names):
    return ", ".join(n.replace("|", " ").upper() for n in sorted(names))


def write_not_everywhere(servers):
    """By which servers have a command: those that all have are not worth a word."""
    owners = {}
    for name in set().union(*servers.values()):
        having = tuple(s for s, names in servers.items() if name in names)
        owners.setdefault(having, set()).add(name)
    print("\n## Not in every server\n\n"
          f"The table was made from what {', '.join(servers)} say of themselves. A server that does "
          "not have a command says so.\n\n| only in | commands |\n|---|---|")
    for having, names in sorted(owners.items()):
        if len(having) < len(servers):
            print(f"| {', '.join(having)} | {text_of(names)} |")


def write_differences(rules):
    print("\n## Where servers differ\n\nThe connected server has the last word:\n\n"
          "| what | commands | why it changes nothing |\n|---|---|---|")
    for rule in rules["differences"]:
        print(f"| {rule['fact']} | {text_of(rule['commands'])} | {rule['reason']} |")


def main():
    folder = pathlib.Path(__file__).resolve().parent
    rules = json.loads((folder / "command_rules.json").read_text())
    rows = rows_of((folder / "command_table.inc").read_text())
    print(HEAD)
    print("| command | class | what happens | differs | why |\n|---|---|---|---|---|")
    for row in sorted(rows, key=lambda r: r["name"]):
        print(line_of(row, rules))
    write_not_everywhere(servers_of(folder / "commands"))
    write_differences(rules)


main()
