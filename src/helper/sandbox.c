/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sandbox.h"

#include "error.h"
#include "sandbox_parts.h"

/* clang-format off */
static const int allowed[] = {
    /* bytes and descriptors */
    SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg), SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(accept4), SCMP_SYS(close), SCMP_SYS(fcntl),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    /* memory */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
    /* time and chance */
    SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(getrandom), SCMP_SYS(restart_syscall),
    /* the end, an abort with a signal among them */
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(tgkill),
    /* harmless, and AddressSanitizer asks for it at each end: without it a worker under it always ends in failure */
    SCMP_SYS(sigaltstack),
};
/* clang-format on */

static int load_filter(void)
{
    scmp_filter_ctx filter = vfm_sandbox_filter();
    int status = filter ? vfm_sandbox_allow(filter, allowed, G_N_ELEMENTS(allowed)) : 0;

    if (filter && !status)
        status = vfm_sandbox_allow_memory(filter);
    return vfm_sandbox_load(filter, status);
}

bool vfm_sandbox_enter(GError **error)
{
    int status = vfm_sandbox_seal();

    if (status) {
        vfm_set_system_error(error, status, "give up privileges");
        return false;
    }
    status = vfm_sandbox_keep_capabilities(0);
    if (status) {
        vfm_set_system_error(error, status, "give up capabilities");
        return false;
    }
    status = load_filter();
    if (status) {
        vfm_set_system_error(error, status, "load the filter of system calls");
        return false;
    }
    return true;
}
