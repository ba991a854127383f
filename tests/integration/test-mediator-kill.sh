#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The worker of a real guest's helper is killed 100 times, and libvirtd restarted 20 times, under a stream of commands.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

helper=$VFIOMEM_BUILD/src/helper/vfiomem-helper
kills=100
restarts=20

supervisor()
{
    local pid
    for pid in $(pgrep -f "^$helper "); do
        [ -n "$(pgrep -P "$pid")" ] && echo "$pid" && return
    done
}
worker()
{
    pgrep -P "$(supervisor)"
}
alive()
{
    virsh -q qemu-monitor-command one '{"execute":"query-status"}' | grep -q '"status":"running"'
}

# libvirtd 11.3 sometimes waits for its own udev thread for ever when it is to end (with plain QEMU, too); then it is killed.
restart()
{
    local pid
    pid=$(cat /run/libvirtd.pid)
    kill "$pid"
    wait_for 5 not kill -0 "$pid" || kill -KILL "$pid"
    wait_for 5 not kill -0 "$pid" && daemon_start
}

daemon_start
DOMAIN_EMULATOR=$VFIOMEM_BUILD/src/helper/vfiomem-qemu
domain one > /run/one.xml
check "the domain is defined" define /run/one.xml
check "it starts" virsh start one
pid=$(guest_pid one)

# One virsh with many commands: those of ours, which ask QEMU five times each, and QEMU's own.
stream()
{
    local i
    for ((i = 0; i < 600; i++)); do
        echo "qemu-monitor-command one {\"execute\":\"query-status\"}"
        echo "qemu-monitor-command one {\"execute\":\"vfiomem-query-status\"}"
        echo "qemu-monitor-command one {\"execute\":\"query-commands\"}"
    done | sed "s/{\(.*\)}/'{\1}'/" | virsh -q > /run/stream.out 2>&1
}
stream &
streaming=$!
killed=0 last=
while [ "$killed" -lt "$kills" ]; do
    victim=$(worker)
    # One that has been killed may still be there to be killed again, which is no other death.
    if [ -n "$victim" ] && [ "$victim" != "$last" ] && kill -KILL "$victim" 2>/dev/null; then
        killed=$((killed + 1)) last=$victim
    fi
    read -rt "0.0$((RANDOM % 4))1" <> <(:) || true
    kill -0 "$streaming" 2>/dev/null || { stream & streaming=$!; }
done
wait "$streaming"
check "every command was answered, once" test "$(grep -c '"return"' /run/stream.out)" = 1800
check "and none with an error" not grep -qE '^error|"error":' /run/stream.out
check "the guest runs" alive
check "as the same process" kill -0 "$pid"
check "and libvirt has seen no end of the monitor" not grep -q 'End of file from qemu monitor' /var/log/libvirt/libvirtd.log
check "the helper has counted" says '"restarts":1[0-9][0-9]' virsh -q qemu-monitor-command one '{"execute":"vfiomem-query-status"}'

# libvirtd comes and goes in the middle of whatever is being said.
for ((i = 0; i < restarts; i++)); do
    (for ((k = 0; k < 50; k++)); do
        echo "qemu-monitor-command one '{\"execute\":\"vfiomem-query-status\"}'"
    done | virsh -q > /dev/null 2>&1) &
    streaming=$!
    read -rt "0.0$((RANDOM % 6))1" <> <(:) || true
    restart > /run/restart.out 2>&1 || check "restart $i: $(tail -n 1 /run/restart.out)" false
    wait "$streaming"
done
check "after $restarts restarts the guest is found" guest_is one running
check "and answers" alive
check "as the same process still" kill -0 "$pid"
check "one helper stands beside it" test "$(pgrep -cf "^$helper ")" = 2
check "with no descriptor too many" test "$(ls "/proc/$(supervisor)/fd" | wc -l)" -le 12
check "it is destroyed" virsh destroy one
finish
