#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: edited-domains.sh EDIT-DOMAINS FOLDER - every domain of the folder that validates against libvirt's schema does
# so with every edit made to it, too. (virt-xml-validate reads the schema anew for each file; this is what it calls.)
set -u
edit=$1 folder=$2
schema=${VFIOMEM_SCHEMA:-/usr/share/libvirt/schemas/domain.rng}

[ -r "$schema" ] || { echo "skipped: no $schema (package libvirt-clients)"; exit 77; }
command -v xmllint >/dev/null || { echo "skipped: no xmllint (package libxml2-utils)"; exit 77; }

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$edit" "$out" "$folder"/*.xml || exit 1

# valid FOLDER: the names of files that validate
valid()
{
    (cd "$1" && xmllint --noout --relaxng "$schema" ./*.xml 2>&1) | sed -n 's,^\./\(.*\) validates$,\1,p' | sort
}

valid "$folder" >"$out/before"
valid "$out" >"$out/after"
lost=$(comm -23 "$out/before" "$out/after")
echo "$(wc -l <"$out/before") domains validate, $(wc -l <"$out/after") after editing"
[ -s "$out/before" ] || { echo "no domain validates: the schema was not read"; exit 1; }
[ -z "$lost" ] && exit 0
echo "no longer valid:"
for name in $lost; do
    xmllint --noout --relaxng "$schema" "$out/$name" 2>&1 | tail -3
done
exit 1
