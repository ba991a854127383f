#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The same short life with iommufd as the backend: the device's own node and one IOAS instead of groups and a container.
. /mnt/scene-lib.sh
[ -c /dev/iommu ] || skip "the kernel has no iommufd"
allow_iommufd 0000:00:10.0 0000:00:11.0
HOSTDEV_MANAGED=no
libvirt_up
define_guest demo "<vfiomem:mapping owner='helper' backend='iommufd'/>" "$shared" "$(hostdev 10)"
short_life demo 11
end_scene
