/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dma_ledger.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"

/* A process that dies has stored all it got to, in the order of its instructions: only the compiler must be kept from
 * moving them. */
#define ORDER() __asm__ __volatile__("" ::: "memory")

static const struct {
    const char *what;
    size_t stride;
    uint32_t capacity;
} kinds[VFM_LEDGER_TABLES] = {
    /* More than type1's 65,535 mappings and what QEMU is told to send, because iommufd knows no limit. */
    [VFM_LEDGER_PIECES] = {"mappings", sizeof(VfmLedgerPiece), 1u << 18},
    [VFM_LEDGER_MAPS] = {"maps of its clients", sizeof(VfmLedgerMap), 1u << 21},
    [VFM_LEDGER_FILES] = {"files of guest memory", sizeof(VfmLedgerFile), 1u << 12},
    [VFM_LEDGER_CLIENTS] = {"devices", sizeof(VfmLedgerClient), 1u << 8},
};

/* What is shared; the tables follow. */
typedef struct {
    uint64_t pinned_total;
    uint32_t used[VFM_LEDGER_TABLES];
} Shared;

typedef struct {
    uint8_t *slots;
    uint32_t capacity;
    GArray *free; /* of uint32_t, below used: this process's own knowledge */
} Table;

struct VfmDmaLedger {
    Shared *shared;
    size_t size;
    Table tables[VFM_LEDGER_TABLES];
    void (*step)(gpointer data);
    gpointer step_data;
};

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

VfmDmaLedger *vfm_dma_ledger_new(const VfmDmaLedgerSize *wanted, GError **error)
{
    const uint32_t counts[VFM_LEDGER_TABLES] = {wanted ? wanted->pieces : 0, wanted ? wanted->maps : 0,
                                                wanted ? wanted->files : 0, wanted ? wanted->clients : 0};
    VfmDmaLedger *ledger = g_new0(VfmDmaLedger, 1);
    size_t at = whole_pages(sizeof(Shared));

    ledger->size = at;
    for (int i = 0; i < VFM_LEDGER_TABLES; i++) {
        ledger->tables[i].capacity = counts[i] ? counts[i] : kinds[i].capacity;
        ledger->size += whole_pages(ledger->tables[i].capacity * kinds[i].stride);
    }
    ledger->shared =
        mmap(NULL, ledger->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ledger->shared == MAP_FAILED) {
        vfm_set_system_error(error, errno, "no memory for the record of mappings (%zu bytes)", ledger->size);
        g_free(ledger);
        return NULL;
    }
    for (int i = 0; i < VFM_LEDGER_TABLES; i++) {
        ledger->tables[i].slots = (uint8_t *)ledger->shared + at;
        ledger->tables[i].free = g_array_new(false, false, sizeof(uint32_t));
        at += whole_pages(ledger->tables[i].capacity * kinds[i].stride);
    }
    return ledger;
}

void vfm_dma_ledger_free(VfmDmaLedger *ledger)
{
    if (!ledger)
        return;
    for (int i = 0; i < VFM_LEDGER_TABLES; i++)
        g_array_unref(ledger->tables[i].free);
    munmap(ledger->shared, ledger->size);
    g_free(ledger);
}

static uint32_t *state_at(const VfmDmaLedger *ledger, VfmLedgerTable table, uint32_t slot)
{
    return (uint32_t *)(void *)(ledger->tables[table].slots + slot * kinds[table].stride);
}

uint32_t vfm_dma_ledger_used(const VfmDmaLedger *ledger, VfmLedgerTable table)
{
    return MIN(ledger->shared->used[table], ledger->tables[table].capacity);
}

const void *vfm_dma_ledger_at(const VfmDmaLedger *ledger, VfmLedgerTable table, uint32_t slot)
{
    return state_at(ledger, table, slot);
}

