/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Input that is no usable domain: each case with the file, line and reason a person is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "domain_xml.h"
#include "error.h"

#define D "<domain type='kvm'>\n"
#define M "<memory unit='GiB'>4</memory>\n"
#define E "</devices>\n</domain>\n"
#define HOSTDEV "<hostdev type='pci'><source><address bus='1'/></source></hostdev>\n"
#define VMEM(inside) "<memory model='virtio-mem'><target>" inside "</target></memory>\n"
#define QEMU "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n" M "<qemu:commandline>\n"
#define ARG(value) "<qemu:arg value='" value "'/>"
#define QEND "</qemu:commandline></domain>"
#define POLICY "<metadata>\n<v:policy xmlns:v='urn:vfiomem:domain:1'>\n"
#define PEND "</v:policy></metadata>\n</domain>"

typedef struct {
    const char *text;
    int code;
    unsigned line;
    const char *says;
} Bad;

static void check(const Bad *bad, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(VfmDomain) domain = vfm_domain_xml_parse(bad[i].text, strlen(bad[i].text), "bad.xml", &error);
        g_autofree char *where = g_strdup_printf("bad.xml:%u: ", bad[i].line);

        if (domain)
            fail_msg("case %zu was taken:\n%s", i, bad[i].text);
        assert_int_equal(error->domain, VFM_INPUT_ERROR);
        if (error->code != bad[i].code || !g_str_has_prefix(error->message, where) ||
            !strstr(error->message, bad[i].says))
            fail_msg("case %zu: code %d, expected %d at %s with '%s':\n%s", i, error->code, bad[i].code, where,
                     bad[i].says, error->message);
        assert_null(strchr(error->message, '\n'));
    }
}

static void test_not_a_domain(void **state)
{
    static const Bad bad[] = {
        {"", VFM_INPUT_SYNTAX, 1, "empty"},
        {"hello", VFM_INPUT_SYNTAX, 1, "not well-formed"},
        {"{\"domain\":1}", VFM_INPUT_SYNTAX, 1, "not well-formed"},
        {" \n\n ", VFM_INPUT_SYNTAX, 3, "not well-formed"},
        {D M "<devices>", VFM_INPUT_SYNTAX, 3, "not well-formed"},
        {D M "<dev", VFM_INPUT_SYNTAX, 3, "not well-formed"},
        {D M "</domains>", VFM_INPUT_SYNTAX, 3, "not well-formed"},
        {D M "</domain>\n<domain/>", VFM_INPUT_SYNTAX, 4, "one file holds one domain"},
        {D M "&nbsp;</domain>", VFM_INPUT_SYNTAX, 3, "nbsp"},
        {D M "<qemu:commandline/></domain>", VFM_INPUT_SYNTAX, 3, "prefix qemu"},
        {D M "<metadata><vfiomem:policy/></metadata></domain>", VFM_INPUT_SYNTAX, 3, "prefix vfiomem is not defined"},
        {"<network>\n</network>", VFM_INPUT_SYNTAX, 1, "root element is <network>"},
        {"<domain xmlns='urn:x' type='kvm'/>", VFM_INPUT_SYNTAX, 1, "in a namespace"},
        {"<domstatus>\n</domstatus>", VFM_INPUT_SYNTAX, 1, "holds no <domain>"},
        {"<domain>" M "</domain>", VFM_INPUT_SYNTAX, 1, "has no type"},
        {"<?xml version='1.0' encoding='klingon'?>\n<domain/>", VFM_INPUT_SYNTAX, 1, "not well-formed"},
    };

    check(bad, sizeof(bad) / sizeof(bad[0]));
}

static void test_nothing_outside_is_read_and_no_entity_made(void **state)
{
    static const Bad bad[] = {
        {"<!DOCTYPE domain>\n<domain type='kvm'/>", VFM_INPUT_UNSUPPORTED, 1, "document type declaration"},
        {"<?xml version='1.0'?>\n<!DOCTYPE domain SYSTEM 'file:///etc/passwd'>\n<domain type='kvm'/>",
         VFM_INPUT_UNSUPPORTED, 2, "document type declaration"},
        {"<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>\n<domain type='kvm'><name>&x;</name></domain>",
         VFM_INPUT_UNSUPPORTED, 1, "document type declaration"},
        {"<!DOCTYPE d [<!ENTITY % p SYSTEM 'http://127.0.0.1:1/x.dtd'>%p;]>\n<domain type='kvm'/>",
         VFM_INPUT_UNSUPPORTED, 1, "document type declaration"},
        {"<!DOCTYPE d [\n<!ENTITY a 'aaaaaaaaaaaaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>\n"
         "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'><!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>\n"
         "<!ENTITY e '&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;'><!ENTITY f '&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;'>]>\n"
         "<domain type='kvm'><name>&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;</name></domain>",
         VFM_INPUT_UNSUPPORTED, 1, "document type declaration"},
    };

    check(bad, sizeof(bad) / sizeof(bad[0]));
}

