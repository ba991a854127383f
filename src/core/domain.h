/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domain.h - what negotiation needs to know of a guest, as plain structs.
 *
 * xml/ fills it from domain XML, qmp/ from QEMU's arguments and answers; core
 * only reads it. It says what was written, with libvirt's implicit defaults
 * made explicit (flagged as such), and draws no conclusions.
 *
 * Units: every size and address is in bytes. Lines are 1-based lines of the
 * input, 0 where there is none (made implicitly, or not from XML).
 * Ownership: a VfmDomain owns all it points to; vfm_domain_free() frees it.
 * Threads: no locking; one thread at a time, or read-only by many.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* A number that may be unknown or not given: never told apart by zero. */
typedef struct {
    bool set;
    uint64_t value;
} VfmMaybe;

#define VFM_SOME(v) ((VfmMaybe){.set = true, .value = (v)})
#define VFM_NONE ((VfmMaybe){.set = false, .value = 0})

/* An on/off attribute that may be absent. */
typedef enum { VFM_ABSENT = 0, VFM_ON, VFM_OFF } VfmSwitch;

typedef enum { VFM_ACCEL_OTHER = 0, VFM_ACCEL_KVM, VFM_ACCEL_TCG } VfmAccel;

typedef enum {
    VFM_ARCH_OTHER = 0,
    VFM_ARCH_X86_64,
    VFM_ARCH_I686,
    VFM_ARCH_AARCH64,
    VFM_ARCH_PPC64,
    VFM_ARCH_S390X,
    VFM_ARCH_RISCV64
} VfmArch;

typedef enum { VFM_MACHINE_OTHER = 0, VFM_MACHINE_Q35, VFM_MACHINE_I440FX, VFM_MACHINE_VIRT } VfmMachine;

typedef struct {
    unsigned id;
    uint64_t memory;
    VfmSwitch shared; /* memAccess: overrides <memoryBacking><access> for this cell */
    unsigned line;
} VfmCell;

/* <memoryBacking><hugepages><page>: @size 0 means "the host's default size". */
typedef struct {
    uint64_t size;
    char *nodeset; /* as written, NULL = all cells */
    unsigned line;
} VfmHugepage;

typedef enum { VFM_SOURCE_DEFAULT = 0, VFM_SOURCE_ANONYMOUS, VFM_SOURCE_FILE, VFM_SOURCE_MEMFD } VfmSource;

typedef struct {
    GArray *hugepages;  /* of VfmHugepage; may be empty, never NULL */
    bool use_hugepages; /* <hugepages/> present, with or without <page> */
    bool nosharepages;
    bool locked; /* <locked/>: -overcommit mem-lock=on, no memlock limit */
    bool discard;
    VfmSource source;
    VfmSwitch shared; /* access mode: ON shared, OFF private */
    bool prealloc;    /* allocation mode='immediate' */
    unsigned line;
} VfmBacking;

typedef enum {
    VFM_MEM_DIMM,
    VFM_MEM_NVDIMM,
    VFM_MEM_VIRTIO_PMEM,
    VFM_MEM_VIRTIO_MEM,
    VFM_MEM_SGX_EPC,
    VFM_MEM_OTHER /* a model libvirt has learned since; size counts, nothing else is known */
} VfmMemoryModel;

typedef struct {
    VfmMemoryModel model;
    char *model_name; /* as written */
    char *alias;      /* NULL if none */
    VfmMaybe node;
    uint64_t size;  /* virtio-mem: the maximum */
    VfmMaybe block; /* virtio-mem only */
    VfmMaybe requested;
    VfmMaybe current; /* live XML only */
    VfmMaybe base;    /* guest physical address: <address base=> of target or device */
    VfmMaybe slot;
    VfmMaybe pagesize; /* <source><pagesize>; 0 is never stored */
    VfmMaybe label;    /* nvdimm label size */
    char *path;        /* backing file, NULL if none */
    char *nodemask;
    bool readonly;
    bool pmem;
    VfmSwitch discard;
    VfmSwitch shared; /* access attribute of <memory> */
    VfmSwitch dynamic_memslots;
    bool from_commandline; /* -device in qemu:commandline: libvirt neither sees nor counts it */
    unsigned line;
    unsigned block_line; /* of <block>, 0 if absent */
    unsigned requested_line;
} VfmMemoryDevice;

typedef enum {
    VFM_ASSIGNED_PCI,
    VFM_ASSIGNED_MDEV,
    VFM_ASSIGNED_VDPA,
    VFM_ASSIGNED_NVME,
    VFM_ASSIGNED_USER
} VfmAssignedKind;
/* VFM_ASSIGNED_USER: vfio-user-pci from qemu:commandline or running arguments. */
typedef enum { VFM_VIA_HOSTDEV, VFM_VIA_INTERFACE, VFM_VIA_DISK, VFM_VIA_COMMANDLINE } VfmAssignedVia;

typedef struct {
    VfmAssignedKind kind;
    VfmAssignedVia via;
    char *address;   /* "0000:01:00.0", mdev UUID, or path; NULL while unresolved */
    char *network;   /* interface type='network': the pool's name */
    bool unresolved; /* only the pool's name is known: may or may not be a device */
    bool managed;
    bool iommufd;
    bool unassigned;           /* <address type='unassigned'/>: prepared, not given to QEMU */
    char *model;               /* mdev: vfio-pci, vfio-ap, vfio-ccw */
    char *driver;              /* <driver name= or model=>, NULL if none */
    VfmSwitch balloon_allowed; /* x-balloon-allowed from the command line or qemu:override */
    char *alias;
    char *implicit_alias; /* what libvirt will call a hostdev that has no alias */
    unsigned line;
} VfmAssigned;

