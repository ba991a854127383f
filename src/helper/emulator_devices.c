/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "emulator_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device_rewrite.h"
#include "error.h"
#include "policy_text.h"

/* Opening and attaching devices, each of which may have to be reset. */
#define READY_MS 60000
#define ANSWER_MAX 65536

/* The first QEMU with vfio-user-pci. */
#define NEEDED_MAJOR 10
#define NEEDED_MINOR 1

enum { DEVICES_CONTROL = 3, DEVICES_READY = 4, DEVICES_FIRST_UNUSED = 5 };

static bool is_option(const char *argument, const char *option)
{
    return argument[0] == '-' && strcmp(argument + (argument[1] == '-' ? 2 : 1), option) == 0;
}

/* The next index from *@at on of a value of @option, or -1; *@at moves behind it. */
static int next_value(char *const *argv, const char *option, int *at)
{
    for (int i = *at; argv[i] && argv[i + 1]; i++) {
        if (is_option(argv[i], option)) {
            *at = i + 2;
            return i + 1;
        }
    }
    return -1;
}

bool vfm_emulator_shared_memory(char *const *argv, uint64_t *bytes, GError **error)
{
    bool found = false;

    *bytes = 0;
    for (int at = 0, i; (i = next_value(argv, "object", &at)) > 0;) {
        g_autoptr(VfmDeviceArg) object = vfm_device_arg_parse(argv[i], "qom-type", NULL);
        const char *type = object ? vfm_device_arg_get(object, "qom-type") : NULL;
        VfmSwitch share = VFM_ABSENT;
        VfmMaybe size = VFM_NONE;

        /* What QEMU can't read either it will say itself. */
        if (!type || !g_str_has_prefix(type, "memory-backend-") || strcmp(type, "memory-backend-epc") == 0)
            continue;
        if (!vfm_device_arg_switch(object, "share", &share, NULL) || share != VFM_ON ||
            strcmp(type, "memory-backend-ram") == 0) {
            const char *id = vfm_device_arg_get(object, "id");

            g_set_error(
                error, VFM_REFUSED, VFM_REFUSED_POLICY,
                "the policy has the helper map guest memory, and memory %s (%s) is not shared with it: <memoryBacking> "
                "needs <source type='memfd'/><access mode='shared'/>; `vfiomem apply` sets that",
                id ? id : "(without id)", type);
            return false;
        }
        found = true;
        if (vfm_device_arg_size(object, "size", &size, NULL) && size.set)
            *bytes += size.value;
    }
    if (found)
        return true;
    g_set_error(
        error, VFM_REFUSED, VFM_REFUSED_POLICY,
        "the policy has the helper map guest memory, and RAM has no memory backend that could be shared with it: "
        "<memoryBacking> needs <source type='memfd'/><access mode='shared'/>; `vfiomem apply` sets that");
    return false;
}

/* The device argument at @i if it is QEMU's own VFIO, else NULL. */
static VfmDeviceArg *assigned_at(char *const *argv, int i)
{
    g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(argv[i], "driver", NULL);

    return arg && vfm_device_is_vfio_pci(arg) ? g_steal_pointer(&arg) : NULL;
}

GPtrArray *vfm_emulator_assigned(char *const *argv, GError **error)
{
    g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);

    for (int at = 0, i; (i = next_value(argv, "device", &at)) > 0;) {
        g_autoptr(VfmDeviceArg) arg = assigned_at(argv, i);
        char *address;

        if (!arg)
            continue;
        address = vfm_device_host_address(arg, error);
        if (!address)
            return NULL;
        g_ptr_array_add(addresses, address);
    }
    return g_steal_pointer(&addresses);
}