static void test_size_and_depth_are_bounded(void **state)
{
    g_autoptr(GError) error = NULL;
    gsize huge = VFM_DOMAIN_XML_MAX + 1;
    g_autofree char *spaces = g_malloc(huge);
    GString *deep = g_string_new(D M);
    GString *cells = g_string_new(D M "<cpu><numa>");

    memset(spaces, ' ', huge);
    assert_null(vfm_domain_xml_parse(spaces, huge, "huge.xml", &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE));
    assert_non_null(strstr(error->message, "huge.xml:1: "));
    g_clear_error(&error);
    for (int i = 0; i < 5000; i++)
        g_string_append(deep, "<backingStore type='nvme'>");
    assert_null(vfm_domain_xml_parse(deep->str, deep->len, "deep.xml", &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX));
    g_string_free(deep, TRUE);
    g_clear_error(&error);
    for (int i = 0; i < 1025; i++)
        g_string_append(cells, "<cell memory='1'/>");
    g_string_append(cells, "</numa></cpu></domain>");
    assert_null(vfm_domain_xml_parse(cells->str, cells->len, "cells.xml", &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE));
    g_string_free(cells, TRUE);
}

static void test_bytes_that_are_no_text(void **state)
{
    static const char nul[] = "<domain type='kvm'>\0<memory>1</memory></domain>";
    static const char invalid[] = "<domain type='kvm'><name>\xff\xfe</name><memory>1</memory></domain>";
    static const char terminal[] = D "<memory unit='&#x9b;31m'>1</memory></domain>";
    g_autoptr(GError) error = NULL;

    assert_null(vfm_domain_xml_parse(nul, sizeof(nul) - 1, "f", &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX));
    g_clear_error(&error);
    assert_null(vfm_domain_xml_parse(invalid, sizeof(invalid) - 1, "f", &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX));
    assert_true(g_utf8_validate(error->message, -1, NULL));
    g_clear_error(&error);
    /* What a message quotes can't steer a terminal. */
    assert_null(vfm_domain_xml_parse(terminal, sizeof(terminal) - 1, "f", &error));
    assert_null(strstr(error->message, "\xc2\x9b"));
    assert_non_null(strstr(error->message, "unit"));
}

static void test_duplicates(void **state)
{
    static const Bad bad[] = {
        {D M M "</domain>", VFM_INPUT_CONFLICT, 3, "first one in <domain> is in line 2"},
        {D M "<name>a</name>\n<name>b</name></domain>", VFM_INPUT_CONFLICT, 4, "<name>"},
        {D M "<devices/>\n<devices/></domain>", VFM_INPUT_CONFLICT, 4, "<devices>"},
        {D M "<devices>\n<memballoon model='none'/>\n<memballoon model='virtio'/>\n" E, VFM_INPUT_CONFLICT, 5,
         "line 4"},
        {D M "<memoryBacking/>\n<memoryBacking/></domain>", VFM_INPUT_CONFLICT, 4, "<memoryBacking>"},
        {D M "<memoryBacking><source type='memfd'/>\n<source type='file'/></memoryBacking></domain>",
         VFM_INPUT_CONFLICT, 4, "<source>"},
        {D M "<memtune><hard_limit>1</hard_limit>\n<hard_limit>2</hard_limit></memtune></domain>", VFM_INPUT_CONFLICT,
         4, "<hard_limit>"},
        {D M "<devices>\n" VMEM("<size>1024</size>\n<block>2048</block>\n<block>4096</block>") E, VFM_INPUT_CONFLICT, 6,
         "<block>"},
        {D M "<devices>\n" HOSTDEV HOSTDEV E, VFM_INPUT_CONFLICT, 5, "0000:01:00.0 is assigned here again"},
        {D M "<devices>\n" HOSTDEV "<interface type='hostdev'><source><address bus='0x01'/></source></interface>\n" E,
         VFM_INPUT_CONFLICT, 5, "first time is in line 4"},
        {D M "<cpu><numa>\n<cell id='0' memory='1'/>\n<cell id='0' memory='1'/></numa></cpu></domain>",
         VFM_INPUT_CONFLICT, 5, "NUMA cell 0 stands here again"},
        {D M "<cpu><numa>\n<cell id='0' memory='1'/>\n<cell id='2' memory='1'/></numa></cpu></domain>",
         VFM_INPUT_CONFLICT, 5, "without a gap"},
        {D M "<memoryBacking><hugepages><page size='2048'/>\n<page size='1' "
             "unit='G'/></hugepages></memoryBacking></domain>",
         VFM_INPUT_CONFLICT, 4, "without a nodeset"},
        {D "<cpu><numa><cell memory='1024'/></numa></cpu><memoryBacking><hugepages>\n<page size='2048' nodeset='0'/>\n"
           "<page size='1' unit='G' nodeset='0'/></hugepages></memoryBacking></domain>",
         VFM_INPUT_CONFLICT, 4, "node 0 has its page size from line 3"},
    };

    check(bad, sizeof(bad) / sizeof(bad[0]));
}

