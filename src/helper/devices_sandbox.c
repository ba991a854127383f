/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices_sandbox.h"

#include "error.h"
#include "sandbox_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#if __has_include(<linux/landlock.h>)
#include <linux/landlock.h>
#endif
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* VFIO_TYPE and IOMMUFD_TYPE, in bits 8 to 15 of a request; neither uses the bits above. */
#define IOCTL_MASK 0xffffff00u
#define IOCTL_TYPE (';' << 8)

/* Of an open: what only something else than a device that is used would need. O_WRONLY is the bit that O_RDWR has not;
 * with O_ASYNC the kernel sends signals. */
#define OPEN_MASK (O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY) | O_WRONLY | O_APPEND | O_ASYNC)

#define KEPT_CAPABILITIES (UINT64_C(1) << CAP_IPC_LOCK | UINT64_C(1) << CAP_SYS_RESOURCE)

/* clang-format off */
static const int allowed[] = {
    /* messages, and the device's regions */
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64),
    SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(eventfd2), SCMP_SYS(lseek),
    SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept4), SCMP_SYS(shutdown), SCMP_SYS(getsockopt),
    /* descriptors and files that are there */
    SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(dup), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstatfs), SCMP_SYS(statfs), SCMP_SYS(getdents64), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
    SCMP_SYS(chmod), SCMP_SYS(fchmodat), SCMP_SYS(unlink),
    /* memory */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(memfd_create), SCMP_SYS(ftruncate), SCMP_SYS(futex),
    /* threads */
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_yield), SCMP_SYS(gettid), SCMP_SYS(sched_getaffinity),
    /* time and chance */
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(getrandom),
    SCMP_SYS(restart_syscall),
    /* who it is, and on which kernel (backend_adopt.h) */
    SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(capget), SCMP_SYS(uname),
    /* the end, an abort with a signal among them */
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
};
/* clang-format on */

static int allow_where(scmp_filter_ctx filter, int call, struct scmp_arg_cmp where)
{
    return -seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &where);
}

/* Calls that depend on what they are asked for. */
static int allow_some(scmp_filter_ctx filter)
{
    const struct {
        int call;
        struct scmp_arg_cmp where;
    } some[] = {
        {SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, IOCTL_MASK, IOCTL_TYPE)},
        {SCMP_SYS(open), SCMP_A1(SCMP_CMP_MASKED_EQ, OPEN_MASK, 0)},
        {SCMP_SYS(openat), SCMP_A2(SCMP_CMP_MASKED_EQ, OPEN_MASK, 0)},
        {SCMP_SYS(unlinkat), SCMP_A2(SCMP_CMP_EQ, 0, 0)},
        /* No owner who gets signals, no lease, no lock, no seal. */
        {SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, F_DUPFD_CLOEXEC, 0)},
        {SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, F_GETFD, 0)},
        {SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, F_SETFD, 0)}, /* fdopendir's */
        {SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, F_GETFL, 0)},
        {SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_VM | CLONE_THREAD, CLONE_VM | CLONE_THREAD)},
        {SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0)},
        /* An abort's signal to itself, and to nobody else. */
        {SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0)},
    };
    /* A datagram socket could send to any address without connecting. */
    const struct scmp_arg_cmp stream[] = {
        SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0),
        SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu & ~(unsigned)(SOCK_CLOEXEC | SOCK_NONBLOCK), SOCK_STREAM)};
    const struct scmp_arg_cmp own_limits[] = {SCMP_A0(SCMP_CMP_EQ, 0, 0), SCMP_A2(SCMP_CMP_EQ, 0, 0)};
    int status = 0;

    for (size_t i = 0; !status && i < G_N_ELEMENTS(some); i++)
        status = allow_where(filter, some[i].call, some[i].where);
    if (!status)
        status = -seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, stream);
    /* Limits are read, not set. */
    if (!status)
        status = -seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, own_limits);
    /* Its flags lie in memory, where no filter can see them: the C library then falls back to clone. */
    if (!status)
        status = -seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return status;
}

#if __has_include(<linux/landlock.h>) && defined(__NR_landlock_create_ruleset)
/* Where it may do what with files. */
static int allow_below(int rules, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr below = {.allowed_access = access,
                                               .parent_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)};
    int status = 0;

    if (below.parent_fd < 0)
        return errno == ENOENT ? 0 : errno; /* nothing is there that could be opened */
    if (syscall(__NR_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0) < 0)
        status = errno;
    close(below.parent_fd);
    return status;
}

/* The filter sees flags and no paths; QEMU's user owns the guests' images and more. /dev is named as a whole, because
 * what is below it comes and goes with modules and devices. */
static int restrict_files(const char *folder)
{
    const uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE, write = LANDLOCK_ACCESS_FS_WRITE_FILE;
    const uint64_t sockets = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
    struct landlock_ruleset_attr handled = {.handled_access_fs = read | write | sockets | LANDLOCK_ACCESS_FS_EXECUTE |
                                                                 LANDLOCK_ACCESS_FS_REMOVE_DIR};
    int rules = (int)syscall(__NR_landlock_create_ruleset, &handled, sizeof(handled), 0), status;

    if (rules < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : errno; /* a kernel without Landlock: the filter alone */
    status = allow_below(rules, "/sys", read);
    if (!status)
        status = allow_below(rules, "/proc", read);
    if (!status)
        status = allow_below(rules, "/dev", read | write);
    if (!status && folder)
        status = allow_below(rules, folder, sockets);
    if (!status && syscall(__NR_landlock_restrict_self, rules, 0) < 0)
        status = errno;
    close(rules);
    return status;
}
#else
static int restrict_files(const char *folder)
{
    return 0;
}
#endif

static int load_filter(void)
{
    scmp_filter_ctx filter = vfm_sandbox_filter();
    int status = filter ? vfm_sandbox_allow(filter, allowed, G_N_ELEMENTS(allowed)) : 0;

    if (filter && !status)
        status = vfm_sandbox_allow_memory(filter);
    if (filter && !status)
        status = allow_some(filter);
    return vfm_sandbox_load(filter, status);
}

bool vfm_devices_sandbox_enter(const char *folder, GError **error)
{
    /* In this order: the filter takes what the others need. */
    int sealed = vfm_sandbox_seal(), dropped = vfm_sandbox_keep_capabilities(KEPT_CAPABILITIES),
        restricted = restrict_files(folder), filtered = load_filter();
    const struct {
        int status;
        const char *what;
    } steps[] = {
        {sealed, "give up privileges"},
        {dropped, "give up capabilities"},
        {restricted, "give up files elsewhere"},
        {filtered, "load the filter of system calls"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (steps[i].status) {
            vfm_set_system_error(error, steps[i].status, "%s", steps[i].what);
            return false;
        }
    }
    return true;
}
