#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's own documentation examples: each parses, none ends with status 2, and what they say comes out.

The pages come from Debian's libvirt-doc when the test runs. Every example must give a result that obeys the contract;
FACTS holds, by hand, what the telling ones of libvirt 9.0 must give. NO_DOMAIN holds those that are no single domain,
with the words the refusal must have: several alternatives in one block, placeholders for values.
"""
import json
import os
import subprocess
import tempfile

import libvirt_examples
import vfiomem_corpus as corpus

GIB = 1 << 30
TIB = 1 << 40
ROM = 256 << 10  # option ROMs and BIOS below 1 MiB replace RAM; the BIOS below 4 GiB comes on top

NO_DOMAIN = {
    "formatdomain.html 0": "<os>",             # seven ways to boot in one block
    "formatdomain.html 12": "file|anonymous|memfd",
    "formatdomain.html 32": "names no network",  # its <source> is left out for brevity
}


def pci(address, via="hostdev"):
    return {"kind": "pci", "address": address, "via": via, "managed": True, "iommufd": False}


def memory(model, size, node=None, block=None, requested=None):
    return {"model": model, "size": size << 10, "node": node, "block": block, "requested": requested}


ASSIGNED = {"required": TIB + ROM, "limit": TIB + GIB, "limit_from": "libvirt"}
FACTS = {
    "drvbhyve.html 0": {"domain": "bhyve", "memory": {"boot": 219136 << 10}, "balloon": {"present": False}},
    "drvch.html 0": {"domain": "cloudhypervisor", "memory": {"boot": 2 * GIB}, "assigned": []},
    "drvlxc.html 0": {"domain": "vm1", "memory": {"boot": 500000 << 10}, "balloon": {"present": False}},
    "drvqemu.html 0": {"domain": "QEMU-fedora-i686", "memory": {"boot": 219200 << 10}, "assigned": [],
                       "balloon": {"present": True, "effective": True}},
    "drvqemu.html 4": {"domain": "demo2", "uuid": "4dea24b3-1d52-d8f3-2516-782e98a23fa0",
                       "memory": {"boot": 131072 << 10}},
    "drvxen.html 2": {"domain": "fc8", "memory": {"boot": 131072 << 10}, "balloon": {"present": False}},
    "formatdomain.html 11": {"memory": {"boot": 524288 << 10, "max": 1524288 << 10}},
    "formatdomain.html 13": {"memlock": {"required": 0, "limit": GIB, "limit_from": "hard_limit"}},
    "formatdomain.html 23": {"memory": {"boot": 2 * 512000 << 10}},
    "formatdomain.html 25": {"memory": {"boot": (2097152 + 512000) << 10}},
    "hostdev usb": {"assigned": [], "balloon": {"effective": True}},
    "hostdev pci": {"assigned": [pci("0000:06:02.0")], "balloon": {"present": True, "effective": False},
                    "mappings": {"backend": "type1", "containers": 1, "per_container": 6, "budget": 65535},
                    "memlock": ASSIGNED},
    "hostdev scsi": {"assigned": [], "balloon": {"effective": True}},
    "hostdev scsi_host": {"assigned": [], "memlock": {"required": 0}},
    "hostdev mdev": {"assigned": [
        {"kind": "mdev", "address": "c2177883-f1bb-47f0-914d-32a22e3a8804", "managed": False},
        {"kind": "mdev", "address": "9063cba3-ecef-47b6-abcf-3fef4fdcad85", "managed": False}],
        "mappings": {"containers": 1}, "memlock": {"limit": TIB + GIB}},
    "hostdev capabilities": {"assigned": [], "memlock": {"required": 0}},
    "interface hostdev": {"assigned": [pci("0000:00:07.0", "interface")], "memlock": ASSIGNED},
    "interface vdpa": {"assigned": [{"kind": "vdpa", "address": "/dev/vhost-vdpa-0", "via": "interface"}],
                       "balloon": {"effective": False}, "mappings": {"containers": 1, "budget": None}},
    "disk nvme": {"assigned": [{"kind": "nvme", "address": "0000:01:00.0", "via": "disk", "managed": True}],
                  "balloon": {"effective": False}, "mappings": {"containers": 1, "budget": None}},
    "memory devices": {"memory": {"boot": 4 * GIB, "devices": [
        memory("dimm", 524287, 0), memory("dimm", 524287, 1), memory("nvdimm", 524288, 1), memory("nvdimm", 524288, 1),
        memory("virtio-pmem", 524288), memory("virtio-mem", 2097152, 0, 2 << 20, GIB), memory("sgx-epc", 16384, 0),
        memory("sgx-epc", 16384)]}},
    "iommu intel": {"viommu": "intel", "assigned": [], "mappings": {"containers": 0}},
    "launchSecurity sev": {"balloon": {"present": True, "effective": False}},
}
# Examples that are better found by what is in them than by their place on the page.
LANDMARKS = {
    "hostdev usb": "<hostdev mode='subsystem' type='usb'>",
    "hostdev pci": "<hostdev mode='subsystem' type='pci' managed='yes'>",
    "hostdev scsi": "<hostdev mode='subsystem' type='scsi'>",
    "hostdev scsi_host": "<hostdev mode='subsystem' type='scsi_host'>",
    "hostdev mdev": "model='vfio-ccw'",
    "hostdev capabilities": "<hostdev mode='capabilities' type='misc'>",
    "interface hostdev": "<interface type='hostdev' managed='yes'>",
    "interface vdpa": "<interface type='vdpa'>",
    "disk nvme": "<disk type='nvme'",
    "memory devices": "<memory model='virtio-mem'>",
    "iommu intel": "<iommu model='intel'>",
    "launchSecurity sev": "<launchSecurity type='sev' kernelHashes",
}


def holds(expected, actual, where=""):
    """@expected may leave members out; a list must have all its members."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return [e for key, value in expected.items() for e in holds(value, actual.get(key), where + "." + key)]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [e for i, value in enumerate(expected) for e in holds(value, actual[i], "%s[%d]" % (where, i))]
    return [] if expected == actual else ["%s: expected %s, got %s" % (where[1:], json.dumps(expected),
                                                                     json.dumps(actual))]


