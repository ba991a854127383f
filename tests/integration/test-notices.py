#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the process that maps tells reaches the monitor, with a real vfiomem-helper and a real QEMU.

test-notices.py VFIOMEM-HELPER QEMU

Only the process that maps is played here, so neither VFIO nor libvirt is needed: this script is at both ends of the helper,
as its client and as vfiomem-helper-devices.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

SOCKET = "/run/none/0.sock"
DEVICE = "0000:01:00.0"


class Monitor:
    """The client's end."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")
        self.events = []
        assert "QMP" in self.read()
        self.ask("qmp_capabilities")

    def read(self):
        return json.loads(self.lines.readline())

    def say(self, command, **arguments):
        text = {"execute": command, "id": command}
        if arguments:
            text["arguments"] = arguments
        self.socket.sendall(json.dumps(text).encode() + b"\r\n")

    def reply(self, command):
        while True:
            text = self.read()
            if "event" in text:
                self.events.append(text)
            else:
                assert text["id"] == command, text
                return text

    def ask(self, command, **arguments):
        self.say(command, **arguments)
        return self.reply(command)

    def event(self):
        """The next event of ours."""
        while True:
            while not self.events:
                self.events.append(self.read())
            event = self.events.pop(0)
            if event["event"] == "VFIOMEM_GUARD":
                return event["data"]


class Devices:
    """vfiomem-helper-devices' end."""

    def __init__(self, end):
        self.end = end
        end.settimeout(30)

    def tell(self, text):
        self.end.send(f"event {text}\n".encode())

    def request(self):
        text = self.end.recv(65536).decode()
        assert text.endswith("\n") and text.count("\n") == 1, text
        number, request = text.rstrip("\n").split(" ", 1)
        return int(number), request

    def say_limit(self, limit):
        number, request = self.request()
        assert request == "limit", request
        self.answer(number, f"limit {limit}")

    def answer(self, number, text):
        self.end.send(f"{number} {text}\n".encode())


def status(monitor, devices):
    monitor.say("vfiomem-query-status")
    devices.say_limit("none")
    number, request = devices.request()
    assert request == "status", request
    devices.answer(number, '{"mappings":7,"devices":[]}')
    return monitor.reply("vfiomem-query-status")["return"]


def add(monitor, devices, limit="none"):
    monitor.say("device_add", driver="vfio-pci", host="0000:02:00.0", id="hostdev1")
    if devices:
        devices.say_limit(limit)


def worker_of(supervisor):
    with open(f"/proc/{supervisor}/task/{supervisor}/children", encoding="ascii") as file:
        return int(file.read().split()[0])


def kill_worker(supervisor):
    old = worker_of(supervisor)
    os.kill(old, signal.SIGKILL)


def check_events(monitor, devices, supervisor):
    devices.tell(f"served {DEVICE} {SOCKET}")
    devices.tell(f"held {DEVICE} part of memory is not mapped")
    event = monitor.event()
    assert event == {"command": None, "action": "held", "device": DEVICE,
                     "reason": "part of memory is not mapped"}, event
    seen = status(monitor, devices)
    assert seen["owner"] == "helper" and seen["helper"]["devices"] == "serving", seen
    assert seen["helper-mapping"]["mappings"] == 7, seen
    assigned = seen["assigned"][0]
    assert (assigned["host"], assigned["held"], assigned["lost"]) == (DEVICE, True, False), assigned
    # One that took over says what it serves once more.
    devices.tell("restarted - it is another one now")
    devices.tell(f"served {DEVICE} {SOCKET}")
    devices.tell(f"held {DEVICE} as before, which is no news")
    event = monitor.event()
    assert (event["action"], event["device"]) == ("restarted", None), event
    assert status(monitor, devices)["assigned"][0]["held"] is True
    # What a worker knew, its successor knows.
    kill_worker(supervisor)
    devices.tell(f"released {DEVICE} all is mapped")
    assert monitor.event()["action"] == "released"
    assert status(monitor, devices)["assigned"][0]["held"] is False
    # What is no JSON does not become a part of ours, and odd lines do no harm.
    devices.end.send(b"nonsense\n")
    devices.end.send(b"event\n")
    devices.end.send(b"event held\n")
    monitor.say("vfiomem-query-status")
    devices.say_limit("nonsense")
    number, _ = devices.request()
    devices.answer(number - 1, '{"mappings":8}')
    devices.answer(number, '{"broken')
    assert monitor.reply("vfiomem-query-status")["return"]["helper-mapping"] is None


