#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each example has the finding it promises and no other error, is named in the guide, and is mended by `apply`
# where that is possible. Needs neither root nor libvirt.
#   test-examples.sh VFIOMEM SOURCE-DIR
set -u

vfiomem=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail()
{
    echo "FAILED: $*"
    failed=1
}

check()
{
    "$vfiomem" check --host "$source/examples/host.json" --libvirt-version 9.0.0 --qemu-version 7.2.22 "$@"
}

examples=0
for file in "$source"/examples/*.xml; do
    name=$(basename "$file" .xml)
    promise=$(sed -n 's/^ *expect: //p' "$file")
    severity=${promise%% *}
    id=${promise##* }
    examples=$((examples + 1))
    check "$file" > "$work/out" 2>&1
    status=$?
    grep -qE ": $severity: .*\[$id\]$" "$work/out" || { fail "$name: no $severity [$id]"; cat "$work/out"; }
    [ "$status" = "$([ "$severity" = error ] && echo 1 || echo 0)" ] || fail "$name: exit status $status with $severity"
    grep -E ': error: ' "$work/out" | grep -vq "\[$id\]$" && fail "$name: another error than $id"
    grep -q "$name.xml" "$source/docs/guide.md" || fail "$name: not named in docs/guide.md"
    grep -q "\[$id\](findings.md#$id)" "$source/docs/guide.md" || fail "$name: docs/guide.md has no link to $id"

    "$vfiomem" apply --host "$source/examples/host.json" --libvirt-version 9.0.0 --qemu-version 7.2.22 "$file" \
        > "$work/$name.xml" 2> "$work/why"
    case $id in
    mapping-budget-exceeded | memlock-hard-limit)
        check "$work/$name.xml" > "$work/out" 2>&1 || { fail "$name: apply leaves an error"; cat "$work/out"; }
        ;;
    esac
    if command -v virt-xml-validate >/dev/null; then
        virt-xml-validate "$work/$name.xml" domain > "$work/out" 2>&1 || { fail "$name: not valid after apply"; cat "$work/out"; }
    fi
done
[ "$examples" -ge 6 ] || fail "only $examples examples: this test looks in the wrong place"
echo "$examples examples"
exit "$failed"