/* What in this -device translates addresses, or NULL. By a part of the name, so that models still to come count. */
static const char *device_iommu(const VfmDeviceArg *arg)
{
    const char *driver = vfm_device_arg_get(arg, "driver");
    VfmSwitch translation = VFM_ABSENT;

    if (!driver || !(strstr(driver, "iommu") || strstr(driver, "smmu")))
        return NULL;
    /* QEMU then ignores what would switch translation on (hw/i386/intel_iommu.c, vtd_handle_gcmd_write). */
    if (strcmp(driver, "intel-iommu") == 0 && vfm_device_arg_switch(arg, "dma-translation", &translation, NULL) &&
        translation == VFM_OFF)
        return NULL;
    return driver;
}

/* The same of a -machine: an option of it, or a type whose host bridges always translate. */
static const char *machine_iommu(const VfmDeviceArg *arg)
{
    static const char *const types[] = {"pseries", "powernv", "s390-ccw"};
    const char *type = vfm_device_arg_get(arg, "type"), *iommu = vfm_device_arg_get(arg, "iommu");
    VfmSwitch sys = VFM_ABSENT;

    for (size_t i = 0; type && i < G_N_ELEMENTS(types); i++)
        if (g_str_has_prefix(type, types[i]))
            return types[i];
    if (iommu && strcmp(iommu, "none") != 0)
        return iommu;
    return vfm_device_arg_switch(arg, "iommu-sys", &sys, NULL) && sys == VFM_ON ? "iommu-sys" : NULL;
}

bool vfm_emulator_untranslated(char *const *argv, GError **error)
{
    static const struct {
        const char *option, *implied;
        const char *(*iommu)(const VfmDeviceArg *arg);
    } places[] = {{"device", "driver", device_iommu}, {"machine", "type", machine_iommu}, {"M", "type", machine_iommu}};

    for (size_t p = 0; p < G_N_ELEMENTS(places); p++) {
        for (int at = 0, i; (i = next_value(argv, places[p].option, &at)) > 0;) {
            g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(argv[i], places[p].implied, NULL);
            const char *iommu = arg ? places[p].iommu(arg) : NULL;

            if (!iommu)
                continue;
            g_set_error(error, VFM_REFUSED, VFM_REFUSED_POLICY,
                        "the policy has the helper map guest memory, all devices in one container, and the guest has a "
                        "vIOMMU (%s), which gives each device an IOVA space of its own: each would reach what the "
                        "guest maps for another; remove the <iommu>, or take owner='helper' out of <vfiomem:mapping>; "
                        "an intel one may stay for interrupts, with dma_translation='off' (libvirt adds an intel one "
                        "to a guest of more than 255 vCPUs)",
                        iommu);
            return false;
        }
    }
    return true;
}

unsigned vfm_emulator_timeout(uint64_t ram)
{
    uint64_t gib = ram >> 30;

    return (unsigned)(30000 + MIN(gib, 1800) * 2000);
}

bool vfm_emulator_replace(char **argv, char *const *sockets, uint64_t ram, GError **error)
{
    g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) places = g_array_new(false, false, sizeof(int));

    for (int at = 0, i; (i = next_value(argv, "device", &at)) > 0;) {
        g_autoptr(VfmDeviceArg) arg = assigned_at(argv, i);
        char *value;

        if (!arg)
            continue;
        g_return_val_if_fail(sockets[values->len], false);
        value = vfm_device_rewrite(arg, sockets[values->len], vfm_emulator_timeout(ram), error);
        if (!value)
            return false;
        g_ptr_array_add(values, value);
        g_array_append_val(places, i);
    }
    for (unsigned i = 0; i < places->len; i++)
        argv[g_array_index(places, int, i)] = g_steal_pointer(&values->pdata[i]);
    return true;
}