def check_device_add(monitor, devices, supervisor):
    # It may lock less than the guest has, whatever QEMU may.
    add(monitor, devices, 8 << 20)
    assert "may lock 8 MiB" in monitor.reply("device_add")["error"]["desc"]
    assert monitor.event()["action"] == "refused"
    # Refused by the process that maps: in its words, and as a refusal.
    add(monitor, devices)
    number, request = devices.request()
    assert request == "add 0000:02:00.0", request
    devices.answer(number, "error the group is not viable")
    assert "the group is not viable" in monitor.reply("device_add")["error"]["desc"]
    assert monitor.event()["action"] == "refused"
    # Workers die between the question and the answer: it is asked again under the same number.
    add(monitor, devices)
    number, request = devices.request()
    for _ in range(3):
        kill_worker(supervisor)
        assert devices.request() == (number, request)
    devices.answer(number, f"socket {SOCKET}1")
    # This QEMU can't connect there, or does not even know the device: it is given back.
    number, request = devices.request()
    assert request == f"forget {SOCKET}1", request
    devices.answer(number, "ok")
    assert "error" in monitor.reply("device_add")
    # Other devices are none of its business.
    assert "error" in monitor.ask("device_add", driver="no-such-device")


def check_end(monitor, devices, supervisor):
    devices.end.close()
    event = monitor.event()
    assert (event["action"], event["device"]) == ("lost", DEVICE), event
    seen = monitor.ask("vfiomem-query-status")["return"]
    assert seen["helper"]["devices"] == "gone" and seen["helper-mapping"] is None, seen
    assert seen["assigned"][0]["lost"] is True, seen
    kill_worker(supervisor)
    add(monitor, None)
    assert "start it again" in monitor.reply("device_add")["error"]["desc"]
    # And that was the only loss that was told.
    assert monitor.event()["action"] == "refused"


def main(helper, program):
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "monitor")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    monitor, monitor_qemu = socket.socketpair()
    devices, devices_helper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    qemu = subprocess.Popen(
        [program, "-machine", "none", "-display", "none", "-nodefaults", "-S", "-chardev",
         f"socket,id=charmonitor,fd={monitor_qemu.fileno()}", "-mon", "chardev=charmonitor,mode=control"],
        pass_fds=[monitor_qemu.fileno()], stdin=subprocess.DEVNULL)
    device = {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": SOCKET}}
    supervisor = subprocess.Popen(
        [helper, f"--listen-fd={listener.fileno()}", f"--monitor-fd={monitor.fileno()}",
         f"--devices-fd={devices_helper.fileno()}", f"--qemu-pid={qemu.pid}", "--arch=x86_64", "--", "-machine", "q35",
         "-m", "256", "-object", '{"qom-type":"memory-backend-memfd","id":"ram","size":268435456,"share":true}',
         "-device", json.dumps(device)],
        pass_fds=[listener.fileno(), monitor.fileno(), devices_helper.fileno()])
    for end in (listener, monitor, monitor_qemu, devices_helper):
        end.close()
    try:
        ends = Monitor(path), Devices(devices), supervisor.pid
        check_events(*ends)
        check_device_add(*ends)
        check_end(*ends)
        ends[0].ask("quit")
        assert supervisor.wait(30) == 0
    finally:
        qemu.kill()
        qemu.wait()
        supervisor.kill()
        supervisor.wait()
        shutil.rmtree(folder)
    print("notices: all as it should be")


if __name__ == "__main__":
    if not shutil.which(sys.argv[2]):
        print(f"skipped: {sys.argv[2]} is not installed")
        sys.exit(77)
    main(sys.argv[1], shutil.which(sys.argv[2]))
