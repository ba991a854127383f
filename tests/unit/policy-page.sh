#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The example of vfiomem-policy(5) is a domain without an error, and every element and attribute the page shows is known.
# usage: policy-page.sh VFIOMEM PAGE
set -eu
vfiomem=$1 page=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n '/^  <domain /,/^  <\/domain>/s/^  //p' "$page" >"$work/example.xml"
[ -s "$work/example.xml" ] || { echo "the page has no example"; exit 1; }
"$vfiomem" check --libvirt-version 12.8.0 --qemu-version 11.1.0 --host "$(dirname "$0")/../data/host-intel.json" \
    "$work/example.xml" || exit 1

# The synopsis names choices as a|b|c and values in capitals: take the first choice and a number of each kind.
{
    echo "<domain type='kvm'><memory unit='GiB'>4</memory>"
    sed -n '/^  <metadata>/,/^  <\/metadata>/p' "$page" | sed -n '1,/<\/metadata>/p' |
        sed -e 's/="\([a-z0-9]*\)|[^"]*"/="\1"/g' -e 's/mappings="N"/mappings="9"/' -e 's/="N"/="1"/g' -e 's/="UNIT"/="GiB"/' \
            -e 's/="ADDRESS"/="0x0"/' -e 's/="\(BYTES\|SIZE\)"/="4096"/g'
    echo "</domain>"
} >"$work/synopsis.xml"
"$vfiomem" plan "$work/synopsis.xml" >"$work/out" 2>&1 || [ $? -ne 2 ] || { cat "$work/out"; exit 1; }
