/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "error.h"
#include "inhibit.h"

typedef struct {
    VfmHoldKind kind;
    char *holder;
    unsigned count;
} Hold;

typedef struct {
    char *name;
    VfmMaybe group;
    bool discard_allowed;
} Device;

struct VfmInhibit {
    GArray *holds; /* of Hold, in order of first taking; few, so searched in line */
    unsigned counts[VFM_HOLD_KINDS];
    GArray *devices; /* of Device */
};

/* What must be at zero for a kind to be taken: QEMU's -EBUSY rules, one row per kind. */
static const bool excludes[VFM_HOLD_KINDS][VFM_HOLD_KINDS] = {
    [VFM_HOLD_DISABLE_ALL] = {[VFM_HOLD_REQUIRE_ALL] = true, [VFM_HOLD_REQUIRE_COORDINATED] = true},
    [VFM_HOLD_DISABLE_UNCOORDINATED] = {[VFM_HOLD_REQUIRE_ALL] = true},
    [VFM_HOLD_REQUIRE_ALL] = {[VFM_HOLD_DISABLE_ALL] = true, [VFM_HOLD_DISABLE_UNCOORDINATED] = true},
    [VFM_HOLD_REQUIRE_COORDINATED] = {[VFM_HOLD_DISABLE_ALL] = true},
};

static void hold_clear(gpointer data)
{
    g_free(((Hold *)data)->holder);
}

static void device_clear(gpointer data)
{
    g_free(((Device *)data)->name);
}

VfmInhibit *vfm_inhibit_new(void)
{
    VfmInhibit *inhibit = g_new0(VfmInhibit, 1);

    inhibit->holds = g_array_new(FALSE, TRUE, sizeof(Hold));
    g_array_set_clear_func(inhibit->holds, hold_clear);
    inhibit->devices = g_array_new(FALSE, TRUE, sizeof(Device));
    g_array_set_clear_func(inhibit->devices, device_clear);
    return inhibit;
}

void vfm_inhibit_free(VfmInhibit *inhibit)
{
    if (!inhibit)
        return;
    g_array_unref(inhibit->holds);
    g_array_unref(inhibit->devices);
    g_free(inhibit);
}

const char *vfm_hold_kind_name(VfmHoldKind kind)
{
    static const char *const names[VFM_HOLD_KINDS] = {
        [VFM_HOLD_DISABLE_ALL] = "disable-all",
        [VFM_HOLD_DISABLE_UNCOORDINATED] = "disable-uncoordinated",
        [VFM_HOLD_REQUIRE_ALL] = "require-all",
        [VFM_HOLD_REQUIRE_COORDINATED] = "require-coordinated",
    };

    return (unsigned)kind < VFM_HOLD_KINDS ? names[kind] : "unknown";
}

static Hold *find_hold(const VfmInhibit *inhibit, VfmHoldKind kind, const char *holder, unsigned *index)
{
    for (unsigned i = 0; i < inhibit->holds->len; i++) {
        Hold *hold = &g_array_index(inhibit->holds, Hold, i);

        if (hold->kind == kind && (!holder || strcmp(hold->holder, holder) == 0)) {
            if (index)
                *index = i;
            return hold;
        }
    }
    return NULL;
}

/* The first hold that stands against taking @kind, or NULL. */
static const Hold *find_obstacle(const VfmInhibit *inhibit, VfmHoldKind kind)
{
    for (unsigned other = 0; other < VFM_HOLD_KINDS; other++) {
        if (excludes[kind][other] && inhibit->counts[other])
            return find_hold(inhibit, other, NULL, NULL);
    }
    return NULL;
}

static bool check_free(const VfmInhibit *inhibit, VfmHoldKind kind, const char *holder, GError **error)
{
    const Hold *obstacle = find_obstacle(inhibit, kind);

    if (!obstacle)
        return true;
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_INHIBITED,
                "%s: can't take %s of memory discards: %s holds %s; remove one of the two", holder,
                vfm_hold_kind_name(kind), obstacle->holder, vfm_hold_kind_name(obstacle->kind));
    return false;
}

bool vfm_inhibit_take(VfmInhibit *inhibit, VfmHoldKind kind, const char *holder, GError **error)
{
    Hold *hold;

    g_return_val_if_fail((unsigned)kind < VFM_HOLD_KINDS, false);
    if (!check_free(inhibit, kind, holder, error))
        return false;
    hold = find_hold(inhibit, kind, holder, NULL);
    if (hold) {
        hold->count++;
    } else {
        Hold fresh = {kind, g_strdup(holder), 1};

        g_array_append_val(inhibit->holds, fresh);
    }
    inhibit->counts[kind]++;
    return true;
}