static bool check_version(const char *emulator, GError **error)
{
    const char *const command[] = {emulator, "-version", NULL};
    g_autofree char *output = NULL;
    g_autoptr(GError) local = NULL;
    unsigned major = 0, minor = 0;
    const char *at;

    if (!g_spawn_sync(NULL, (char **)command, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &output, NULL, NULL,
                      &local)) {
        g_set_error(error, VFM_SYSTEM_ERROR, EIO, "asking %s for its version failed: %s", emulator, local->message);
        return false;
    }
    at = output ? strstr(output, "version ") : NULL;
    if (at && sscanf(at, "version %u.%u", &major, &minor) == 2 &&
        (major > NEEDED_MAJOR || (major == NEEDED_MAJOR && minor >= NEEDED_MINOR)))
        return true;
    g_set_error(
        error, VFM_REFUSED, VFM_REFUSED_POLICY,
        "the policy has the helper map guest memory, which needs QEMU %d.%d or newer, and %s is %u.%u: install a newer "
        "QEMU, or take owner='helper' out of <vfiomem:mapping>",
        NEEDED_MAJOR, NEEDED_MINOR, emulator, major, minor);
    return false;
}

/* A folder that only QEMU's user can enter: beside libvirt's own files for this guest, which libvirt clears away, else
 * a new one for temporary files. To be freed. */
static char *make_folder(char *const *argv, GError **error)
{
    g_autofree char *folder = NULL;

    for (int at = 0, i; (i = next_value(argv, "object", &at)) > 0 && !folder;) {
        g_autoptr(VfmDeviceArg) object = vfm_device_arg_parse(argv[i], "qom-type", NULL);
        const char *file = object ? vfm_device_arg_get(object, "file") : NULL;

        if (file && g_strcmp0(vfm_device_arg_get(object, "id"), "masterKey0") == 0) {
            g_autofree char *own = g_path_get_dirname(file);

            folder = g_build_filename(own, "vfiomem", NULL);
            if (mkdir(folder, 0700) < 0 && errno != EEXIST)
                g_clear_pointer(&folder, g_free);
        }
    }
    if (!folder) {
        folder = g_build_filename(g_get_user_runtime_dir(), "vfiomem-XXXXXX", NULL);
        if (!mkdtemp(folder)) {
            g_free(folder);
            folder = g_build_filename(g_get_tmp_dir(), "vfiomem-XXXXXX", NULL);
            if (!mkdtemp(folder)) {
                vfm_set_system_error(error, errno, "making a folder for sockets failed");
                return NULL;
            }
        }
    }
    return g_steal_pointer(&folder);
}

static void become_devices(char *const *command, int control, int ready)
{
    int high[2] = {fcntl(control, F_DUPFD, 16), fcntl(ready, F_DUPFD, 16)};
    pid_t pid = fork(); /* so that QEMU never has a child it does not know */

    if (pid != 0)
        _exit(pid < 0);
    setsid();
    if (high[0] >= 0 && high[1] >= 0 && dup2(high[0], DEVICES_CONTROL) >= 0 && dup2(high[1], DEVICES_READY) >= 0 &&
        close_range(DEVICES_FIRST_UNUSED, ~0u, 0) == 0) {
        execv(command[0], command);
        high[1] = DEVICES_READY; /* the other one is closed by now */
    }
    dprintf(high[1], "error %s: %s\n", command[0], g_strerror(errno));
    _exit(127);
}