void vfm_dma_ledger_descriptors(const VfmDmaLedger *ledger, GArray *fds)
{
    for (uint32_t i = 0; i < vfm_dma_ledger_used(ledger, VFM_LEDGER_FILES); i++) {
        const VfmLedgerFile *file = vfm_dma_ledger_at(ledger, VFM_LEDGER_FILES, i);

        if (file->state != VFM_LEDGER_FREE)
            g_array_append_val(fds, file->fd);
    }
}

bool vfm_dma_ledger_is_empty(const VfmDmaLedger *ledger)
{
    for (int table = 0; table < VFM_LEDGER_TABLES; table++)
        for (uint32_t i = 0; i < vfm_dma_ledger_used(ledger, (VfmLedgerTable)table); i++)
            if (*state_at(ledger, table, i) != VFM_LEDGER_FREE)
                return false;
    return true;
}

void vfm_dma_ledger_load(VfmDmaLedger *ledger)
{
    for (int table = 0; table < VFM_LEDGER_TABLES; table++) {
        GArray *free = ledger->tables[table].free;

        g_array_set_size(free, 0);
        /* The last one is taken first, so the lowest comes last. */
        for (uint32_t i = vfm_dma_ledger_used(ledger, (VfmLedgerTable)table); i-- > 0;)
            if (*state_at(ledger, table, i) == VFM_LEDGER_FREE)
                g_array_append_val(free, i);
    }
}

static void announce(VfmDmaLedger *ledger)
{
    if (G_UNLIKELY(ledger->step))
        ledger->step(ledger->step_data);
}

static void store(VfmDmaLedger *ledger, uint32_t *at, uint32_t value)
{
    announce(ledger);
    ORDER();
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
    ORDER();
    announce(ledger);
}

static void store_long(VfmDmaLedger *ledger, uint64_t *at, uint64_t value)
{
    announce(ledger);
    ORDER();
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
    ORDER();
    announce(ledger);
}

uint32_t vfm_dma_ledger_add(VfmDmaLedger *ledger, VfmLedgerTable table, const void *content, VfmLedgerState state,
                            GError **error)
{
    Table *slots = &ledger->tables[table];
    uint32_t slot, *at;

    if (slots->free->len > 0) {
        slot = g_array_index(slots->free, uint32_t, slots->free->len - 1);
        g_array_set_size(slots->free, slots->free->len - 1);
    } else if (ledger->shared->used[table] < slots->capacity) {
        slot = ledger->shared->used[table];
        store(ledger, &ledger->shared->used[table], slot + 1);
    } else {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_BUDGET,
                    "all %u places for %s in the record that survives a crash are taken", slots->capacity,
                    kinds[table].what);
        return VFM_LEDGER_NONE;
    }
    at = state_at(ledger, table, slot);
    memcpy(at + 1, (const uint32_t *)content + 1, kinds[table].stride - sizeof(*at));
    store(ledger, at, state);
    return slot;
}

void vfm_dma_ledger_set(VfmDmaLedger *ledger, VfmLedgerTable table, uint32_t slot, VfmLedgerState state)
{
    store(ledger, state_at(ledger, table, slot), state);
    if (state == VFM_LEDGER_FREE)
        g_array_append_val(ledger->tables[table].free, slot);
}

void vfm_dma_ledger_note_unmap(VfmDmaLedger *ledger, uint32_t client, uint64_t message, uint64_t unmapped)
{
    VfmLedgerClient *slot = (VfmLedgerClient *)(void *)state_at(ledger, VFM_LEDGER_CLIENTS, client);

    store_long(ledger, &slot->unmap_message, 0);
    store_long(ledger, &slot->unmapped, unmapped);
    store_long(ledger, &slot->unmap_message, message);
}

uint64_t *vfm_dma_ledger_pinned_total(VfmDmaLedger *ledger)
{
    return &ledger->shared->pinned_total;
}

void vfm_dma_ledger_set_step(VfmDmaLedger *ledger, void (*step)(gpointer data), gpointer data)
{
    ledger->step = step;
    ledger->step_data = data;
}
