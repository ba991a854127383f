#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The hook without libvirt, with the XML libvirt would hand it: every operation, every test domain, and every
# unusable input. Needs neither root nor libvirt.
#   test-hook-direct.sh HOOK DRIVER VFIOMEM SOURCE-DIR
set -u

hook=$1 driver=$2 vfiomem=$3 source=$4
domains=$source/tests/data/domains
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/sys" # a host of which nothing is known
export VFIOMEM_RUNDIR=$work/run
versions="--libvirt-version 9.0.0 --qemu-version 7.2.22"
failed=0
ran=0

fail()
{
    echo "FAILED: $*"
    failed=1
}

# call OPERATION < XML: sets status; what was said is in $work/out, $work/err and $work/log.
call()
{
    ran=$((ran + 1))
    rm -f "$work/log"
    status=0
    # shellcheck disable=SC2086 # $versions is several words
    "$hook" --driver "$driver" --log "$work/log" --host-root "$work/root" $versions guest "$1" begin - \
        > "$work/out" 2> "$work/err" || status=$?
    [ ! -s "$work/out" ] || fail "$1: something on standard output, which libvirt would take for XML"
    case $status in
    0) [ ! -s "$work/err" ] || { fail "$1: consent, and something on standard error"; cat "$work/err"; } ;;
    1)
        [ "$(wc -l < "$work/err")" = 1 ] || { fail "$1: a refusal is one line"; cat "$work/err"; }
        grep -q '^vfiomem: ' "$work/err" || fail "$1: a refusal begins with vfiomem:"
        ;;
    *) fail "$1: exit status $status" ;;
    esac
    if grep -q 'the check itself failed' "$work/err" "$work/log" 2>/dev/null; then
        fail "$1: the driver broke"
        cat "$work/err" "$work/log" 2>/dev/null
    fi
}

# --- every operation: a veto only where libvirt takes one without killing anybody
for operation in prepare start migrate restore; do
    call $operation < "$domains/virtio-mem-126g-type1.xml"
    [ "$status" = 1 ] || fail "$operation of a domain beyond the budget: $status"
    grep -q 'mapping-budget-exceeded' "$work/err" || fail "$operation: no reason"
    grep -q ' (line ' "$work/err" && fail "$operation: names lines that nobody has"
    grep -q "error: domain 'guest', $operation: .*mapping-budget-exceeded" "$work/log" || fail "$operation: not in the log"
done
for operation in started stopped release reconnect attach something-new; do
    call $operation < "$domains/virtio-mem-126g-type1.xml"
    [ "$status" = 0 ] || fail "$operation must not be vetoed: $status"
    call $operation < /dev/null
    [ "$status" = 0 ] || fail "$operation without XML: $status"
    head -c 100000 /dev/urandom > "$work/noise"
    call $operation < "$work/noise"
    [ "$status" = 0 ] || fail "$operation with noise: $status"
    echo "<hostdev type='pci'" | call $operation
    [ "$status" = 0 ] || fail "$operation with half a hostdev: $status"
done
call reconnect < "$domains/virtio-mem-126g-type1.xml"
grep -q 'next start would be refused' "$work/log" || fail "reconnect: nothing in the log"

