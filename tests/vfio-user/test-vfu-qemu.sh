#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The vfio-user server against QEMU's own client: a Linux guest with virtio-mem boots, grows, shrinks, is reset, loses the
# device and gets it back; and whatever refuses a device, QEMU survives. What is mapped is a record; the lab maps for real.
set -u

skip() { echo "skipped: $*"; exit 77; }

for tool in qemu-system-x86_64 socat python3; do
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
# serve NAME OPTION...: a server at $dir/NAME.sock, its lines in $dir/NAME.log.
serve() {
    local name=$1
    shift
    : > "$dir/$name.log"
    "${server_program:-$VFIOMEM_SERVE_FAKE}" "$dir/$name.sock" "$@" > "$dir/$name.log" 2>&1 &
    server=$!
    pids="$pids $server"
    wait_for 10 grep -q listening "$dir/$name.log"
}
# How QEMU is started; its monitor is at $dir/qmp.sock.
emulator=(qemu-system-x86_64 -qmp "unix:$dir/qmp.sock,server=on,wait=off")
qemu() {
    : > "$dir/serial"
    rm -f "$dir/qmp.sock"
    "${emulator[@]}" -nodefaults -display none -machine q35,accel=tcg,memory-backend=ram0 -cpu max \
        -m 1G,maxmem=8G,slots=4 -object memory-backend-memfd,id=ram0,size=1G,share=on \
        -object memory-backend-memfd,id=m0,size=1G,share=on,reserve=off \
        -device pcie-root-port,id=rp1,chassis=1 -device pcie-root-port,id=rp2,chassis=2 -device pcie-root-port,id=rp3,chassis=3 \
        -device virtio-mem-pci,id=vm0,memdev=m0,bus=rp1,requested-size=0,block-size=2M \
        -kernel "$dir/vmlinuz" -initrd "$dir/initrd.img" \
        -append "console=ttyS0 quiet panic=-1 memhp_default_state=online_movable" \
        -chardev "socket,id=serial,path=$dir/serial.sock,server=on,wait=off,logfile=$dir/serial" -serial chardev:serial \
        "$@" > "$dir/qemu.log" 2>&1 &
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
# device ID BUS [SERVER]
device() { printf '{"driver":"vfio-user-pci","id":"%s","bus":"%s","x-msg-timeout":60000,"socket":{"type":"unix","path":"%s"}}' "$1" "$2" "$dir/${3-vfu}.sock"; }
# One command without its closing brace, and its answer.
id=0
monitor() {
    id=$((id + 1))
    echo "$*,\"id\":$id}" >&9
    wait_for 30 grep -q "\"id\": *$id[,}]" "$dir/qmp.log"
}
guest_boots() { [ "$(tr -d '\r' < "$dir/serial" | grep -c 'ready [0-9]')" -ge "$1" ]; }
# The last figure the server told, once it is quiet again.
figure() { sed -n "s/^\(idle\|gone\) .*\<$1=\([0-9]*\).*/\2/p" "$dir/vfu.log" | tail -n 1; }
figure_is() { [ "$(figure "$1")" = "$2" ]; }
killed() { [ "$(cat "$dir/kills")" -ge "$1" ]; }
figure_below() { [ "$(figure "$1")" -le "$2" ]; }
mib=$((1024 * 1024))

serve vfu
qemu -device "$(device d0 rp2)"
check "a Linux guest boots" wait_for 120 guest_boots 1
check "all of its RAM is mapped" wait_for 20 figure_is bytes $((1024 * mib))
first=$(figure pinned)
check "and was pinned once, but for the first MiB" test "$first" -le $((1028 * mib))
resize() { monitor '{"execute":"qom-set","arguments":{"path":"/machine/peripheral/vm0","property":"requested-size","value":'"$1"'}'; }
# add ID [SERVER]
add() { monitor '{"execute":"device_add","arguments":'"$(device "$1" rp3 "${2-vfu}")"; }
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
check "the server took nothing amiss" test -z "$(grep broken "$dir/vfu.log")"
monitor '{"execute":"quit"'
check "QEMU ends" wait_for 20 bash -c "! kill -0 $qemu 2> /dev/null"
check "and nothing stays mapped" wait_for 20 figure_is bytes 0
check "QEMU had no complaint" diff /dev/null "$dir/qemu.log"
kill $server

# A server whose worker is killed all the time.
server_program=$VFIOMEM_SERVE_SURVIVING serve vfu
qemu -device "$(device d0 rp2)"
wait_for 20 grep -q connected "$dir/vfu.log"
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
check "nor had the server" test -z "$(grep -E 'broken|given up' "$dir/vfu.log")"
monitor '{"execute":"quit"'
check "QEMU ends" wait_for 20 bash -c "! kill -0 $qemu 2> /dev/null"
check "the server, too" wait_for 20 bash -c "! kill -0 $server 2> /dev/null"
check "with nothing left mapped" figure_is bytes 0

# Refused, cold: by vfiomem-qemu before QEMU is there, by an answer, or by QEMU because of the budget. It ends with a reason, and
# never by a signal. A map that fails is nothing that QEMU ends for; a real device is kept from DMA then.
serve unfit --unfit
serve few --budget 3
serve budget --budget 300
serve fails0 --fail-map 0
serve fails1 --fail-map 1
printf '#!/bin/sh\necho "QEMU emulator version 10.0.3"\n' > "$dir/old-qemu"
chmod +x "$dir/old-qemu"
small=(-nodefaults -display none -machine q35,accel=qtest,memory-backend=ram0 -m 64 -S)
shared=(-object memory-backend-memfd,id=ram0,size=64M,share=on)
quit='{"execute":"qmp_capabilities"}{"execute":"quit"}'
# 512 blocks, which QEMU compares with what it was offered.
pluggable=(-m 64M,maxmem=8G,slots=4 -object memory-backend-memfd,id=m0,size=1G,share=on,reserve=off
    -device virtio-mem-pci,memdev=m0,requested-size=0,block-size=2M)
# plain SERVER OPTION...
plain() {
    local server=$1
    shift
    timeout 60 qemu-system-x86_64 "${small[@]}" "${shared[@]}" "$@" -qmp stdio -device "$(device d0 pcie.0 "$server")" <<< "$quit"
}
# As libvirt starts it, with a listening monitor.
listening='import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(1)
os.dup2(s.fileno(), 20)
os.execv(sys.argv[2], sys.argv[2:])'
monitor_20=(-chardev socket,id=charmonitor,fd=20,server=on,wait=off -mon chardev=charmonitor,id=monitor,mode=control)
product=(env VFIOMEM_POLICY=owner=helper python3 -c "$listening" "$dir/qmp.sock" "$VFIOMEM_QEMU_WRAPPER" "${monitor_20[@]}")
ours() {
    rm -f "$dir/qmp.sock"
    timeout 60 "${product[@]}" "${small[@]}" -device vfio-pci,host=0000:ff:1f.7,bus=pcie.0 "$@"
}
# What the helper says of a device that is not there; without VFIO it says that first.
absent='0000:ff:1f.7|opening /dev/'
# cold KIND: its exit status and what it says must be these.
cold() {
    case $1 in
    unfit) plain unfit; echo "status $?, Invalid argument, 1" ;;
    few) plain few; echo "status $?, No space left on device, 0" ;;
    budget) plain budget "${pluggable[@]}"; echo "status $?, running out of DMA mappings.* 300, 1" ;;
    fails*) plain "$1"; echo "status $?, Cannot allocate memory, 0" ;;
    absent) ours "${shared[@]}"; echo "status $?, $absent, 1" ;;
    private) ours -object memory-backend-ram,id=ram0,size=64M; echo "status $?, is not shared, 1" ;;
    old) VFIOMEM_QEMU=$dir/old-qemu ours "${shared[@]}"; echo "status $?, needs QEMU 10.1 or newer, 1" ;;
    esac > "$dir/cold" 2>&1
    IFS=, read -r status said wanted <<< "$(tail -n 1 "$dir/cold")"
    if [ "$status" = "status$wanted" ] && sed '$d' "$dir/cold" | grep -qE "${said# }"; then
        refused=$((refused + 1))
    else
        echo "$1:"; cat "$dir/cold"
    fi
}
refused=0
for i in $(seq 10); do
    for kind in unfit few budget fails0 absent unfit fails1 private budget old; do
        cold $kind
    done
