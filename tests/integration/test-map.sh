#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The guest memory map worked out from domain XML is the one of the QEMU that libvirt starts from it.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

daemon_start

# theirs NAME: RAM and ROM of the CPUs' address space, before the guest ran.
theirs()
{
    virsh -q qemu-monitor-command "$1" --hmp 'info mtree -f' |
        awk '/FlatView/ { on = 0 } /AS "memory"/ { on = 1 } on && /, (nv-)?(ram|rom)\)/ { gsub(/[,):]/, ""); sub(/nv-/, ""); print $1, $4 }'
}

# same NAME: defines and starts /run/NAME.xml paused; compares with the XML libvirt shows, running and inactive.
same()
{
    local status=0

    define "/run/$1.xml" && virsh -q start --paused "$1" || return 1
    theirs "$1" > "/run/$1.theirs"
    virsh -q dumpxml "$1" > "/run/$1.live.xml"
    virsh -q dumpxml --inactive "$1" > "/run/$1.inactive.xml"
    virsh -q destroy "$1"
    [ -s "/run/$1.theirs" ] || { echo "QEMU showed no memory"; return 1; }
    for xml in "/run/$1.xml" "/run/$1.live.xml" "/run/$1.inactive.xml"; do
        "$VFIOMEM_BUILD/tests/integration/print-map" "$xml" > /run/ours || status=1
        diff -u --label QEMU "/run/$1.theirs" --label "$xml" /run/ours || status=1
    done
    return $status
}

dimm="<memory model='dimm'><target><size unit='MiB'>256</size><node>0</node></target></memory>"
virtio_mem="<memory model='virtio-mem'><target><size unit='MiB'>512</size><node>0</node><block unit='MiB'>4</block>
    <requested unit='MiB'>64</requested></target></memory>"
one="<cpu mode='maximum'><numa><cell id='0' cpus='0' memory='300' unit='MiB'/></numa></cpu>"
max="<maxMemory slots='3' unit='GiB'>9</maxMemory><features><acpi/></features>"

domain plain > /run/plain.xml
DOMAIN_MEMORY=3000 domain large > /run/large.xml
domain video "" "<video><model type='vga'/></video>" > /run/video.xml
domain piix | sed "s/machine='q35'/machine='pc'/" > /run/piix.xml
domain none "" "<video><model type='none'/></video><memballoon model='none'/>" > /run/none.xml
domain devices "$max $one" "$dimm $virtio_mem $dimm" > /run/devices.xml
domain memfd "$max <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking> $one" \
    "$virtio_mem $dimm" > /run/memfd.xml
domain file "$max <memoryBacking><access mode='shared'/></memoryBacking> $one" "$dimm $virtio_mem" > /run/file.xml
domain cells "<vcpu>2</vcpu> $max
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='200' unit='MiB'/><cell id='1' cpus='1' memory='333' unit='MiB'/>
  </numa></cpu>" "$virtio_mem" | sed '0,/<vcpu>1<\/vcpu>/s///' > /run/cells.xml

odd="<maxMemory slots='3' unit='KiB'>9000001</maxMemory><features><acpi/></features><vcpu>2</vcpu>
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='204801' unit='KiB'/><cell id='1' cpus='1' memory='102401' unit='KiB'/>
  </numa></cpu>"
truncate -s 300M /var/tmp/nvdimm
nvdimm="<memory model='nvdimm'><source><path>/var/tmp/nvdimm</path></source><target><size unit='KiB'>263168</size><node>0</node>
    <label><size unit='KiB'>128</size></label></target></memory>"
domain odd "$odd" "${dimm/256/257} ${virtio_mem/512/513} $nvdimm" |
    sed '0,/<vcpu>1<\/vcpu>/s///; s/>4<\/block>/>2<\/block>/' > /run/odd.xml

check "a plain machine" same plain
check "one with memory above 4 GiB" same large
check "one with a VGA card" same video
check "an i440fx" same piix
check "one without display and balloon" same none
check "DIMMs and virtio-mem" same devices
check "memory in memfd" same memfd
check "memory in files" same file
check "two NUMA cells" same cells
check "sizes that libvirt rounds up" same odd

# What libvirt refuses is what we say it would.
domain thp "$max $one" "${virtio_mem/<block unit=\'MiB\'>4/<block unit=\'KiB\'>1024}" > /run/thp.xml
check "libvirt wants blocks of a THP" fails_with 'at least' define /run/thp.xml
check "and we say so" fails_with 'virtio-mem-block' "$VFIOMEM_BUILD/src/cli/vfiomem" check --no-host /run/thp.xml
domain nomax "$one" "$virtio_mem" > /run/nomax.xml
domain noblock "$max $one" "${virtio_mem/<block unit=\'MiB\'>4<\/block>/}" > /run/noblock.xml
check "libvirt wants a block" fails_with 'block size' define /run/noblock.xml
check "and we say so" fails_with 'virtio-mem-block' "$VFIOMEM_BUILD/src/cli/vfiomem" check --no-host /run/noblock.xml
"$VFIOMEM_BUILD/src/cli/vfiomem" apply --no-host /run/noblock.xml > /run/mended.xml
check "and apply mends it" define /run/mended.xml
check "libvirt wants maxMemory" fails_with 'maxMemory|max.*memory' same nomax
check "and we say so" fails_with 'memory-maximum' "$VFIOMEM_BUILD/src/cli/vfiomem" check --no-host /run/nomax.xml
finish
