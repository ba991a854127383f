#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# `vfiomem` as a person and as a script meet it: every exit status, bad input of every kind, what is printed where.
# usage: cli.sh VFIOMEM TESTS-DATA
set -u
vfiomem=$(realpath "$1") data=$(realpath "$2")
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
failed=0 checks=0
# A sanitizer must not end with a status that means something here.
export ASAN_OPTIONS="exitcode=99:${ASAN_OPTIONS-}" UBSAN_OPTIONS="halt_on_error=1:exitcode=99:${UBSAN_OPTIONS-}"

# The host and the versions are fixed, so that the outcome does not depend on the machine.
fixed=(--host "$data/host.json" --libvirt-version 9.0.0 --qemu-version 7.2.22)
bad=$data/domains/virtio-mem-126g-type1.xml # has an error that apply mends
good=$data/domains/minimal.xml

# run STATUS ARGUMENTS...: runs vfiomem, keeps out and err, compares the exit status
run() {
    local want=$1
    shift
    what="vfiomem $*"
    "$vfiomem" "$@" >out 2>err
    local got=$?
    checks=$((checks + 1))
    if [ $got -ne "$want" ]; then
        echo "cli: $what: exit status $got, not $want"
        sed 's/^/    out: /' out | head -5
        sed 's/^/    err: /' err | head -5
        failed=1
    fi
}

# says FILE PATTERN, lacks FILE PATTERN: extended regular expressions
says() {
    checks=$((checks + 1))
    grep -qE -- "$2" "$1" || { echo "cli: $what: $1 does not say '$2':"; head -5 "$1"; failed=1; }
}
lacks() {
    checks=$((checks + 1))
    ! grep -qE -- "$2" "$1" || { echo "cli: $what: $1 says '$2'"; failed=1; }
}
empty() {
    checks=$((checks + 1))
    [ ! -s "$1" ] || { echo "cli: $what: $1 is not empty:"; head -5 "$1"; failed=1; }
}
same() {
    checks=$((checks + 1))
    cmp -s "$1" "$2" || { echo "cli: $what: $1 and $2 differ"; diff "$1" "$2" | head -5; failed=1; }
}

# --- the program itself
run 2 && says err 'which command' && empty out
run 0 --help && says out '^Usage: vfiomem COMMAND' && empty err
run 0 --version && says out '^vfiomem [0-9]+\.[0-9]+\.[0-9]+$'
run 2 chec && says err "did you mean 'check'"
run 2 apyl && says err "did you mean 'apply'"
run 2 frobnicate-everything-at-once-please && lacks err 'did you mean'
run 2 $'\033[31mred' && lacks err $'\033' && says err 'unknown command'
for command in --help --version "check --help"; do
    # shellcheck disable=SC2086 # a command and its option
    "$vfiomem" $command >/dev/full 2>err
    status=$? what="vfiomem $command with a full disk" checks=$((checks + 1))
    [ $status = 2 ] || { echo "cli: $what: exit status $status"; failed=1; }
    says err 'standard output: write: No space left'
done
for command in status mappings; do
    run 2 $command && says err "it takes one domain's name or UUID"
    run 2 $command one two && says err "it takes one domain's name or UUID"
    run 2 $command --connect=nowhere:///system web && says err "connecting to libvirt 'nowhere:///system': "
done
run 2 define --connect=nowhere:///system "$good" && empty out
for command in check plan apply define host install-hook; do
    run 0 $command --help && says out "^Usage: vfiomem $command" && empty err
    run 0 $command -h
    run 2 $command --no-such-option && says err "unknown option --no-such-option .*$command --help" && empty out
done
run 2 check --format=xml "$good" && says err 'must be one of human\|json'
run 2 check --format && says err 'needs a value'
run 2 check --quiet=yes "$good" && says err 'takes no value'
run 2 check -Z "$good" && says err 'unknown option -Z'
run 2 check --host a --host b "$good" && says err '--host is given twice'
run 2 check --host a --sysfs b "$good" && says err 'only one of'
run 2 check --libvirt-version nine "$good" && says err 'not a version'
run 2 host operand && says err 'no operands'