done
check "100 of 100 cold refusals: no crash, and each says why" test $refused = 100

# Refused, hot: the guest runs on.
emulator=("${product[@]}")
qemu
check "a guest whose devices the helper is to have boots without one" wait_for 120 guest_boots 1
# refuse ARGUMENTS REASON: of one device_add, its answer is an error with that reason.
refuse() {
    local lines

    lines=$(wc -l < "$dir/qmp.log")
    monitor '{"execute":"device_add","arguments":'"$1"
    if sed "1,${lines}d" "$dir/qmp.log" | grep '"error": *{' | grep -qE "$2"; then
        refused=$((refused + 1))
    else
        echo "$1:"; sed "1,${lines}d" "$dir/qmp.log"
    fi
}
refused=0
for i in $(seq 25); do
    refuse "$(device "u$i" rp3 unfit)" 'Invalid argument'
    refuse '{"driver":"vfio-pci","id":"a'"$i"'","bus":"rp3","host":"0000:ff:1f.7"}' "$absent"
    refuse "$(device "b$i" rp3 budget)" 'running out of DMA mappings'
    refuse '{"driver":"vfio-pci","id":"x'"$i"'","bus":"rp3","host":"0000:ff:1f.7","x-vga":true}' 'x-vga'
done
check "100 of 100 hot refusals are answers with a reason" test $refused = 100
check "and leave QEMU running" kill -0 $qemu
monitor '{"execute":"query-status"'
check "with its guest" grep -q '"status": *"running"' <<< "$(tail -n 1 "$dir/qmp.log")"
monitor '{"execute":"quit"'
wait_for 20 bash -c "! kill -0 $qemu 2> /dev/null"