static void test_sizes(void **state)
{
    static const Bad bad[] = {
        {D "<memory>-4096</memory></domain>", VFM_INPUT_RANGE, 2, "<memory>: '-4096' is negative"},
        {D "<memory unit='EiB'>16</memory></domain>", VFM_INPUT_RANGE, 2, "16 EiB is too large"},
        {D "<memory>99999999999999999999</memory></domain>", VFM_INPUT_RANGE, 2, "64 bits"},
        {D "<memory unit='parsec'>1</memory></domain>", VFM_INPUT_SYNTAX, 2, "unit 'parsec' is unknown"},
        {D "<memory>lots</memory></domain>", VFM_INPUT_SYNTAX, 2, "'lots' is not a number"},
        {D "<memory/></domain>", VFM_INPUT_SYNTAX, 2, "no number"},
        {D "<memory>0</memory></domain>", VFM_INPUT_SYNTAX, 2, "no memory"},
        {D "<name>x</name></domain>", VFM_INPUT_SYNTAX, 1, "no memory"},
        {D M "<devices>\n" VMEM("<size>-1</size>") E, VFM_INPUT_RANGE, 4, "<size>: '-1' is negative"},
        {D M "<devices>\n" VMEM("<size>0</size>") E, VFM_INPUT_RANGE, 4, "no size above 0"},
        {D M "<devices>\n" VMEM("<node>0</node>") E, VFM_INPUT_RANGE, 4, "no size above 0"},
        {D M "<devices>\n<memory model='dimm'/>\n" E, VFM_INPUT_SYNTAX, 4, "no <target>"},
        {D M "<devices>\n<memory><target><size>1</size></target></memory>\n" E, VFM_INPUT_SYNTAX, 4, "no model"},
        {D M "<devices>\n" VMEM("<size>1024</size><block unit='X'>2</block>") E, VFM_INPUT_SYNTAX, 4,
         "<block>: unit 'X'"},
        {D M "<devices>\n" VMEM("<size unit='GiB'>4</size>") E, VFM_INPUT_CONFLICT, 2, "leave nothing of <memory>"},
        {D "<maxMemory slots='1' unit='GiB'>3</maxMemory>\n" M "</domain>", VFM_INPUT_CONFLICT, 2, "<maxMemory>"},
        {D "<maxMemory slots='-1'>1</maxMemory>\n" M "</domain>", VFM_INPUT_RANGE, 2, "attribute slots of <maxMemory>"},
        {D "<cpu><numa>\n<cell id='0' memory='7' unit='EiB'/>\n<cell id='1' memory='7' "
           "unit='EiB'/></numa></cpu></domain>",
         VFM_INPUT_RANGE, 4, "NUMA cells together exceed"},
        {D M "<cpu><numa><cell id='0' memory='1'/></numa></cpu><devices>\n" VMEM("<size unit='EiB'>7</size>")
             VMEM("<size unit='EiB'>7</size>") E,
         VFM_INPUT_RANGE, 5, "memory devices together exceed"},
        {D M "<cpu><numa><cell memory='7' unit='EiB'/></numa></cpu><devices>\n" VMEM("<size unit='EiB'>7</size>") E,
         VFM_INPUT_RANGE, 2, "all guest memory together exceeds"},
        {D M "<memtune><hard_limit unit='EiB'>8</hard_limit></memtune></domain>", VFM_INPUT_RANGE, 3, "<hard_limit>"},
        {D M "<memoryBacking><hugepages><page size='0'/></hugepages></memoryBacking></domain>", VFM_INPUT_RANGE, 3,
         "<page>"},
        {D M "<memoryBacking><hugepages><page/></hugepages></memoryBacking></domain>", VFM_INPUT_RANGE, 3, "<page>"},
        {D M "<memoryBacking><hugepages><page size='3000'/></hugepages></memoryBacking></domain>", VFM_INPUT_RANGE, 3,
         "powers of two"},
        {D M "<vcpu>0</vcpu></domain>", VFM_INPUT_RANGE, 3, "<vcpu>"},
        {D M "<vcpu>4294967297</vcpu></domain>", VFM_INPUT_RANGE, 3, "too large"},
        {D M "<cpu><numa><cell/></numa></cpu></domain>", VFM_INPUT_SYNTAX, 3, "NUMA cell 0 has no memory"},
        {D M "<cpu><maxphysaddr bits='65'/></cpu></domain>", VFM_INPUT_RANGE, 3, "attribute bits"},
    };

    check(bad, sizeof(bad) / sizeof(bad[0]));
}

