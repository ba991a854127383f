/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "assignment.h"

typedef struct {
    VfmContainer *container;
    VfmMapper *mapper;
    VfmMemoryMap *view;
    char *reason; /* why it is not shared; NULL for the first of its view */
} Context;

struct VfmAssignment {
    VfmAssignmentOptions options;
    GArray *windows;     /* copy of options.mapping.windows, or NULL */
    GPtrArray *contexts; /* of Context, in order of making */
    unsigned next;       /* for names, which are never reused */
};

static void context_free(gpointer data)
{
    Context *context = data;

    vfm_mapper_free(context->mapper);
    vfm_container_free(context->container);
    g_free(context->reason);
    g_free(context);
}

VfmAssignment *vfm_assignment_new(const VfmAssignmentOptions *options)
{
    VfmAssignment *assignment = g_new0(VfmAssignment, 1);

    assignment->options = *options;
    if (options->mapping.windows)
        assignment->windows = vfm_ranges_copy(options->mapping.windows);
    assignment->options.mapping.windows = assignment->windows;
    assignment->contexts = g_ptr_array_new_with_free_func(context_free);
    return assignment;
}

static Context *context_at(const VfmAssignment *assignment, unsigned index)
{
    return index < assignment->contexts->len ? assignment->contexts->pdata[index] : NULL;
}

void vfm_assignment_free(VfmAssignment *assignment)
{
    if (!assignment)
        return;
    while (assignment->contexts->len) {
        const char *name = vfm_container_device_name(context_at(assignment, 0)->container, 0);

        vfm_assignment_detach(assignment, name, NULL);
    }
    g_ptr_array_unref(assignment->contexts);
    if (assignment->windows)
        g_array_unref(assignment->windows);
    g_free(assignment);
}

/* A context without devices, not yet on the list. */
static Context *context_new(VfmAssignment *assignment, VfmMemoryMap *view, GError **error)
{
    VfmBackend *backend = assignment->options.open(assignment->options.open_data, error);
    g_autofree char *name = NULL;
    Context *context;

    if (!backend)
        return NULL;
    context = g_new0(Context, 1);
    name = g_strdup_printf("container %u", assignment->next);
    context->container = vfm_container_new(name, backend, assignment->options.budget_cap);
    context->mapper = vfm_mapper_new(context->container, view, &assignment->options.mapping, error);
    context->view = view;
    if (!context->mapper) {
        context_free(context);
        return NULL;
    }
    return context;
}

static bool attach_anew(VfmAssignment *assignment, const VfmAssignedDevice *device, const GError *refusal,
                        GError **error)
{
    Context *context = context_new(assignment, device->view, error);

    if (!context)
        return false;
    if (!vfm_container_attach(context->container, &device->device, NULL, error)) {
        context_free(context);
        return false;
    }
    context->reason = refusal ? g_strdup(refusal->message) : NULL;
    assignment->next++;
    g_ptr_array_add(assignment->contexts, context);
    return true;
}

/* Into a container of its view, else into a new one. */
static bool attach_somewhere(VfmAssignment *assignment, const VfmAssignedDevice *device, GError **error)
{
    g_autoptr(GError) refusal = NULL;

    for (unsigned i = 0; i < assignment->contexts->len; i++) {
        Context *context = context_at(assignment, i);
        g_autoptr(GError) failure = NULL;
        bool another;

        if (context->view != device->view)
            continue;
        if (vfm_container_attach(context->container, &device->device, &another, &failure))
            return true;
        if (!another) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return false;
        }
        if (!refusal)
            refusal = g_steal_pointer(&failure);
    }
    if (attach_anew(assignment, device, refusal, error))
        return true;
    if (refusal)
        vfm_error_append(error, "a container of its own was tried because of: %s", refusal->message);
    return false;
}

static Context *find_context(const VfmAssignment *assignment, const char *name)
{
    for (unsigned i = 0; name && i < assignment->contexts->len; i++) {
        Context *context = context_at(assignment, i);

        for (unsigned j = 0; j < vfm_container_devices(context->container); j++) {
            if (strcmp(vfm_container_device_name(context->container, j), name) == 0)
                return context;
        }
    }
    return NULL;
}

bool vfm_assignment_attach(VfmAssignment *assignment, const VfmAssignedDevice *device, GError **error)
{
    VfmInhibit *inhibit = assignment->options.inhibit;
    VfmInhibitDevice held = {device->device.name, device->group, device->mdev, device->discard_allowed};

    if (find_context(assignment, device->device.name)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT, "device %s is assigned already", device->device.name);
        return false;
    }
    if (inhibit && !vfm_inhibit_attach(inhibit, &held, error))
        return false;
    if (attach_somewhere(assignment, device, error))
        return true;
    if (inhibit)
        vfm_inhibit_detach(inhibit, device->device.name);
    return false;
}

bool vfm_assignment_detach(VfmAssignment *assignment, const char *name, GError **error)
{
    Context *context = find_context(assignment, name);
    g_autofree char *copy = g_strdup(name);

    if (!context) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "device %s is not assigned", name);
        return false;
    }
    vfm_container_detach(context->container, copy, NULL);
    if (assignment->options.inhibit)
        vfm_inhibit_detach(assignment->options.inhibit, copy);
    if (vfm_container_devices(context->container) == 0)
        g_ptr_array_remove(assignment->contexts, context);
    return true;
}

unsigned vfm_assignment_containers(const VfmAssignment *assignment)
{
    return assignment->contexts->len;
}

VfmContainer *vfm_assignment_container(const VfmAssignment *assignment, unsigned index)
{
    const Context *context = context_at(assignment, index);

    return context ? context->container : NULL;
}

VfmMapper *vfm_assignment_mapper(const VfmAssignment *assignment, unsigned index)
{
    const Context *context = context_at(assignment, index);

    return context ? context->mapper : NULL;
}

const char *vfm_assignment_reason(const VfmAssignment *assignment, unsigned index)
{
    const Context *context = context_at(assignment, index);

    return context ? context->reason : NULL;
}

VfmContainer *vfm_assignment_find(const VfmAssignment *assignment, const char *name)
{
    const Context *context = find_context(assignment, name);

    return context ? context->container : NULL;
}