# Locked memory that runs out while memory is plugged.
emulator=(qemu-system-x86_64 -qmp "unix:$dir/qmp.sock,server=on,wait=off")
serve vfu --memlock $((1280 * mib))
qemu -device "$(device d0 rp2)"
check "a guest that may have 256 MiB more boots" wait_for 120 guest_boots 1
resize 536870912
check "virtio-mem grows by what can be locked" wait_for 60 figure_is bytes $((1280 * mib))
check "and by no more: that was refused" grep -q '^refused: ' "$dir/vfu.log"
monitor '{"execute":"query-memory-devices"'
size=$(tail -n 1 "$dir/qmp.log" | sed 's/.*"size": *\([0-9]*\).*/\1/')
check "QEMU knows" test "$size" = $((256 * mib))
resize 0
check "it shrinks" wait_for 60 plugged_is 0
resize 67108864
check "and grows again" wait_for 60 plugged_is 67108864
check "with all of it mapped" wait_for 20 figure_is bytes $((1088 * mib))
monitor '{"execute":"quit"'
check "QEMU ends" wait_for 20 bash -c "! kill -0 $qemu 2> /dev/null"

echo "$passed expectations held, $failed did not (QEMU $version)"
if [ $failed != 0 ]; then
    echo "--- server"; tail -n 30 "$dir/vfu.log"
    echo "--- qemu"; tail -n 10 "$dir/qemu.log"
    echo "--- monitor"; tail -n 10 "$dir/qmp.log"
    exit 1
fi
