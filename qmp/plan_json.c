/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan_json.h"

static const char *limit_from_name(VfmLimitFrom from)
{
    static const char *const names[] = {"libvirt", "hard_limit", "unlimited"};

    return (size_t)from < G_N_ELEMENTS(names) ? names[from] : "unknown";
}

static void write_assigned(VfmJsonOut *out, const VfmDomain *domain)
{
    vfm_json_out_array(out, "assigned");
    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(domain->assigned, i);

        /* An interface of a network that may be no pool of devices at all: a finding says so. */
        if (assigned->unresolved)
            continue;
        vfm_json_out_object(out, NULL);
        vfm_json_out_string(out, "kind", vfm_assigned_kind_name(assigned->kind));
        vfm_json_out_string(out, "address", assigned->address);
        vfm_json_out_string(out, "via", vfm_assigned_via_name(assigned->via));
        vfm_json_out_bool(out, "managed", assigned->managed);
        vfm_json_out_bool(out, "iommufd", assigned->iommufd);
        vfm_json_out_end(out);
    }
    vfm_json_out_end(out);
}

static void write_memory(VfmJsonOut *out, const VfmDomain *domain, const VfmPlan *plan)
{
    vfm_json_out_object(out, "memory");
    vfm_json_out_number(out, "boot", domain->boot);
    vfm_json_out_maybe(out, "max", domain->max_memory);
    vfm_json_out_array(out, "devices");
    for (guint i = 0; i < plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);

        vfm_json_out_object(out, NULL);
        vfm_json_out_string(out, "model",
                            device->model_name ? device->model_name : vfm_memory_model_name(device->model));
        vfm_json_out_maybe(out, "node", memory->node);
        vfm_json_out_number(out, "size", memory->size);
        vfm_json_out_maybe(out, "block", memory->block);
        vfm_json_out_maybe(out, "requested", memory->requested);
        vfm_json_out_maybe(out, "recommended_block", memory->recommended_block);
        vfm_json_out_end(out);
    }
    vfm_json_out_end(out);
    vfm_json_out_end(out);
}

static void write_balloon(VfmJsonOut *out, const VfmDomain *domain, const VfmPlan *plan)
{
    vfm_json_out_object(out, "balloon");
    vfm_json_out_bool(out, "present", domain->balloon.present);
    vfm_json_out_bool(out, "effective", plan->balloon_effective);
    vfm_json_out_bool(out, "free_page_reporting", domain->balloon.free_page_reporting == VFM_ON);
    vfm_json_out_bool(out, "autodeflate", domain->balloon.autodeflate == VFM_ON);
    vfm_json_out_end(out);
}

static void write_viommu(VfmJsonOut *out, const VfmDomain *domain)
{
    const VfmIommu *iommu = domain->iommus->len ? g_ptr_array_index(domain->iommus, 0) : NULL;
    const char *name = NULL;

    if (iommu)
        name = iommu->model == VFM_IOMMU_OTHER ? iommu->model_name : vfm_iommu_model_name(iommu->model);
    vfm_json_out_string(out, "viommu", name);
}

static void write_mappings(VfmJsonOut *out, const VfmPlan *plan)
{
    uint64_t fullest = 0;

    for (guint i = 0; i < plan->containers->len; i++) {
        const VfmPlanContainer *container = g_ptr_array_index(plan->containers, i);

        fullest = MAX(fullest, container->mappings_now);
    }
    vfm_json_out_object(out, "mappings");
    vfm_json_out_string(out, "backend", vfm_backend_kind_name(plan->backend));
    vfm_json_out_number(out, "containers", plan->containers->len);
    vfm_json_out_number(out, "per_container", fullest);
    vfm_json_out_maybe(out, "budget", plan->budget);
    vfm_json_out_end(out);
}

static void write_memlock(VfmJsonOut *out, const VfmPlan *plan)
{
    vfm_json_out_object(out, "memlock");
    vfm_json_out_number(out, "required", plan->memlock_required);
    vfm_json_out_maybe(out, "limit", plan->memlock_limit);
    vfm_json_out_string(out, "limit_from", limit_from_name(plan->memlock_from));
    vfm_json_out_end(out);
}

static void write_findings(VfmJsonOut *out, const VfmPlan *plan)
{
    vfm_json_out_array(out, "findings");
    for (guint i = 0; i < plan->findings->len; i++) {
        const VfmFinding *finding = g_ptr_array_index(plan->findings, i);

        vfm_json_out_object(out, NULL);
        vfm_json_out_string(out, "id", finding->id);
        vfm_json_out_string(out, "severity", vfm_severity_name(finding->severity));
        vfm_json_out_string(out, "message", finding->message);
        vfm_json_out_string(out, "fix", finding->fix);
        vfm_json_out_maybe(out, "line", finding->line ? VFM_SOME(finding->line) : VFM_NONE);
        vfm_json_out_end(out);
    }
    vfm_json_out_end(out);
}

static void write_members(VfmJsonOut *out, const VfmDomain *domain, const VfmPlan *plan)
{
    vfm_json_out_string(out, "domain", domain->name ? domain->name : "");
    vfm_json_out_string(out, "uuid", domain->uuid);
    write_assigned(out, domain);
    write_memory(out, domain, plan);
    write_balloon(out, domain, plan);
    write_viommu(out, domain);
    write_mappings(out, plan);
    write_memlock(out, plan);
    write_findings(out, plan);
}

void vfm_plan_write_json(VfmJsonOut *out, const char *key, const VfmDomain *domain, const VfmPlan *plan)
{
    vfm_json_out_object(out, key);
    write_members(out, domain, plan);
    vfm_json_out_end(out);
}

void vfm_plan_write_json_of(VfmJsonOut *out, const char *file, const VfmDomain *domain, const VfmPlan *plan)
{
    g_autofree char *name = file ? g_utf8_make_valid(file, -1) : NULL; /* a path may be any bytes */

    vfm_json_out_object(out, NULL);
    vfm_json_out_string(out, "file", name);
    write_members(out, domain, plan);
    vfm_json_out_end(out);
}

char *vfm_plan_to_json(const VfmDomain *domain, const VfmPlan *plan, bool pretty)
{
    VfmJsonOut *out = vfm_json_out_new(pretty);

    vfm_plan_write_json(out, NULL, domain, plan);
    return vfm_json_out_finish(out);
}
