#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The harness itself: what the other tests take for granted.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

fake_host
fake_device 0000:41:00.0 7
daemon_start

domain plain > /run/plain.xml
check "a plain domain is defined" define /run/plain.xml
check "a plain domain starts" virsh start plain
pid=$(guest_pid plain)
check "the daemon restarts" daemon_restart
check "its guest is still running" guest_is plain running
check "its monitor answers" guest_settled plain
check "as the same process" kill -0 "$pid"
check "a second start is refused" fails_with 'already active' virsh start plain
check "the guest is destroyed" virsh destroy plain
check "its process is gone" wait_for 10 not kill -0 "$pid"

# A real <hostdev>: 512 MiB of virtio-mem and 64 MiB of boot RAM make a limit of 576 MiB + 1 GiB.
DOMAIN_EMULATOR=$VFIOMEM_INTEGRATION_DIR/pretend-vfio
domain gpu "
  <maxMemory slots='4' unit='GiB'>2</maxMemory>
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>" "
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0' bus='0x41' slot='0' function='0'/></source>
    </hostdev>
    <memory model='virtio-mem'>
      <target><size unit='MiB'>512</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target>
    </memory>" > /run/gpu.xml
check "a domain with a hostdev is defined" define /run/gpu.xml
check "it starts" virsh start gpu
check "with libvirt's own locked-memory limit" test "$(memlock_limit)" = $(((64 + 512 + 1024) << 20))
check "and ends" virsh destroy gpu
finish
