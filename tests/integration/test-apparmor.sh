#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The rules of examples/apparmor parse inside the profile that libvirt's own files make of a guest, where both Debian 12
# and newer ones include them, and the words in them are those of our programs. Nothing is loaded into the kernel, so
# neither root nor a kernel with AppArmor is needed; whether the rules suffice is not shown here.
#   test-apparmor.sh SOURCE-DIR
set -u

source=$1
rules=$source/examples/apparmor/vfiomem
etc=${VFIOMEM_APPARMOR_D:-/etc/apparmor.d}
uuid=6d3f3a0e-6a54-4f0c-b8a3-5b7f8d5a0c11
PATH=$PATH:/usr/sbin:/sbin

skip()
{
    echo "skipped: $*"
    exit 77
}

command -v apparmor_parser > /dev/null || skip "apparmor_parser is not installed (package apparmor)"
[ -e "$etc/abstractions/base" ] || skip "AppArmor's abstractions are not installed (package apparmor)"
[ -e "$etc/abi/3.0" ] || skip "AppArmor 3 or newer is needed"
[ -e "$etc/abstractions/libvirt-qemu" ] || skip "libvirt's abstraction is not installed (package libvirt-daemon-system)"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
failed=0

fail()
{
    echo "FAILED: $*"
    sed 's/^/    | /' "$work/out"
    failed=1
}

# guest_profile FOLDER: a copy of what a guest's profile is made of, without what this machine has added to it.
guest_profile()
{
    local to=$1

    mkdir -p "$to/libvirt" "$to/local/abstractions"
    cp -r "$etc/abstractions" "$etc/tunables" "$to"
    [ ! -d "$etc/abi" ] || cp -r "$etc/abi" "$to"
    rm -rf "$to/abstractions/libvirt-qemu.d"
    : > "$to/local/abstractions/libvirt-qemu"
    # As virt-aa-helper writes them, from libvirt's TEMPLATE.qemu.
    cat > "$to/libvirt/libvirt-$uuid" <<P
#include <tunables/global>
profile libvirt-$uuid flags=(attach_disconnected) {
  #include <abstractions/libvirt-qemu>
  #include <libvirt/libvirt-$uuid.files>
}
P
    cat > "$to/libvirt/libvirt-$uuid.files" <<P
  "/var/log/libvirt/**/web.log" w,
  "/var/lib/libvirt/qemu/domain--1-web/*" rw,
  "/dev/vfio/vfio" rw,
  "/dev/vfio/[0-9]*" rw,
P
}

# parses FOLDER: quietly, and into something
parses()
{
    # The features of a kernel that has everything, since this one may have none.
    apparmor_parser --skip-kernel-load --skip-cache --features-file "$etc/abi/3.0" --base "$1" --stdout \
        "$1/libvirt/libvirt-$uuid" > "$work/binary" 2> "$work/out" && ! grep -v '^Cache ' "$work/out"
}

guest_profile "$work/plain"
parses "$work/plain" || { cat "$work/out"; skip "what libvirt and AppArmor bring here does not parse by itself"; }
plain=$(stat -c %s "$work/binary")

# Debian 12: at the end of a file that is there for it.
guest_profile "$work/twelve"
cat "$rules" >> "$work/twelve/local/abstractions/libvirt-qemu"
parses "$work/twelve" || fail "the rules do not parse in local/abstractions/libvirt-qemu"
[ "$(stat -c %s "$work/binary")" -gt "$plain" ] || fail "the rules change nothing: that place is not included"

# Newer: a file of their own. Where this Debian's abstraction has no such line yet, it is added.
guest_profile "$work/newer"
mkdir "$work/newer/abstractions/libvirt-qemu.d"
cp "$rules" "$work/newer/abstractions/libvirt-qemu.d/vfiomem"
grep -q libvirt-qemu.d "$work/newer/abstractions/libvirt-qemu" ||
    echo "  include if exists <abstractions/libvirt-qemu.d>" >> "$work/newer/abstractions/libvirt-qemu"
parses "$work/newer" || fail "the rules do not parse in abstractions/libvirt-qemu.d"
[ "$(stat -c %s "$work/binary")" -gt "$plain" ] || fail "the rules change nothing as a file of their own"

# A mistake would be seen.
echo '/usr/bin/vfiomem-qemu rmix' >> "$work/newer/abstractions/libvirt-qemu.d/vfiomem"
parses "$work/newer" && fail "a rule without its comma passes"

# The paths are where meson installs (--prefix /usr, or /usr/local) and where the programs look.
: > "$work/out"
while read -r where word; do
    grep -q -- "$word" "$source/$where" || fail "$where no longer has $word, which $rules is written for"
done <<W
src/helper/meson.build 'libexecdir') / 'vfiomem'
src/helper/meson.build 'vfiomem-helper-devices'
src/helper/emulator_policy.c "/etc/vfiomem/emulators"
src/helper/emulator_devices.c "vfiomem", NULL
plugin/policy_record.h /run/vfiomem
src/helper/guarding.c /limits
W
[ "$failed" = 1 ] || echo "the rules of examples/apparmor/vfiomem parse in a guest's profile"
exit $failed
