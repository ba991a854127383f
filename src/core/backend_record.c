/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "backend_record.h"

/* @count mappings of @first.size bytes each, side by side in IOVA, memory and file. */
typedef struct {
    VfmMapping first;
    uint64_t count;
} Run;

typedef struct {
    uint64_t after, count;
    int errnum;
    uint64_t calls;
} Fault;

typedef struct {
    VfmBackend base;
    VfmRecordOptions options;
    GArray *ranges; /* NULL: everything */
    GTree *runs;    /* &Run.first.iova -> Run */
    Run *recent;    /* the run that grew last, or NULL */
    uint64_t room;  /* where the run after @recent starts: up to there nothing is mapped */
    uint64_t mappings, bytes;
    unsigned devices;
    Fault faults[3];
} Record;

static int compare_iova(const void *a, const void *b, void *data)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static uint64_t run_end(const Run *run)
{
    return run->first.iova + run->count * run->first.size;
}

static VfmMapping run_mapping(const Run *run, uint64_t index)
{
    VfmMapping mapping = run->first;

    mapping.iova += index * mapping.size;
    mapping.vaddr = (uint8_t *)mapping.vaddr + index * mapping.size;
    mapping.offset += index * mapping.size;
    return mapping;
}

/* Whether @next goes on where @run ends, with the same size and kind. */
static bool continues(const Run *run, const VfmMapping *next)
{
    uint64_t length = run->count * run->first.size;

    return next->size == run->first.size && next->iova == run->first.iova + length &&
           (uint8_t *)next->vaddr == (uint8_t *)run->first.vaddr + length &&
           next->offset == run->first.offset + length && next->fd == run->first.fd && next->prot == run->first.prot &&
           next->peer == run->first.peer;
}

static Run *insert_run(Record *record, const VfmMapping *first, uint64_t count)
{
    Run *run = g_new(Run, 1);

    run->first = *first;
    run->count = count;
    g_tree_insert(record->runs, &run->first.iova, run);
    return run;
}

/* Counts a call and says whether it is to fail. */
static bool injected(Record *record, VfmRecordCall call, GError **error)
{
    static const char *const names[] = {"map", "unmap", "attach"};
    Fault *fault = &record->faults[call];

    fault->calls++;
    if (G_LIKELY(fault->count == 0))
        return false;
    if (fault->after) {
        fault->after--;
        return false;
    }
    fault->count--;
    vfm_set_system_error(error, fault->errnum, "record: %s was told to fail", names[call]);
    return true;
}

static bool in_ranges(const Record *record, uint64_t start, uint64_t last)
{
    return !record->ranges || vfm_ranges_contain(record->ranges, start, last);
}

static bool record_attach(VfmBackend *backend, VfmBackendDevice *device, GError **error)
{
    Record *record = (Record *)backend;

    if (injected(record, VFM_RECORD_ATTACH, error))
        return false;
    if (record->options.no_sharing && record->devices) {
        vfm_set_system_error(error, EINVAL, "record: %s can't share this context", device->name);
        return false;
    }
    for (GTreeNode *node = g_tree_node_first(record->runs); node; node = g_tree_node_next(node)) {
        const Run *run = g_tree_node_value(node);

        if (in_ranges(record, run->first.iova, run_end(run) - 1))
            continue;
        vfm_set_system_error(error, EINVAL, "record: %s can't reach 0x%" G_GINT64_MODIFIER "x, which is mapped",
                             device->name, run->first.iova);
        return false;
    }
    record->devices++;
    device->device_fd = -1;
    return true;
}

static void record_detach(VfmBackend *backend, VfmBackendDevice *device)
{
    ((Record *)backend)->devices--;
}

static bool record_limits(VfmBackend *backend, VfmBackendLimits *limits, GError **error)
{
    const Record *record = (Record *)backend;

    limits->page_sizes = record->options.page | 1ull << 30;
    limits->max_mappings = record->options.max_mappings;
    if (record->options.reported_max)
        limits->max_mappings = VFM_SOME(record->options.reported_max);
    limits->memlock = record->options.memlock;
    limits->peer_bars = !record->options.no_peer_bars;
    if (record->ranges)
        g_array_append_vals(limits->ranges, record->ranges->data, record->ranges->len);
    return true;
}

