# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# scene-lib.sh - what the scenes of helper mode share. Runs in L1; a scene is
#
#   . /mnt/scene-lib.sh
#   libvirt_up
#   define_guest demo "<vfiomem:mapping owner='helper'/>" "$shared" "$(hostdev 10)"
#   check "it starts" virsh start demo
#   ...
#   finish
#
# check, wait_for, says, fails_with, not, finish and skip are those of tests/integration/lib.sh.
export VFIOMEM_INTEGRATION_INSIDE=1
. /mnt/lib.sh
# As in lib.sh, but looks twice a second: a process here costs the guest's Linux the time of many.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "gave up waiting for: $*"; return 1; }
        read -rt 0.5 -u "$lib_silent" || true
    done
}
exec {lib_silent}<> <(:)
mib=$((1024 * 1024))
vfiomem=/usr/local/bin/vfiomem
shared="<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
helper_maps="<vfiomem:mapping owner='helper'/>"

# --- libvirt and guests

# libvirt_up: libvirtd with vfiomem's hook; two expectations.
libvirt_up() {
    # Faults before this are another scene's.
    echo "scene begins" > /dev/kmsg
    [ -z "${SCENE_KEEP-}" ] || ! virsh -q list > /dev/null || return
    mkdir -p /run/libvirt
    pgrep -x virtlogd > /dev/null || virtlogd -d
    pgrep -x libvirtd > /dev/null || libvirtd -d
    check "libvirtd is there" wait_for 120 virsh -q list
    $vfiomem install-hook > /run/install 2>&1 || cat /run/install
    pkill -x libvirtd
    wait_for 60 not pgrep -x libvirtd
    libvirtd -d
    check "the hook is installed" wait_for 120 virsh -q list
}

# allow_iommufd ADDRESS...: what an administrator does for iommufd, before libvirt_up: libvirt shows and gives QEMU's user only
# the nodes of groups and containers, so its mount namespace must go and the nodes' owner change.
allow_iommufd() {
    local address

    grep -q '^namespaces' /etc/libvirt/qemu.conf || echo 'namespaces = []' >> /etc/libvirt/qemu.conf
    for address; do
        echo vfio-pci > "/sys/bus/pci/devices/$address/driver_override"
        echo "$address" > /sys/bus/pci/drivers_probe
        chown libvirt-qemu "/dev/vfio/devices/$(ls "/sys/bus/pci/devices/$address/vfio-dev")"
    done
    chown libvirt-qemu /dev/iommu
}