static void test_places(void **state)
{
#define CELLS2 "<cpu><numa><cell memory='1048576'/><cell memory='1048576'/></numa></cpu>\n"
#define DIMM(address)                                                                                                  \
    "<memory model='dimm'><target><size unit='GiB'>1</size><node>0</node></target>" address "</memory>\n"
    static const Bad bad[] = {
        {D M "<devices>\n" VMEM("<size>1024</size><node>1</node>") E, VFM_INPUT_CONFLICT, 4,
         "NUMA node 1, but the guest has 0"},
        {D CELLS2 "<devices>\n" VMEM("<size>1024</size><node>2</node>") E, VFM_INPUT_CONFLICT, 4,
         "NUMA node 2, but the guest has 2"},
        {D CELLS2 "<devices>\n" VMEM("<size>1024</size><node>-1</node>") E, VFM_INPUT_RANGE, 4, "negative"},
        {D CELLS2 "<memoryBacking><hugepages>\n<page size='2048' nodeset='0-2'/></hugepages></memoryBacking></domain>",
         VFM_INPUT_CONFLICT, 4, "NUMA node 2 does not exist"},
        {D CELLS2 "<memoryBacking><hugepages>\n<page size='2048' nodeset='x'/></hugepages></memoryBacking></domain>",
         VFM_INPUT_SYNTAX, 4, "not a list of nodes"},
        {D CELLS2 "<devices>\n" DIMM("<address type='dimm' slot='0' base='0x100000000'/>")
             DIMM("<address type='dimm' slot='1' base='0x13fffffff'/>") E,
         VFM_INPUT_CONFLICT, 5, "dimm memory at 0x13fffffff overlaps the one at 0x100000000 of line 4"},
        {D CELLS2 "<devices>\n" DIMM("<address type='dimm' slot='0' base='0x140000000'/>")
             VMEM("<size unit='GiB'>2</size><node>0</node><address base='0x100000000'/>") E,
         VFM_INPUT_CONFLICT, 5, "virtio-mem memory at 0x100000000 overlaps"},
        {D CELLS2 "<devices>\n" DIMM("<address type='dimm' slot='0' base='0x100000000'/>")
             DIMM("<address type='dimm' slot='0' base='0x200000000'/>") E,
         VFM_INPUT_CONFLICT, 5, "slot 0 is taken by the device in line 4"},
        {D CELLS2 "<devices>\n" DIMM("<address type='dimm' slot='0' base='0xffffffffffff0000'/>") E, VFM_INPUT_RANGE, 4,
         "ends beyond 64 bits"},
        {D CELLS2 "<devices>\n" DIMM("<address type='dimm' slot='0' base='ten'/>") E, VFM_INPUT_SYNTAX, 4, "base"},
    };

    check(bad, sizeof(bad) / sizeof(bad[0]));
}

