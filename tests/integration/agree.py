#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt reads the corpus as we do.

Runs inside private-libvirt with libvirtd up (test-agree.sh). Every domain of tests/data/domains that this libvirt and QEMU can
hold is defined; what `virsh dumpxml --inactive` then prints, with all that libvirt made explicit, must give the same
result as the file did. Only what a machine without KVM needs is changed first: the type, the emulator, CPU modes.
"""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["VFIOMEM_SOURCE"], "tests", "corpus"))
os.environ.setdefault("VFIOMEM", os.path.join(os.environ["VFIOMEM_BUILD"], "src", "cli", "vfiomem"))
import vfiomem_corpus as corpus  # noqa: E402

WORK = "/run/agree"
# Domains that libvirt refuses to define, and words of its refusal: check must call each of them an error.
REFUSED = {
    "sgx-epc-no-maximum": "maxMemory",
    "virtio-mem-misaligned-request": "multiple of block size",
    "virtio-mem-no-block": "power of two",
}
# What only other machines have: SEV and SGX.
NOT_HERE = re.compile(r"supported (with|by) this QEMU binary")
# Status files and running guests are no definitions; libvirt 9.0 does not place devices of a microvm, and drops iommufd.
NO_DEFINITION = re.compile(r"^domstatus-|^live-|^kubevirt-sriov$|^microvm$|^iommufd-")


def virsh(*arguments, check=True):
    done = subprocess.run(["virsh", "-q"] + list(arguments), capture_output=True, text=True)
    if check and done.returncode:
        raise corpus.Ended(done.stderr.strip())
    return done


def adapted(text):
    """The same domain for a machine with QEMU of one architecture and no KVM."""
    text = re.sub(r"""(<domain[^>]*type\s*=\s*)(['"])kvm['"]""", r"\1\2qemu\2", text, count=1)
    text = re.sub(r"<emulator>[^<]*</emulator>", "<emulator>/usr/bin/qemu-system-x86_64</emulator>", text)
    text = re.sub(r"pc-q35-rhel[0-9.]+", "pc-q35-7.2", text)
    text = re.sub(r"<cpu mode='(host-passthrough|host-model)'[^>]*?(/?)>", r"<cpu mode='maximum'\2>", text)
    text = text.replace("<cpu mode=\"host-model\" match=\"exact\">", "<cpu mode=\"maximum\">")
    text = re.sub(r"<maxphysaddr [^>]*/>", "", text)
    text = re.sub(r"<tpm .*?</tpm>", "", text, flags=re.S)  # needs swtpm
    return text


def results(name, path):
    status, out, err = corpus.run(["check", "--format", "json"] + corpus.options(name) + [path])
    if status == corpus.EXIT_UNUSABLE:
        raise corpus.Ended(err.decode())
    return json.loads(out)


def without_lines(result):
    """Lines move and libvirt gives a UUID to those that have none."""
    result = dict(result, uuid=None)
    result["assigned"] = sorted(result["assigned"], key=lambda a: (a["kind"], a["address"]))  # libvirt has an order
    # A balloon that libvirt made explicit has a line of its own: only ids and severities are alike.
    result["findings"] = sorted({(f["id"], f["severity"]) for f in result["findings"]})
    return result


def judge(name):
    with open(corpus.path_of(name), encoding="utf-8") as source:
        text = adapted(source.read())
    before = os.path.join(WORK, name + ".xml")
    after = os.path.join(WORK, name + "-dumped.xml")
    with open(before, "w", encoding="utf-8") as out:
        out.write(text)
    defined = virsh("define", before, check=False)
    if defined.returncode and NOT_HERE.search(defined.stderr):
        return []
    if name in REFUSED or defined.returncode:
        if not defined.returncode:
            virsh("undefine", results(name, before)["domain"], check=False)
            return ["libvirt takes it, although it should refuse it for '%s'" % REFUSED[name]]
        if REFUSED.get(name, "nothing we know of") not in defined.stderr:
            return ["libvirt refuses it: " + defined.stderr.strip()]
        return [] if any(f["severity"] == "error" for f in results(name, before)["findings"]) else [
            "libvirt refuses it, check finds no error"]
    domain = without_lines(results(name, before))["domain"]
    try:
        with open(after, "w", encoding="utf-8") as out:
            out.write(virsh("dumpxml", "--inactive", domain).stdout)
        one, two = without_lines(results(name, before)), without_lines(results(name, after))
        one["findings"], two["findings"] = [list(f) for f in one["findings"]], [list(f) for f in two["findings"]]
        errors = corpus.differences(one, two) + corpus.differences({"f": one["findings"]}, {"f": two["findings"]})
    finally:
        virsh("undefine", "--nvram", domain, check=False)
    return errors


os.makedirs(WORK)
report = corpus.Report("libvirt and vfiomem")
table = corpus.options_table()
for domain_file in sys.argv[1:] or corpus.names():
    with open(corpus.path_of(domain_file), encoding="utf-8") as source:
        content = source.read()
    version = table.get(domain_file, corpus.DEFAULT_OPTIONS)[1]
    if int(version.split(".")[0]) > 9 or NO_DEFINITION.match(domain_file) or "type='xen'" in content \
            or not re.search("arch=['\"]x86_64", content):
        continue
    try:
        report.case(domain_file, judge(domain_file))
    except corpus.Ended as failure:
        report.case(domain_file, [str(failure)])
if not sys.argv[1:] and report.cases < 60:
    report.case("number of domains", ["only %d" % report.cases])
report.finish()
