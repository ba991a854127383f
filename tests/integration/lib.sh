# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# lib.sh - what integration tests say to libvirt, and how they report.
#
# Source it first thing in a test script that runs inside private-libvirt:
#
#   . "$VFIOMEM_INTEGRATION_DIR/lib.sh"
#
# A test is a list of `check NAME COMMAND...`; `finish` at the end turns them
# into the exit status. Nothing sleeps: waiting is `wait_for SECONDS COMMAND`.
# README.md beside this file explains each function with an example.
set -u

[ "${VFIOMEM_INTEGRATION_INSIDE-}" = 1 ] || { echo "run this through private-libvirt" >&2; exit 2; }

lib_failed=0
lib_passed=0

# check NAME COMMAND...: one expectation; the output is shown if it does not hold.
check()
{
    local name=$1 output status=0
    shift
    output=$("$@" 2>&1) || status=$?
    if [ "$status" = 0 ]; then
        lib_passed=$((lib_passed + 1))
        echo "ok: $name"
    else
        lib_failed=$((lib_failed + 1))
        echo "FAILED: $name"
        printf '    status %s of: %s\n' "$status" "$*"
        printf '%s\n' "$output" | sed 's/^/    | /'
    fi
}

# finish: the last line of a test.
finish()
{
    echo "$lib_passed expectations held, $lib_failed did not"
    if [ "$lib_failed" != 0 ]; then
        echo "--- last lines of libvirtd's log"
        grep -E ': (error|warning) :' /var/log/libvirt/libvirtd.log 2>/dev/null |
            grep -v virNetDevSendEthtoolIoctl | tail -n 20
        exit 1
    fi
    exit 0
}

skip()
{
    echo "skipped: $*"
    exit 77
}

# fails_with PATTERN COMMAND...: the command fails and says PATTERN (extended regular expression).
fails_with()
{
    local pattern=$1 output status=0
    shift
    output=$("$@" 2>&1) || status=$?
    printf '%s\n' "$output"
    [ "$status" != 0 ] || { echo "(it succeeded)"; return 1; }
    grep -qE -- "$pattern" <<< "$output" || { echo "(no match for: $pattern)"; return 1; }
}

# says PATTERN COMMAND...: the command succeeds and prints PATTERN.
says()
{
    local pattern=$1 output
    shift
    output=$("$@" 2>&1) || { printf '%s\n' "$output"; return 1; }
    printf '%s\n' "$output"
    grep -qE -- "$pattern" <<< "$output" || { echo "(no match for: $pattern)"; return 1; }
}

# not COMMAND...: holds if the command fails.
not()
{
    ! "$@"
}

# wait_for SECONDS COMMAND...: until it holds; fails when the time is up.
wait_for()
{
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "gave up waiting for: $*"; return 1; }
        read -rt 0.05 <> <(:) || true
    done
}

# --- the daemon

# daemon_start: virtlogd and libvirtd; returns when connections are accepted.
daemon_start()
{
    [ -S /run/libvirt/virtlogd-sock ] && pgrep -x virtlogd >/dev/null || virtlogd -d || return 1
    if [ -n "${VFIOMEM_PRETEND_LIMITS-}" ]; then
        LD_PRELOAD=$VFIOMEM_PRETEND_LIMITS PRETEND_LIMITS_LOG=/run/memlock-limits libvirtd -d || return 1
    else
        libvirtd -d || return 1
    fi
    wait_for 20 virsh -q list --all
}

# daemon_stop: guests go on running.
daemon_stop()
{
    local pid

    pid=$(cat /run/libvirtd.pid) || return 1
    kill "$pid" || return 1
    # On a busy machine a worker of libvirtd may not end in time; libvirtd then waits 30 s and ends all the same.
    wait_for 60 not kill -0 "$pid"
}

daemon_restart()
{
    daemon_stop && daemon_start
}

# guest_pid NAME: QEMU's PID of a running guest.
guest_pid()
{
    cat "/run/libvirt/qemu/$1.pid"
}

# guest_log NAME: what libvirt recorded of QEMU's start and standard error.
guest_log()
{
    cat "/var/log/libvirt/qemu/$1.log"
}

# memlock_limit: the last locked-memory limit, in bytes, libvirt gave to a guest it started.
memlock_limit()
{
    [ -f /run/memlock-limits ] && tail -n 1 /run/memlock-limits | cut -d' ' -f2
}