/* The checks of the kernel's type1, in its order. */
static bool check_map(const Record *record, const VfmMapping *mapping, GError **error)
{
    uint64_t mask = record->options.page - 1, last = mapping->iova + mapping->size - 1;
    int errnum = 0;

    if (mapping->size == 0 || ((mapping->iova | mapping->size | (uintptr_t)mapping->vaddr) & mask) != 0 ||
        last < mapping->iova || last == UINT64_MAX || mapping->prot == 0)
        errnum = EINVAL;
    else if (record->options.max_mappings.set && record->mappings >= record->options.max_mappings.value)
        errnum = ENOSPC;
    else if (!in_ranges(record, mapping->iova, last))
        errnum = EINVAL;
    else if (mapping->peer && record->options.no_peer_bars)
        errnum = EFAULT;
    else if (record->options.memlock.set && !mapping->peer &&
             (mapping->size > record->options.memlock.value ||
              record->bytes > record->options.memlock.value - mapping->size))
        errnum = ENOMEM;
    if (errnum == 0)
        return true;
    vfm_set_system_error(error, errnum,
                         "record: can't map %" G_GUINT64_FORMAT " bytes at IOVA 0x%" G_GINT64_MODIFIER "x",
                         mapping->size, mapping->iova);
    return false;
}

/* Points @recent at the last run that starts at or below @iova, if any, and @room at the one after it. */
static void seek(Record *record, uint64_t iova)
{
    GTreeNode *next = g_tree_upper_bound(record->runs, &iova);
    GTreeNode *here = next ? g_tree_node_previous(next) : g_tree_node_last(record->runs);

    record->recent = here ? g_tree_node_value(here) : NULL;
    record->room = next ? ((Run *)g_tree_node_value(next))->first.iova : UINT64_MAX;
}

static bool record_map(VfmBackend *backend, const VfmMapping *mapping, GError **error)
{
    Record *record = (Record *)backend;
    uint64_t end = mapping->iova + mapping->size;

    if (injected(record, VFM_RECORD_MAP, error) || !check_map(record, mapping, error))
        return false;
    if (!record->recent || mapping->iova < record->recent->first.iova || mapping->iova >= record->room)
        seek(record, mapping->iova);
    if ((record->recent && mapping->iova < run_end(record->recent)) || end > record->room) {
        vfm_set_system_error(error, EEXIST, "record: IOVA 0x%" G_GINT64_MODIFIER "x is mapped already", mapping->iova);
        return false;
    }
    if (record->recent && continues(record->recent, mapping))
        record->recent->count++;
    else
        record->recent = insert_run(record, mapping, 1);
    record->mappings++;
    if (!mapping->peer)
        record->bytes += mapping->size;
    return true;
}

/* Takes from..to (exclusive indexes) out of @run, which may go. */
static void cut_run(Record *record, Run *run, uint64_t from, uint64_t to)
{
    VfmMapping above = run_mapping(run, to);
    uint64_t count_above = run->count - to;

    if (from)
        run->count = from;
    else
        g_tree_remove(record->runs, &run->first.iova);
    if (count_above)
        insert_run(record, &above, count_above);
}

static bool record_unmap(VfmBackend *backend, uint64_t iova, uint64_t size, uint64_t *unmapped, GError **error)
{
    Record *record = (Record *)backend;
    uint64_t end = iova + size;
    g_autoptr(GPtrArray) hit = NULL;

    *unmapped = 0;
    if (injected(record, VFM_RECORD_UNMAP, error))
        return false;
    if (size == 0 || end < iova || ((iova | size) & (record->options.page - 1)) != 0) {
        vfm_set_system_error(
            error, EINVAL, "record: can't unmap %" G_GUINT64_FORMAT " bytes at 0x%" G_GINT64_MODIFIER "x", size, iova);
        return false;
    }
    hit = g_ptr_array_new();
    seek(record, iova);
    if (record->recent && run_end(record->recent) > iova)
        g_ptr_array_add(hit, record->recent);
    for (GTreeNode *node = g_tree_upper_bound(record->runs, &iova);
         node && ((Run *)g_tree_node_value(node))->first.iova < end; node = g_tree_node_next(node))
        g_ptr_array_add(hit, g_tree_node_value(node));
    record->recent = NULL;
    /* First nothing may be cut, then everything goes. */
    for (unsigned i = 0; i < hit->len; i++) {
        const Run *run = hit->pdata[i];

        if ((iova > run->first.iova && (iova - run->first.iova) % run->first.size) ||
            (end < run_end(run) && (end - run->first.iova) % run->first.size)) {
            vfm_set_system_error(error, EINVAL,
                                 "record: unmapping 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER
                                 "x would cut a mapping",
                                 iova, end - 1);
            return false;
        }
    }
    for (unsigned i = 0; i < hit->len; i++) {
        Run *run = hit->pdata[i];
        uint64_t from = iova > run->first.iova ? (iova - run->first.iova) / run->first.size : 0;
        uint64_t to = end < run_end(run) ? (end - run->first.iova) / run->first.size : run->count;
        uint64_t bytes = (to - from) * run->first.size;

        *unmapped += bytes;
        record->mappings -= to - from;
        if (!run->first.peer)
            record->bytes -= bytes;
        cut_run(record, run, from, to);
    }
    return true;
}

