#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damaged domains: elements and attributes deleted, doubled, swapped, numbers at their extremes. Never a crash, never a
hang, always either a result that obeys the contract or one message; and what apply accepts, it mends once and for all.

    test-mutations.py [--seed N] [--rounds N] [--keep DIR]

The seed is printed; a failing input is kept when --keep names a directory (else its seed and number reproduce it).
"""
import argparse
import copy
import json
import os
import random
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

import vfiomem_corpus as corpus

BATCH = 100
APPLY_EVERY = 8  # one of so many accepted inputs also goes through apply, twice
NUMBERS = ["0", "1", "-1", "2", "3", "4095", "4096", "65535", "65536", "2147483647", "2147483648", "4294967295",
           "4294967296", "9007199254740988", "9223372036854775807", "9223372036854775808", "18446744073709551615",
           "18446744073709551616", "99999999999999999999999", "0x10", "010", "1e3", " 7", "7 ", "", "+5", "NaN", "yes",
           "0xffffffffffffffff", "1.5", "\u0663"]
UNITS = ["b", "byte", "bytes", "KB", "k", "KiB", "MB", "M", "MiB", "GB", "G", "GiB", "TB", "T", "TiB", "P", "PiB", "EB",
         "E", "EiB", "", "kibi", "ZiB"]
WORDS = ["yes", "no", "on", "off", "none", "virtio", "virtio-mem", "dimm", "pci", "mdev", "hostdev", "kvm", "qemu", "xen",
         "x86_64", "aarch64", "q35", "pc", "virt", "intel", "smmuv3", "helper", "type1", "iommufd", "shared", "0-1",
         "^0", "9999999999", "a" * 4000, "\u202e\u0007".replace("\u0007", ""), "%s%n", "../../etc/passwd", "'\"<&"]

for prefix, uri in (("qemu", "http://libvirt.org/schemas/domain/qemu/1.0"), ("vfiomem", "urn:vfiomem:domain:1"),
                    ("kubevirt", "http://kubevirt.io")):
    ElementTree.register_namespace(prefix, uri)


def elements(root):
    return list(root.iter())


def parents(root):
    return {child: parent for parent in root.iter() for child in parent}


def delete_element(root, pick, others):
    up = parents(root)
    if up:
        victim = pick.choice(list(up))
        up[victim].remove(victim)


def double_element(root, pick, others):
    up = parents(root)
    if up:
        victim = pick.choice(list(up))
        up[victim].insert(pick.randrange(len(up[victim]) + 1), copy.deepcopy(victim))


def swap_elements(root, pick, others):
    up = parents(root)
    if len(up) < 2:
        return
    one, two = pick.sample(list(up), 2)
    below_one, below_two = set(one.iter()), set(two.iter())
    if one in below_two or two in below_one:
        return
    mother, father = up[one], up[two]
    i, j = list(mother).index(one), list(father).index(two)
    mother[i], father[j] = copy.deepcopy(two), copy.deepcopy(one)


def graft(root, pick, others):
    donor = pick.choice(elements(pick.choice(others)))
    place = pick.choice(elements(root))
    place.insert(pick.randrange(len(place) + 1), copy.deepcopy(donor))


def delete_attribute(root, pick, others):
    owner = pick.choice([e for e in elements(root) if e.attrib] or [root])
    if owner.attrib:
        del owner.attrib[pick.choice(list(owner.attrib))]


def change_attribute(root, pick, others):
    owner = pick.choice([e for e in elements(root) if e.attrib] or [root])
    if owner.attrib:
        key = pick.choice(list(owner.attrib))
        owner.set(key, pick.choice(UNITS if key == "unit" and pick.random() < .7 else NUMBERS + WORDS))


def swap_attributes(root, pick, others):
    owners = [e for e in elements(root) if e.attrib]
    if len(owners) > 1:
        one, two = pick.sample(owners, 2)
        a, b = pick.choice(list(one.attrib)), pick.choice(list(two.attrib))
        one.attrib[a], two.attrib[b] = two.attrib[b], one.attrib[a]


def change_text(root, pick, others):
    owner = pick.choice([e for e in elements(root) if (e.text or "").strip()] or [root])
    owner.text = pick.choice(NUMBERS + WORDS)


def change_number(root, pick, others):
    """Where it hurts: the sizes of memory, blocks and limits."""
    sizes = ("memory", "currentMemory", "maxMemory", "size", "block", "requested", "hard_limit", "node", "current")
    owner = pick.choice([e for e in elements(root) if e.tag in sizes] or [root])
    if pick.random() < .4:
        owner.set("unit", pick.choice(UNITS))
    owner.text = pick.choice(NUMBERS) if pick.random() < .6 else str(pick.getrandbits(pick.randrange(1, 66)))


MUTATIONS = (delete_element, double_element, swap_elements, graft, delete_attribute, change_attribute, swap_attributes,
             change_text, change_number, change_number)


def damage_text(text, pick):
    """Damage below the level of elements: cut, drop, double or change bytes."""
    data = bytearray(text)
    for _ in range(pick.randrange(1, 4)):
        at = pick.randrange(len(data) or 1)
        kind = pick.randrange(4)
        if kind == 0:
            del data[at:at + pick.randrange(1, 40)]
        elif kind == 1:
            data[at:at] = data[at:at + pick.randrange(1, 200)]
        elif kind == 2 and data:
            data[at] = pick.randrange(256)
        else:
            data[at:at] = bytes(pick.choice(["<!--", "-->", "]]>", "<![CDATA[", "&amp;", "&x;", "<", ">", "'", "\0",
                                             "<!DOCTYPE a>", "<?p?>", "</domain>", "\ufeff"]), "utf-8")
    return bytes(data)


def mutant(pick, trees):
    root = copy.deepcopy(pick.choice(trees))
    for _ in range(pick.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        pick.choice(MUTATIONS)(root, pick, trees)
    try:
        text = ElementTree.tostring(root, encoding="utf-8")
    except (ValueError, TypeError):  # a tree that XML can't hold
        text = b"<domain/>"
    return damage_text(text, pick) if pick.random() < .15 else text


def options_for(number):
    """Hosts and versions take turns, so that the rules of each meet damaged domains."""
    hosts = sorted(f for f in os.listdir(corpus.DATA) if f.startswith("host") and f.endswith(".json"))
    versions = (("9.0.0", "7.2.22"), ("12.8.0", "11.1.2"), ("7.0.0", "6.2.0"))
    libvirt, qemu = versions[number % len(versions)]
    host = hosts[number % (len(hosts) + 1) - 1] if number % (len(hosts) + 1) else None
    return (["--host", os.path.join(corpus.DATA, host)] if host else ["--no-host"]) + \
        ["--libvirt-version", libvirt, "--qemu-version", qemu]


def judge_one(path, options):
    """(errors, whether the domain is usable)"""
    status, out, err = corpus.run(["check", "--format", "json"] + options + [path], timeout=30)
    if status == corpus.EXIT_UNUSABLE:
        text = err.decode("utf-8", "replace")
        good = path in text and text.count("\n") == 1 and not any(ord(c) < 32 and c != "\n" for c in text)
        return ([] if good else ["no clean message: %r" % text[:300]]), False
    result = json.loads(out)
    errors = corpus.contract_errors(result)
    if status != corpus.expected_status(result):
        errors.append("exit status %d does not follow from the findings" % status)
    human = corpus.run(["plan"] + options + [path], timeout=30)
    if human[0] != status:
        errors.append("plan ends with %d, check with %d" % (human[0], status))
    return errors, True


def judge_apply(path, options):
    status, once, err = corpus.run(["apply"] + options + [path], timeout=30)
    if status == corpus.EXIT_UNUSABLE:
        return ["apply refuses what check takes: %s" % err.decode("utf-8", "replace")]
    again, twice, _ = corpus.run(["apply"] + options + ["-"], data=once, timeout=30)
    return [] if again == status and once == twice else ["applying again changes the result: status %d, then %d" % (
        status, again)]


arguments = argparse.ArgumentParser()
arguments.add_argument("--seed", type=int, default=None)
arguments.add_argument("--rounds", type=int, default=5, help="batches of %d" % BATCH)
arguments.add_argument("--keep", help="directory for failing inputs")
given = arguments.parse_args()
seed = given.seed if given.seed is not None else random.SystemRandom().getrandbits(32)
print("seed %d, %d inputs" % (seed, given.rounds * BATCH))
sys.stdout.flush()
report = corpus.Report("mutations")
accepted = 0
originals = [ElementTree.parse(corpus.path_of(n)).getroot() for n in corpus.names()]
with tempfile.TemporaryDirectory(prefix="vfiomem-mutations-") as scratch:
    for batch in range(given.rounds):
        choose = random.Random("%d/%d" % (seed, batch))
        folder = os.path.join(scratch, str(batch))
        os.mkdir(folder)
        options = options_for(batch)
        paths = []
        for number in range(BATCH):
            paths.append(os.path.join(folder, "%05d.xml" % number))
            with open(paths[-1], "wb") as out:
                out.write(mutant(choose, originals))
        try:
            # All in one process first: no domain may disturb the next.
            corpus.run(["check", "--format", "json"] + options + [folder], timeout=60)
            report.case("batch %d" % batch, [])
        except corpus.Ended as failure:
            report.case("batch %d" % batch, [str(failure)[-1500:]])
        for number, path in enumerate(paths):
            title = "seed %d, batch %d, input %d" % (seed, batch, number)
            try:
                errors, usable = judge_one(path, options)
                accepted += usable
                if usable and number % APPLY_EVERY == 0:
                    errors += judge_apply(path, options)
            except (corpus.Ended, ValueError) as failure:
                errors = [str(failure)[-3000:]]
            if errors and given.keep:
                os.makedirs(given.keep, exist_ok=True)
                shutil.copy(path, os.path.join(given.keep, "%d-%d-%d.xml" % (seed, batch, number)))
            report.case(title, errors)
        shutil.rmtree(folder)
print("%d of the inputs were still usable" % accepted)
if accepted < given.rounds * BATCH // 10:
    report.case("usable inputs", ["only %d: the damage hides what is behind the parser" % accepted])
report.finish()
