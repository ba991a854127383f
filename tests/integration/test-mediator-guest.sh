#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A Linux guest with virtio-mem, a balloon and an assigned device (pretended to libvirt, pci-testdev to QEMU) behind
# vfiomem-qemu, as a person lives with it: everything through virsh.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

emulator=$VFIOMEM_BUILD/src/helper/vfiomem-qemu
guest=/run/guest
console=/run/elastic.console

# A kernel with virtio-mem: what the machine has cached (there is no network in here), else the lab's.
cache=${XDG_CACHE_HOME:-$(getent passwd 0 | cut -d: -f6)/.cache}
kernel=$cache/vfiomem/linux-cloud
[ -e "$kernel/complete" ] || kernel=$cache/vfiomem/lab/stock
if ! [ -d "$kernel/boot" ] && [ -e "${VFIOMEM_LAB_KERNEL-}" ]; then
    kernel=/run/kernel
    mkdir -p $kernel/boot $kernel/lib/modules/lab
    cp "$VFIOMEM_LAB_KERNEL" $kernel/boot/vmlinuz-lab
fi
"$VFIOMEM_SOURCE/tests/guest/make-guest" --kernel "$kernel" "$guest" > /run/make-guest.log 2>&1 ||
    skip "no Linux guest (run tests/guest/make-guest once, or set VFIOMEM_LAB_KERNEL): $(tail -n 1 /run/make-guest.log)"

helpers()
{
    pgrep -f "^$VFIOMEM_BUILD/src/helper/vfiomem-helper " || true
}
nothing_left()
{
    [ -z "$(helpers)" ] && [ -z "$(ls /run/vfiomem 2>/dev/null)" ]
}
monitor()
{
    virsh -q qemu-monitor-command elastic "$@"
}
booted()
{
    [ "$(grep -c '^ready' "$console")" -ge "$1" ]
}
# plugged MIB: what virtio-mem holds now.
plugged()
{
    monitor '{"execute":"query-memory-devices"}' | grep -q "\"size\":$(($1 << 20)),"
}
balloon_is()
{
    monitor '{"execute":"query-balloon"}' | grep -q "\"actual\":$(($1 << 20))"
}

fake_host
fake_device 0000:41:00.0 7
ln -s "$VFIOMEM_BUILD/plugin/vfiomem-hook" /etc/libvirt/hooks/qemu.d/50-vfiomem
daemon_start

# elastic_domain POLICY
elastic_domain()
{
    DOMAIN_EMULATOR=$emulator DOMAIN_MEMORY=256 DOMAIN_TAIL="
  <qemu:commandline><qemu:env name='VFIOMEM_QEMU' value='$VFIOMEM_INTEGRATION_DIR/pretend-vfio'/></qemu:commandline>" \
    domain elastic "
  <uuid>6d3f3a0e-6a54-4f0c-b8a3-5b7f8d5a0c11</uuid>
  <metadata><vfiomem:policy xmlns:vfiomem='urn:vfiomem:domain:1'><vfiomem:balloon inhibited='$1'/></vfiomem:policy></metadata>
  <maxMemory slots='4' unit='GiB'>8</maxMemory>
  <features><acpi/></features>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='256' unit='MiB'/></numa></cpu>" "
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0' bus='0x41' slot='0' function='0'/></source>
      <alias name='ua-gpu'/>
    </hostdev>
    <serial type='file'><source path='$console'/></serial>
    <memballoon model='virtio'/>
    <memory model='virtio-mem'>
      <target><size unit='GiB'>2</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target>
      <alias name='ua-vm0'/>
    </memory>" |
        sed "s#<type arch='x86_64' machine='q35'>hvm</type>#&<kernel>$guest/vmlinuz</kernel><initrd>$guest/initrd.img</initrd><cmdline>console=ttyS0 quiet panic=-1 memhp_default_state=online_movable</cmdline>#"
}

elastic_domain refuse > /run/elastic.xml
check "the domain is defined" define /run/elastic.xml
check "it starts" virsh start elastic
check "the hook left its policy for the helper" grep -q balloon=refuse /run/vfiomem/6d3f3a0e-6a54-4f0c-b8a3-5b7f8d5a0c11.policy
check "Linux boots" wait_for 60 booted 1

check "setmem is refused, and virsh says why" fails_with 'hostdev 0000:41:00.0 keeps all of it pinned' virsh setmem elastic 128M --live
check "nothing has changed" balloon_is 256
check "the log says so as well" says 'refused balloon' guest_log elastic
check "virtio-mem grows to 1 GiB" virsh update-memory-device elastic --alias ua-vm0 --requested-size 1GiB --live
check "the guest plugs it" wait_for 30 plugged 1024
check "the status follows" says '"plugged":1073741824' monitor '{"execute":"vfiomem-query-status"}'
check "and counts the mappings" says '"used":51[67]' monitor '{"execute":"vfiomem-query-status"}'
check "half a block is refused" fails_with 'block' virsh update-memory-device elastic --alias ua-vm0 --requested-size 3MiB --live
check "and back to 0" virsh update-memory-device elastic --alias ua-vm0 --requested-size 0 --live
check "the guest unplugs it" wait_for 30 plugged 0

