#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every domain of tests/data/domains gives exactly the JSON written beside it.

The expectations were derived by hand from the rules of libvirt, QEMU and Linux
(docs/negotiation.md), not taken from the program. Compared: every member, list
orders included. Findings are compared as a set of id, severity and line; their
messages and fixes are wording, not contract. Host and versions are fixed by
tests/data/domains/options, else host.json, libvirt 9.0.0 and QEMU 7.2.22.
"""
import json
import os
import re
import sys

import vfiomem_corpus as corpus


def judge(name):
    expected_file = os.path.join(corpus.DOMAINS, name + ".json")
    if not os.path.exists(expected_file):
        return ["%s.json is missing: write it by hand" % name]
    with open(expected_file, encoding="utf-8") as text:
        expected = json.load(text)
    status, actual, err = corpus.check(name)
    if actual is None:
        return ["refused as unusable: %s" % err.strip()]
    errors = corpus.contract_errors(actual)
    errors += corpus.differences(expected, actual)
    errors += corpus.finding_differences(expected, actual)
    if status != corpus.expected_status(actual):
        errors.append("exit status %d, but its own findings say %d" % (status, corpus.expected_status(actual)))
    return errors


def documented():
    """The ids of docs/findings.md; the guard's belong to running guests and are not in files."""
    with open(os.path.join(corpus.DATA, "..", "..", "docs", "findings.md"), encoding="utf-8") as text:
        return set(re.findall(r"^\| `([a-z0-9-]+)` \| (?:error|warning|info)", text.read(), re.M))


def expected_ids():
    found = set()
    for name in corpus.names():
        with open(os.path.join(corpus.DOMAINS, name + ".json"), encoding="utf-8") as text:
            found |= {finding["id"] for finding in json.load(text)["findings"]}
    return found


report = corpus.Report("expected")
chosen = sys.argv[1:] or corpus.names()
for stray in os.listdir(corpus.DOMAINS):
    if stray.endswith(".json") and stray[:-5] not in corpus.names():
        report.case(stray, ["an expectation without a domain"])
if not sys.argv[1:]:
    report.case("corpus", ["only %d domains" % len(chosen)] if len(chosen) < 65 else [])
    report.case("findings", ["no domain has the finding %s" % name for name in sorted(documented() - expected_ids())])
for domain in chosen:
    try:
        report.case(domain, judge(domain))
    except corpus.Ended as failure:
        report.case(domain, [str(failure)])
report.finish()
