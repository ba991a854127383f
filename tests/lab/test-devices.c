/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real vfiomem-helper-devices with a real device, and a client in QEMU's place: who is served, and what is offered.
 * VFIOMEM_DEVICES names the program.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "place.h"
#include "vfu_client.h"

typedef struct {
    pid_t pid;
    char *folder, *socket;
} Helper;

/* Serves the device at @address to this process. */
static void serve(Helper *helper, const char *address, const char *policy)
{
    const char *program = g_getenv("VFIOMEM_DEVICES");
    g_autofree char *said = g_malloc0(4096);
    size_t length = 0;
    int ready[2];
    ssize_t n;

    assert_non_null(program);
    helper->folder = g_dir_make_tmp("devices-XXXXXX", NULL);
    assert_non_null(helper->folder);
    assert_int_equal(pipe(ready), 0);
    helper->pid = fork();
    if (helper->pid == 0) {
        g_autofree char *ready_fd = g_strdup_printf("--ready-fd=%d", ready[1]);
        g_autofree char *qemu_pid = g_strdup_printf("--qemu-pid=%d", (int)getppid());
        g_autofree char *folder = g_strdup_printf("--folder=%s", helper->folder);
        g_autofree char *text =
            g_strdup_printf("--policy=owner=helper backend=%s%s", place_is_iommufd() ? "iommufd" : "type1", policy);

        close(ready[0]);
        execl(program, program, ready_fd, qemu_pid, folder, text, address, NULL);
        _exit(127);
    }
    close(ready[1]);
    while ((n = read(ready[0], said + length, 4095 - length)) > 0)
        length += (size_t)n;
    close(ready[0]);
    if (!g_str_has_prefix(said, "socket ") || !g_str_has_suffix(said, "\nready\n"))
        fail_msg("%s: %s", program, said);
    helper->socket = g_strndup(said + strlen("socket "), strcspn(said, "\n") - strlen("socket "));
}

static void give_up(Helper *helper)
{
    kill(helper->pid, SIGKILL); /* its worker ends with it */
    waitpid(helper->pid, NULL, 0);
    unlink(helper->socket);
    rmdir(helper->folder);
    g_free(helper->folder);
    g_free(helper->socket);
}

/* -1: refused. */
static int connect_to(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0 && strlen(path) < sizeof(to.sun_path));
    strcpy(to.sun_path, path);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* What another process of the same user gets to hear: its exit status, 0 for nothing but the end. */
static int stranger(const char *path)
{
    VfmVfuHeader header = {.command = VFM_VFU_VERSION, .size = sizeof(header)};
    int fd = connect_to(path);
    ssize_t n;

    if (fd < 0)
        return 1;
    /* It may be cut off before it has said anything. */
    send(fd, &header, sizeof(header), MSG_NOSIGNAL);
    n = recv(fd, &header, sizeof(header), 0);
    return n == 0 || (n < 0 && errno == ECONNRESET) ? 0 : 2;
}

static void test_only_qemu_is_served(void **state)
{
    Helper helper;
    struct stat st;
    int status, fd;
    pid_t pid;

    serve(&helper, place_device(0, false), "");
    assert_int_equal(stat(helper.socket, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    pid = fork();
    if (pid == 0)
        _exit(stranger(helper.socket));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    /* It took nothing from the right one, after whom there is nothing to connect to any more. */
    fd = connect_to(helper.socket);
    assert_true(fd >= 0);
    negotiate(fd);
    assert_int_equal(access(helper.socket, F_OK), -1);
    assert_int_equal(connect_to(helper.socket), -1);
    close(fd);
    give_up(&helper);
}

/* QEMU refuses virtio-mem with blocks that this would not hold. */
static void test_the_budget_is_offered(void **state)
{
    static const char *const policies[] = {" mappings=77", ""};

    for (unsigned i = 0; i < G_N_ELEMENTS(policies); i++) {
        /* type1 has the kernel's limit, iommufd none. */
        const char *told = *policies[i]         ? "\"max_dma_maps\":77,"
                           : place_is_iommufd() ? "\"max_dma_maps\":0,"
                                                : "\"max_dma_maps\":65535,";
        char answer[512] = "";
        Helper helper;
        int fd;

        /* One that nobody had before: the kernel may not have it back yet. */
        serve(&helper, i == 0 ? place_device(1, false) : place_device(0, true), policies[i]);
        fd = connect_to(helper.socket);
        assert_true(fd >= 0);
        assert_int_equal(negotiate_with(fd, qemu_capabilities, sizeof(qemu_capabilities), answer, sizeof(answer)), 0);
        assert_non_null(strstr(answer + sizeof(VfmVfuVersion), told));
        close(fd);
        give_up(&helper);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_qemu_is_served),
        cmocka_unit_test(test_the_budget_is_offered),
    };

    return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}