typedef struct {
    bool present;  /* a device exists (model is not 'none') */
    bool implicit; /* libvirt adds it: the element was absent */
    char *model;
    VfmSwitch free_page_reporting;
    VfmSwitch autodeflate;
    unsigned line;
} VfmBalloon;

typedef enum { VFM_IOMMU_INTEL, VFM_IOMMU_AMD, VFM_IOMMU_SMMUV3, VFM_IOMMU_VIRTIO, VFM_IOMMU_OTHER } VfmIommuModel;

typedef struct {
    VfmIommuModel model;
    char *model_name;
    VfmSwitch caching_mode;
    VfmSwitch intremap;
    VfmSwitch eim;
    VfmSwitch iotlb;
    VfmSwitch dma_translation;
    VfmSwitch passthrough;
    VfmMaybe aw_bits;
    bool implicit;         /* libvirt adds it: q35 with more than 255 vCPUs */
    bool from_commandline; /* -device intel-iommu in qemu:commandline: libvirt does not see it */
    unsigned line;
} VfmIommu;

typedef enum { VFM_OWNER_QEMU = 0, VFM_OWNER_HELPER } VfmOwner;
typedef enum { VFM_BACKEND_AUTO = 0, VFM_BACKEND_TYPE1, VFM_BACKEND_IOMMUFD } VfmBackendKind;
typedef enum { VFM_BALLOON_REFUSE = 0, VFM_BALLOON_RESIZE, VFM_BALLOON_PASS } VfmBalloonPolicy;

typedef struct {
    uint64_t start, size;
    unsigned line;
} VfmWindow;

/* The policy of design.md, "Policy, in the domain XML". */
typedef struct {
    bool present;
    VfmOwner owner;
    VfmBackendKind backend;
    bool required;            /* mapping required='yes': no start without the helper */
    VfmMaybe budget_mappings; /* lowers the budget, never raises it */
    VfmMaybe budget_headroom; /* mappings kept free for hot-plug */
    VfmBalloonPolicy balloon;
    GArray *windows; /* of VfmWindow; empty = no restriction */
    bool resize_present;
    VfmMaybe resize_min, resize_max;
    unsigned line, mapping_line, budget_line, balloon_line, resize_line;
} VfmPolicy;

/* Makes @to, a domain's, say what @from says; @from->windows may be NULL. */
void vfm_policy_copy(VfmPolicy *to, const VfmPolicy *from);

typedef struct {
    char *name;   /* "" if the input has none */
    char *uuid;   /* NULL if none */
    char *type;   /* of <domain>, as written: "kvm", "xen"; NULL if not from XML */
    bool foreign; /* not a guest of libvirt's QEMU driver: no device of it is listed here */
    bool live;    /* from a running domain (id= or <domstatus>) */
    VfmAccel accel;
    VfmArch arch;
    char *arch_name;
    VfmMachine machine;
    char *machine_name; /* "pc-q35-7.2", as written; NULL if absent */
    char *emulator;
    char *real_emulator; /* VFIOMEM_QEMU of <qemu:env>: what vfiomem-qemu becomes; NULL if it finds that itself */
    unsigned emulator_line;

    uint64_t memory; /* <memory>: total as written; see boot */
    uint64_t boot;   /* boot RAM: cells' sum, or memory less the devices' sizes */
    VfmMaybe current_memory;
    VfmMaybe max_memory;
    VfmMaybe slots;
    unsigned memory_line;
    unsigned vcpus;
    VfmMaybe phys_bits; /* <maxphysaddr bits=> */
    char *cpu_mode;
    char *cpu_model;
    bool amd_cpu; /* the vCPU is known to be AMD's: 1 TiB hole of facts.md 2.3 */
    bool vga;     /* a VGA-compatible display: 0xa0000 is not RAM */
    bool pflash;  /* firmware in pflash (UEFI) */

    GArray *cells; /* of VfmCell */
    VfmBacking backing;
    GPtrArray *memory_devices; /* of VfmMemoryDevice* */
    GPtrArray *assigned;       /* of VfmAssigned* */
    VfmBalloon balloon;
    GPtrArray *iommus; /* of VfmIommu* */
    VfmMaybe hard_limit;
    unsigned memtune_line;
    char *launch_security; /* type: sev, sev-snp, tdx, s390-pv; NULL if none */
    unsigned launch_security_line;
    bool iommufd_domain; /* <iommufd enabled='yes'> (libvirt 12.2) */
    VfmPolicy policy;
} VfmDomain;

/* An empty domain: arrays made, nothing set. Never fails. */
VfmDomain *vfm_domain_new(void);
void vfm_domain_free(VfmDomain *domain);

/* Adds an element with defaults and returns it; the domain owns it. */
VfmMemoryDevice *vfm_domain_add_memory(VfmDomain *domain, VfmMemoryModel model, uint64_t size);
VfmAssigned *vfm_domain_add_assigned(VfmDomain *domain, VfmAssignedKind kind, VfmAssignedVia via);
VfmIommu *vfm_domain_add_iommu(VfmDomain *domain, VfmIommuModel model);

/* Names as the field writes them ("pci", "virtio-mem", "q35"); static strings. */
const char *vfm_assigned_kind_name(VfmAssignedKind kind);
const char *vfm_assigned_via_name(VfmAssignedVia via);
const char *vfm_memory_model_name(VfmMemoryModel model);
const char *vfm_iommu_model_name(VfmIommuModel model);
const char *vfm_backend_kind_name(VfmBackendKind kind);
const char *vfm_arch_name(VfmArch arch);
const char *vfm_machine_name(VfmMachine machine);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmDomain, vfm_domain_free)