# --- check: the exit status follows the findings
run 0 check "${fixed[@]}" "$good" && says out 'no findings' && empty err
run 1 check "${fixed[@]}" "$bad" && says out "^$bad:[0-9]+: error: .*\[mapping-budget-exceeded\]$" && says out '^    fix: '
says out '1 error' && says out 'vfiomem apply --diff' && empty err
run 0 check "${fixed[@]}" "$data/domains/gpu-setmem-default-balloon.xml" && says out ': warning: .*\[balloon-inhibited\]'
run 1 check "${fixed[@]}" --quiet "$bad" && lacks out 'apply --diff' && lacks out ': info: '
run 1 check "${fixed[@]}" "$good" "$bad" && says out '^2 domains: 1 with errors, 0 with warnings, 1 fine$'
run 1 check "${fixed[@]}" "$data/domains" && says out '^[0-9]+ domains: [1-9][0-9]* with errors'
run 1 check "${fixed[@]}" -- "$bad"
lacks out $'\033'

# --- where input comes from
run 1 check "${fixed[@]}" - <"$bad" && says out '^standard input:[0-9]+: error'
run 1 check "${fixed[@]}" <"$bad" && says out '^standard input:[0-9]+: error'
run 1 check "${fixed[@]}" <(cat "$bad")
cp "$bad" ./--odd.xml
run 1 check "${fixed[@]}" -- --odd.xml
mkdir some none && cp "$good" some/b.xml && cp "$bad" some/a.xml && echo text >some/notes.txt && mkdir some/below &&
    echo rubbish >some/below/c.xml
run 1 check "${fixed[@]}" some && says out '^2 domains'
run 2 check none && says err 'none: no file in it ends in .xml'

# --- unusable input: status 2, what and where, and the others are still checked
run 2 check missing.xml && says err '^vfiomem check: missing.xml: open: No such file' && empty out
run 2 check "" && says err 'No such file'
run 2 check web && says err 'a domain of libvirt.s is given with --domain=web'
run 2 check missing.xml && lacks err 'domain='
run 2 check - - <"$good" && says err 'given twice' && empty out
echo 'not XML at all' >no.xml && run 2 check no.xml && says err 'no.xml:1: '
: >void.xml && run 2 check void.xml && says err 'void.xml:1: .*empty'
head -c 300 "$bad" >cut.xml && run 2 check cut.xml && says err 'cut.xml:[0-9]+: '
echo '<network><name>n</name></network>' >net.xml && run 2 check net.xml && says err 'net.xml:1: .*network'
printf 'a\0b' >nul.xml && run 2 check nul.xml && says err 'nul.xml'
head -c 100000000 /dev/zero >big.xml
run 2 check big.xml && says err 'big.xml: larger than 16 MiB'
run 2 check - <big.xml && says err 'larger than 16 MiB'
run 2 check - < <(cat big.xml) && says err 'larger than 16 MiB'
run 2 check /dev/zero && says err 'larger than 16 MiB'
rm big.xml
if [ "$(id -u)" -ne 0 ]; then
    cp "$good" secret.xml && chmod 0 secret.xml && run 2 check secret.xml && says err 'secret.xml: open: Permission denied'
