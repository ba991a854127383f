#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The lab script itself: statuses, output and arguments pass unharmed, and nothing hangs or stays behind.
set -u
lab=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)/lab
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch
failed=0
check() { # check WHAT EXPECTED GOT
    if [ "$2" = "$3" ]; then
        echo "ok: $1"
    else
        printf 'FAILED: %s\n  expected: %q\n  got:      %q\n' "$1" "$2" "$3"
        failed=1
    fi
}
run() { "$lab" run --no-build "$@"; }

# shellcheck disable=SC2016 # not to be expanded here
output=$(run --devices edu:1 -- sh -c 'printf "%s|" "$@"; echo "$LAB_DEVICES"; exit 42' name "a b" "it's" '$HOME' '' "$(printf 'x\ty')" 2> "$scratch/errors")
status=$?
if [ $status = 77 ]; then
    cat "$scratch/errors"
    exit 77
fi
check "exit status" 42 "$status"
check "arguments and output" "$(printf "a b|it's|\$HOME||x\ty|0000:00:10.0")" "$output"
check "nothing on standard error" "" "$(cat "$scratch/errors")"

# Every byte value, and more of them than any buffer on the way holds.
head -c 300000 /dev/urandom > "$scratch/bytes"
run --with "$scratch/bytes:/bytes" -- cat /bytes > "$scratch/copy"
check "binary output" "$(sha256sum < "$scratch/bytes")" "$(sha256sum < "$scratch/copy")"

# A program of this machine brings its libraries.
check "program with libraries" "$(xmllint --version 2>&1 | head -n 1 | sed 's/.*using/using/')" \
    "$(run -- "$(command -v xmllint)" --version 2>&1 | head -n 1 | sed 's/.*using/using/')"

cp "$(type -P true)" "$scratch/mine"
run -- "$scratch/mine"
check "program from below /tmp" 0 $?
run -- sh -c 'kill -9 $$' > /dev/null 2>&1
check "killed program" 137 $?
run -- no-such-command > /dev/null 2>&1
check "no such command" 127 $?
run --timeout 6 -- sleep 1000 > /dev/null 2> "$scratch/errors"
check "time-out" 124 $?
check "time-out says so" 1 "$(grep -c 'no end after 6 s' "$scratch/errors")"
run -- sh -c 'reboot -f; sleep 60' > /dev/null 2>&1
check "L1 dies under the program" 125 $?
run --devices no-such-device > /dev/null 2>&1 -- true
check "unknown device" 125 $?
run --kernel "$scratch/none" -- true > /dev/null 2> "$scratch/errors"
check "missing kernel is a skip" 77 $?
check "and says why" 1 "$(grep -c 'skipped: kernel .* cannot be read' "$scratch/errors")"
"$lab" run --devices > /dev/null 2>&1
check "usage" 2 $?
"$lab" --help > "$scratch/help"
check "help" "0 1" "$? $(grep -c '^Usage:' "$scratch/help")"

# A signal to the script ends QEMU and removes what it made.
"$lab" run --no-build -- sh -c 'echo here; sleep 1000' > "$scratch/out" 2>&1 &
script=$!
until grep -q here "$scratch/out"; do
    kill -0 $script 2> /dev/null || break
    sleep 0.1
done
kill -TERM $script
wait $script
check "terminated" 143 $?
check "no QEMU left" "" "$(pgrep -f "$scratch/vfiomem-lab" || true)"
check "no files left" "" "$(find "$scratch" -name 'vfiomem-lab.*')"
exit $failed
