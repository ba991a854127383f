#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# In L1: a guest with an assigned device whose memory the helper maps, from virsh define to undefine.
export VFIOMEM_INTEGRATION_INSIDE=1
. /mnt/lib.sh
mib=$((1024 * 1024))
vfiomem=/usr/local/bin/vfiomem

mkdir -p /run/libvirt
virtlogd -d
libvirtd -d
check "libvirtd is there" wait_for 120 virsh -q list
$vfiomem install-hook > /run/install 2>&1 || cat /run/install
pkill libvirtd
wait_for 60 not pgrep -x libvirtd
libvirtd -d
check "the hook is installed" wait_for 120 virsh -q list

# domain NAME POLICY BACKING [DEVICES]
guest_xml() {
    cat << XML
<domain type='qemu'>
  <name>$1</name>
  <maxMemory slots='4' unit='MiB'>2048</maxMemory>
  <memory unit='MiB'>1024</memory>
  <currentMemory unit='MiB'>512</currentMemory>
  <metadata><vfiomem:policy xmlns:vfiomem='urn:vfiomem:domain:1'>$2</vfiomem:policy></metadata>
  $3
  <vcpu>1</vcpu>
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='512' unit='MiB'/></numa></cpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>
    <kernel>/mnt/vmlinuz</kernel><initrd>/mnt/initrd.img</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 memhp_default_state=online_movable</cmdline></os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/local/bin/vfiomem-qemu</emulator>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'/>
    <controller type='pci' index='2' model='pcie-root-port'/>
    <controller type='pci' index='3' model='pcie-root-port'/>
    <controller type='pci' index='4' model='pcie-root-port'/>
    <controller type='pci' index='5' model='pcie-root-port'/>
    <memory model='virtio-mem'><target><size unit='MiB'>512</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target></memory>
    <serial type='unix'><source mode='bind' path='/run/$1.serial'/><log file='/run/$1.log' append='off'/><target port='0'/></serial>
    <memballoon model='none'/>
    $4
  </devices>
</domain>
XML
}
hostdev() {
    echo "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x00' slot='0x$1' function='0x0'/></source></hostdev>"
}
shared="<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
define_guest() { guest_xml "$@" > "/run/$1.xml"; virsh -q define "/run/$1.xml"; }

# VmLck of a process in bytes.
locked() { awk '/^VmLck/ {print $2 * 1024}' "/proc/$1/status"; }
helper() { pgrep -f vfiomem-helper-devices | head -n 1; }
locked_is() { [ "$(locked "$(helper)")" = "$1" ]; }
locked_between() { local l; l=$(locked "$(helper)"); echo "locked: $l"; [ "$l" -ge "$1" ] && [ "$l" -le "$2" ]; }
status() { virsh qemu-monitor-command "$1" '{"execute":"vfiomem-query-status"}'; }
status_number() { status "$1" | grep -o "\"$2\":[0-9]*" | head -n 1 | cut -d: -f2; }
tell_guest() { printf '%s\n' "$2" | timeout 10 socat -t 2 - "UNIX-CONNECT:/run/$1.serial" > /dev/null || echo "no console of $1"; }
guest_said() { tr -d '\r' < "/run/$1.log" | grep -q "$2"; }
guest_said_times() { [ "$(tr -d '\r' < "/run/$1.log" | grep -c "$2")" -ge "$3" ]; }
# The guest's first edu does DMA, for the N-th time in this guest's life. A guest in a guest takes its time.
edu_works() {
    tell_guest "$1" edu-guest
    wait_for 90 guest_said_times "$1" '^edu ok' "$2" && return 0
    echo "the guest's last words:"; tail -c 600 "/run/$1.log"; ls -l "/run/$1".*
    return 1
}

# The guest's N-th edu; Linux may still be looking for it.
edu_number() { local n; n=$(tr -d '\r' < /run/demo.log | grep -c '^edu ok'); tell_guest demo "edu-guest $1"; wait_for 5 guest_said_times demo '^edu ok' $((n + 1)); }
bound_to_vfio() { [ "$(basename "$(readlink "/sys/bus/pci/devices/$1/driver")")" = vfio-pci ]; }