fi
cat >entity.xml <<'X'
<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<domain type='kvm'><name>&x;</name><memory>1048576</memory></domain>
X
run 2 check entity.xml && lacks out root && lacks err 'root:'
cat >bomb.xml <<'X'
<!DOCTYPE domain [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;">]>
<domain type='kvm'><name>&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;</name><memory>1048576</memory></domain>
X
run 2 check bomb.xml
run 2 check "${fixed[@]}" no.xml "$bad" missing.xml && says err 'no.xml' && says err 'missing.xml' && says out ': error: '
says out '; 2 unusable$'

# --- nothing foreign reaches the terminal: U+009B is CSI in an 8-bit terminal, and legal in XML
sed 's/<name>.*<\/name>/<name>evil\&#x9b;31m<\/name>/' "$good" >evil.xml
run 0 check "${fixed[@]}" evil.xml && lacks out $'\xc2\x9b'

# --- JSON
run 1 check "${fixed[@]}" --format=json "$bad" && empty err
cp out single.json
run 2 check "${fixed[@]}" --format=json "$good" "$bad" no.xml && says err no.xml
cp out several.json
run 0 check "${fixed[@]}" --format=json some/b.xml
run 1 check "${fixed[@]}" --format=json some && cp out directory.json
run 2 check --format=json no.xml && empty out
run 1 plan "${fixed[@]}" --format=json "$bad" && same out single.json
python3 - <<'P' || { echo "cli: JSON is not what the contract says"; failed=1; }
import json

def fields(value, spec):
    assert list(value) == list(spec), (list(value), list(spec))
    for key, kinds in spec.items():
        assert any(type(value[key]) is k for k in kinds), (key, value[key])

N = type(None)
def check(d):
    fields(d, dict(domain=[str], uuid=[str, N], assigned=[list], memory=[dict], balloon=[dict], viommu=[str, N],
                   mappings=[dict], memlock=[dict], findings=[list]))
    for a in d["assigned"]:
        fields(a, dict(kind=[str], address=[str, N], via=[str], managed=[bool], iommufd=[bool]))
    fields(d["memory"], dict(boot=[int], max=[int, N], devices=[list]))
    for m in d["memory"]["devices"]:
        fields(m, dict(model=[str], node=[int, N], size=[int], block=[int, N], requested=[int, N],
                       recommended_block=[int, N]))
    fields(d["balloon"], dict(present=[bool], effective=[bool], free_page_reporting=[bool], autodeflate=[bool]))
    fields(d["mappings"], dict(backend=[str], containers=[int], per_container=[int], budget=[int, N]))
    fields(d["memlock"], dict(required=[int], limit=[int, N], limit_from=[str]))
    for f in d["findings"]:
        fields(f, dict(id=[str], severity=[str], message=[str], fix=[str, N], line=[int, N]))

one = json.load(open("single.json"))
check(one)
assert one["memory"]["devices"][0]["block"] == 2 << 20 and one["memory"]["devices"][0]["recommended_block"] == 4 << 20
for name, count in (("several.json", 2), ("directory.json", 2)):
    many = json.load(open(name))
    assert type(many) is list and len(many) == count, name
    for d in many:
        assert list(d)[0] == "file" and d["file"].endswith(".xml"), d
        del d["file"]
        check(d)
P
checks=$((checks + 1))

# --- plan
run 1 plan "${fixed[@]}" "$bad" && says out '^Assigned devices' && says out 'virtio-mem 0 .* 126 GiB .* 2 MiB +4 MiB'
says out '^  now +64517  \[#+\.\] +98 % of 65535' && says out '^Locked memory' && lacks out 'memory map'
run 1 plan "${fixed[@]}" --map "$bad" && says out '0x000100000000  0x00207fffffff +126 GiB  device memory'
run 0 plan "${fixed[@]}" "$good"

# --- the version behind vfiomem-qemu, which it is asked for in helper mode: only programs of root's are
if [ "$(id -u)" = 0 ]; then
    sed "s,/usr/bin/vfiomem-qemu,$work/vfiomem-qemu," "$data/domains/policy-helper-old-qemu.xml" >asked.xml
    sed "s,owner='helper',owner='qemu'," asked.xml >unasked.xml
    sed "s,</domain>,<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:env name='VFIOMEM_QEMU' value='$work/qemu-new'/></q:commandline>&," asked.xml >named.xml
    for version in 7.2.22 10.0.8 11.1.0; do
        printf '#!/bin/sh\necho asked\necho "QEMU emulator version %s (Debian)"\n' $version >vfiomem-qemu
        cp vfiomem-qemu qemu-new && chmod 755 vfiomem-qemu qemu-new
        "$vfiomem" check asked.xml >out 2>err
        what="vfiomem check beside QEMU $version"
        case $version in
        11.*) lacks out 'helper-qemu-version' ;;
        *) says out "which needs vfio-user-pci of QEMU 10.1; this is ${version%.*} \[helper-qemu-version\]" ;;
        esac
    done
    run 1 check --qemu-version=7.2.22 asked.xml && says out 'this is 7.2 '
    rm vfiomem-qemu
    "$vfiomem" check asked.xml >out 2>err
    what="vfiomem check without vfiomem-qemu" && says out 'version is not known here'
    "$vfiomem" check named.xml >out 2>err
    what="vfiomem check with VFIOMEM_QEMU" && lacks out 'helper-qemu-version'
    printf '#!/bin/sh\ntouch %s/was-asked\n' "$work" >vfiomem-qemu && chmod 755 vfiomem-qemu && chmod 777 .
    "$vfiomem" check unasked.xml >out 2>err
    "$vfiomem" check --no-host asked.xml >out 2>err
    what="nothing is started for other guests" checks=$((checks + 1))
    [ ! -e was-asked ] || { echo "cli: $what: vfiomem-qemu was"; failed=1; }
    "$vfiomem" check asked.xml >out 2>err
    what="the test can see that" checks=$((checks + 1))
    [ -e was-asked ] || { echo "cli: $what: vfiomem-qemu was not started"; failed=1; }
    chmod 700 .
