/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Real devices served at sockets: who is served, and what the domain's log is told. */
#include "device_server.h"
#include "devices_sandbox.h"
#include "devices_state.h"
#include "kernel_view.h"
#include "place.h"
#include "vfu_client.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { EDU = 0, NVME = 3 }; /* of LAB_DEVICES */

typedef struct {
    char *folder;
    VfmDevicesState *state;
    VfmDeviceServer *server;
} Scene;

static int setup(void **state)
{
    const VfmPolicy policy = {.backend = place_is_iommufd() ? VFM_BACKEND_IOMMUFD : VFM_BACKEND_TYPE1};
    Scene *scene = g_new0(Scene, 1);
    VfmDeviceServerOptions options = {.qemu_pid = getpid(), .policy = &policy};

    scene->folder = g_dir_make_tmp("vfiomem-server-XXXXXX", NULL);
    assert_non_null(scene->folder);
    scene->state = vfm_devices_state_new(-1, NULL);
    assert_non_null(scene->state);
    options.folder = scene->folder;
    options.state = scene->state;
    scene->server = vfm_device_server_new(&options);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    Scene *scene = *state;

    vfm_device_server_free(scene->server);
    vfm_devices_state_free(scene->state);
    assert_int_equal(rmdir(scene->folder), 0); /* no socket is left */
    assert_int_equal(place_held(), 0);
    g_free(scene->folder);
    g_free(scene);
    return 0;
}

static const char *add(Scene *scene, unsigned index)
{
    g_autoptr(GError) error = NULL;
    const char *path = vfm_device_server_add(scene->server, place_device(index, false), &error);

    if (!path)
        g_error("%s", error->message);
    return path;
}

/* The server does what there is to do, once. */
static void turn(Scene *scene)
{
    g_autoptr(GArray) fds = g_array_new(false, false, sizeof(struct pollfd));
    struct pollfd *slots;

    vfm_device_server_watch(scene->server, fds);
    slots = (struct pollfd *)(void *)fds->data;
    assert_true(poll(slots, fds->len, 30000) > 0);
    for (unsigned i = 0; i < fds->len; i++)
        if (slots[i].revents)
            assert_true(vfm_device_server_ready(scene->server, slots[i].fd));
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        g_error("connecting to %s failed", path);
    return fd;
}

/* Even one that comes first, and as the same user; and QEMU is served after it. */
static void nobody_else_is_served(void **state)
{
    Scene *scene = *state;
    const char *path = add(scene, EDU);
    struct stat st;
    int status, socket;
    pid_t pid;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    pid = fork();
    if (pid == 0) {
        char byte;

        alarm(30); /* if it were served it would wait for an answer */
        _exit(read(connect_to(path), &byte, 1) == 0 ? 0 : 1);
    }
    turn(scene);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(access(path, F_OK), 0);
    socket = connect_to(path);
    turn(scene);
    negotiate(socket);
    assert_int_equal(access(path, F_OK), -1);
    close(socket);
}

static void devices_without_reset_are_named(void **state)
{
    Scene *scene = *state;
    g_autofree char *expected =
        g_strdup_printf("%s: the kernel can't reset this device alone", place_device(EDU, false));
    int log = memfd_create("log", MFD_CLOEXEC), real = dup(STDERR_FILENO);
    char text[4096] = "";

    assert_true(dup2(log, STDERR_FILENO) >= 0);
    add(scene, EDU);
    add(scene, NVME);
    assert_true(dup2(real, STDERR_FILENO) >= 0);
    assert_true(pread(log, text, sizeof(text) - 1, 0) > 0);
    assert_non_null(strstr(text, expected));
    assert_null(strstr(text, place_device(NVME, false)));
    close(real);
    close(log);
}

/* As vfiomem-helper-devices does it: whatever attaching takes, of files and ioctls, is allowed. */
static int serve_within_sandbox(const char *folder)
{
    const VfmPolicy policy = {.backend = place_is_iommufd() ? VFM_BACKEND_IOMMUFD : VFM_BACKEND_TYPE1};
    const char *edu = place_device(EDU, false), *nvme = place_device(NVME, false);
    VfmDevicesState *state = vfm_devices_state_new(-1, NULL);
    VfmDeviceServerOptions options = {.folder = folder, .qemu_pid = getpid(), .policy = &policy, .state = state};
    g_autoptr(GError) error = NULL;
    VfmDeviceServer *server;
    int socket;

    if (!state || !vfm_devices_sandbox_enter(folder, &error))
        g_error("%s", error ? error->message : "no state");
    /* It holds. */
    if (open("/proc/self/comm", O_WRONLY) >= 0 || execl("/bin/sh", "sh", "-c", "true", NULL) == 0)
        return 1;
    server = vfm_device_server_new(&options);
    if (!vfm_device_server_add(server, nvme, &error) || !vfm_device_server_add(server, edu, &error))
        g_error("%s", error->message);
    socket = open(vfm_device_server_waiting(server, edu), O_PATH);
    if (socket < 0 || !vfm_device_server_forget(server, vfm_device_server_waiting(server, edu)))
        return 2;
    vfm_device_server_free(server);
    return 0;
}

static void devices_are_served_within_the_sandbox(void **state)
{
    const Scene *scene = *state;
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(serve_within_sandbox(scene->folder));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(nobody_else_is_served), TEST(devices_without_reset_are_named),
                                       TEST(devices_are_served_within_the_sandbox)};

    return cmocka_run_group_tests_name(place_is_iommufd() ? "server on iommufd" : "server on type1", tests, NULL, NULL);
}
