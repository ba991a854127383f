/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sandbox_parts.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int vfm_sandbox_seal(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? errno : 0;
}

int vfm_sandbox_keep_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {{0}, {0}};

    if (syscall(SYS_capget, &header, sets) < 0)
        return errno;
    for (int i = 0; i < 2; i++) {
        uint32_t mask = (uint32_t)(keep >> (32 * i));

        sets[i].effective &= mask;
        sets[i].permitted &= mask;
        sets[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, sets) < 0 ? errno : 0;
}

scmp_filter_ctx vfm_sandbox_filter(void)
{
    return seccomp_init(SCMP_ACT_ERRNO(EPERM));
}

int vfm_sandbox_allow(scmp_filter_ctx filter, const int *calls, size_t n)
{
    int status = 0;

    for (size_t i = 0; !status && i < n; i++)
        status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return -status;
}

int vfm_sandbox_allow_memory(scmp_filter_ctx filter)
{
    int status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

    if (!status)
        status =
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return -status;
}

int vfm_sandbox_load(scmp_filter_ctx filter, int status)
{
    if (!filter)
        return ENOMEM;
    if (!status)
        status = -seccomp_load(filter);
    seccomp_release(filter);
    return status;
}
