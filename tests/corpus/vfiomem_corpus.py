# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the corpus tests share: finding domains, running vfiomem, judging its JSON.

Python's standard library only. Environment (set by meson):
  VFIOMEM         the program under test; else the one of ./build
  VFIOMEM_DATA    tests/data
"""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.environ.get("VFIOMEM", os.path.join(HERE, "..", "..", "build", "src", "cli", "vfiomem"))
DATA = os.environ.get("VFIOMEM_DATA", os.path.join(os.path.dirname(HERE), "data"))
DOMAINS = os.path.join(DATA, "domains")
DEFAULT_OPTIONS = ("host.json", "9.0.0", "7.2.22")
TIMEOUT = 60  # seconds; a sanitizer build on a busy machine, not what a run takes

EXIT_CLEAN, EXIT_FINDINGS, EXIT_UNUSABLE = 0, 1, 2


class Ended(Exception):
    """The program ended in a way that is a failure whatever it was asked."""


def run(arguments, data=None, timeout=TIMEOUT, env=None, allowed=(0, 1, 2)):
    """Runs vfiomem; returns (exit status, stdout, stderr) as bytes. A signal, a
    sanitizer's exit, a time-out or any other status than @allowed raises Ended."""
    command = [PROGRAM] + list(arguments)
    full = dict(os.environ)
    # A sanitizer that finds something must not look like an ordinary status.
    full.setdefault("ASAN_OPTIONS", "exitcode=99:allocator_may_return_null=1")
    full.setdefault("UBSAN_OPTIONS", "halt_on_error=1:exitcode=99")
    full["LC_ALL"] = "C.UTF-8"
    full.update(env or {})
    try:
        done = subprocess.run(command, input=data if data is not None else b"", capture_output=True,
                              timeout=timeout, env=full)
    except subprocess.TimeoutExpired:
        raise Ended("%s: no end after %d s" % (" ".join(command), timeout))
    if done.returncode not in allowed:
        what = "signal %d" % -done.returncode if done.returncode < 0 else "status %d" % done.returncode
        raise Ended("%s: ended with %s\n%s" % (" ".join(command), what, done.stderr.decode("utf-8", "replace")[-3000:]))
    return done.returncode, done.stdout, done.stderr


def names():
    """Every domain of the corpus, without .xml, sorted."""
    return sorted(f[:-4] for f in os.listdir(DOMAINS) if f.endswith(".xml"))


def path_of(name):
    return os.path.join(DOMAINS, name + ".xml")


def options_table():
    """tests/data/domains/options: host and versions of domains that are not for host.json on Debian 12."""
    table = {}
    with open(os.path.join(DOMAINS, "options"), encoding="utf-8") as lines:
        for line in lines:
            fields = line.split("#")[0].split()
            if fields:
                table[fields[0]] = tuple(fields[1:4])
    return table


_table = None


def options(name):
    """The arguments that fix host and versions, so that a result depends on no machine."""
    global _table
    if _table is None:
        _table = options_table()
    host, libvirt, qemu = _table.get(name, DEFAULT_OPTIONS)
    return ["--host", os.path.join(DATA, host), "--libvirt-version", libvirt, "--qemu-version", qemu]


def check(name, extra=(), path=None):
    """vfiomem check --format json of a corpus domain: (status, parsed JSON or None, stderr)."""
    status, out, err = run(["check", "--format", "json"] + options(name) + list(extra) + [path or path_of(name)])
    return status, json.loads(out) if status != EXIT_UNUSABLE else None, err.decode("utf-8", "replace")


# ---- the contract -----------------------------------------------------------

KINDS = ("pci", "mdev", "vdpa", "nvme", "vfio-user")
VIAS = ("hostdev", "interface", "disk", "commandline")


