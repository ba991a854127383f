#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The hook in libvirt's hands: what cannot work is refused by `virsh start` with our sentence, what can is
# started, and nobody else notices.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

hook=$VFIOMEM_BUILD/plugin/vfiomem-hook
entry=/etc/libvirt/hooks/qemu.d/50-vfiomem
log=/run/vfiomem-hook.log

# install_entry [OPTION...]: the hook with its notes in a file of ours.
install_entry()
{
    printf '#!/bin/sh\nexec %s --log %s %s "$@"\n' "$hook" "$log" "$*" > "$entry"
    chmod 755 "$entry"
}

hostdev()
{
    echo "
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0' bus='0x$1' slot='0' function='0'/></source>
    </hostdev>"
}

# elastic NAME SIZE-GIB BLOCK-MIB [BODY] [DEVICES]: 64 MiB of boot RAM, virtio-mem, a GPU, no balloon.
elastic()
{
    domain "$1" "
  <maxMemory slots='4' unit='GiB'>200</maxMemory>
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>
  ${4-}" "$(hostdev 41)
    <memory model='virtio-mem'>
      <target><size unit='GiB'>$2</size><node>0</node><block unit='MiB'>$3</block><requested unit='MiB'>0</requested></target>
    </memory>
    <memballoon model='none'/>
    ${5-}"
}

# started NAME: starts it and ends it again.
started()
{
    virsh start "$1" && virsh destroy "$1"
}

# redefine FILE NAME: libvirt knows a domain by its UUID, which our files leave to it.
redefine()
{
    virsh -q undefine "$2" && define "$1"
}

# one_line FILE: virsh's error has one line of ours.
one_line()
{
    [ "$(grep -c vfiomem "$1")" = 1 ] && [ "$(grep -c . "$1")" = 2 ]
}

fake_host
fake_device 0000:41:00.0 7
fake_device 0000:42:00.0 8
install_entry
daemon_start
export DOMAIN_EMULATOR=$VFIOMEM_INTEGRATION_DIR/pretend-vfio

# --- the mapping budget: 128 GiB in 2 MiB blocks are 65536 mappings of type1's 65535
elastic many 128 2 > /run/many.xml
check "a domain beyond the mapping budget can be defined" define /run/many.xml
check "its start is refused with the reason and the mend" \
    fails_with 'vfiomem: .*128 GiB in blocks of 2 MiB.*65535.*set <block>.* to 4 MiB.*\[mapping-budget-exceeded\]' virsh start many
virsh start many 2> /run/error || true
check "in one line" one_line /run/error
check "it is not running" guest_is many "shut off"
check "the log has it" grep -q "error: domain 'many', prepare: .*mapping-budget-exceeded" "$log"
elastic many 128 4 > /run/many.xml
check "with the blocks the sentence names it starts" eval 'redefine /run/many.xml many && started many'

# --- locked memory: a hard limit below what the device pins
elastic locked 1 2 "<memtune><hard_limit unit='MiB'>512</hard_limit></memtune>" > /run/locked.xml
check "a domain whose locked memory does not fit can be defined" define /run/locked.xml
check "its start is refused with the reason" fails_with 'vfiomem: .*\[memlock-hard-limit\]' virsh start locked
elastic locked 1 2 "<memtune><hard_limit unit='GiB'>250</hard_limit></memtune>" > /run/locked.xml
check "with enough it can be defined" redefine /run/locked.xml locked
if [ "$VFIOMEM_MEMORY_CGROUP" = yes ]; then
    check "and starts" started locked
    check "with that very limit" test "$(memlock_limit)" = $((250 << 30))
fi

# --- reserved regions of the device's group in guest RAM
fake_reserved 8 0x1000000 0x1ffffff direct
domain reserved "" "$(hostdev 42)<memballoon model='none'/>" > /run/reserved.xml
check "RAM over a reserved region can be defined" define /run/reserved.xml
check "its start is refused" fails_with 'vfiomem: .*\[reserved-region-in-ram\]' virsh start reserved

# --- warnings: the guest starts, the log has them
: > "$log"
domain balloon "" "$(hostdev 41)" > /run/balloon.xml
define /run/balloon.xml
check "a device and a balloon: a warning, no error" started balloon
check "the warning is in the log" grep -q "warning: domain 'balloon', prepare: .*\[balloon-inhibited\]" "$log"
check "once" test "$(grep -c balloon-inhibited "$log")" = 1

# --- other domains
: > "$log"
domain plain > /run/plain.xml
define /run/plain.xml
check "a domain without devices starts" virsh start plain
check "nothing is said of it" test ! -s "$log"

# --- restart of the daemon: reconnect must never fail, or libvirt kills the guest
install_entry --driver /bin/true
check "a guest that would be refused runs (the hook did not look)" eval \
    "elastic many 128 2 > /run/many.xml && redefine /run/many.xml many && virsh start many"
install_entry
: > "$log"
check "the daemon restarts" daemon_restart
check "the hook saw the reconnect" wait_for 20 grep -q "domain 'many', reconnect: .*next start would be refused" "$log"
check "the guest runs on" guest_is many running
check "its monitor answers" guest_settled many
check "and can be ended" virsh destroy many

# --- a driver that crashes, hangs or is missing: no guest without devices is stopped
broken()
{
    printf '#!/bin/sh\n%s\n' "$1" > /run/broken-driver
    chmod 755 /run/broken-driver
    install_entry --driver /run/broken-driver
}
for how in 'kill -SEGV $$' 'kill -ABRT $$' 'exit 3' 'exit 1' 'echo "libxml2.so.2: missing" >&2; exit 127' \
           'head -c 3000000 /dev/zero; kill -9 $$'; do
    broken "$how"
    virsh -q destroy plain
    check "driver ends with '$how': a plain domain starts" virsh start plain
    check "one with a device is refused" fails_with 'vfiomem: the check itself failed: .*a PCI <hostdev>' virsh start balloon
done
install_entry --driver /run/no-such-driver
check "driver missing: one with a device is refused" fails_with 'no-such-driver.*No such file' virsh start balloon
broken 'kill -SEGV $$'
check "driver crashing: the daemon restarts" daemon_restart
check "and the plain guest runs on" guest_settled plain
domain policy "<metadata><vfiomem:policy xmlns:vfiomem='urn:vfiomem:domain:1'/></metadata>" > /run/policy.xml
define /run/policy.xml
check "driver crashing: one with a policy is refused" fails_with 'a vfiomem policy' virsh start policy
install_entry
check "with the real driver it starts" started policy

# --- a policy that can't be read is the person's mistake, and said so
domain typo "<metadata><vfiomem:policy xmlns:vfiomem='urn:vfiomem:domain:1'><vfiomem:budgie/></vfiomem:policy></metadata>" \
    > /run/typo.xml
define /run/typo.xml
check "an unknown policy element is named" fails_with 'vfiomem: .*budgie' virsh start typo

# --- save and restore
check "a guest is saved" virsh save plain /var/tmp/plain.saved
check "and restored through the hook" virsh restore /var/tmp/plain.saved
check "and runs" guest_is plain running
virsh -q destroy plain
rm -f /var/tmp/plain.saved

# --- beside other hooks, and away again
printf '#!/bin/sh\necho "$@" >> /run/other-hook\n' > /etc/libvirt/hooks/qemu.d/10-other
chmod 755 /etc/libvirt/hooks/qemu.d/10-other
check "another hook beside ours is called" eval 'virsh start plain && grep -q "plain prepare begin -" /run/other-hook'
rm "$entry"
virsh -q destroy plain
check "without our hook the refused domain starts" started reserved
finish