check "vfiomem-resize works" monitor '{"execute":"vfiomem-resize","arguments":{"virtio-mem":536870912}}'
check "the guest follows" wait_for 30 plugged 512
check "the policy changes while it runs" monitor '{"execute":"vfiomem-set-policy","arguments":{"balloon":"resize"}}'
check "setmem takes from virtio-mem" virsh setmem elastic 128M --live
check "as much as it asked of the balloon" wait_for 30 plugged 384
check "and gives it back" virsh setmem elastic 256M --live
check "all of it" wait_for 30 plugged 512
check "vfiomem-resize makes room" monitor '{"execute":"vfiomem-resize","arguments":{"virtio-mem":67108864}}'
check "more than virtio-mem holds is refused" fails_with 'and it holds 64 MiB' virsh setmem elastic 128M --live
check "pass lets the balloon through" monitor '{"execute":"vfiomem-set-policy","arguments":{"balloon":"pass"}}'
check "setmem is QEMU's again" virsh setmem elastic 200M --live
check "and inflates" wait_for 20 balloon_is 200
check "and deflates" virsh setmem elastic 256M --live
check "to all" wait_for 20 balloon_is 256

check "our commands are listed" says vfiomem-query-status monitor '{"execute":"query-commands"}'
check "the plan is the contract's" says '"mappings":\{"backend":"type1"' monitor '{"execute":"vfiomem-query-plan"}'
check "the mappings are ranges" says '"name":"virtio-mem' monitor '{"execute":"vfiomem-query-mappings"}'

vfiomem=$VFIOMEM_BUILD/src/cli/vfiomem
check "vfiomem status shows the guest" says 'virtio-mem ua-vm0 +0 +2 GiB +2 MiB' $vfiomem status elastic
check "and who maps" says '^elastic: running, mapped by QEMU through type1' $vfiomem status elastic
check "and that it is guarded, with a count" says 'guards this guest; [0-9]+ refusals?, 0 restarts$' $vfiomem status elastic
check "with who inhibits" says 'hostdev 0000:41:00.0 +disable-uncoordinated' $vfiomem status elastic
check "as JSON as well" says '^\{"domain":"elastic"' $vfiomem status --format=json elastic
check "again and again" test "$($vfiomem status --watch --count=2 --interval=1 elastic | grep -c '^elastic: running')" = 2
check "vfiomem mappings shows ranges" says 'virtio-mem' $vfiomem mappings elastic
check "as JSON, too" says '"ranges":\[' $vfiomem mappings --format=json elastic

cat > /run/dimm.xml <<XML
<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>
XML
check "a DIMM is attached" virsh attach-device elastic /run/dimm.xml --live
check "the status has it" says '"model":"dimm"' monitor '{"execute":"vfiomem-query-status"}'
cat > /run/vm1.xml <<XML
<memory model='virtio-mem'><target><size unit='MiB'>256</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target></memory>
XML
check "a second virtio-mem is attached" virsh attach-device elastic /run/vm1.xml --live
check "post-copy is refused" says 'has all of it pinned' monitor '{"execute":"migrate-start-postcopy"}'

check "it pauses" virsh suspend elastic
check "and resumes" virsh resume elastic
check "the daemon restarts" daemon_restart
check "and the guest answers" says '"state":"running"' monitor '{"execute":"vfiomem-query-status"}'
check "the policy has survived that" says '"balloon":"pass"' monitor '{"execute":"vfiomem-query-status"}'
check "it is reset" virsh reset elastic
check "Linux boots again" wait_for 60 booted 2
if [ "$kernel" = /run/kernel ]; then
    check "it is turned off (the lab's kernel knows no power button)" virsh destroy elastic
else
    check "it shuts down" virsh shutdown elastic
fi
check "is off" wait_for 60 guest_is elastic "shut off"
check "and nothing of ours is left" wait_for 5 nothing_left

domain plain > /run/plain.xml
check "a guest without a helper is defined" define /run/plain.xml
check "and started" virsh start plain
check "vfiomem status says what it lacks" fails_with 'no helper of vfiomem' $vfiomem status plain
check "and it ends" virsh destroy plain

elastic_domain resize > /run/elastic.xml
check "another policy is defined" define /run/elastic.xml
check "and starts" virsh start elastic
check "with that policy" says '"balloon":"resize"' monitor '{"execute":"vfiomem-query-status"}'
check "it is destroyed" virsh destroy elastic
check "and nothing of ours is left then" wait_for 5 nothing_left
check "status of a guest that is off says so" fails_with 'not running; .*vfiomem plan --domain=elastic' $vfiomem status elastic
check "it is undefined" virsh undefine elastic
finish