static void test_devices(void **state)
{
    static const Bad bad[] = {
        {D M "<devices>\n<hostdev/>\n" E, VFM_INPUT_SYNTAX, 4, "<hostdev> has no type"},
        {D M "<devices>\n<hostdev type='pci'/>\n" E, VFM_INPUT_SYNTAX, 4, "no <source><address>"},
        {D M "<devices>\n<hostdev type='pci'><source><address/></source></hostdev>\n" E, VFM_INPUT_SYNTAX, 4,
         "above 0"},
        {D M "<devices>\n<hostdev type='pci'><source><address bus='256'/></source></hostdev>\n" E, VFM_INPUT_RANGE, 4,
         "bus"},
        {D M "<devices>\n<hostdev type='pci'><source><address bus='0xg'/></source></hostdev>\n" E, VFM_INPUT_SYNTAX, 4,
         "bus"},
        {D M "<devices>\n<hostdev type='pci' managed='maybe'><source><address bus='1'/></source></hostdev>\n" E,
         VFM_INPUT_SYNTAX, 4, "it may be yes, no"},
        {D M "<devices>\n<hostdev type='mdev'><source><address/></source></hostdev>\n" E, VFM_INPUT_SYNTAX, 4, "uuid"},
        {D M "<devices>\n<interface type='network'/>\n" E, VFM_INPUT_SYNTAX, 4, "names no network"},
        {D M "<devices>\n<interface type='vdpa'/>\n" E, VFM_INPUT_SYNTAX, 4, "vDPA"},
        {D M "<devices>\n<disk type='nvme'><source type='pci'/></disk>\n" E, VFM_INPUT_SYNTAX, 4, "<disk>"},
        {D M "<devices>\n<memballoon/>\n" E, VFM_INPUT_SYNTAX, 4, "no model"},
        {D M "<devices>\n<memballoon model='virtio' autodeflate='yes'/>\n" E, VFM_INPUT_SYNTAX, 4, "it may be on, off"},
        {D M "<devices>\n<iommu/>\n" E, VFM_INPUT_SYNTAX, 4, "no model"},
        {D M "<devices>\n<iommu model='intel'><driver aw_bits='512'/></iommu>\n" E, VFM_INPUT_RANGE, 4, "aw_bits"},
        {D M "<launchSecurity/></domain>", VFM_INPUT_SYNTAX, 3, "no type"},
    };

    check(bad, sizeof(bad) / sizeof(bad[0]));
}

static void test_commandlines(void **state)
{
    static const Bad bad[] = {
        {QEMU ARG("-device") "\n" QEND, VFM_INPUT_SYNTAX, 4, "-device has no value"},
        {QEMU ARG("-device") ARG("vfio-pci,host=nowhere") QEND, VFM_INPUT_SYNTAX, 4, "host=nowhere"},
        {QEMU ARG("-device") ARG("vfio-pci,host=01:00.0,x-balloon-allowed=perhaps") QEND, VFM_INPUT_SYNTAX, 4,
         "perhaps"},
        {QEMU ARG("-device") ARG("{\"driver\":\"vfio-pci\",\"host\":}") QEND, VFM_INPUT_SYNTAX, 4, "JSON argument"},
        {QEMU ARG("-device") ARG("virtio-mem-pci,memdev=none") QEND, VFM_INPUT_CONFLICT, 4, "memdev='none'"},
        {QEMU ARG("-object") ARG("memory-backend-ram,id=m,size=8E") ARG("-device") ARG("virtio-mem-pci,memdev=m") QEND,
         VFM_INPUT_RANGE, 4, "no valid size"},
        {QEMU ARG("-device") ARG("virtio-balloon-pci") QEND, VFM_INPUT_CONFLICT, 4, "second balloon"},
        {QEMU ARG("-drive") ARG("file=nvme://x/1") QEND, VFM_INPUT_SYNTAX, 4, "NVMe"},
    };

    check(bad, sizeof(bad) / sizeof(bad[0]));
}

