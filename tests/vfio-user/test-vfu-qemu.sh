#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The vfio-user server against QEMU's own client: a Linux guest with virtio-mem boots, grows, shrinks, is reset, loses the
# device and gets it back. What is mapped is a record; the lab maps for real.
set -u

skip() { echo "skipped: $*"; exit 77; }

for tool in qemu-system-x86_64 socat; do
    command -v $tool > /dev/null || skip "$tool is not installed"
done
version=$(qemu-system-x86_64 --version | sed -n 's/.*version \([0-9.]*\).*/\1/p')
qemu-system-x86_64 -device help 2> /dev/null | grep -q '"vfio-user-pci"' ||
    skip "QEMU $version has no vfio-user-pci (10.1 and newer do; tests/debian/on-debian forky runs this)"

dir=$(mktemp -d /tmp/vfu-qemu.XXXXXX)
pids=
cleanup() { kill $pids 2> /dev/null; rm -rf "$dir"; }
trap cleanup EXIT
"$VFIOMEM_SOURCE/tests/guest/make-guest" "$dir" > "$dir/make.log" 2>&1 || skip "no guest kernel: $(tail -n 1 "$dir/make.log")"

failed=0 passed=0
check() {
    local name=$1
    shift
    if "$@"; then passed=$((passed + 1)); echo "ok: $name"; else failed=$((failed + 1)); echo "FAILED: $name: $*"; fi
}
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        read -rt 0.05 <> <(:) || true
    done
}
serve() {
    : > "$dir/server.log"
    "$VFIOMEM_SERVE_FAKE" "$dir/vfu.sock" "$@" > "$dir/server.log" 2>&1 &
    server=$!
    pids="$pids $server"
    wait_for 10 grep -q listening "$dir/server.log"
}
qemu() {
    : > "$dir/serial"
    qemu-system-x86_64 -nodefaults -display none -machine q35,accel=tcg,memory-backend=ram0 -cpu max \
        -m 1G,maxmem=8G,slots=4 -object memory-backend-memfd,id=ram0,size=1G,share=on \
        -object memory-backend-memfd,id=m0,size=1G,share=on,reserve=off \
        -device pcie-root-port,id=rp1,chassis=1 -device pcie-root-port,id=rp2,chassis=2 -device pcie-root-port,id=rp3,chassis=3 \
        -device virtio-mem-pci,id=vm0,memdev=m0,bus=rp1,requested-size=0,block-size=2M \
        -kernel "$dir/vmlinuz" -initrd "$dir/initrd.img" \
        -append "console=ttyS0 quiet panic=-1 memhp_default_state=online_movable" \
        -chardev "socket,id=serial,path=$dir/serial.sock,server=on,wait=off,logfile=$dir/serial" -serial chardev:serial \
        -qmp "unix:$dir/qmp.sock,server=on,wait=off" "$@" > "$dir/qemu.log" 2>&1 &
    qemu=$!
    pids="$pids $qemu"
    rm -f "$dir/qmp.in"
    mkfifo "$dir/qmp.in"
    : > "$dir/qmp.log"
    wait_for 20 test -S "$dir/qmp.sock" || return 1
    socat STDIO "UNIX-CONNECT:$dir/qmp.sock" < "$dir/qmp.in" > "$dir/qmp.log" 2>&1 &
    pids="$pids $!"
    exec 9> "$dir/qmp.in"
    monitor '{"execute":"qmp_capabilities"'
}
device() { printf '{"driver":"vfio-user-pci","id":"%s","bus":"%s","x-msg-timeout":60000,"socket":{"type":"unix","path":"%s"}}' "$1" "$2" "$dir/vfu.sock"; }
# One command without its closing brace, and its answer.
id=0
monitor() {
    id=$((id + 1))
    echo "$*,\"id\":$id}" >&9
    wait_for 30 grep -q "\"id\": $id[,}]" "$dir/qmp.log"
}
guest_boots() { [ "$(tr -d '\r' < "$dir/serial" | grep -c 'ready [0-9]')" -ge "$1" ]; }
# The last figure the server told, once it is quiet again.
figure() { sed -n "s/^\(idle\|gone\) .*\<$1=\([0-9]*\).*/\2/p" "$dir/server.log" | tail -n 1; }
figure_is() { [ "$(figure "$1")" = "$2" ]; }
killed() { [ "$(cat "$dir/kills")" -ge "$1" ]; }
figure_below() { [ "$(figure "$1")" -le "$2" ]; }
mib=$((1024 * 1024))

