#!/usr/bin/env bash
# doc/commands.md is what the table of commands and its rules say today, every command included.
source "$(dirname "$0")/lib.sh"

route=$REDISROUTE_SOURCE/lib/route
python3 "$route/generate_commands_doc.py" >"$work/commands.md"
diff "$REDISROUTE_SOURCE/doc/commands.md" "$work/commands.md" ||
    fail "doc/commands.md is stale: run lib/route/generate_commands_doc.py > doc/commands.md"

rows=$(grep -c '\.name = "' "$route/command_table.inc")
lines=$(sed '/^## /,$d' "$work/commands.md" | grep -c '^| [A-Z]')
[ "$lines" -eq "$rows" ] || fail "$lines lines for $rows commands"

# Rules that the table does not follow are noticed.
cp "$route"/generate_commands_doc.py "$route"/command_table.inc "$work"
sed 's/{"class": "QUIT"/{"class": "KILL"/' "$route/command_rules.json" >"$work/command_rules.json"
! cmp -s "$route/command_rules.json" "$work/command_rules.json" || fail "the rules were not changed"
! python3 "$work/generate_commands_doc.py" >"$work/other.md" 2>"$work/error" ||
    fail "a table older than its rules was taken"
grep -q '^quit: ' "$work/error" || fail "not said which command: $(cat "$work/error")"
