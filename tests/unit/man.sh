#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What --help says and what the man pages say is the same: commands, and the options of each, both ways.
# usage: man.sh VFIOMEM DIRECTORY-OF-RST PROGRAM...
set -u
vfiomem=$1 man=$2
shift 2
failed=0

complain() {
    echo "man: $*"
    failed=1
}

# Long options at the beginning of lines, after a short one or alone, one a line.
options() {
    grep -oE '^ *(-[A-Za-z]( [A-Z]+)?, )? *--[a-z][a-z-]+' | grep -oE -- '--[a-z][a-z-]+' | sort -u
}

# Short options likewise.
letters() {
    grep -oE '^ *-[A-Za-z](,| )' | grep -oE -- '-[A-Za-z]' | sort -u
}

# differ WHAT LIST-OF-HELP LIST-OF-PAGE
differ() {
    local lines
    lines=$(diff <(echo "$2") <(echo "$3")) || complain "$1: --help (<) and man page (>) differ:"$'\n'"$lines"
}

help=$("$vfiomem" --help)
commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' <<<"$help")
[ -n "$commands" ] || complain "vfiomem --help lists no commands"
listed=$(sed -n '/^COMMANDS/,/^OPTIONS/p' "$man/vfiomem.rst" | grep -E '^[a-z-]+$')
differ "commands" "$commands" "$listed"
differ "options of vfiomem" "$(options <<<"$help")" "$(options <"$man/vfiomem.rst")"

for command in $commands; do
    page=$man/vfiomem-$command.rst
    if [ ! -f "$page" ]; then
        complain "$command has no man page"
        continue
    fi
    help=$("$vfiomem" "$command" --help) || complain "$command --help fails"
    [ -n "$(options <<<"$help")" ] || complain "$command --help has no options"
    differ "options of $command" "$(options <<<"$help")" "$(options <"$page")"
    differ "short options of $command" "$(letters <<<"$help")" "$(letters <"$page")"
done
for program; do
    page=$man/$(basename "$program").rst
    help=$("$program" --help) || complain "$program --help fails"
    differ "options of $(basename "$program")" "$(options <<<"$help")" "$(options <"$page")"
done
exit $failed
