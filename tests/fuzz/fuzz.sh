#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: fuzz.sh TARGET SECONDS SEEDS... - runs a libFuzzer target from the seeds (folders are only read) and keeps
# what it finds in a folder of its own. A crash is copied to the current folder and its name printed.
# libFuzzer's own status for a crash, 77, would pass for "skipped".
set -eu
target=$1 seconds=$2
shift 2
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
"$target" -error_exitcode=1 -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
    ${VFIOMEM_FUZZ_DICT:+-dict="$VFIOMEM_FUZZ_DICT"} "$found" "$@"
