/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the process that maps can do once it is in its sandbox, each in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend_record.h"
#include "devices_sandbox.h"
#include "fake_vfu_device.h"
#include "host_read.h"
#include "iommufd_abi.h"
#include "vfu_client.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

/* Where it may make sockets; NULL: nowhere. */
static char *folder;

/* The status with which @what ends in a sandboxed process; 0 is what it should be. */
static int sandboxed(int (*what)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        g_autoptr(GError) error = NULL;

        if (!vfm_devices_sandbox_enter(folder, &error)) {
            fprintf(stderr, "%s\n", error->message);
            _exit(77);
        }
        _exit(what());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int look_at_status(void)
{
    const uint64_t kept = UINT64_C(1) << CAP_IPC_LOCK | UINT64_C(1) << CAP_SYS_RESOURCE;
    g_autofree char *text = NULL;
    unsigned long long effective, permitted;
    const char *at;

    if (!g_file_get_contents("/proc/thread-self/status", &text, NULL, NULL))
        return 1;
    if (!strstr(text, "Seccomp:\t2\n") || !strstr(text, "NoNewPrivs:\t1\n"))
        return 2;
    at = strstr(text, "CapPrm:");
    if (!at || sscanf(at, "CapPrm: %llx", &permitted) != 1 || permitted & ~kept)
        return 3;
    at = strstr(text, "CapEff:");
    return !at || sscanf(at, "CapEff: %llx", &effective) != 1 || effective & ~kept ? 4 : 0;
}

static void test_the_filter_is_on(void **state)
{
    assert_int_equal(sandboxed(look_at_status), 0);
}

/* Returns the line of the first call that was not refused with EPERM. */
static int try_what_is_forbidden(void)
{
    char *const argv[] = {(char *)"/bin/true", NULL};
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/none"};
    struct rlimit limit = {1 << 20, 1 << 20};
    struct f_owner_ex owner = {F_OWNER_PID, getppid()};
    struct iovec iov = {&limit, sizeof(limit)};
    int fds[2], status, unix_socket = socket(AF_UNIX, SOCK_STREAM, 0);

#define FORBIDDEN(call)                                                                                                \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        if ((call) != -1 || errno != EPERM)                                                                            \
            return __LINE__ % 256;                                                                                     \
    } while (0)
    FORBIDDEN(execv(argv[0], argv));
    FORBIDDEN((int)syscall(SYS_execveat, AT_FDCWD, argv[0], argv, NULL, 0));
    FORBIDDEN((int)syscall(SYS_fork));
    FORBIDDEN((int)syscall(SYS_vfork));
    FORBIDDEN((int)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
    FORBIDDEN((int)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
    FORBIDDEN(unshare(CLONE_NEWUSER));
    FORBIDDEN(socket(AF_INET, SOCK_STREAM, 0));
    FORBIDDEN(socket(AF_INET6, SOCK_DGRAM, 0));
    FORBIDDEN(socket(AF_NETLINK, SOCK_RAW, 0));
    FORBIDDEN(socket(AF_PACKET, SOCK_RAW, 0));
    FORBIDDEN(socket(AF_VSOCK, SOCK_STREAM, 0));
    FORBIDDEN(socket(AF_UNIX, SOCK_DGRAM, 0)); /* would send without connecting */
    FORBIDDEN(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    FORBIDDEN(connect(unix_socket, (struct sockaddr *)&address, sizeof(address)));
    FORBIDDEN(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    FORBIDDEN((int)ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    FORBIDDEN((int)process_vm_readv(getppid(), &iov, 1, &iov, 1, 0));
    FORBIDDEN(kill(getppid(), 0));
    FORBIDDEN((int)syscall(SYS_tgkill, getppid(), getppid(), 0));
    FORBIDDEN((int)syscall(SYS_pidfd_open, getppid(), 0));
    FORBIDDEN(ioctl(unix_socket, FIONREAD, &status));
    FORBIDDEN(ioctl(0, TIOCSTI, "x"));
    FORBIDDEN(ioctl(unix_socket, 0x40003b64, &status)); /* the letter, but not the form */
    FORBIDDEN(open("/tmp/vfiomem-sandbox-test", O_CREAT | O_RDWR, 0600));
    FORBIDDEN(open("/dev/null", O_WRONLY | O_TRUNC));
    FORBIDDEN(open("/dev/null", O_WRONLY));
    FORBIDDEN(open("/dev/null", O_WRONLY | O_RDWR));
    FORBIDDEN(open("/dev/null", O_RDWR | O_APPEND));
    FORBIDDEN(open("/dev/null", O_RDWR | O_ASYNC));
    FORBIDDEN(fcntl(unix_socket, F_SETOWN, getppid()));
    FORBIDDEN(fcntl(unix_socket, F_SETOWN_EX, &owner));
    FORBIDDEN(fcntl(unix_socket, F_SETSIG, SIGKILL));
    FORBIDDEN(fcntl(unix_socket, F_SETFL, O_ASYNC));
    FORBIDDEN(fcntl(unix_socket, F_SETLEASE, F_RDLCK));
    FORBIDDEN(fcntl(unix_socket, F_NOTIFY, 1));
    FORBIDDEN(fcntl(unix_socket, F_ADD_SEALS, 1));
    FORBIDDEN(rmdir("/tmp/vfiomem-sandbox-test"));
    FORBIDDEN(unlinkat(AT_FDCWD, "/tmp/vfiomem-sandbox-test", AT_REMOVEDIR));
    FORBIDDEN(open("/tmp", O_TMPFILE | O_RDWR, 0600));
    FORBIDDEN(creat("/tmp/vfiomem-sandbox-test", 0600));
    FORBIDDEN(rename("/tmp/vfiomem-a", "/tmp/vfiomem-b"));
    FORBIDDEN(mkdir("/tmp/vfiomem-sandbox-test", 0700));
    FORBIDDEN(symlink("/", "/tmp/vfiomem-sandbox-test"));
    FORBIDDEN(setrlimit(RLIMIT_MEMLOCK, &limit));
    FORBIDDEN(setuid(0));
    FORBIDDEN(chroot("/"));
    FORBIDDEN(mprotect((void *)((uintptr_t)&limit & ~UINT64_C(4095)), 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
    FORBIDDEN(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    FORBIDDEN((int)syscall(SYS_bpf, 0, NULL, 0));
    FORBIDDEN((int)syscall(SYS_io_uring_setup, 1, NULL));
    FORBIDDEN((int)syscall(SYS_keyctl, 0, 0, 0, 0, 0));
    FORBIDDEN((int)syscall(SYS_userfaultfd, 0));
    FORBIDDEN((int)syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0));
#undef FORBIDDEN
    errno = 0;
    return syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS ? 0 : 255;
}

static void test_what_is_forbidden(void **state)
{
    assert_int_equal(sandboxed(try_what_is_forbidden), 0);
}

static char *elsewhere; /* a folder that is not its own, with a file */

/* What the filter can't tell by the flags. */
static int try_other_files(void)
{
    g_autofree char *file = g_build_filename(elsewhere, "image", NULL);
    g_autofree char *path = g_build_filename(elsewhere, "socket", NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
#define ELSEWHERE(call)                                                                                                \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        if ((call) != -1 || errno != EACCES)                                                                           \
            return __LINE__ % 256;                                                                                     \
    } while (0)
    ELSEWHERE(open(file, O_RDWR | O_CLOEXEC));
    ELSEWHERE(open(file, O_RDONLY | O_CLOEXEC));
    ELSEWHERE(open("/proc/self/comm", O_RDWR | O_CLOEXEC));
    ELSEWHERE(unlink(file));
    ELSEWHERE(bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof(address)));
#undef ELSEWHERE
    return open("/proc/self/comm", O_RDONLY | O_CLOEXEC) < 0 ? 1 : 0;
}

static void test_other_files(void **state)
{
    g_autofree char *file = NULL;
    int result;

    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 0)
        skip(); /* a kernel without Landlock */
    elsewhere = g_dir_make_tmp("vfiomem-sandbox-XXXXXX", NULL);
    file = g_build_filename(elsewhere, "image", NULL);
    assert_true(g_file_set_contents(file, "guest's", -1, NULL));
    result = sandboxed(try_other_files);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(elsewhere), 0);
    g_clear_pointer(&elsewhere, g_free);
    assert_int_equal(result, 0);
}

static gpointer in_a_thread(gpointer data)
{
    return GINT_TO_POINTER(look_at_status() + 1);
}

/* What it needs to open and attach a device later. */
static int try_what_is_needed(void)
{
    g_autoptr(GDir) dir = g_dir_open("/sys/kernel", 0, NULL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), event = eventfd(0, EFD_CLOEXEC);
    g_autoptr(VfmHost) host = vfm_host_read("/", NULL);
    struct rlimit limit;

    if (!host)
        return 7;
    if (!dir || !g_dir_read_name(dir) || null < 0 || event < 0)
        return 1;
    errno = 0;
    if (ioctl(null, VFIO_GET_API_VERSION) != -1 || errno == EPERM)
        return 2;
    errno = 0;
    if (ioctl(null, VFM_IOMMU_IOAS_ALLOC, NULL) != -1 || errno == EPERM)
        return 3;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || fcntl(event, F_DUPFD_CLOEXEC, 0) < 0)
        return 4;
    /* An abort's. */
    if (syscall(SYS_tgkill, getpid(), getpid(), 0) < 0)
        return 6;
    return GPOINTER_TO_INT(g_thread_join(g_thread_new("in the sandbox", in_a_thread, NULL))) == 1 ? 0 : 5;
}

static void test_what_is_needed(void **state)
{
    assert_int_equal(sandboxed(try_what_is_needed), 0);
}

/* A whole session: a socket in a folder, QEMU's connection, its memory mapped, a device used, the end. */

static int serve(void)
{
    g_autofree char *path = g_build_filename(folder, "0.sock", NULL);
    static const VfmVfuOffer offer = {.max_dma_maps = 1000, .page_sizes = 4096};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), connection;
    VfmContainer *container = vfm_container_new("container 0", vfm_backend_record_new(NULL), VFM_NONE);
    VfmGuestDma *dma = vfm_guest_dma_new(container, NULL);
    FakeVfuDevice *device = fake_vfu_device_new();
    VfmVfuJournal *journal = vfm_vfu_journal_new(NULL);
    VfmVfuSession *session;
    unsigned resets;

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0600) < 0 ||
        listen(listener, 1) < 0)
        return 1;
    connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    unlink(path);
    if (connection < 0 || !journal)
        return 2;
    device->guest = vfm_guest_dma_join(dma, "device");
    session = vfm_vfu_session_new(journal, connection, &device->vfu, &offer);
    vfm_vfu_session_wait(session);
    resets = device->resets;
    vfm_vfu_session_free(session);
    vfm_vfu_journal_free(journal);
    fake_vfu_device_free(device);
    vfm_guest_dma_free(dma);
    vfm_container_free(container);
    return resets == 1 ? 0 : 3;
}

