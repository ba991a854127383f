#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every function in a public header of the engine has a comment right above it: units, ownership, errors.
set -u
cd "${1:-.}/src/core" || exit 2
failed=0
for header in ranges.h discard.h memory_map.h inhibit.h container.h mapper.h translation.h assignment.h virtio_mem.h \
              backend_record.h backend_type1.h backend_iommufd.h error.h; do
    awk -v name="$header" '
        /^[A-Za-z].*\(/ && !/^typedef|^G_DEFINE|^#|^static/ && above !~ /\*\/$/ {
            print name ":" FNR ": not documented: " $0
            bad = 1
        }
        { above = $0 }
        END { exit bad }' "$header" || failed=1
done
exit $failed