bool vfm_inhibit_release(VfmInhibit *inhibit, VfmHoldKind kind, const char *holder)
{
    unsigned index = 0;
    Hold *hold = find_hold(inhibit, kind, holder, &index);

    if (!hold)
        return false;
    inhibit->counts[kind]--;
    if (--hold->count == 0)
        g_array_remove_index(inhibit->holds, index);
    return true;
}

unsigned vfm_inhibit_count(const VfmInhibit *inhibit, VfmHoldKind kind)
{
    return (unsigned)kind < VFM_HOLD_KINDS ? inhibit->counts[kind] : 0;
}

bool vfm_inhibit_allows(const VfmInhibit *inhibit, bool coordinated)
{
    if (inhibit->counts[VFM_HOLD_DISABLE_ALL])
        return false;
    return coordinated || !inhibit->counts[VFM_HOLD_DISABLE_UNCOORDINATED];
}

GArray *vfm_inhibit_list(const VfmInhibit *inhibit)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(VfmInhibitHold));

    for (unsigned kind = 0; kind < VFM_HOLD_KINDS; kind++) {
        for (unsigned i = 0; i < inhibit->holds->len; i++) {
            const Hold *hold = &g_array_index(inhibit->holds, Hold, i);
            VfmInhibitHold line = {hold->kind, hold->holder, hold->count};

            if (hold->kind == kind)
                g_array_append_val(list, line);
        }
    }
    return list;
}

static Device *find_device(const VfmInhibit *inhibit, const char *name, unsigned *index)
{
    for (unsigned i = 0; i < inhibit->devices->len; i++) {
        Device *device = &g_array_index(inhibit->devices, Device, i);

        if (strcmp(device->name, name) == 0) {
            if (index)
                *index = i;
            return device;
        }
    }
    return NULL;
}

static const Device *find_in_group(const VfmInhibit *inhibit, VfmMaybe group)
{
    for (unsigned i = 0; group.set && i < inhibit->devices->len; i++) {
        const Device *device = &g_array_index(inhibit->devices, Device, i);

        if (device->group.set && device->group.value == group.value)
            return device;
    }
    return NULL;
}

/* The name under which a device's hold is listed: its group's where the group holds it, so that
 * the name stays true when the device that came first is the first to go. */
static char *holder_name(VfmMaybe group, const char *name)
{
    return group.set ? g_strdup_printf("IOMMU group %" G_GUINT64_FORMAT, group.value)
                     : g_strdup_printf("device %s", name);
}

bool vfm_inhibit_attach(VfmInhibit *inhibit, const VfmInhibitDevice *device, GError **error)
{
    const Device *peer = find_in_group(inhibit, device->group);
    Device fresh = {.group = device->group, .discard_allowed = device->discard_allowed};
    g_autofree char *holder = holder_name(device->group, device->name);

    if (find_device(inhibit, device->name, NULL)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT, "device %s is assigned already", device->name);
        return false;
    }
    if (device->discard_allowed && !device->mdev) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT,
                    "device %s: discards can be allowed only for mediated devices, whose vendor driver pins what it "
                    "uses; remove x-balloon-allowed",
                    device->name);
        return false;
    }
    if (peer && peer->discard_allowed != device->discard_allowed) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_INHIBITED,
                    "device %s %s discards of memory and device %s of the same group %s; set the same for all "
                    "devices of a group",
                    device->name, device->discard_allowed ? "allows" : "forbids", peer->name,
                    peer->discard_allowed ? "allows them" : "forbids them");
        return false;
    }
    if (!check_free(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, holder, error))
        return false;
    if (!peer && !device->discard_allowed && !vfm_inhibit_take(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, holder, error))
        return false;
    fresh.name = g_strdup(device->name);
    g_array_append_val(inhibit->devices, fresh);
    return true;
}

void vfm_inhibit_detach(VfmInhibit *inhibit, const char *name)
{
    unsigned index = 0;
    Device *device = find_device(inhibit, name, &index);
    g_autofree char *holder = NULL;
    VfmMaybe group;
    bool held;

    if (!device)
        return;
    group = device->group;
    held = !device->discard_allowed;
    holder = holder_name(group, device->name);
    g_array_remove_index(inhibit->devices, index);
    if (held && !find_in_group(inhibit, group))
        vfm_inhibit_release(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, holder);
}
