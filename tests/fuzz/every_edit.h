/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * every_edit.h - all edits that a domain can take, for tests that want to see each path of the editor.
 */
#pragma once

#include "plan.h"

static inline void add_every_edit(GPtrArray *edits, VfmEditKind kind, unsigned index, uint64_t value, const char *text)
{
    VfmEdit *edit = g_new0(VfmEdit, 1);

    edit->kind = kind;
    edit->index = index;
    edit->value = value;
    edit->text = (char *)text;
    g_ptr_array_add(edits, edit);
}

/* New array, freed with g_ptr_array_unref(). */
static inline GPtrArray *every_edit(const VfmDomain *domain)
{
    GPtrArray *edits = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = domain->memory_devices->pdata[i];

        if (device->model != VFM_MEM_VIRTIO_MEM)
            continue;
        add_every_edit(edits, VFM_EDIT_BLOCK, i, UINT64_C(4) << 20, NULL);
        add_every_edit(edits, VFM_EDIT_REQUESTED, i, UINT64_C(3) << 30, NULL);
    }
    for (guint i = 0; i < domain->iommus->len; i++) {
        const VfmIommu *iommu = domain->iommus->pdata[i];

        if (iommu->model == VFM_IOMMU_INTEL)
            add_every_edit(edits, VFM_EDIT_CACHING_MODE, i, 0, NULL);
    }
    add_every_edit(edits, VFM_EDIT_FREE_PAGE_REPORTING_OFF, 0, 0, NULL);
    add_every_edit(edits, VFM_EDIT_AUTODEFLATE_OFF, 0, 0, NULL);
    add_every_edit(edits, VFM_EDIT_HARD_LIMIT, 0, (UINT64_C(5) << 30) + 1, NULL);
    add_every_edit(edits, VFM_EDIT_MEMFD_SHARED, 0, 0, NULL);
    add_every_edit(edits, VFM_EDIT_EMULATOR, 0, 0, "/usr/bin/vfiomem-qemu & <co>");
    return edits;
}
