#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# How much later `virsh start` returns with vfiomem-qemu than with QEMU itself: median of differences, taking turns.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

rounds=${1:-15}
daemon_start
domain bare > /run/bare.xml
DOMAIN_EMULATOR=$VFIOMEM_BUILD/src/helper/vfiomem-qemu domain with > /run/with.xml
define /run/bare.xml
define /run/with.xml

# start_ms NAME
start_ms()
{
    local before after
    before=$(date +%s%N)
    virsh -q start "$1" >/dev/null || exit 1
    after=$(date +%s%N)
    virsh -q destroy "$1" >/dev/null
    echo $(((after - before) / 1000))
}
start_ms bare >/dev/null # both are probed by now
start_ms with >/dev/null
for ((i = 0; i < rounds; i++)); do
    if ((i % 2)); then
        bare=$(start_ms bare) with=$(start_ms with)
    else
        with=$(start_ms with) bare=$(start_ms bare)
    fi
    echo "$bare $with"
done > /run/times
median()
{
    sort -n | sed -n "$((rounds / 2 + 1))p"
}
bare=$(cut -d' ' -f1 /run/times | median)
with=$(cut -d' ' -f2 /run/times | median)
late=$(awk '{print $2 - $1}' /run/times | median)
echo "virsh start: $bare us without, $with us with vfiomem-qemu; $late us later (at most 40000)"
[ "$late" -le 40000 ]