/* All that is said on @fd until its other end is closed, or NULL. */
static char *read_answer(int fd, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    gint64 until = g_get_monotonic_time() + READY_MS * G_TIME_SPAN_MILLISECOND;

    for (;;) {
        struct pollfd slot = {.fd = fd, .events = POLLIN};
        gint64 left = (until - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;
        char part[4096];
        ssize_t n;

        if (left <= 0 || text->len > ANSWER_MAX) {
            g_set_error(error, VFM_SYSTEM_ERROR, ETIMEDOUT,
                        "the helper did not say within %d s that it serves the devices", READY_MS / 1000);
            return NULL;
        }
        if (poll(&slot, 1, (int)left) < 0 && errno != EINTR)
            break;
        if (!slot.revents)
            continue;
        n = read(fd, part, sizeof(part));
        if (n <= 0)
            break;
        g_string_append_len(text, part, n);
    }
    return g_string_free(g_steal_pointer(&text), false);
}

/* The sockets out of the helper's answer: NULL-terminated, @count of them. */
static char **sockets_of(const char *answer, unsigned count, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(answer, "\n", -1);
    g_autoptr(GStrvBuilder) sockets = g_strv_builder_new();
    unsigned found = 0;

    for (char **line = lines; *line; line++) {
        if (g_str_has_prefix(*line, "error ")) {
            g_set_error_literal(error, VFM_REFUSED, VFM_REFUSED_STATE, *line + strlen("error "));
            return NULL;
        }
        if (g_str_has_prefix(*line, "socket ")) {
            g_strv_builder_add(sockets, *line + strlen("socket "));
            found++;
        } else if (strcmp(*line, "ready") == 0 && found == count) {
            return g_strv_builder_end(sockets);
        }
    }
    g_set_error(error, VFM_SYSTEM_ERROR, ECHILD,
                "the helper ended before it served the devices; its reason is in the lines above");
    return NULL;
}

static int run_devices(const char *program, const char *folder, const VfmPolicy *policy, const GPtrArray *addresses,
                       char **answer, GError **error)
{
    g_autoptr(GPtrArray) command = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *policy_text = vfm_policy_to_text(policy);
    int control[2] = {-1, -1}, ready[2] = {-1, -1}, status;
    pid_t pid = -1;

    g_ptr_array_add(command, g_strdup(program));
    g_ptr_array_add(command, g_strdup_printf("--control-fd=%d", DEVICES_CONTROL));
    g_ptr_array_add(command, g_strdup_printf("--ready-fd=%d", DEVICES_READY));
    g_ptr_array_add(command, g_strdup_printf("--qemu-pid=%d", (int)getpid()));
    g_ptr_array_add(command, g_strdup_printf("--folder=%s", folder));
    g_ptr_array_add(command, g_strdup_printf("--policy=%s", policy_text));
    for (unsigned i = 0; i < addresses->len; i++)
        g_ptr_array_add(command, g_strdup(addresses->pdata[i]));
    g_ptr_array_add(command, NULL);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0 && pipe2(ready, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0)
        become_devices((char **)command->pdata, control[1], ready[1]);
    if (pid < 0)
        vfm_set_system_error(error, errno, "starting %s failed", program);
    else
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    if (ready[1] >= 0)
        close(ready[1]);
    if (control[1] >= 0)
        close(control[1]);
    if (pid > 0)
        *answer = read_answer(ready[0], error);
    if (ready[0] >= 0)
        close(ready[0]);
    if (*answer)
        return control[0];
    if (control[0] >= 0)
        close(control[0]);
    return -1;
}

int vfm_emulator_start_devices(const char *program, const char *emulator, char **argv, const VfmPolicy *policy,
                               GError **error)
{
    g_autoptr(GPtrArray) addresses = NULL;
    g_autofree char *folder = NULL, *answer = NULL;
    g_auto(GStrv) sockets = NULL;
    uint64_t ram = 0;
    int control;

    if (!check_version(emulator, error) || !vfm_emulator_untranslated(argv, error) ||
        !vfm_emulator_shared_memory(argv, &ram, error))
        return -1;
    addresses = vfm_emulator_assigned(argv, error);
    if (!addresses)
        return -1;
    folder = make_folder(argv, error);
    if (!folder)
        return -1;
    control = run_devices(program, folder, policy, addresses, &answer, error);
    if (control < 0)
        return -1;
    sockets = sockets_of(answer, addresses->len, error);
    if (!sockets || !vfm_emulator_replace(argv, sockets, ram, error)) {
        /* The helper waits for a QEMU that will not be: this process, which ends now. */
        close(control);
        return -1;
    }
    return control;
}