static VfmMaybe record_available(VfmBackend *backend)
{
    const Record *record = (Record *)backend;

    return record->options.max_mappings.set ? VFM_SOME(record->options.max_mappings.value - record->mappings)
                                            : VFM_NONE;
}

static bool record_adopt(VfmBackend *backend, VfmBackendDevice *device, GError **error)
{
    ((Record *)backend)->devices++;
    return true;
}

static bool record_claim(VfmBackend *backend, const VfmMapping *mapping)
{
    return true;
}

static void record_free(VfmBackend *backend)
{
    Record *record = (Record *)backend;

    g_tree_unref(record->runs);
    if (record->ranges)
        g_array_unref(record->ranges);
    g_free(record);
}

static const VfmBackendOps record_ops = {
    .name = "record",
    .attach = record_attach,
    .detach = record_detach,
    .limits = record_limits,
    .map = record_map,
    .unmap = record_unmap,
    .available = record_available,
    .adopt = record_adopt,
    .claim = record_claim,
    .free = record_free,
};

VfmBackend *vfm_backend_record_new(const VfmRecordOptions *options)
{
    Record *record = g_new0(Record, 1);

    record->base.ops = &record_ops;
    if (options)
        record->options = *options;
    if (record->options.page == 0)
        record->options.page = 4096;
    record->ranges = record->options.ranges ? vfm_ranges_copy(record->options.ranges) : NULL;
    record->options.ranges = NULL;
    record->runs = g_tree_new_full(compare_iova, NULL, NULL, g_free);
    return &record->base;
}

void vfm_backend_record_fail(VfmBackend *backend, VfmRecordCall call, uint64_t after, uint64_t count, int errnum)
{
    Fault *fault = &((Record *)backend)->faults[call];

    fault->after = after;
    fault->count = count;
    fault->errnum = errnum;
}

void vfm_backend_record_set_ranges(VfmBackend *backend, const GArray *ranges)
{
    Record *record = (Record *)backend;

    g_clear_pointer(&record->ranges, g_array_unref);
    record->ranges = ranges ? vfm_ranges_copy(ranges) : NULL;
}

uint64_t vfm_backend_record_mappings(const VfmBackend *backend)
{
    return ((const Record *)backend)->mappings;
}

uint64_t vfm_backend_record_bytes(const VfmBackend *backend)
{
    return ((const Record *)backend)->bytes;
}

uint64_t vfm_backend_record_calls(const VfmBackend *backend, VfmRecordCall call)
{
    return ((const Record *)backend)->faults[call].calls;
}

unsigned vfm_backend_record_devices(const VfmBackend *backend)
{
    return ((const Record *)backend)->devices;
}

bool vfm_backend_record_find(const VfmBackend *backend, uint64_t iova, VfmMapping *mapping)
{
    const Record *record = (const Record *)backend;
    GTreeNode *next = g_tree_upper_bound(record->runs, &iova);
    GTreeNode *here = next ? g_tree_node_previous(next) : g_tree_node_last(record->runs);
    const Run *run = here ? g_tree_node_value(here) : NULL;

    if (!run || run_end(run) <= iova)
        return false;
    if (mapping)
        *mapping = run_mapping(run, (iova - run->first.iova) / run->first.size);
    return true;
}

void vfm_backend_record_foreach(const VfmBackend *backend, VfmRecordFunc fn, void *data)
{
    const Record *record = (const Record *)backend;

    for (GTreeNode *node = g_tree_node_first(record->runs); node; node = g_tree_node_next(node)) {
        const Run *run = g_tree_node_value(node);

        for (uint64_t i = 0; i < run->count; i++) {
            VfmMapping mapping = run_mapping(run, i);

            if (!fn(data, &mapping))
                return;
        }
    }
}