serve
qemu -device "$(device d0 rp2)"
check "a Linux guest boots" wait_for 120 guest_boots 1
check "all of its RAM is mapped" wait_for 20 figure_is bytes $((1024 * mib))
first=$(figure pinned)
check "and was pinned once, but for the first MiB" test "$first" -le $((1028 * mib))
resize() { monitor '{"execute":"qom-set","arguments":{"path":"/machine/peripheral/vm0","property":"requested-size","value":'"$1"'}'; }
add() { monitor '{"execute":"device_add","arguments":'"$(device "$1" rp3)"; }
resize 536870912
check "virtio-mem grows by 256 blocks of 2 MiB" wait_for 60 figure_is bytes $((1536 * mib))
check "each a mapping" figure_below pieces 500
resize 0
check "and shrinks to nothing" wait_for 60 figure_is bytes $((1024 * mib))
before=$(figure pinned)
monitor '{"execute":"system_reset"'
check "it boots again" wait_for 120 guest_boots 2
check "with its RAM mapped" wait_for 20 figure_is bytes $((1024 * mib))
check "pinned at most once more" test $(($(figure pinned) - before)) -le $((1028 * mib))

add d1
check "a second device" wait_for 20 figure_is clients 2
check "shares the mappings" figure_is bytes $((1024 * mib))
pinned=$(figure pinned)
monitor '{"execute":"device_del","arguments":{"id":"d1"}'
check "and goes" wait_for 60 figure_is clients 1
check "having pinned nothing" figure_is pinned "$pinned"
check "the server took nothing amiss" test -z "$(grep broken "$dir/server.log")"
monitor '{"execute":"quit"'
check "QEMU ends" wait_for 20 bash -c "! kill -0 $qemu 2> /dev/null"
check "and nothing stays mapped" wait_for 20 figure_is bytes 0
check "QEMU had no complaint" diff /dev/null "$dir/qemu.log"
kill $server

# A server whose worker is killed all the time.
: > "$dir/server.log"
"$VFIOMEM_SERVE_SURVIVING" "$dir/vfu.sock" > "$dir/server.log" 2>&1 &
server=$!
pids="$pids $server"
wait_for 10 grep -q listening "$dir/server.log"
qemu -device "$(device d0 rp2)"
wait_for 20 grep -q connected "$dir/server.log"
(kills=0
while kill -0 $server 2> /dev/null; do
    worker=$(pgrep -P $server) && kill -KILL "$worker" 2> /dev/null && kills=$((kills + 1)) && echo $kills > "$dir/kills"
    read -rt 0.3 <> <(:) || true
done) &
killer=$!
pids="$pids $killer"
check "a guest boots while the server's worker is killed three times a second" wait_for 240 guest_boots 1
resize 536870912
plugged_is() { monitor '{"execute":"query-memory-devices"' && tail -n 1 "$dir/qmp.log" | grep -q "\"size\": $1,"; }
check "virtio-mem grows meanwhile" wait_for 120 plugged_is 536870912
resize 0
check "and shrinks" wait_for 120 plugged_is 0
monitor '{"execute":"system_reset"'
check "and the guest boots again" wait_for 240 guest_boots 2
resize 268435456
check "and grows again" wait_for 120 plugged_is 268435456
check "a hundred deaths in all" wait_for 120 killed 100
kill $killer
check "all that is plugged is mapped" wait_for 30 figure_is bytes $((1280 * mib))
check "nothing else is, and each block once" figure_below pieces 500
check "QEMU had no complaint" diff /dev/null "$dir/qemu.log"
check "nor had the server" test -z "$(grep -E 'broken|given up' "$dir/server.log")"
monitor '{"execute":"quit"'
check "QEMU ends" wait_for 20 bash -c "! kill -0 $qemu 2> /dev/null"
check "the server, too" wait_for 20 bash -c "! kill -0 $server 2> /dev/null"
check "with nothing left mapped" figure_is bytes 0

# Refused, cold: an error, not an abort. A hundred times.
serve --refuse
refusals=0
for i in $(seq 20); do
    qemu-system-x86_64 -nodefaults -display none -machine q35,accel=qtest -m 64 -S -device "$(device d0 pcie.0)" > "$dir/qemu.log" 2>&1
    status=$?
    [ $status = 1 ] && refusals=$((refusals + 1))
done
check "20 of 20 cold refusals end with QEMU's own error" test $refusals = 20
check "which says so" grep -q 'vfio' "$dir/qemu.log"

# Refused, hot: the guest runs on.
qemu
check "a guest without the device boots" wait_for 120 guest_boots 1
for i in $(seq 80); do
    add "d$i"
done
check "80 hot refusals leave it running" kill -0 $qemu
check "each with an answer" test "$(grep -c '"error": ' "$dir/qmp.log")" = 80
monitor '{"execute":"quit"'
wait_for 20 bash -c "! kill -0 $qemu 2> /dev/null"

echo "$passed expectations held, $failed did not (QEMU $version)"
if [ $failed != 0 ]; then
    echo "--- server"; tail -n 30 "$dir/server.log"
    echo "--- qemu"; tail -n 10 "$dir/qemu.log"
    echo "--- monitor"; tail -n 10 "$dir/qmp.log"
    exit 1
fi
