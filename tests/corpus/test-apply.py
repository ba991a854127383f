#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What apply writes: mended, valid, minimal, and the same when applied again.

For every domain of the corpus and every documentation example of libvirt:
  - apply(apply(x)) is apply(x), byte for byte, and apply(x) is x where check found nothing that apply mends;
  - apply(x) passes virt-xml-validate if x does;
  - check(apply(x)) has none of the findings that apply mends, and no error that x had not;
  - everything else is as it was: comments, foreign elements, order, attributes.
"""
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

import libvirt_examples
import vfiomem_corpus as corpus

# Findings that apply mends (docs/man/vfiomem-apply), and the element or attribute that it may change for them.
MENDED = {
    "mapping-budget-exceeded", "virtio-mem-block", "virtio-mem-requested", "free-page-reporting-inhibited",
    "autodeflate-inhibited", "memlock-hard-limit", "memlock-uncounted", "helper-memory-private", "helper-emulator",
    "viommu-caching-mode", "memlock-hotplug", "mapping-budget-headroom",
}
MAY_CHANGE_TEXT = {"block", "requested", "hard_limit", "emulator"}
MAY_APPEAR = {"block", "requested", "memtune", "hard_limit", "memoryBacking", "source", "access", "emulator", "driver",
              "devices"}
MAY_CHANGE_ATTRIBUTE = {("memballoon", "freePageReporting"), ("memballoon", "autodeflate"), ("driver", "caching_mode"),
                        ("source", "type"), ("access", "mode"), ("block", "unit"), ("requested", "unit"),
                        ("hard_limit", "unit"), ("cell", "memAccess"), ("memory", "access")}
VALIDATE = shutil.which("virt-xml-validate")


def tree(text):
    builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
    return ElementTree.fromstring(text, parser=ElementTree.XMLParser(target=builder))


def name(element):
    return element.tag if isinstance(element.tag, str) else "comment or instruction"


def words(text):
    return (text or "").strip()


def changed(before, after, where):
    """Everything that differs between two trees and is not apply's to change."""
    where += "/" + name(before)
    if before.tag != after.tag:
        return ["%s became %s" % (where, name(after))]
    found = []
    for key in sorted(set(before.attrib) | set(after.attrib)):
        if before.get(key) != after.get(key) and (name(before), key) not in MAY_CHANGE_ATTRIBUTE:
            found.append("%s: attribute %s: %r became %r" % (where, key, before.get(key), after.get(key)))
    if words(before.text) != words(after.text) and name(before) not in MAY_CHANGE_TEXT:
        found.append("%s: text %r became %r" % (where, words(before.text), words(after.text)))
    old, new = list(before), list(after)
    while old or new:
        if old and new and old[0].tag == new[0].tag and not (len(new) > len(old) and name(new[0]) in MAY_APPEAR
                                                             and len(new) > 1 and new[1].tag == old[0].tag
                                                             and new[0].attrib != old[0].attrib):
            found += changed(old.pop(0), new.pop(0), where)
        elif new and name(new[0]) in MAY_APPEAR:
            new.pop(0)
        else:
            found.append("%s: %s is where %s was" % (where, name(new[0]) if new else "nothing",
                                                     name(old[0]) if old else "nothing"))
            break
    return found


def valid(path):
    return subprocess.run([VALIDATE, path, "domain"], capture_output=True).returncode == 0


def apply(path, options):
    """(status, edited XML, standard error)"""
    status, out, err = corpus.run(["apply"] + options + [path])
    return status, out, err.decode("utf-8", "replace")


def findings(path, options):
    status, out, err = corpus.run(["check", "--format", "json"] + options + [path])
    if status == corpus.EXIT_UNUSABLE:
        raise corpus.Ended("the result of apply is unusable: %s" % err.decode("utf-8", "replace"))
    return json.loads(out)["findings"]


def judge(path, options, scratch):
    with open(path, "rb") as source:
        original = source.read()
    before = findings(path, options)
    status, once, _ = apply(path, options)
    errors = []
    edited = os.path.join(scratch, os.path.basename(path))
    with open(edited, "wb") as out:
        out.write(once)
    if status == corpus.EXIT_UNUSABLE:
        return ["apply refuses what check takes"]
    to_mend = {f["id"] for f in before} & MENDED
    if not to_mend and once != original:
        errors.append("nothing to mend, yet the text changed")
    again_status, twice, _ = apply(edited, options)
    if twice != once or again_status != status:
        errors.append("applying again changed it")
    after = findings(edited, options)
    left = {f["id"] for f in after} & MENDED
    if left:
        errors.append("apply left %s" % ", ".join(sorted(left)))
    new = {f["id"] for f in after if f["severity"] == "error"} - {f["id"] for f in before}
    if new:
        errors.append("apply brought %s" % ", ".join(sorted(new)))
    if (status == corpus.EXIT_FINDINGS) != any(f["severity"] == "error" for f in after):
        errors.append("exit status %d, but check of the result says otherwise" % status)
    if once != original:
        errors += changed(tree(original), tree(once), "")
    if VALIDATE and once != original and valid(path) and not valid(edited):
        errors.append("the result does not validate with virt-xml-validate, the original did")
    difference = corpus.run(["apply", "--diff"] + options + [path])[1]
    if bool(difference) != (once != original):
        errors.append("--diff shows %d bytes, the text %s" % (len(difference),
                                                             "changed" if once != original else "is the same"))
    elif difference:
        copy = os.path.join(scratch, "patched-" + os.path.basename(path))
        with open(copy, "wb") as out:
            out.write(original)
        patched = subprocess.run(["patch", "--quiet", "--posix", copy], input=difference, capture_output=True)
        with open(copy, "rb") as result:
            if patched.returncode or result.read() != once:
                errors.append("patch does not make the result out of --diff: %s" % patched.stdout)
    return errors


def case(title, path, options, scratch):
    try:
        return title, judge(path, options, scratch)
    except corpus.Ended as failure:
        return title, [str(failure)]


report = corpus.Report("apply")
if not VALIDATE:
    corpus.skip("virt-xml-validate is not installed")
with tempfile.TemporaryDirectory(prefix="vfiomem-apply-") as scratch, \
        concurrent.futures.ThreadPoolExecutor(2) as pool:
    work = [(n, corpus.path_of(n), corpus.options(n), scratch) for n in sys.argv[1:] or corpus.names()]
    if not sys.argv[1:] and os.path.isdir(libvirt_examples.PAGES):
        plain = ["--host", os.path.join(corpus.DATA, "host.json"), "--libvirt-version", "9.0.0", "--qemu-version", "7.2.22"]
        for number, (title, text) in enumerate(libvirt_examples.examples()):
            path = os.path.join(scratch, "example-%d.xml" % number)
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
            if corpus.run(["check"] + plain + [path])[0] != corpus.EXIT_UNUSABLE:
                os.makedirs(os.path.join(scratch, "edited"), exist_ok=True)
                work.append((title, path, plain, os.path.join(scratch, "edited")))
    for title, errors in pool.map(lambda arguments: case(*arguments), work):
        report.case(title, errors)
report.finish()
