# SPDX-License-Identifier: LGPL-2.1-or-later
"""Takes the domain XML out of libvirt's own documentation as the package libvirt-doc installs it.

Nothing of it is kept in this tree: the pages are read when the test runs. Two kinds are found: whole <domain> elements,
and the snippets of formatdomain that start with an element and its "..." surroundings, which are completed to a
domain. What is not well-formed even then (usage texts, "<cpu ...>") is no example.
"""
import glob
import html
import os
import re
import xml.etree.ElementTree as ElementTree

PAGES = "/usr/share/doc/libvirt-doc/html"
DEVICE = re.compile(r"<(disk|filesystem|hostdev|interface|memory)(?=[\s>]).*?</\1>", re.S)
DOMAIN = re.compile(r"<domain(?=[\s>]).*?</domain>", re.S)


def _well_formed(text):
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None


def _blocks(page):
    with open(page, encoding="utf-8", errors="replace") as source:
        text = source.read()
    for block in re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.S):
        yield html.unescape(re.sub(r"<[^>]+>", "", block))


def _complete(text):
    """A snippet with type, memory and os where it has none: what libvirt needs to take it as a domain."""
    root = _well_formed(text)
    if root is None or root.tag != "domain":
        return None
    head = text.index(">")
    if text[head - 1] == "/":
        return None
    start, rest = text[:head], text[head:]
    if "type" not in root.attrib:
        start += " type='kvm'"
    added = ""
    if root.find("devices/memory") is not None and root.find("cpu") is None:
        # The memory devices of the examples lie on nodes 0 and 1.
        added += "<cpu><numa><cell id='0' cpus='0' memory='2' unit='GiB'/><cell id='1' cpus='1' memory='2' " \
                 "unit='GiB'/></numa></cpu><vcpu>2</vcpu><maxMemory slots='16' unit='TiB'>2</maxMemory>"
    elif root.find("memory") is None and root.find("cpu/numa/cell") is None:
        # Enough for every device of the examples, so that only the example itself is judged.
        added += "<memory unit='TiB'>1</memory>"
    if root.find("os") is None:
        added += "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
    if root.find("name") is None:
        added += "<name>example</name>"
    return start + ">" + added + rest[1:]


def examples():
    """Yields (key, text): "formatdomain.html 12" is the thirteenth example of that page."""
    for page in sorted(glob.glob(os.path.join(PAGES, "**", "*.html"), recursive=True)):
        name = os.path.relpath(page, PAGES)
        count = 0
        for block in _blocks(page):
            # libvirt's pages cut examples short with lines of dots; as text they do no harm.
            found = DOMAIN.findall(block)
            if not found and name == "formatdomain.html" and block.lstrip().startswith(("...", "<")):
                found = ["<domain>" + block + "</domain>"]
                if _well_formed(found[0]) is None:  # one slip in a long list of devices spoils no other
                    found = ["<domain><devices>%s</devices></domain>" % m.group(0) for m in DEVICE.finditer(block)]
            for text in found:
                whole = _complete(text)
                if whole is not None:
                    yield "%s %d" % (name, count), whole
                    count += 1