# guest_settled NAME: libvirt's threads have taken the guest up again after a restart. Before that, a destroy
# may find that the guest it just killed is gone, and fail.
guest_settled()
{
    wait_for 20 virsh -q qemu-monitor-command "$1" '{"execute":"query-status"}'
}

guest_is()
{
    [ "$(virsh -q domstate "$1")" = "$2" ]
}

# define FILE: defines a domain, quietly.
define()
{
    virsh -q define "$1"
}

# --- domains

# domain NAME [BODY] [DEVICES]: minimal q35 domain XML under TCG on standard output.
#   BODY     elements before <devices>, MEMORY in MiB from $DOMAIN_MEMORY (64)
#   DEVICES  elements inside <devices>
# The emulator is $DOMAIN_EMULATOR (/usr/bin/qemu-system-x86_64).
domain()
{
    cat <<XML
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>$1</name>
  <memory unit='MiB'>${DOMAIN_MEMORY:-64}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  ${2-}
  <devices>
    <emulator>${DOMAIN_EMULATOR:-/usr/bin/qemu-system-x86_64}</emulator>
    ${3-}
  </devices>
  ${DOMAIN_TAIL-}
</domain>
XML
}

# --- a host with assignable devices, as far as libvirt and vfiomem look

# fake_host: this machine's PCI devices and IOMMU groups give way to an empty
# list. Call it before daemon_start; only this namespace sees it.
fake_host()
{
    local node

    [ -d /sys/bus/pci/devices ] && [ -d /sys/kernel/iommu_groups ] ||
        skip "this kernel has no PCI or no IOMMU support, so there is nothing to put a pretended device over"
    mount -t tmpfs tmpfs /sys/bus/pci/devices
    mount -t tmpfs tmpfs /sys/bus/pci/drivers
    mount -t tmpfs tmpfs /sys/kernel/iommu_groups
    mount -t tmpfs tmpfs /sys/module
    mkdir -p /sys/bus/pci/drivers/vfio-pci /dev/vfio
    fake_entry_limit 65535
    for node in bind unbind new_id remove_id; do
        : > "/sys/bus/pci/drivers/vfio-pci/$node"
    done
    : > /dev/vfio/vfio
}

# fake_entry_limit N: the kernel's limit of mappings in a type1 container (65535 unless changed).
fake_entry_limit()
{
    mkdir -p /sys/module/vfio_iommu_type1/parameters
    echo "$1" > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit
    echo N > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts
}

# fake_device ADDRESS GROUP [CLASS]: a PCI device bound to vfio-pci in that group.
fake_device()
{
    local at=/sys/bus/pci/devices/$1 group=/sys/kernel/iommu_groups/$2

    mkdir -p "$at" "$group/devices"
    echo 0x10de > "$at/vendor"
    echo 0x2330 > "$at/device"
    echo "${3:-0x030200}" > "$at/class"
    echo 0 > "$at/numa_node"
    echo 0 > "$at/reset"
    : > "$at/driver_override"
    head -c 4096 /dev/zero > "$at/config"
    ln -sfn ../../drivers/vfio-pci "$at/driver"
    ln -sfn "$group" "$at/iommu_group"
    ln -sfn "$at" "$group/devices/$1"
    ln -sfn "$at" "/sys/bus/pci/drivers/vfio-pci/$1"
    echo DMA-FQ > "$group/type"
    [ -e "$group/reserved_regions" ] ||
        printf '0x%016x 0x%016x %s\n' 0xfee00000 0xfeefffff msi > "$group/reserved_regions"
    : > "/dev/vfio/$2"
}

# fake_function ADDRESS GROUP PARENT: an SR-IOV virtual function of the device PARENT.
fake_function()
{
    fake_device "$1" "$2" 0x020000
    ln -sfn "/sys/bus/pci/devices/$3" "/sys/bus/pci/devices/$1/physfn"
    ln -sfn "/sys/bus/pci/devices/$1" "/sys/bus/pci/devices/$3/virtfn0"
}

# fake_reserved GROUP START END TYPE: one more line in the group's reserved regions.
fake_reserved()
{
    printf '0x%016x 0x%016x %s\n' "$2" "$3" "$4" >> "/sys/kernel/iommu_groups/$1/reserved_regions"
}