def _number(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _maybe(value):
    return value is None or _number(value)


def _text(value):
    return isinstance(value, str)


def _maybe_text(value):
    return value is None or _text(value)


def _bool(value):
    return isinstance(value, bool)


def _one_of(*values):
    return lambda value: value in values


SHAPES = {
    "": {"domain": _text, "uuid": _maybe_text, "assigned": list, "memory": dict, "balloon": dict,
         "viommu": _maybe_text, "mappings": dict, "memlock": dict, "findings": list},
    "assigned": {"kind": _one_of(*KINDS), "address": _maybe_text, "via": _one_of(*VIAS), "managed": _bool,
                 "iommufd": _bool},
    "memory": {"boot": _number, "max": _maybe, "devices": list},
    "devices": {"model": _text, "node": _maybe, "size": _number, "block": _maybe, "requested": _maybe,
                "recommended_block": _maybe},
    "balloon": {"present": _bool, "effective": _bool, "free_page_reporting": _bool, "autodeflate": _bool},
    "mappings": {"backend": _one_of("type1", "iommufd"), "containers": _number, "per_container": _number,
                 "budget": _maybe},
    "memlock": {"required": _number, "limit": _maybe, "limit_from": _one_of("libvirt", "hard_limit", "unlimited")},
    "findings": {"id": _text, "severity": _one_of("error", "warning", "info"), "message": _text, "fix": _maybe_text,
                 "line": _maybe},
}


def _shape_errors(where, value, shape):
    if not isinstance(value, dict):
        return ["%s is no object" % where]
    errors = ["%s lacks %s" % (where, key) for key in shape if key not in value]
    errors += ["%s has an unknown member %s" % (where, key) for key in value if key not in shape]
    for key, rule in shape.items():
        if key in value and not (isinstance(value[key], rule) if isinstance(rule, type) else rule(value[key])):
            errors.append("%s.%s is %r" % (where, key, value[key]))
    return errors


def contract_errors(result):
    """What is wrong with one result by the contract of docs/man/vfiomem.1 (OUTPUT); empty if nothing."""
    errors = _shape_errors("result", result, SHAPES[""])
    if errors:
        return errors
    for key in ("memory", "balloon", "mappings", "memlock"):
        errors += _shape_errors(key, result[key], SHAPES[key])
    lists = [("assigned", result["assigned"]), ("findings", result["findings"]),
             ("devices", result["memory"].get("devices", []))]
    for key, members in lists:
        for index, member in enumerate(members):
            errors += _shape_errors("%s[%d]" % (key, index), member, SHAPES[key])
    if errors:
        return errors
    for finding in result["findings"]:
        text = finding["message"]
        if not text or "\n" in text or text.endswith("."):
            errors.append("finding %s: a message is one line without a final period: %r" % (finding["id"], text))
        if finding["id"] != finding["id"].lower() or " " in finding["id"] or "_" in finding["id"]:
            errors.append("finding id %r is not kebab-case" % finding["id"])
        if finding["line"] == 0:
            errors.append("finding %s: no line is null, not 0" % finding["id"])
    if (result["memlock"]["limit"] is None) != (result["memlock"]["limit_from"] == "unlimited") \
            and result["memlock"]["limit_from"] == "hard_limit":
        errors.append("memlock: limit_from hard_limit without a limit")
    return errors


def expected_status(result):
    return EXIT_FINDINGS if any(f["severity"] == "error" for f in result["findings"]) else EXIT_CLEAN


# ---- comparing --------------------------------------------------------------

def findings_set(result):
    """Findings are compared as a set of (id, severity, line); their wording is free."""
    return {(f["id"], f["severity"], f["line"]) for f in result["findings"]}


def differences(expected, actual, where=""):
    """Every place where @actual is not @expected, findings aside. Lists keep their order."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = []
        for key in list(expected) + [k for k in actual if k not in expected]:
            if where == "" and key == "findings":
                continue
            path = where + "." + key if where else key
            if key not in actual or key not in expected:
                found.append("%s: only in the %s" % (path, "expectation" if key in expected else "result"))
            else:
                found += differences(expected[key], actual[key], path)
        return found
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return ["%s: expected %d members, got %d" % (where, len(expected), len(actual))]
        return [d for i, (e, a) in enumerate(zip(expected, actual)) for d in differences(e, a, "%s[%d]" % (where, i))]
    if type(expected) is not type(actual) or expected != actual:
        return ["%s: expected %s, got %s" % (where, json.dumps(expected), json.dumps(actual))]
    return []


def finding_differences(expected, actual):
    wanted, got = findings_set(expected), findings_set(actual)
    order = lambda f: (f[0], f[1], f[2] or 0)
    return ["finding missing: %s %s line %s" % (f[1], f[0], f[2]) for f in sorted(wanted - got, key=order)] + \
           ["finding not expected: %s %s line %s" % (f[1], f[0], f[2]) for f in sorted(got - wanted, key=order)]


class Report:
    """Counts cases, prints the failing ones, gives the exit status."""

    def __init__(self, title):
        self.title, self.cases, self.failed = title, 0, 0

    def case(self, name, errors):
        self.cases += 1
        if errors:
            self.failed += 1
            print("FAIL %s" % name)
            for error in errors:
                print("     %s" % error)

    def finish(self):
        print("%s: %d cases, %d failed" % (self.title, self.cases, self.failed))
        sys.exit(1 if self.failed else 0)


def skip(reason):
    print("skipped: %s" % reason)
    sys.exit(77)
