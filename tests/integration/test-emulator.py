#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""vfiomem-qemu by itself: when it becomes QEMU, and when it refuses and why. QEMU and both helpers are played by
scripts. Needs neither root nor libvirt.

usage: test-emulator.py VFIOMEM-QEMU
"""
import os
import socket
import subprocess
import sys
import tempfile

UUID = "bc55a39a-6a33-4d0e-9d0b-2f5b5d3c1101"
SHARED = ["-object", '{"qom-type":"memory-backend-memfd","id":"pc.ram","share":true,"size":67108864}']
PRIVATE = ["-object", '{"qom-type":"memory-backend-ram","id":"pc.ram","size":67108864}']
DEVICE = ["-device", '{"driver":"vfio-pci","host":"0000:01:00.0","id":"hostdev0"}']

emulator = sys.argv[1]
work = tempfile.TemporaryDirectory(prefix="vfiomem-emulator-")
run = os.path.join(work.name, "run")
os.mkdir(run)
failed = 0


def script(name, text):
    path = os.path.join(work.name, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


def qemu(version):
    return script("qemu-" + version, f"""[ "$1" = -version ] && {{ echo "QEMU emulator version {version} (Debian)"; exit 0; }}
echo "QEMU runs: $*"
""")


def remove(path):
    if os.path.exists(path):
        os.remove(path)


def start(arguments, monitor=True, policy=None, record=None, **environment):
    """What vfiomem-qemu and what it became said, and the exit status."""
    listener = socket.socket(socket.AF_UNIX)
    argv = [emulator, "-name", "guest=demo", "-uuid", UUID] + arguments
    file = os.path.join(run, UUID + ".policy")
    remove(file)
    if record is not None:
        with open(file, "w", encoding="utf-8") as out:
            out.write(record + "\n")
    if monitor:
        listener.bind(os.path.join(work.name, "monitor"))
        listener.listen(1)
        argv += ["-chardev", f"socket,id=charmonitor,fd={listener.fileno()},server=on,wait=off",
                 "-mon", "chardev=charmonitor,id=monitor,mode=control"]
    given = {"PATH": os.environ["PATH"], "VFIOMEM_RUNDIR": run, "VFIOMEM_QEMU": qemu("11.1.0"),
             "XDG_RUNTIME_DIR": work.name, "VFIOMEM_HELPER": helper, "VFIOMEM_HELPER_DEVICES": devices}
    given.update({name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")})
    given.update(environment)
    if policy is not None:
        given["VFIOMEM_POLICY"] = policy
    done = subprocess.run(argv, env=given, pass_fds=[listener.fileno()], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    listener.close()
    remove(os.path.join(work.name, "monitor"))
    return done.returncode, done.stdout


def expect(what, result, runs, *said):
    global failed
    status, output = result
    if ("QEMU runs" in output) != runs or (status == 0) != runs or not all(text in output for text in said):
        failed += 1
        print(f"FAILED: {what}: exit status {status}, expected {'QEMU' if runs else 'a refusal'} and {said}\n{output}")


# The one on the monitor says that it is ready (descriptor 5), the other one serves one device (descriptor 4).
helper = script("helper", "printf r >&5\n")
devices = script("devices", 'echo "socket /run/0.sock" >&4\necho ready >&4\n')
no_helper = {"VFIOMEM_HELPER": "/bin/false"}
UNUSABLE = "window=0x8000000:128M owner=helper"

# --- guests that ask for nothing start whatever is broken
expect("no policy", start(DEVICE), True, "vfio-pci")
expect("no policy, no helper", start(DEVICE, **no_helper), True, "the guest runs without the helper")
expect("a policy of QEMU's own", start(DEVICE, record="balloon=pass required=no", **no_helper), True)
expect("one that can't be used", start(DEVICE, record="balloon=perhaps"), True, "balloon=perhaps")
expect("the same in the environment", start(DEVICE, policy="mappings=-1"), True, "mappings=-1")
expect("nothing to put the helper beside", start(DEVICE, monitor=False), True)
expect("no folder", start(DEVICE, VFIOMEM_RUNDIR="/nowhere"), True)
expect("a folder that is none", start(DEVICE, VFIOMEM_RUNDIR="/dev/null"), True)

# --- helper mode
expect("helper mode", start(SHARED + DEVICE, record="owner=helper"), True, "vfio-user-pci", "/run/0.sock")
expect("helper mode by the environment", start(SHARED + DEVICE, policy="owner=helper"), True, "vfio-user-pci")
expect("private memory", start(PRIVATE + DEVICE, policy="owner=helper"), False, "memory pc.ram", "not shared")
for version in "7.2.22", "10.0.9", "9.99":
    short = ".".join(version.split(".")[:2])
    expect("an old QEMU", start(SHARED + DEVICE, policy="owner=helper", VFIOMEM_QEMU=qemu(version)), False,
           "needs QEMU 10.1 or newer", f"is {short}: install a newer")
for version in "10.1.0", "10.2.50", "11.0":
    expect("a new QEMU", start(SHARED + DEVICE, policy="owner=helper", VFIOMEM_QEMU=qemu(version)), True)

# --- what asks for the helper does not start without
expect("required, no helper", start([], policy="required=yes", **no_helper), False, "requires vfiomem's helper")
expect("owner helper, nothing on the monitor", start(SHARED + DEVICE, policy="owner=helper", **no_helper), False,
       "its part on the monitor did not start")
expect("the same without devices", start(SHARED, policy="owner=helper", VFIOMEM_HELPER_DEVICES=script(
    "idle", "echo ready >&4\n"), **no_helper), False, "its part on the monitor did not start")
expect("an unusable policy", start(SHARED + DEVICE, policy=UNUSABLE), False, "VFIOMEM_POLICY wants", "0x8000000:128M")
expect("an unusable record", start(SHARED + DEVICE, record=UNUSABLE), False, UUID + ".policy wants", "0x8000000:128M")
expect("an owner nobody knows", start(DEVICE, record="owner=helpr"), False, "owner=helpr")
expect("no monitor", start(SHARED + DEVICE, monitor=False, policy="owner=helper"), False, "monitor")
expect("neither monitor nor device", start(["-machine", "none"], monitor=False, policy="owner=helper"), True)
os.mkdir(os.path.join(work.name, "odd"))
os.mkdir(os.path.join(work.name, "odd", UUID + ".policy"))
expect("a record that can't be read", start(DEVICE, VFIOMEM_RUNDIR=os.path.join(work.name, "odd")), False,
       "the domain's policy can't be read")

work.cleanup()
sys.exit(1 if failed else 0)