# --- every test domain: the hook and `vfiomem check` agree
for file in "$domains"/*.xml; do
    # shellcheck disable=SC2086
    "$vfiomem" check --format json --sysfs "$work/root" $versions "$file" > "$work/json" 2>/dev/null
    wanted=$?
    # Whoever has neither device nor policy is none of the hook's business.
    if tr -d ' \n' < "$work/json" | grep -q '"assigned":\[\]' && ! grep -q 'urn:vfiomem:domain:1' "$file"; then
        wanted=0
    fi
    call prepare < "$file"
    [ "$status" = "$wanted" ] || { fail "$(basename "$file"): check says $wanted, the hook $status"; cat "$work/err"; }
done

# --- a network's interface is no device before libvirt makes one of it, and then it is
network()
{
    cat <<XML
<domain type='kvm'><name>guest</name><memory unit='GiB'>2</memory><currentMemory unit='GiB'>1</currentMemory><maxMemory slots='1' unit='GiB'>8</maxMemory>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <cpu><numa><cell id='0' cpus='0' memory='1' unit='GiB'/></numa></cpu>
  <memtune><hard_limit unit='MiB'>512</hard_limit></memtune>
  <devices>
    <memory model='virtio-mem'><target><size unit='GiB'>1</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>3</requested></target></memory>
    <interface type='$1'><mac address='52:54:00:00:00:01'/>$2</interface>
  </devices>
</domain>
XML
}
network network "<source network='pool'/>" > "$work/network.xml"
call prepare < "$work/network.xml"
[ "$status" = 0 ] || { fail "an interface of a network: refused before it is known"; cat "$work/err"; }
network hostdev "<source><address type='pci' domain='0' bus='0x5e' slot='1' function='2'/></source>" > "$work/network.xml"
call start < "$work/network.xml"
[ "$status" = 1 ] || fail "the same as a device: not refused"

# --- a policy that can't be left for the helper: refused where the guest would run as if it had none
policy()
{
    cat <<XML
<domain type='kvm'><name>guest</name><uuid>bc55a39a-6a33-4d0e-9d0b-2f5b5d3c1101</uuid><memory unit='GiB'>2</memory>
  <metadata><vfiomem:policy xmlns:vfiomem='urn:vfiomem:domain:1'>$1</vfiomem:policy></metadata>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os><type arch='x86_64' machine='pc-q35-10.1'>hvm</type></os>
  <devices><emulator>/usr/bin/vfiomem-qemu</emulator>
    <hostdev mode='subsystem' type='pci'><source><address domain='0' bus='1' slot='0' function='0'/></source></hostdev></devices>
</domain>
XML
}
old_versions=$versions versions="--libvirt-version 12.8.0 --qemu-version 11.1.0"
rm -rf "$work/run"
for needed in "owner='helper'" "required='yes'" "owner='qemu'"; do
    policy "<vfiomem:mapping $needed/>" > "$work/policy.xml"
    call prepare < "$work/policy.xml"
    [ "$status" = 0 ] || { fail "$needed: refused"; cat "$work/err"; }
    grep -q balloon= "$work/run/bc55a39a-6a33-4d0e-9d0b-2f5b5d3c1101.policy" || fail "$needed: no policy was left"
    call release < "$work/policy.xml"
    [ ! -e "$work/run" ] || fail "$needed: the policy stays after the guest's end"
    : > "$work/run" # no folder can be here, not even for root
    for operation in prepare restore migrate reconnect; do
        call $operation < "$work/policy.xml"
        wanted=1
        [ $operation = reconnect ] || [ "$needed" = "owner='qemu'" ] && wanted=0
        [ "$status" = $wanted ] || fail "$needed, $operation, policy not left: $status"
        grep -q "could not be left for its helper in $work/run: Not a directory" "$work/log" || fail "$needed: not in the log"
        [ $wanted = 0 ] || grep -q "could not be left .*take owner='helper'" "$work/err" || fail "$needed: no reason"
    done
    rm "$work/run"
done
versions=$old_versions

# --- the version that counts in helper mode is that behind vfiomem-qemu now, which is asked where it is root's
if [ "$(id -u)" = 0 ]; then
    policy "<vfiomem:mapping owner='helper'/>" | sed "s,/usr/bin/vfiomem-qemu,$work/vfiomem-qemu,; /<hostdev/s,<hostdev.*</hostdev>,," > "$work/asked.xml"
    for version in 7.2.22 11.1.0; do
        printf '#!/bin/sh\necho "QEMU emulator version %s (Debian)"\n' $version > "$work/vfiomem-qemu"
        chmod 755 "$work/vfiomem-qemu"
        status=0
        "$hook" --driver "$driver" --log "$work/log" --libvirt-version 12.8.0 guest prepare begin - \
            < "$work/asked.xml" > "$work/out" 2> "$work/err" || status=$?
        case $version in
        7.*)
            [ "$status" = 1 ] || fail "helper mode beside QEMU $version: $status"
            grep -q '^vfiomem: .* needs vfio-user-pci of QEMU 10.1; this is 7.2; use QEMU 10.1 or newer, or owner=.qemu' \
                "$work/err" || { fail "helper mode beside QEMU $version: not the reason"; cat "$work/err"; }
            ;;
        *) [ "$status" = 0 ] || { fail "helper mode beside QEMU $version: $status"; cat "$work/err"; } ;;
        esac
    done
fi

# --- unusable input: refused only if there may be a device or a policy in it
for file in "$domains"/bad/* "$work/noise"; do
    [ -f "$file" ] || continue
    call prepare < "$file"
    if grep -aqE "urn:vfiomem:domain:1|vfio-pci|<hostdev[^>]*['\"](pci|mdev)['\"]|<(interface|disk|source)[^>]*['\"](hostdev|vdpa|nvme|vhostvdpa)['\"]" "$file"; then
        continue # refused or not, it was judged or scanned; both are right
    fi
    [ "$status" = 0 ] || { fail "$(basename "$file"): refused without any device"; cat "$work/err"; }
done
head -c 20000000 /dev/zero | tr '\0' ' ' > "$work/large"
call prepare < "$work/large"
[ "$status" = 0 ] || fail "20 MB of spaces: $status"
{ echo "<domain><devices><hostdev type='pci'/>"; cat "$work/large"; } > "$work/large-device"
call prepare < "$work/large-device"
[ "$status" = 1 ] || fail "20 MB with a device: $status"

# --- wrong use
"$hook" > /dev/null 2>&1
[ $? = 2 ] || fail "no arguments: not exit status 2"
"$hook" --help | grep -q '^usage: vfiomem-hook' || fail "--help"

echo "$ran calls"
exit "$failed"
