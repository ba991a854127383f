/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each case is a domain before and after; every byte counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "domain_edit.h"
#include "domain_xml.h"
#include "error.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define QEMU "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
#define MAX_EDITS 3

typedef struct {
    const char *name;
    const char *before;
    VfmEdit edits[MAX_EDITS];
    unsigned count;
    const char *after;
} Case;

static GPtrArray *edits_of(const Case *c)
{
    GPtrArray *edits = g_ptr_array_new();

    for (unsigned i = 0; i < c->count; i++)
        g_ptr_array_add(edits, (gpointer)&c->edits[i]);
    return edits;
}

#define VMEM_HEAD "<domain type='kvm'>\n  <memory unit='GiB'>9</memory>\n  <devices>\n"
#define VMEM_TAIL "  </devices>\n</domain>\n"

static const Case cases[] = {
    {
        "block keeps its unit, white space and comments around it",
        VMEM_HEAD "    <memory model=\"virtio-mem\" ><target>\n"
                  "        <size unit='GiB'>8</size> <!-- max -->\n"
                  "        <block  unit = \"MiB\" >2</block><!-- small -->\n"
                  "        <requested unit='GiB'>1</requested>\n"
                  "      </target></memory>\n" VMEM_TAIL,
        {{.kind = VFM_EDIT_BLOCK, .index = 0, .value = 4 * MIB}},
        1,
        VMEM_HEAD "    <memory model=\"virtio-mem\" ><target>\n"
                  "        <size unit='GiB'>8</size> <!-- max -->\n"
                  "        <block  unit = \"MiB\" >4</block><!-- small -->\n"
                  "        <requested unit='GiB'>1</requested>\n"
                  "      </target></memory>\n" VMEM_TAIL,
    },
    {
        "a unit that can't hold the value changes with it",
        VMEM_HEAD "    <memory model='virtio-mem'>\n      <target>\n        <size unit='GiB'>8</size>\n"
                  "        <block unit='GiB'>1</block>\n        <requested>1048576</requested>\n"
                  "      </target>\n    </memory>\n" VMEM_TAIL,
        {{.kind = VFM_EDIT_BLOCK, .index = 0, .value = 4 * MIB}, {.kind = VFM_EDIT_REQUESTED, .value = 4 * MIB}},
        2,
        VMEM_HEAD "    <memory model='virtio-mem'>\n      <target>\n        <size unit='GiB'>8</size>\n"
                  "        <block unit='MiB'>4</block>\n        <requested>4096</requested>\n"
                  "      </target>\n    </memory>\n" VMEM_TAIL,
    },
    {
        "comments beside the number stay, split and quoted numbers become one",
        VMEM_HEAD "    <memory model='virtio-mem'>\n      <target>\n        <size unit='GiB'>8</size>\n"
                  "        <block unit='KiB'><!-- was 1 --> 20<?why?>48</block>\n"
                  "        <requested unit='MiB'><![CDATA[5]]><!-- <5> --></requested>\n"
                  "      </target>\n    </memory>\n" VMEM_TAIL,
        {{.kind = VFM_EDIT_BLOCK, .index = 0, .value = 4 * MIB}, {.kind = VFM_EDIT_REQUESTED, .value = 4 * MIB}},
        2,
        VMEM_HEAD "    <memory model='virtio-mem'>\n      <target>\n        <size unit='GiB'>8</size>\n"
                  "        <block unit='KiB'><!-- was 1 --> 4096<?why?></block>\n"
                  "        <requested unit='MiB'>4<!-- <5> --></requested>\n"
                  "      </target>\n    </memory>\n" VMEM_TAIL,
    },
    {
        "a missing block stands where libvirt prints it, below the comment of its neighbour's line",
        VMEM_HEAD "    <memory model='virtio-mem'>\n      <target>\n        <size unit='GiB'>8</size>\n"
                  "        <node>0</node> <!-- near -->\n        <requested unit='GiB'>1</requested>\n"
                  "      </target>\n    </memory>\n" VMEM_TAIL,
        {{.kind = VFM_EDIT_BLOCK, .index = 0, .value = 4 * MIB}},
        1,
        VMEM_HEAD "    <memory model='virtio-mem'>\n      <target>\n        <size unit='GiB'>8</size>\n"
                  "        <node>0</node> <!-- near -->\n        <block unit='MiB'>4</block>\n"
                  "        <requested unit='GiB'>1</requested>\n      </target>\n    </memory>\n" VMEM_TAIL,
    },
    {
        "generated XML stays in KiB; tabs and CRLF stay",
        "<domain type='kvm'>\r\n\t<memory>9437184</memory>\r\n\t<devices>\r\n\t\t<memory model='virtio-mem'>\r\n"
        "\t\t\t<target>\r\n\t\t\t\t<size unit='KiB'>8388608</size>\r\n\t\t\t</target>\r\n\t\t</memory>\r\n"
        "\t</devices>\r\n</domain>\r\n",
        {{.kind = VFM_EDIT_BLOCK, .index = 0, .value = 2 * MIB}, {.kind = VFM_EDIT_HARD_LIMIT, .value = 2 * GIB + 1}},
        2,
        "<domain type='kvm'>\r\n\t<memory>9437184</memory>\r\n\t<memtune>\r\n"
        "\t\t<hard_limit unit='KiB'>2097153</hard_limit>\r\n\t</memtune>\r\n\t<devices>\r\n"
        "\t\t<memory model='virtio-mem'>\r\n\t\t\t<target>\r\n\t\t\t\t<size unit='KiB'>8388608</size>\r\n"
        "\t\t\t\t<block unit='KiB'>2048</block>\r\n\t\t\t</target>\r\n\t\t</memory>\r\n\t</devices>\r\n</domain>\r\n",
    },
    {
        "one line stays one line",
        "<domain type='kvm'><memory unit='GiB'>9</memory><devices><memory model='virtio-mem'><target>"
        "<size unit='GiB'>8</size></target></memory></devices></domain>",
        {{.kind = VFM_EDIT_BLOCK, .value = 2 * MIB},
         {.kind = VFM_EDIT_HARD_LIMIT, .value = GIB},
         {.kind = VFM_EDIT_MEMFD_SHARED}},
        3,
        "<domain type='kvm'><memory unit='GiB'>9</memory><memtune><hard_limit unit='GiB'>1</hard_limit></memtune>"
        "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking><devices>"
        "<memory model='virtio-mem'><target><size unit='GiB'>8</size><block unit='MiB'>2</block></target></memory>"
        "</devices></domain>",
    },
    {
        "the second of two devices; comments that look like elements don't count",
        "<!-- <domain> --><domain type='kvm'>\n<memory unit='GiB'>9</memory><devices>\n"
        "<!-- <memory model='virtio-mem'><target/></memory> -->\n"
        "<memory model='dimm'><target><size unit='GiB'>1</size></target></memory>\n"
        "<x:memory xmlns:x='urn:x'/><y xmlns='urn:y'><memory/></y><z><q:memory/></z>\n"
        "<memory model='virtio-mem'><target><size unit='GiB'>1</size><block><![CDATA[2048]]></block></target></memory>"
        "\n</devices></domain>",
        {{.kind = VFM_EDIT_BLOCK, .index = 1, .value = 4 * MIB}},
        1,
        "<!-- <domain> --><domain type='kvm'>\n<memory unit='GiB'>9</memory><devices>\n"
        "<!-- <memory model='virtio-mem'><target/></memory> -->\n"
        "<memory model='dimm'><target><size unit='GiB'>1</size></target></memory>\n"
        "<x:memory xmlns:x='urn:x'/><y xmlns='urn:y'><memory/></y><z><q:memory/></z>\n"
        "<memory model='virtio-mem'><target><size unit='GiB'>1</size><block>4096</block></target></memory>"
        "\n</devices></domain>",
    },
    {
        "balloon switches are turned off where they stand",
        "<domain type='kvm'><memory>1024</memory><devices>"
        "<memballoon autodeflate=\"on\" model='virtio'\n   freePageReporting = 'on' /></devices></domain>",
        {{.kind = VFM_EDIT_FREE_PAGE_REPORTING_OFF}, {.kind = VFM_EDIT_AUTODEFLATE_OFF}},
        2,
        "<domain type='kvm'><memory>1024</memory><devices>"
        "<memballoon autodeflate=\"off\" model='virtio'\n   freePageReporting = 'off' /></devices></domain>",
    },
    {
        "also in qemu:override and qemu:commandline, references kept",
        "<domain type='kvm' " QEMU "><memory>1024</memory><devices><memballoon model='virtio'/></devices>"
        "<qemu:override><qemu:device alias='net0'><qemu:frontend><qemu:property name='free-page-reporting' "
        "type='bool' value='true'/></qemu:frontend></qemu:device><qemu:device alias='balloon0'><qemu:frontend>"
        "<qemu:property name='free-page-reporting' type='bool' value='true'/></qemu:frontend></qemu:device>"
        "</qemu:override></domain>",
        {{.kind = VFM_EDIT_FREE_PAGE_REPORTING_OFF}},
        1,
        "<domain type='kvm' " QEMU "><memory>1024</memory><devices><memballoon model='virtio'/></devices>"
        "<qemu:override><qemu:device alias='net0'><qemu:frontend><qemu:property name='free-page-reporting' "
        "type='bool' value='true'/></qemu:frontend></qemu:device><qemu:device alias='balloon0'><qemu:frontend>"
        "<qemu:property name='free-page-reporting' type='bool' value='false'/></qemu:frontend></qemu:device>"
        "</qemu:override></domain>",
    },
    {
        "devices of the command line, in both forms",
        "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><memory>1024</memory><devices>"
        "<memballoon model='none'/></devices><q:commandline><q:arg value='-object'/>"
        "<q:arg value='memory-backend-ram,id=m0,size=8G'/><q:arg value='-object'/>"
        "<q:arg value='{\"qom-type\":\"memory-backend-ram\",\"id\":\"m1\",\"size\":8589934592}'/>"
        "<q:arg value='-device'/><q:arg value='virtio-mem-pci,id=v0,memdev=m0,block-size=2M'/>"
        "<q:arg value='-device'/>"
        "<q:arg value=\"{&quot;driver&quot;:&#x22;virtio-mem-pci&quot;, &quot;memdev&quot;:&quot;m1&quot; }\"/>"
        "<q:arg value='-device'/><q:arg value='intel-iommu'/></q:commandline></domain>",
        {{.kind = VFM_EDIT_BLOCK, .index = 0, .value = 4 * MIB},
         {.kind = VFM_EDIT_BLOCK, .index = 1, .value = 4 * MIB},
         {.kind = VFM_EDIT_CACHING_MODE, .index = 0}},
        3,
        "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><memory>1024</memory><devices>"
        "<memballoon model='none'/></devices><q:commandline><q:arg value='-object'/>"
        "<q:arg value='memory-backend-ram,id=m0,size=8G'/><q:arg value='-object'/>"
        "<q:arg value='{\"qom-type\":\"memory-backend-ram\",\"id\":\"m1\",\"size\":8589934592}'/>"
        "<q:arg value='-device'/><q:arg value='virtio-mem-pci,id=v0,memdev=m0,block-size=4194304'/>"
        "<q:arg value='-device'/>"
        "<q:arg value=\"{&quot;driver&quot;:&#x22;virtio-mem-pci&quot;, &quot;memdev&quot;:&quot;m1&quot;,"
        "&quot;block-size&quot;:4194304 }\"/>"
        "<q:arg value='-device'/><q:arg value='intel-iommu,caching-mode=on'/></q:commandline></domain>",
    },
    {
        "a hard limit that is there changes in place",
        "<domain type='kvm'>\n <memory unit='GiB'>1</memory>\n <memtune>\n  <soft_limit>1</soft_limit>\n"
        "  <hard_limit unit='G'>2</hard_limit>\n </memtune>\n</domain>",
        {{.kind = VFM_EDIT_HARD_LIMIT, .value = 3 * GIB}},
        1,
        "<domain type='kvm'>\n <memory unit='GiB'>1</memory>\n <memtune>\n  <soft_limit>1</soft_limit>\n"
        "  <hard_limit unit='G'>3</hard_limit>\n </memtune>\n</domain>",
    },
    {
        "an empty memoryBacking is filled, what says private is told to share",
        "<domain type='kvm'>\n  <memory unit='GiB'>3</memory>\n  <memoryBacking />\n  <cpu>\n    <numa>\n"
        "      <cell id='0' memory='1' unit='GiB' memAccess='private'/>\n    </numa>\n  </cpu>\n  <devices>\n"
        "    <memory model='dimm' access='private'><target><size>1024</size><node>0</node></target></memory>\n"
        "  </devices>\n</domain>",
        {{.kind = VFM_EDIT_MEMFD_SHARED}},
        1,
        "<domain type='kvm'>\n  <memory unit='GiB'>3</memory>\n  <memoryBacking>\n    <source type='memfd'/>\n"
        "    <access mode='shared'/>\n  </memoryBacking>\n  <cpu>\n    <numa>\n"
        "      <cell id='0' memory='1' unit='GiB' memAccess='shared'/>\n    </numa>\n  </cpu>\n  <devices>\n"
        "    <memory model='dimm' access='shared'><target><size>1024</size><node>0</node></target></memory>\n"
        "  </devices>\n</domain>",
    },
    {
        "memoryBacking with its own ideas",
        "<domain type='kvm'>\n  <memory unit='GiB'>3</memory>\n  <memoryBacking>\n    <hugepages/>\n"
        "    <source type=\"file\"/>\n    <allocation mode='immediate'/>\n  </memoryBacking>\n</domain>",
        {{.kind = VFM_EDIT_MEMFD_SHARED}},
        1,
        "<domain type='kvm'>\n  <memory unit='GiB'>3</memory>\n  <memoryBacking>\n    <hugepages/>\n"
        "    <source type=\"memfd\"/>\n    <access mode='shared'/>\n    <allocation mode='immediate'/>\n"
        "  </memoryBacking>\n</domain>",
    },
    {
        "the emulator is escaped and comes first among devices",
        "<domain type='kvm'>\n  <memory>1024</memory>\n  <devices>\n    <memballoon model='none'/>\n  </devices>\n"
        "</domain>",
        {{.kind = VFM_EDIT_EMULATOR, .text = (char *)"/usr/bin/a&b<c>"}},
        1,
        "<domain type='kvm'>\n  <memory>1024</memory>\n  <devices>\n    <emulator>/usr/bin/a&amp;b&lt;c&gt;</emulator>"
        "\n    <memballoon model='none'/>\n  </devices>\n</domain>",
    },
    {
        "an emulator in a status file",
        "<domstatus>\n  <domain type='kvm' id='1'>\n    <memory>1024</memory>\n    <devices>\n"
        "      <emulator>/usr/bin/qemu</emulator>\n    </devices>\n  </domain>\n</domstatus>",
        {{.kind = VFM_EDIT_EMULATOR, .text = (char *)"/usr/bin/vfiomem-qemu"}},
        1,
        "<domstatus>\n  <domain type='kvm' id='1'>\n    <memory>1024</memory>\n    <devices>\n"
        "      <emulator>/usr/bin/vfiomem-qemu</emulator>\n    </devices>\n  </domain>\n</domstatus>",
    },
    {
        "caching mode joins a driver that is there",
        "<domain type='kvm'><memory>1024</memory><devices><iommu model=\"intel\"><driver intremap=\"on\"/></iommu>"
        "</devices></domain>",
        {{.kind = VFM_EDIT_CACHING_MODE}},
        1,
        "<domain type='kvm'><memory>1024</memory><devices><iommu model=\"intel\">"
        "<driver intremap=\"on\" caching_mode=\"on\"/></iommu></devices></domain>",
    },
    {
        "caching mode makes a driver",
        "<domain type='kvm'>\n  <memory>1024</memory>\n  <devices>\n    <iommu model='intel'/>\n  "
        "</devices>\n</domain>",
        {{.kind = VFM_EDIT_CACHING_MODE}},
        1,
        "<domain type='kvm'>\n  <memory>1024</memory>\n  <devices>\n    <iommu model='intel'>\n"
        "      <driver caching_mode='on'/>\n    </iommu>\n  </devices>\n</domain>",
    },
    {
        "an IOMMU that libvirt would add is written down",
        "<domain type='kvm'>\n  <memory>1024</memory>\n  <vcpu>300</vcpu>\n  <os><type machine='q35'>hvm</type></os>\n"
        "  <devices>\n    <memballoon model='none'/>\n    <vsock model='virtio'/>\n  </devices>\n</domain>",
        {{.kind = VFM_EDIT_CACHING_MODE}},
        1,
        "<domain type='kvm'>\n  <memory>1024</memory>\n  <vcpu>300</vcpu>\n  <os><type machine='q35'>hvm</type></os>\n"
        "  <devices>\n    <memballoon model='none'/>\n    <iommu model='intel'>\n"
        "      <driver intremap='on' caching_mode='on' eim='on'/>\n    </iommu>\n    <vsock model='virtio'/>\n"
        "  </devices>\n</domain>",
    },
    {
        "libvirt's devices and those of the command line are counted apart",
        "<domain type='kvm' " QEMU "><memory unit='GiB'>9</memory><devices><iommu model='intel'><driver "
        "caching_mode='on'/></iommu><memory model='virtio-mem'><target><size unit='GiB'>8</size></target></memory>"
        "</devices><qemu:commandline><qemu:arg value='-object'/><qemu:arg value='memory-backend-ram,id=m,size=1G'/>"
        "<qemu:arg value='-device'/><qemu:arg value='virtio-mem-pci,memdev=m,requested-size=1M'/>"
        "<qemu:arg value='-device'/><qemu:arg value='intel-iommu'/></qemu:commandline></domain>",
        {{.kind = VFM_EDIT_CACHING_MODE, .index = 1}, {.kind = VFM_EDIT_REQUESTED, .index = 1, .value = 4 * MIB}},
        2,
        "<domain type='kvm' " QEMU "><memory unit='GiB'>9</memory><devices><iommu model='intel'><driver "
        "caching_mode='on'/></iommu><memory model='virtio-mem'><target><size unit='GiB'>8</size></target></memory>"
        "</devices><qemu:commandline><qemu:arg value='-object'/><qemu:arg value='memory-backend-ram,id=m,size=1G'/>"
        "<qemu:arg value='-device'/><qemu:arg value='virtio-mem-pci,memdev=m,requested-size=4194304'/>"
        "<qemu:arg value='-device'/><qemu:arg value='intel-iommu,caching-mode=on'/></qemu:commandline></domain>",
    },
    {
        "nothing to do is nothing done",
        "<?xml version='1.0' encoding='ISO-8859-1'?>\n<!-- \xe4 --><domain "
        "type='kvm'><memory>1024</memory></domain>\n\n",
        {{.kind = VFM_EDIT_FREE_PAGE_REPORTING_OFF}, {.kind = VFM_EDIT_AUTODEFLATE_OFF}},
        2,
        "<?xml version='1.0' encoding='ISO-8859-1'?>\n<!-- \xe4 --><domain "
        "type='kvm'><memory>1024</memory></domain>\n\n",
    },
};