def package_version():
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "libvirt-doc"], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def judge(key, text, seen):
    with tempfile.NamedTemporaryFile("w", suffix=".xml", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        arguments = ["--host", os.path.join(corpus.DATA, "host.json"), "--libvirt-version", "9.0.0",
                     "--qemu-version", "7.2.22"]
        status, stdout, stderr = corpus.run(["check", "--format", "json"] + arguments + [out.name])
    if known and key in NO_DOMAIN:
        return [] if status == 2 and NO_DOMAIN[key] in stderr.decode() else ["should be refused for %s: %d %s" % (
            NO_DOMAIN[key], status, stderr.decode())]
    if status == corpus.EXIT_UNUSABLE:
        return [stderr.decode().strip()]
    result = json.loads(stdout)
    errors = corpus.contract_errors(result)
    if status != corpus.expected_status(result):
        errors.append("exit status %d does not follow from the findings" % status)
    names = [key] + [n for n, mark in LANDMARKS.items()
                     if key.startswith("formatdomain") and mark in text and n not in seen]
    for name in names:
        if known and name in FACTS:
            seen.add(name)
            errors += holds(FACTS[name], result)
    return errors


if not os.path.isdir(libvirt_examples.PAGES):
    corpus.skip("libvirt-doc is not installed")
known = package_version().startswith("9.0.0")
report = corpus.Report("libvirt's documentation")
found = set()
for example, xml in libvirt_examples.examples():
    try:
        report.case(example, judge(example, xml, found))
    except corpus.Ended as failure:
        report.case(example, [str(failure)])
if report.cases < 150:
    report.case("number of examples", ["only %d found: has libvirt-doc changed its pages?" % report.cases])
if known:
    report.case("facts", ["no example for %s" % name for name in sorted(set(FACTS) - found)])
else:
    print("the pages are not those of libvirt 9.0: checked for form only")
report.finish()