static void test_policies(void **state)
{
    static const Bad bad[] = {
        {D M POLICY "<v:maping owner='qemu'/>" PEND, VFM_INPUT_SYNTAX, 5, "<maping> is unknown"},
        {D M POLICY "<mapping owner='qemu'/>" PEND, VFM_INPUT_SYNTAX, 5, "not in namespace"},
        {D M POLICY "<v:mapping owner='me'/>" PEND, VFM_INPUT_SYNTAX, 5, "it may be qemu, helper"},
        {D M POLICY "<v:mapping owners='qemu'/>" PEND, VFM_INPUT_SYNTAX, 5, "no attribute 'owners'"},
        {D M POLICY "<v:mapping v:owner='qemu'/>" PEND, VFM_INPUT_SYNTAX, 5, "no attribute 'v:owner'"},
        {D M POLICY "<v:mapping>text</v:mapping>" PEND, VFM_INPUT_SYNTAX, 5, "holds no text"},
        {D M POLICY "<v:mapping><v:budget/></v:mapping>" PEND, VFM_INPUT_SYNTAX, 5, "holds no elements"},
        {D M POLICY "<v:mapping/>\n<v:mapping/>" PEND, VFM_INPUT_CONFLICT, 6, "first one is in line 5"},
        {D M POLICY "<v:budget/>\n<v:budget/>" PEND, VFM_INPUT_CONFLICT, 6, "first one is in line 5"},
        {D M POLICY "<v:balloon/>\n<v:balloon/>" PEND, VFM_INPUT_CONFLICT, 6, "first one is in line 5"},
        {D M POLICY "<v:resize/>\n<v:resize/>" PEND, VFM_INPUT_CONFLICT, 6, "first one is in line 5"},
        {D M POLICY "<v:budget mappings='0'/>" PEND, VFM_INPUT_RANGE, 5, "0 mappings"},
        {D M POLICY "<v:budget mappings='-1'/>" PEND, VFM_INPUT_RANGE, 5, "negative"},
        {D M POLICY "<v:budget mappings='10' headroom='10'/>" PEND, VFM_INPUT_CONFLICT, 5, "leaves nothing"},
        {D M POLICY "<v:balloon inhibited='deny'/>" PEND, VFM_INPUT_SYNTAX, 5, "it may be refuse, resize, pass"},
        {D M POLICY "<v:window start='0'/>" PEND, VFM_INPUT_SYNTAX, 5, "needs a start and a size"},
        {D M POLICY "<v:window start='0xffffffffffffffff' size='2'/>" PEND, VFM_INPUT_RANGE, 5, "beyond 64 bits"},
        {D M POLICY "<v:window start='0' size='0x2000'/>\n<v:window start='0x1fff' size='1'/>" PEND, VFM_INPUT_CONFLICT,
         6, "overlaps the one in line 5"},
        {D M POLICY "<v:resize min='2' max='1' unit='GiB'/>" PEND, VFM_INPUT_CONFLICT, 5, "min above its max"},
        {D M POLICY "<v:resize min='20' unit='EiB'/>" PEND, VFM_INPUT_RANGE, 5, "too large"},
        {D M POLICY "stray" PEND, VFM_INPUT_SYNTAX, 4, "holds no text"},
        {D M
         "<metadata><v:policy xmlns:v='urn:vfiomem:domain:1'/>\n<v:policy xmlns:v='urn:vfiomem:domain:1'/></metadata>"
         "</domain>",
         VFM_INPUT_CONFLICT, 4, "first one is in line 3"},
        {D M "<metadata><v:policy a='b' xmlns:v='urn:vfiomem:domain:1'/></metadata></domain>", VFM_INPUT_SYNTAX, 3,
         "no attribute 'a'"},
        {D M "<metadata><v:polcy xmlns:v='urn:vfiomem:domain:1'/></metadata></domain>", VFM_INPUT_SYNTAX, 3,
         "use <policy>"},
        {D M "<metadata><v:policy xmlns:v='urn:vfiomem:domain:2'/></metadata></domain>", VFM_INPUT_UNSUPPORTED, 3,
         "urn:vfiomem:domain:2"},
    };

    check(bad, sizeof(bad) / sizeof(bad[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_a_domain),
        cmocka_unit_test(test_nothing_outside_is_read_and_no_entity_made),
        cmocka_unit_test(test_size_and_depth_are_bounded),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_commandlines),
        cmocka_unit_test(test_policies),
    };

    return cmocka_run_group_tests_name("domain-xml-bad", tests, NULL, NULL);
}