static char *apply(const Case *c, const char *text, GError **error)
{
    g_autoptr(GPtrArray) edits = edits_of(c);

    return vfm_domain_xml_edit(text, strlen(text), "case.xml", edits, error);
}

static void test_edits(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *once = apply(&cases[i], cases[i].before, &error);
        g_autofree char *twice = NULL;

        if (!once)
            fail_msg("%s: %s", cases[i].name, error->message);
        if (strcmp(once, cases[i].after) != 0)
            fail_msg("%s:\n%s\nexpected:\n%s", cases[i].name, once, cases[i].after);
        twice = apply(&cases[i], once, &error);
        if (g_strcmp0(twice, once) != 0)
            fail_msg("%s: the second time changes something:\n%s", cases[i].name, twice);
    }
}

static void test_what_cannot_be_edited(void **state)
{
    static const struct {
        const char *text;
        VfmEdit edit;
        int code;
        const char *says;
    } bad[] = {
        {"<domain type='kvm'><memory>1024</memory></domain>", {.kind = VFM_EDIT_BLOCK}, VFM_INPUT_USAGE, "number 0"},
        {"<domain type='kvm'><memory>1024</memory></domain>",
         {.kind = VFM_EDIT_CACHING_MODE},
         VFM_INPUT_USAGE,
         "IOMMU"},
        {"<domain type='kvm'><memory>1024</memory></domain>",
         {.kind = VFM_EDIT_EMULATOR, .text = (char *)"qemu"},
         VFM_INPUT_USAGE,
         "absolute"},
        {"<domain type='kvm'><memory>1024</memory></domain>",
         {.kind = VFM_EDIT_HARD_LIMIT},
         VFM_INPUT_USAGE,
         "limits nothing"},
        {"<domain type='kvm'><memory>1024</memory></domain>",
         {.kind = (VfmEditKind)99},
         VFM_INPUT_USAGE,
         "unknown kind"},
        {"<domain type='kvm'><memory>9999</memory><devices><memory model='virtio-mem'><target><size>1024</size>"
         "</target></memory></devices></domain>",
         {.kind = VFM_EDIT_BLOCK, .value = 1025},
         VFM_INPUT_USAGE,
         "whole number of KiB"},
        {"<domain type='kvm'><memory>1024</memory><!-- ",
         {.kind = VFM_EDIT_HARD_LIMIT, .value = GIB},
         VFM_INPUT_SYNTAX,
         "case.xml:1"},
        {"<domain type='kvm' " QEMU "><memory>1024</memory><qemu:commandline><qemu:arg value='-set'/>"
         "<qemu:arg value='device.balloon0.free-page-reporting=on'/></qemu:commandline></domain>",
         {.kind = VFM_EDIT_FREE_PAGE_REPORTING_OFF},
         VFM_INPUT_UNSUPPORTED,
         "-set"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        g_autoptr(GPtrArray) edits = g_ptr_array_new();
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;

        g_ptr_array_add(edits, (gpointer)&bad[i].edit);
        text = vfm_domain_xml_edit(bad[i].text, strlen(bad[i].text), "case.xml", edits, &error);
        if (text)
            fail_msg("case %zu was edited:\n%s", i, text);
        assert_int_equal(error->domain, VFM_INPUT_ERROR);
        if (error->code != bad[i].code || !strstr(error->message, bad[i].says))
            fail_msg("case %zu: code %d: %s", i, error->code, error->message);
    }
}

static void test_wide_encodings_are_refused(void **state)
{
    static const char text[] = "<domain type='kvm'><memory>1024</memory></domain>";
    VfmEdit edit = {.kind = VFM_EDIT_HARD_LIMIT, .value = GIB};
    g_autoptr(GPtrArray) edits = g_ptr_array_new();
    g_autoptr(GError) error = NULL;
    gsize length;
    g_autofree char *wide = g_convert(text, -1, "UTF-16", "UTF-8", NULL, &length, NULL);
    g_autoptr(VfmDomain) domain = vfm_domain_xml_parse(wide, length, "wide.xml", &error);

    assert_non_null(domain);
    assert_int_equal(domain->boot, MIB);
    g_ptr_array_add(edits, &edit);
    assert_null(vfm_domain_xml_edit(wide, length, "wide.xml", edits, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_what_cannot_be_edited),
        cmocka_unit_test(test_wide_encodings_are_refused),
    };

    return cmocka_run_group_tests_name("domain-edit", tests, NULL, NULL);
}