static void test_a_session(void **state)
{
    int memory = memfd_create("guest", MFD_CLOEXEC), client;
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .size = 1 << 20};
    VfmVfuDmaUnmap unmap = {.argsz = sizeof(unmap), .size = 1 << 20};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *path = NULL;
    pid_t pid;
    int status;

    folder = g_dir_make_tmp("vfiomem-sandbox-XXXXXX", NULL);
    path = g_build_filename(folder, "0.sock", NULL);
    assert_int_equal(ftruncate(memory, 1 << 20), 0);
    pid = fork();
    if (pid == 0)
        _exit(sandboxed(serve));
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* only here: its end must be seen there */
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    /* Until it listens. */
    while (connect(client, (struct sockaddr *)&address, sizeof(address)) < 0) {
        assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
        g_usleep(1000);
    }
    negotiate(client);
    command_fds(client, 2, VFM_VFU_DMA_MAP, 0, &map, sizeof(map), &memory, 1);
    assert_int_equal(reply(client, 2, NULL, 0, NULL, NULL), 0);
    command(client, 3, VFM_VFU_DEVICE_RESET, NULL, 0);
    assert_int_equal(reply(client, 3, NULL, 0, NULL, NULL), 0);
    command(client, 4, VFM_VFU_DMA_UNMAP, &unmap, sizeof(unmap));
    assert_int_equal(reply(client, 4, NULL, 0, NULL, NULL), 0);
    close(client);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(rmdir(folder), 0);
    g_clear_pointer(&folder, g_free);
    close(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_filter_is_on), cmocka_unit_test(test_what_is_forbidden),
        cmocka_unit_test(test_other_files),      cmocka_unit_test(test_what_is_needed),
        cmocka_unit_test(test_a_session),
    };

    return cmocka_run_group_tests_name("devices-sandbox", tests, NULL, NULL);
}
