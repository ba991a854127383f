#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What `meson install` puts on a machine works there: programs find their modules and each other, the hook's
# default path is right, manual pages are where man looks, and taking everything away stops no guest.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

fake_host
fake_device 0000:41:00.0 7
check "meson install" env DESTDIR=/run/dest meson install -C "$VFIOMEM_BUILD" --no-rebuild --quiet
program=$(find /run/dest -path '*/bin/vfiomem' -type f)
prefix=${program#/run/dest}
prefix=${prefix%/bin/vfiomem}
[ -n "$prefix" ] || { echo "vfiomem was not installed"; finish; }
# Over the machine's own folder of that name, for this namespace only.
mkdir -p "$prefix"
mount --bind "/run/dest$prefix" "$prefix"
hash -r

daemon_start
check "the installed program runs" says '^vfiomem [0-9]' "$prefix/bin/vfiomem" --version
check "it is not the one of the build" eval '! grep -q "$VFIOMEM_BUILD" <(ldd "$prefix/bin/vfiomem")'
check "it finds its libvirt module" "$prefix/bin/vfiomem" check --connect qemu:///system --all
"$prefix/bin/vfiomem" host --format json > /run/host.json
check "and its JSON module" "$prefix/bin/vfiomem" host --host /run/host.json
check "install-hook finds the installed hook" says "made .*50-vfiomem -> $prefix/bin/vfiomem-hook" "$prefix/bin/vfiomem" install-hook
check "the daemon restarts" daemon_restart

export DOMAIN_EMULATOR=$VFIOMEM_INTEGRATION_DIR/pretend-vfio
domain many "
  <maxMemory slots='4' unit='GiB'>200</maxMemory>
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>" "
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0' bus='0x41' slot='0' function='0'/></source>
    </hostdev>
    <memory model='virtio-mem'>
      <target><size unit='GiB'>128</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target>
    </memory>" > /run/many.xml
define /run/many.xml
check "the installed hook refuses" fails_with '\[mapping-budget-exceeded\]' virsh start many

# Notes go to syslog where there is one.
socat -u UNIX-RECV:/dev/log CREATE:/run/syslog 2>/dev/null &
check "a syslog is there" wait_for 10 test -S /dev/log
virsh start many >/dev/null 2>&1
check "the refusal is in it" wait_for 10 grep -aq "vfiomem-hook.*domain 'many', prepare: .*mapping-budget-exceeded" /run/syslog

# vfiomem is removed, and the link is forgotten.
umount "$prefix"
check "a link that leads nowhere stops no guest" virsh start many
virsh -q destroy many
finish