# clean_up: no guest is left, of a scene before in the same L1.
clean_up() {
    local name

    for name in $(virsh -q list --all --name); do
        virsh -q destroy "$name"
        virsh -q undefine "$name"
    done
    wait_for 30 not pgrep -f vfiomem-helper
    rm -f /run/*.log /run/*.xml /run/*.in
}

# guest_xml NAME POLICY BACKING [DEVICES]: $GUEST_MIB (512) of boot memory, $GUEST_PLUGGABLE_MIB (256) of virtio-mem that is
# at zero, in blocks of 2 MiB; $GUEST_EMULATOR (vfiomem-qemu); $GUEST_KERNEL (Debian's; /mnt/lab-kernel is up in a third of the
# time, and has no nvme driver).
guest_xml() {
    local boot=${GUEST_MIB-512} pluggable=${GUEST_PLUGGABLE_MIB-256}

    cat << XML
<domain type='qemu'>
  <name>$1</name>
  <maxMemory slots='4' unit='MiB'>$((boot + pluggable + 1024))</maxMemory>
  <memory unit='MiB'>$((boot + pluggable))</memory>
  <currentMemory unit='MiB'>$boot</currentMemory>
  <metadata><vfiomem:policy xmlns:vfiomem='urn:vfiomem:domain:1'>$2</vfiomem:policy></metadata>
  $3
  <vcpu>1</vcpu>
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='$boot' unit='MiB'/></numa></cpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>
    <kernel>${GUEST_KERNEL-/mnt/vmlinuz}</kernel><initrd>/mnt/initrd.img</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 nowatchdog init_on_alloc=0 memhp_default_state=online_movable</cmdline></os>
  <features><acpi/></features>
  <devices>
    <emulator>${GUEST_EMULATOR-/usr/local/bin/vfiomem-qemu}</emulator>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'/>
    <controller type='pci' index='2' model='pcie-root-port'/>
    <controller type='pci' index='3' model='pcie-root-port'/>
    <controller type='pci' index='4' model='pcie-root-port'/>
    <controller type='pci' index='5' model='pcie-root-port'/>
    <memory model='virtio-mem'><target><size unit='MiB'>$pluggable</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target></memory>
    <serial type='unix'><source mode='bind' path='/run/$1.serial'/><log file='/run/$1.log' append='off'/><target port='0'/></serial>
    <memballoon model='none'/>
    ${4-}
  </devices>
</domain>
XML
}
# hostdev SLOT [BUS]: L1's device at 0000:BUS:SLOT.0 as libvirt assigns it, and binds to vfio-pci unless $HOSTDEV_MANAGED is no.
hostdev() {
    echo "<hostdev mode='subsystem' type='pci' managed='${HOSTDEV_MANAGED-yes}'><source><address domain='0x0000' bus='0x${2-00}' slot='0x$1' function='0x0'/></source></hostdev>"
}
# define_guest: with $SCENE_KEEP, for L1's shell, a guest that runs is taken as it is and left running at the end.
kept() { [ -n "${SCENE_KEEP-}" ] && started "$1"; }
define_guest() {
    kept "$1" && return
    guest_xml "$@" > "/run/$1.xml"
    virsh -q define "/run/$1.xml"
}

# must COMMAND...: for what all that follows needs; the scene ends here if it fails.
must() { "$@" || { guests_last_words; finish; }; }
started() { [ -f "/run/libvirt/qemu/$1.pid" ]; }
plug() { virsh -q update-memory-device "$1" --requested-size "$2MiB"; }

# linux_is_up NAME: the guest's console says so, for the first time.
linux_is_up() { wait_for 900 guest_said "$1" '^ready'; }
# start_guest NAME: three expectations and Linux; the scene ends here if it does not start.
start_guest() {
    kept "$1" || check "it starts" virsh start "$1"
    must started "$1"
    check "QEMU itself has nothing locked" test "$(locked "$(guest_pid "$1")")" = 0
    check "Linux is up in it" linux_is_up "$1"
}
# end_guest NAME: it leaves nothing behind.
end_guest() {
    [ -z "${SCENE_KEEP-}" ] || return 0
    check "it is destroyed" virsh destroy "$1"
    check "nothing of ours is left" wait_for 30 not pgrep -f vfiomem-helper
    virsh -q undefine "$1"
}

# grown NAME MIB and shrunk NAME MIB, of virtio-mem: wait until that is what is pinned besides boot memory. Where a page was
# just then pinned in the guest, Linux tries again after 50 s of its time, then 100; or when it is told again, which makes it
# begin anew and must not be too soon.
grown() { wait_for 120 locked_about $((${GUEST_MIB-512} + $2)); }
shrunk() {
    local i

    for ((i = 0; i < 8; i++)); do
        wait_for 75 locked_about $((${GUEST_MIB-512} + $2)) > /dev/null && return 0
        echo "the guest is told again to shrink"
        plug "$1" "$2"
    done
    locked_about $((${GUEST_MIB-512} + $2))
}

# short_life NAME: of a guest that was defined, until it is destroyed, with a device more plugged in meanwhile if SLOT is given.
short_life() {
    local name=$1 slot=${2-}

    start_guest "$name"
    check "boot memory is pinned" locked_about "${GUEST_MIB-512}"
    check "the device does DMA" edu_works "$name"
    check "virtio-mem grows" plug "$name" 256
    check "and is pinned" grown "$name" 256
    check "DMA into what was plugged" says arrived copy_in "$name" any "$plugged"
    check "virtio-mem shrinks" plug "$name" 0
    check "and is no longer pinned" shrunk "$name" 0
    if [ -n "$slot" ]; then
        hostdev "$slot" > /run/second.xml
        check "a second device is plugged in" virsh attach-device "$name" /run/second.xml --live
        check "which shares the mappings" locked_about "${GUEST_MIB-512}"
        check "and does DMA" edu_found "$name" 1 90
        check "it is unplugged" virsh detach-device "$name" /run/second.xml --live
        check "and leaves" wait_for 60 not has_hostdev "$name" "$slot"
    fi
    check "the device still does DMA" edu_works "$name"
    check "no DMA fault in all that time" no_faults
    end_guest "$name"
}
has_hostdev() { virsh dumpxml "$1" | grep -q "slot='0x$2'"; }

# --- what is pinned, and by whom

# What the kernel counts as locked by a process, in bytes: type1 counts in VmLck, iommufd in VmPin.
locked() { awk '/^Vm(Lck|Pin)/ {sum += $2} END {print sum * 1024}' "/proc/$1/status"; }
# The process that maps: of vfiomem-helper-devices' the one with the most locked memory.
helper() {
    local pid

    for pid in $(pgrep -f vfiomem-helper-devices); do
        echo "$(locked "$pid") $pid"
    done 2> /dev/null | sort -n | tail -n 1 | cut -d' ' -f2
}
locked_is() { local l; l=$(locked "$(helper)"); echo "locked: $l"; [ "$l" = "$1" ]; }
locked_between() { local l; l=$(locked "$(helper)"); echo "locked: $l"; [ "$l" -ge "$1" ] && [ "$l" -le "$2" ]; }
# locked_about MIB: give or take one, for firmware's pieces of the first.
locked_about() { locked_between $((($1 - 1) * mib)) $((($1 + 1) * mib)); }
status() { virsh qemu-monitor-command "$1" '{"execute":"vfiomem-query-status"}'; }
# The first number of that name.
status_number() { status "$1" | grep -o "\"$2\":[0-9][0-9]*" | head -n 1 | cut -d: -f2; }
bound_to_vfio() { [ "$(basename "$(readlink "/sys/bus/pci/devices/$1/driver")")" = vfio-pci ]; }
no_vfio_descriptor() { ! ls -l "/proc/$1/fd" | grep -E '/dev/(vfio/vfio|vfio/[0-9]|iommu)'; }

# DMA faults that L1's IOMMU reported since libvirt_up, one a line.
faults() { dmesg | sed -n '/scene begins/h;//!H;${x;p}' | grep -E 'DMAR:.*fault addr'; }
no_faults() { ! faults; }
fault_at() { faults | grep -iE "fault addr 0x0*${1#0x}\b"; }

# --- the guest's console

# tell_guest NAME LINE: types it. One connection for each life of the guest, which stays open.
tell_guest() {
    local pipe

    pipe=/run/$1.$(guest_pid "$1").in || { echo "$1 does not run"; return 1; }
    if [ ! -p "$pipe" ]; then
        mkfifo "$pipe"
        # Open for both, so that it has no end. What the guest says must be read, or its serial port stops.
        socat - "UNIX-CONNECT:/run/$1.serial" <> "$pipe" > /dev/null 2>&1 &
    fi
    timeout 20 bash -c 'printf "%s\n" "$2" > "$1"' - "$pipe" "$2" || { echo "no console of $1"; return 1; }
}
guest_said() { grep -qE "$2" "/run/$1.log"; }
guest_said_times() { [ "$(grep -cE "$2" "/run/$1.log")" -ge "$3" ]; }

# ask SECONDS NAME LINE PATTERN: tells the guest LINE and waits for one more line that matches PATTERN, which is printed.
ask() {
    local before

    before=$(grep -cE "$4" "/run/$2.log")
    tell_guest "$2" "$3" || return 1
    if wait_for "$1" guest_said_times "$2" "$4" $((before + 1)); then
        grep -E "$4" "/run/$2.log" | tail -n 1 | tr -d '\r'
        return 0
    fi
    echo "the guest's last words:"
    tail -c 600 "/run/$2.log"
    return 1
}
# edu_works NAME [N]: the guest's N-th edu (0) does DMA. A guest in a guest takes its time.
edu_works() { answers '^edu ok' 240 "$1" "edu-guest ${2-0}" '^edu (ok|failed)'; }
# edu_found NAME N SECONDS: Linux may still be looking for it, so it is asked again.
edu_found() { wait_for "$3" edu_works "$1" "$2"; }
# answers WANTED ASK-ARGUMENTS...: the guest's answer has WANTED in it, and is shown where not.
answers() {
    local wanted=$1 answer

    shift
    answer=$(ask "$@") || { echo "$answer"; return 1; }
    grep -qE -- "$wanted" <<< "$answer" || { echo "$answer"; return 1; }
}

# Where virtio-mem is in these guests' physical memory; boot memory is below.
plugged=0x100000000-0x140000000
# copy_in NAME FROM TO: one copy by the guest's edu, see edu-guest.c.
copy_in() { ask 240 "$1" "edu-guest 0 copy $2 $3" '^edu (copy|failed)'; }

# --- figures: samples of what "native" (QEMU's own vfio-pci) and "helper" take

declare -A samples=()
# add WHAT OWNER NUMBER: one sample
add() { samples[$1 $2]+="$3 "; }
# The number at the end of a guest's answer.
number() { sed -n 's/.*: \([0-9]*\)$/\1/p'; }
# Medians, and the ratio of each round: its median and its ends.
summary() { # summary NATIVE... - HELPER...
    awk -v native="$1" -v helper="$2" 'function sort(a, n,   i, j, t) {
        for (i = 2; i <= n; i++) { t = a[i]; for (j = i - 1; j > 0 && a[j] > t; j--) a[j + 1] = a[j]; a[j + 1] = t } }
    BEGIN { n = split(native, a, " "); m = split(helper, b, " "); if (n != m || !n) { print "not measured"; exit }
        for (i = 1; i <= n; i++) r[i] = b[i] / a[i]
        sort(a, n); sort(b, n); sort(r, n); h = int((n + 1) / 2)
        printf "%12d %12d %8.2f  %.2f to %.2f\n", a[h], b[h], r[h], r[1], r[n] }'
}
# table ROUNDS WHAT...
table() {
    local what

    printf '\n%-36s %12s %12s %8s  %s\n' "median of $1" "vfio-pci" "helper" "ratio" "rounds"
    shift
    for what; do
        printf '%-36s ' "$what"
        summary "${samples[$what native]-}" "${samples[$what helper]-}"
    done
}

guests_last_words() {
    local log

    for log in /var/log/libvirt/qemu/*.log /run/*.log; do
        [ -f "$log" ] && { echo "--- $log"; tail -n 25 "$log"; }
    done
    dmesg | tail -n 10
}
# end_scene: finish, with what helps to see why it failed.
end_scene() {
    [ "$lib_failed" = 0 ] || guests_last_words
    finish
}
