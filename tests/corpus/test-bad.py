#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad input gives one clear message with file and line, exit status 2, and nothing else.

Files of tests/data/bad with the words their message must hold, and inputs too large or too strange to keep: made
here in a directory of their own. Nothing named by an input is ever read, and nobody is connected to.
"""
import json
import os
import resource
import socket
import sys
import tempfile
import time

import vfiomem_corpus as corpus

BAD = os.path.join(corpus.DATA, "bad")
SANITIZED = bool(os.environ.get("VFIOMEM_SANITIZED"))
report = corpus.Report("bad input")
COMMANDS = (["check"], ["check", "--format", "json"], ["plan"], ["apply"])


def refused(path, line, words, command, data=None):
    """The errors of one refused input: status, message, line, words, and nothing on standard output."""
    status, out, err = corpus.run(command + [path], data=data)
    text = err.decode("utf-8", "replace")
    shown = "" if path == "-" else path
    errors = []
    if status != corpus.EXIT_UNUSABLE:
        errors.append("%s: exit status %d, not 2: %s%s" % (" ".join(command), status, out[:300], text))
        return errors
    if command == ["apply"] and out:
        errors.append("apply printed XML although it failed: %r" % out[:100])
    if line and "%s:%d:" % (shown, line) not in text:
        errors.append("the message does not name %s:%d: %s" % (shown, line, text.strip()))
    if not line and shown and shown not in text:
        errors.append("the message does not name the file: %s" % text.strip())
    errors += ["the message lacks %r: %s" % (w, text.strip()) for w in words if w not in text]
    if text.count("\n") > 2 or len(text) > 1500:
        errors.append("more than one line about one input: %s" % text[:600])
    if any(ord(c) < 32 and c != "\n" or ord(c) == 127 for c in text):
        errors.append("a control character of the input reached the terminal: %r" % text[:300])
    return errors


def kept_files():
    seen = set()
    with open(os.path.join(BAD, "expected"), encoding="utf-8") as lines:
        for entry in lines:
            if not entry.strip() or entry.startswith("#"):
                continue
            name, line, words = entry.split(None, 2)
            seen.add(name)
            path = os.path.join(BAD, name)
            for command in COMMANDS:
                yield "%s, %s" % (name, " ".join(command)), path, int(line) if line != "-" else 0, \
                    words.strip().split("|"), command
    for stray in sorted(set(os.listdir(BAD)) - seen - {"expected"}):
        report.case(stray, ["no line in tests/data/bad/expected"])


for title, path, line, words, command in kept_files():
    try:
        report.case(title, refused(path, line, words, command))
    except corpus.Ended as failure:
        report.case(title, [str(failure)])


def made(title, name, content, line=0, words=(), seconds=20, mebibytes=400):
    """One input written to a file by content(file), given to check and apply; bounded time and memory."""
    path = os.path.join(scratch, name)
    with open(path, "wb") as out:
        content(out)
    for command in (["check"], ["apply"]):
        try:
            started = time.monotonic()
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            errors = refused(path, line, words, command)
            took = time.monotonic() - started
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            if took > seconds:
                errors.append("took %.1f s" % took)
            if not SANITIZED and peak > before and peak > mebibytes * 1024:
                errors.append("needed %d MiB" % (peak // 1024))
            report.case("%s, %s" % (title, command[0]), errors)
        except corpus.Ended as failure:
            report.case(title, [str(failure)])
    os.unlink(path)


START = b"<domain type='kvm'><name>bad</name><memory unit='GiB'>4</memory>"
scratch = tempfile.mkdtemp(prefix="vfiomem-bad-")


def repeat(head, body, times, tail):
    def write(out):
        out.write(head)
        for _ in range(times // 1000):
            out.write(body * 1000)
        out.write(tail)
    return write


made("100 MB of elements", "huge.xml", repeat(START + b"<devices>\n", b"<x a='0123456789012345678901234567890'/>\n" * 10,
                                              250000, b"</devices></domain>\n"), words=["16 MiB"])
made("100 MB of blanks", "blank.xml", repeat(b"", b" " * 1000, 100000, START + b"</domain>"), words=["16 MiB"])
made("15 MB of nesting", "deep.xml", repeat(START, b"<a>", 5000000, b""), words=["deep.xml:1"])
made("closed nesting", "deep2.xml", lambda out: out.write(START + b"<a>" * 100000 + b"</a>" * 100000 + b"</domain>"))
made("nested backing stores", "chain.xml", lambda out: out.write(
    START + b"<devices><disk type='file'>" + b"<backingStore type='file'>" * 100000 + b"</backingStore>" * 100000 +
    b"</disk></devices></domain>"))
made("an attribute of 12 MB", "attribute.xml", lambda out: out.write(
    b"<domain type='" + b"k" * 12000000 + b"'><memory>1</memory></domain>"))
made("a NUL byte in a name", "nul.xml", lambda out: out.write(b"<domain type='kvm'>\n<name>a\0b</name></domain>"),
     line=2, words=["NUL"])
made("NUL behind the end", "nul2.xml", lambda out: out.write(START + b"</domain>\0<domain/>"), words=["NUL"])
made("random bytes", "random.xml", lambda out: out.write(bytes(range(256)) * 64))
made("escape sequences", "escape.xml", lambda out: out.write(
    b"<domain type='kvm'><memory unit='\xc2\x9b2J&#x9b;31m'>4</memory></domain>"), words=["unit"])
made("escape sequences in names", "escape2.xml", lambda out: out.write(b"<dom\xc2\x9bain/>"))
made("UTF-16 that says UTF-8", "utf16.xml", lambda out: out.write(
    ("<?xml version='1.0' encoding='UTF-8'?><domain/>").encode("utf-16")))
made("an encoding nobody knows", "encoding.xml", lambda out: out.write(
    b"<?xml version='1.0' encoding='x-klingon'?><domain type='kvm'><memory>4</memory></domain>"))


def outside():
    """An input that names a file and a server: neither is touched, and the file's words appear nowhere."""
    canary = os.path.join(scratch, "canary")
    with open(canary, "w", encoding="utf-8") as out:
        out.write("CANARY-7f3a")
    stamp = os.stat(canary).st_atime_ns
    os.utime(canary, ns=(1, 1))
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(5)
    server.setblocking(False)
    port = server.getsockname()[1]
    web = "http://127.0.0.1:%d/x" % port
    body = "<memory unit='GiB'>4</memory>%s</domain>"
    inputs = {
        "external entity": "<!DOCTYPE domain [<!ENTITY x SYSTEM '%s'>]><domain type='kvm'><name>&x;</name>" % canary
                           + body % "",
        "external entity in an attribute": "<!DOCTYPE domain [<!ENTITY x SYSTEM '%s'>]><domain type='&x;'>" % canary
                                           + body % "",
        "external entity on the web": "<!DOCTYPE domain [<!ENTITY x SYSTEM '%s'>]><domain type='kvm'><name>&x;</name>"
                                      % web + body % "",
        "external DTD": "<!DOCTYPE domain SYSTEM '%s'><domain type='kvm'>" % web + body % "",
        "external DTD file": "<!DOCTYPE domain SYSTEM '%s'><domain type='kvm'>" % canary + body % "",
        "public DTD": "<!DOCTYPE domain PUBLIC '-//X//Y' '%s'><domain type='kvm'>" % web + body % "",
        "parameter entity": "<!DOCTYPE domain [<!ENTITY %% p SYSTEM '%s'> %%p;]><domain type='kvm'>" % web + body % "",
        "parameter entity file": "<!DOCTYPE domain [<!ENTITY %% p SYSTEM '%s'> %%p;]><domain type='kvm'>" % canary
                                 + body % "",
    }
    # Not refused, because it is ordinary foreign XML; but never followed either.
    followed = {
        "XInclude": "<domain type='kvm' xmlns:xi='http://www.w3.org/2001/XInclude'><name>x</name>" + body %
                    ("<metadata><xi:include href='%s' parse='text'/><xi:include href='%s'/></metadata>" % (canary, web)),
        "style sheet": "<?xml-stylesheet type='text/xsl' href='%s'?><domain type='kvm'><name>x</name>" % web + body % "",
        "schema location": "<domain type='kvm' xmlns:s='http://www.w3.org/2001/XMLSchema-instance' "
                           "s:noNamespaceSchemaLocation='%s'><name>x</name>" % web + body % "",
    }
    for title, text in list(inputs.items()) + list(followed.items()):
        path = os.path.join(scratch, "outside.xml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        for command in (["check"], ["check", "--format", "json"], ["apply"]):
            errors = []
            try:
                status, out, err = corpus.run(command + [path])
                if (status == corpus.EXIT_UNUSABLE) != (title in inputs):
                    errors.append("exit status %d: %s" % (status, err.decode("utf-8", "replace")))
                if b"CANARY" in out + err:
                    errors.append("the canary's words came out")
            except corpus.Ended as failure:
                errors.append(str(failure))
            try:
                server.accept()
                errors.append("somebody connected to the address in the input")
            except BlockingIOError:
                pass
            if os.stat(canary).st_atime_ns != 1:
                errors.append("the canary was read")
                os.utime(canary, ns=(1, 1))
            report.case("%s, %s" % (title, " ".join(command)), errors)
        os.unlink(path)
    server.close()
    os.unlink(canary)
    return stamp


outside()


def places():
    """Files that are none, and standard input."""
    missing = os.path.join(scratch, "missing.xml")
    report.case("no such file", refused(missing, 0, ["No such file"], ["check"]))
    for name in ("/dev/zero", "/proc/self/mem"):
        try:
            report.case(name, refused(name, 0, [], ["check"]))
        except corpus.Ended as failure:
            report.case(name, [str(failure)])
    with open(corpus.path_of("virtio-mem-fits"), "rb") as good:
        status, out, err = corpus.run(["check", "--no-host", "--format", "json", "/proc/self/fd/0"], data=good.read())
    report.case("a pipe by name", [] if status == 0 and b'"elastic-32"' in out else ["status %d: %s" % (status, err)])
    loop = os.path.join(scratch, "loop.xml")
    os.symlink(loop, loop)
    report.case("a link to itself", refused(loop, 0, [], ["check"]))
    os.unlink(loop)
    report.case("standard input", refused("-", 0, ["'four'"], ["check"], data=b"<domain type='kvm'><memory>four</memory></domain>"))
    report.case("empty standard input", refused("-", 0, ["empty"], ["check"], data=b""))
    report.case("an endless standard input", refused("-", 0, ["16 MiB"], ["check"], data=b" " * (20 << 20)))
    wide = os.path.join(scratch, "wide.xml")
    with open(wide, "w", encoding="utf-16") as out:
        out.write("<domain type='kvm'><name>wide</name><memory unit='GiB'>1</memory></domain>")
    status, out, err = corpus.run(["check", "--no-host", "--format", "json", wide])
    report.case("UTF-16, check", [] if status == 0 and b'"wide"' in out else ["status %d: %s" % (status, err)])
    report.case("UTF-16, apply", refused(wide, 0, ["UTF-8"], ["apply"]))
    os.unlink(wide)
    # One bad file among good ones: the good ones are still judged, and the status says 2.
    good = corpus.path_of("virtio-mem-fits")
    status, out, err = corpus.run(["check", good, os.path.join(BAD, "truncated.xml"), good])
    report.case("a bad file among good ones",
                [] if status == 2 and b"truncated.xml:6" in err and out.count(b"migration-restricted") == 2
                else ["status %d, %s %s" % (status, out, err)])
    odd = os.path.join(scratch, "odd\udcff.xml")  # a name that is no UTF-8
    with open(odd, "wb") as out:
        out.write(b"<domain type='kvm'><name>odd</name><memory>1048576</memory></domain>")
    status, out, err = corpus.run(["check", "--no-host", "--format", "json", odd, os.path.join(BAD, "empty.xml"), good])
    files = [one["file"] for one in json.loads(out)]
    report.case("files in JSON", [] if status == 2 and files == [odd.replace("\udcff", "\ufffd"), good] else [
        "status %d, %s" % (status, files)])
    os.unlink(odd)


places()


def hosts():
    """Host files and sysfs trees that can't be used."""
    good = corpus.path_of("virtio-mem-fits")
    bad_hosts = {
        "not JSON": "hello",
        "no object": "[]",
        "another format": '{"format":"other"}',
        "unknown member": '{"format":"vfiomem-host-1","colour":"blue"}',
        "a negative number": '{"format":"vfiomem-host-1","dma_entry_limit":-1}',
        "a fraction": '{"format":"vfiomem-host-1","page_size":4096.5}',
        "a zero page": '{"format":"vfiomem-host-1","page_size":0}',
        "too large": '{"format":"vfiomem-host-1","memory":99999999999999999999}',
        "deep": '{"format":"vfiomem-host-1","groups":' + "[" * 100000 + "]" * 100000 + "}",
        "cut": '{"format":"vfiomem-host-1","groups":[{"id":1',
        "backwards region": '{"format":"vfiomem-host-1","groups":[{"id":1,"type":null,"devices":[],"reserved":'
                            '[{"start":"0x2000","end":"0x1000","type":"msi"}]}]}',
    }
    for title, text in bad_hosts.items():
        path = os.path.join(scratch, "host.json")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        status, out, err = corpus.run(["check", "--host", path, good])
        errors = [] if status == 2 else ["status %d: %s" % (status, out)]
        if path.encode() not in err:
            errors.append("the message does not name the file: %s" % err)
        report.case("host file: " + title, errors)
        os.unlink(path)
    status, out, err = corpus.run(["check", "--host", os.path.join(scratch, "none.json"), good])
    report.case("host file: missing", [] if status == 2 and b"none.json" in err else ["status %d: %s" % (status, err)])
    status, out, err = corpus.run(["host", "--sysfs", os.path.join(scratch, "nowhere")])
    report.case("sysfs: missing", [] if status == 2 and b"nowhere" in err else ["status %d: %s %s" % (status, out, err)])


hosts()


def usages():
    good = corpus.path_of("virtio-mem-fits")
    cases = [[], ["chek", good], ["check", "--formt", "json", good], ["check", "--format", "yaml", good],
             ["check", "--libvirt-version", "nine", good], ["check", "--qemu-version", "", good],
             ["check", "--host"], ["apply", good, good], ["plan", "--connect"], ["host", "--sysfs"],
             ["check", "--libvirt-version", "9.0.0.0.0", good], ["check", "--libvirt-version", "99999999999.0", good]]
    for case in cases:
        status, out, err = corpus.run(case)
        report.case("usage: " + " ".join(os.path.basename(c) for c in case),
                    [] if status == 2 and err and b"Usage" not in out else ["status %d: %r %r" % (status, out[:200], err[:200])])


usages()
os.rmdir(scratch)
if not report.failed and report.cases < 150:
    report.case("number of cases", ["only %d" % report.cases])
sys.stdout.flush()
report.finish()