fi

# --- apply
run 0 apply "${fixed[@]}" "$bad" && says out "<block unit='MiB'>4</block>" && says err 'block of virtio-mem 0: 2 MiB -> 4 MiB'
says err 'because: .*\[mapping-budget-exceeded\]'
cp out mended.xml
diff "$bad" mended.xml | grep -c '^[<>]' >count && what="apply touches one line" && says count '^2$'
run 0 apply "${fixed[@]}" mended.xml && same out mended.xml && says err 'nothing to change'
run 0 apply "${fixed[@]}" <"$bad" && same out mended.xml
run 0 check "${fixed[@]}" mended.xml
cp "$bad" work.xml && chmod 640 work.xml && ln -s work.xml link.xml
run 0 apply "${fixed[@]}" --diff work.xml && says out '^--- a/work.xml' && says out "^\+ +<block unit='MiB'>4"
if command -v patch >/dev/null; then
    cp work.xml patched.xml && patch -s -p1 patched.xml <out && what="the diff can be patched" && same patched.xml mended.xml
fi
same work.xml "$bad"
run 0 apply "${fixed[@]}" --in-place link.xml && same work.xml mended.xml && empty out
stat -c '%a' work.xml >mode && says mode '^640$'
what="a link stays a link" && checks=$((checks + 1)) && { [ -L link.xml ] || { echo "cli: $what: it is gone"; failed=1; }; }
stat -c '%i' work.xml >before && run 0 apply "${fixed[@]}" -i work.xml && stat -c '%i' work.xml >after && same before after
run 2 apply --in-place no.xml && says no.xml '^not XML at all$'
run 1 apply "${fixed[@]}" "$data/domains/policy-helper.xml" && says err 'left: error: .*\[helper-qemu-version\]'
says out '<emulator>/[a-z/]*/vfiomem-qemu<' && says out "<source type='memfd'/>"
run 1 apply "${fixed[@]}" --emulator=/opt/vfiomem-qemu "$data/domains/policy-helper.xml"
says out '<emulator>/opt/vfiomem-qemu<'
run 2 apply "${fixed[@]}" --emulator=/opt/other "$data/domains/policy-helper.xml" && says err 'not the absolute path'
new=(--host "$data/host.json" --libvirt-version 12.8.0 --qemu-version 11.1.2)
private=$data/domains/policy-helper-private.xml
run 1 check "${new[@]}" "$private" && says out 'not that of NUMA cell 1, dimm 0, nvdimm 2 .*\[helper-memory-private\]'
run 0 apply "${new[@]}" "$private" && cp out shared.xml && says out "memAccess='shared'" && lacks out "'private'"
run 0 check "${new[@]}" shared.xml
run 2 apply "$good" "$bad" && says err 'several domains' && empty out
run 2 apply --diff --in-place "$good" && says err 'only one of'
run 2 apply --in-place - <"$good" && says err 'standard input cannot'
run 2 apply --in-place --domain x && says err 'vfiomem define'
run 2 apply --in-place /etc/libvirt/qemu/x.xml && says err 'vfiomem define'
run 0 apply "${fixed[@]}" --diff "$good" work.xml && empty out