# --- what can't work is said, before anything starts
define_guest private "<vfiomem:mapping owner='helper'/>" "" "$(hostdev 10)"
check "memory that is not shared is refused" fails_with 'shared' virsh start private
check "and nothing was started" not pgrep -f vfiomem-helper
virsh -q undefine private

# --- a window
define_guest window "<vfiomem:mapping owner='helper'/><vfiomem:window start='0x8000000' size='0x8000000'/>" "$shared" "$(hostdev 10)"
check "a guest with a window starts" virsh start window
check "and 128 MiB of its 512 are pinned" wait_for 30 locked_is $((128 * mib))
check "it ends" virsh destroy window
check "and the helper with it" wait_for 30 not pgrep -f vfiomem-helper
virsh -q undefine window

# --- a life
define_guest demo "<vfiomem:mapping owner='helper'/>" "$shared" "$(hostdev 10)"
check "vfiomem check has no error" $vfiomem check /run/demo.xml
check "it starts" virsh start demo
qemu=$(cat /run/libvirt/qemu/demo.pid) || { tail -n 30 /var/log/libvirt/qemu/demo.log; finish; }
check "QEMU itself has nothing locked" test "$(locked "$qemu")" = 0
check "and no VFIO descriptor" not bash -c "ls -l /proc/$qemu/fd | grep -E '/dev/(vfio/vfio|vfio/[0-9]|iommu)'"
check "the helper's socket is gone from the folder" not bash -c 'ls /var/lib/libvirt/qemu/domain-*-demo/vfiomem/*.sock'
check "vfiomem-query-status knows" says '"owner":"helper"' status demo
check "Linux is up in it" wait_for 900 guest_said demo '^ready'
check "its 512 MiB are pinned" locked_between $((511 * mib)) $((513 * mib))
check "and were pinned once since power-on, but for the first MiB" test "$(status_number demo pinned-total)" -le $((514 * mib))
check "the device does DMA out of and into guest memory" edu_works demo 1

pass=0
for i in $(seq "${SCENE_ROUNDS-5}"); do
    virsh -q update-memory-device demo --requested-size 256MiB || break
    wait_for 120 locked_between $((767 * mib)) $((769 * mib)) || break
    edu_works demo $((i * 2)) || break
    virsh -q update-memory-device demo --requested-size 0 || break
    wait_for 120 locked_between $((511 * mib)) $((513 * mib)) || break
    edu_works demo $((i * 2 + 1)) || break
    pass=$i
done
check "virtio-mem grew and shrank ${SCENE_ROUNDS-5} times, and what is locked followed, with DMA in between" test "$pass" = "${SCENE_ROUNDS-5}"

before=$(status_number demo pinned-total)
check "a reset" virsh reset demo
check "Linux is up again" wait_for 900 guest_said_times demo '^ready' 2
check "pinned at most once more" test $(($(status_number demo pinned-total) - before)) -le $((514 * mib))
count=$(tr -d '\r' < /run/demo.log | grep -c '^edu ok')
check "and the device still does DMA" edu_works demo $((count + 1))

hostdev 11 > /run/second.xml
check "a second device is plugged in" virsh attach-device demo /run/second.xml --live
check "which shares the mappings" locked_between $((511 * mib)) $((513 * mib))
check "Linux finds it" wait_for 60 edu_number 1
check "it is unplugged" virsh detach-device demo /run/second.xml --live
check "and leaves" wait_for 60 bash -c "! virsh dumpxml demo | grep -q \"slot='0x11'\""
check "the first one goes on" edu_number 0
check "it is destroyed" virsh destroy demo
check "nothing of ours is left" wait_for 30 not pgrep -f vfiomem-helper
check "and the device is its host's again" wait_for 30 not bound_to_vfio 0000:00:10.0
virsh -q undefine demo
[ "$lib_failed" = 0 ] || { echo "--- demo's log"; tail -n 30 /var/log/libvirt/qemu/demo.log; }
finish
