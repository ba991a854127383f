#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vfiomem-qemu as <emulator>: libvirt must notice nothing but what it is meant to.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

emulator=$VFIOMEM_BUILD/src/helper/vfiomem-qemu
helpers()
{
    pgrep -f "^$VFIOMEM_BUILD/src/helper/vfiomem-helper " || true
}
no_helper()
{
    [ -z "$(helpers)" ]
}
monitor()
{
    virsh -q qemu-monitor-command "$@"
}

daemon_start

DOMAIN_EMULATOR=$emulator
domain one > /run/one.xml
check "a domain with our emulator is defined" define /run/one.xml
check "probing left nothing behind" no_helper
check "it starts" virsh start one
check "beside one helper (a supervisor and its worker)" test "$(helpers | wc -l)" = 2
pid=$(guest_pid one)
check "libvirt's process is QEMU itself" says qemu-system readlink "/proc/$pid/exe"
check "QEMU has no child" test -z "$(pgrep -P "$pid")"
check "commands are answered" says '"running":true' monitor one '{"execute":"query-status"}'
check "unknown ones as well" says CommandNotFound monitor one '{"execute":"no-such-thing"}'
check "it pauses" virsh suspend one
check "it is paused" guest_is one paused
check "it resumes" virsh resume one
check "it resets" virsh reset one
check "the balloon shrinks" virsh setmem one 32M --live

for round in 1 2 3; do
    check "the daemon restarts ($round)" daemon_restart
    check "and finds the guest" guest_is one running
    check "and can command it" virsh suspend one
    check "and resume it" virsh resume one
done
check "the guest is saved" virsh save one /run/one.save
check "nothing of ours is left after saving" wait_for 5 no_helper
check "it is restored" virsh restore /run/one.save
check "it is running again" guest_is one running
check "it is destroyed" virsh destroy one
check "nothing of ours is left after destroying" wait_for 5 no_helper

# Without a helper: with it where the policy insists, not at all.
DOMAIN_TAIL="<qemu:commandline><qemu:env name='VFIOMEM_HELPER' value='/bin/false'/></qemu:commandline>"
domain lone > /run/lone.xml
check "a domain whose helper can't start is defined" define /run/lone.xml
check "and starts all the same" virsh start lone
check "its log says what it lacks" wait_for 10 says 'the guest runs without the helper' guest_log lone
check "its monitor is QEMU's own" says CommandNotFound virsh -q qemu-monitor-command lone '{"execute":"vfiomem-query-status"}'
check "it ends" virsh destroy lone
DOMAIN_TAIL="<qemu:commandline><qemu:env name='VFIOMEM_HELPER' value='/bin/false'/><qemu:env name='VFIOMEM_POLICY' value='required=yes'/></qemu:commandline>"
domain strict > /run/strict.xml
check "one whose policy requires it is defined" define /run/strict.xml
check "and does not start" not virsh start strict
check "its log says why" wait_for 10 says "policy requires vfiomem's helper" guest_log strict
DOMAIN_TAIL="<qemu:commandline><qemu:env name='VFIOMEM_QEMU' value='/nowhere/qemu'/></qemu:commandline>"
domain lost > /run/lost.xml
check "one without an emulator is defined" define /run/lost.xml
check "and does not start" not virsh start lost
check "its log says why as well" wait_for 10 says '/nowhere/qemu' guest_log lost
check "and leaves nothing behind" wait_for 5 no_helper

# A QEMU that is too old for helper mode: nobody lets it start, and everybody names it.
version=$(qemu-system-x86_64 -version | sed -n 's/^QEMU emulator version \([0-9]*\.[0-9]*\).*/\1/p')
case $version in
[1-9].* | 10.0)
    DOMAIN_TAIL="<qemu:commandline><qemu:env name='VFIOMEM_POLICY' value='owner=helper'/></qemu:commandline>"
    domain old > /run/old.xml
    check "a domain in helper mode is defined" define /run/old.xml
    check "and does not start" not virsh start old
    check "its log names QEMU's version" \
        wait_for 10 says "needs QEMU 10.1 or newer, and /usr/bin/qemu-system-x86_64 is $version: install" guest_log old
    check "and leaves nothing behind" wait_for 5 no_helper
    cp "$emulator" /run/vfiomem-qemu # root's, whoever built it
    DOMAIN_EMULATOR=/run/vfiomem-qemu DOMAIN_TAIL=""
    domain old "<metadata><vfiomem:policy xmlns:vfiomem='urn:vfiomem:domain:1'><vfiomem:mapping owner='helper'/></vfiomem:policy></metadata>
        <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>" > /run/old.xml
    check "the hook names it, too" \
        fails_with "^vfiomem: .* needs vfio-user-pci of QEMU 10.1; this is $version; .*\[helper-qemu-version\]" \
        sh -c '"$VFIOMEM_BUILD/plugin/vfiomem-hook" old prepare begin - < /run/old.xml'
    check "and so does the check" fails_with "this is $version \[helper-qemu-version\]" \
        "$VFIOMEM_BUILD/src/cli/vfiomem" check /run/old.xml
    ;;
*) echo "QEMU $version is new enough for helper mode: its refusal is not tried" ;;
esac
finish