# --- host
mkdir -p tree/proc tree/sys/kernel/iommu_groups/7/devices tree/sys/module/vfio_iommu_type1/parameters
echo 'MemTotal: 1048576 kB' >tree/proc/meminfo
echo 65000 >tree/sys/module/vfio_iommu_type1/parameters/dma_entry_limit
echo '0x00000000fee00000 0x00000000feefffff msi' >tree/sys/kernel/iommu_groups/7/reserved_regions
run 0 host && says out '^Host '
run 0 host --sysfs tree && says out 'memory +1 GiB' && says out '65000 for each container' && says out 'page size +unknown'
says out '0x00000000fee00000 +0x00000000feefffff +1 MiB +msi'
run 0 host --sysfs tree --format=json && cp out tree.json && says out '"page_size": null'
run 0 host --host tree.json --format=json && same out tree.json
run 0 check --sysfs tree "$good"
run 0 check --host tree.json "$good"
run 0 check --no-host "$good"
run 2 host --sysfs missing && says err 'missing: No such file'
run 2 host --sysfs none && says err 'neither sys nor proc'
run 2 host --sysfs tree --host tree.json && says err 'only one of'
echo rubbish >tree/sys/kernel/iommu_groups/7/reserved_regions
run 2 host --sysfs tree && says err 'iommu_groups/7/reserved_regions:1: '
echo '{"format":"vfiomem-host-1","memory":0}' >zero.json
run 2 check --host zero.json "$good" && says err 'zero.json: memory: must not be zero' && empty out
run 2 check --host missing.json "$good" && says err 'missing.json: open: No such file'
run 2 check --host "$good" "$good" && says err 'minimal.xml:1:'
run 2 check --host /dev/zero "$good" && says err 'larger than 16 MiB'

# --- libvirt, by its own test driver: no daemon is needed
run 0 check --connect test:///default --domain test && says out 'test: '
run 0 check -c test:///default --all && says out '^1 domain:'
run 2 check -c test:///default -d nobody && says err 'nobody'
run 2 check -c nonsense:///x -d test
run 0 apply -c test:///default -d test && says out '<name>test</name>' && cp out test.xml
run 0 define -c test:///default -d test && says out '^test: as it is$'
run 0 define -c test:///default test.xml && says out '^test: defined$'
run 0 define -c test:///default --dry-run test.xml && empty out
run 1 define -c test:///default "${fixed[@]}" "$data/domains/policy-helper.xml" && says err 'not defined' && lacks out defined
run 2 define -c test:///default no.xml && says err no.xml

# --- standard output that cannot be written is no success
if [ -c /dev/full ]; then
    what="write to a full disk" checks=$((checks + 1))
    "$vfiomem" check "${fixed[@]}" "$good" >/dev/full 2>err
    [ $? -eq 2 ] || { echo "cli: $what is taken for success"; failed=1; }
    says err 'No space left'
fi

# --- colours and progress are for terminals
if command -v script >/dev/null; then
    what="check on a terminal"
    TERM=xterm script -qec "'$vfiomem' check ${fixed[*]} '$bad'" /dev/null </dev/null >out && true
    says out $'\033\\[1;31merror:'
    NO_COLOR=1 TERM=xterm script -qec "'$vfiomem' check ${fixed[*]} '$bad'" /dev/null </dev/null >out
    what="check with NO_COLOR" && lacks out $'\033\\[1;31m'
fi

echo "$checks checks"
exit $failed
