#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# examples/kubevirt: the hook answers KubeVirt's sidecar-shim as it must, and the manifests are what they say.
# Needs neither a cluster, nor root, nor libvirt.
#   test-kubevirt.sh VFIOMEM SOURCE-DIR
set -u

vfiomem=$(realpath "$1")
source=$(realpath "$2")
example=$source/examples/kubevirt
data=$source/tests/data/domains
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
failed=0

fail()
{
    echo "FAILED: $*"
    sed 's/^/    out: /' out | head -n 5
    sed 's/^/    log: /' log | head -n 5
    failed=1
}

# What KubeVirt's shim does (cmd/sidecars/sidecar_shim.go): both texts as arguments, the output only if the status is 0,
# the hook's standard error for nobody. Its own is the container's log. The hook knows it by this name.
cat > sidecar-shim <<'S'
#!/bin/bash
onDefineDomain --vmi '{"metadata":{"name":"web"}}' --domain "$(cat)" "$@" 2> hidden
status=$?
echo "the hook ended with $status" >&2
exit $status
S
chmod +x sidecar-shim
ln -s "$example/onDefineDomain" onDefineDomain
export PATH=$work:$PATH VFIOMEM=$vfiomem
export VFIOMEM_OPTIONS="--host $source/tests/data/host.json --libvirt-version 9.0.0 --qemu-version 7.2.22"

# shim STATUS DOMAIN-XML [MORE-ARGUMENTS]
shim()
{
    local want=$1 file=$2 status

    shift 2
    : > log
    ./sidecar-shim "$@" < "$file" > out 2>> log # two write to it, as to a container's pipe
    status=$?
    [ "$status" = "$want" ] || fail "$(basename "$file"): exit status $status, not $want"
    [ ! -s hidden ] || fail "$(basename "$file"): said where nobody hears it: $(head -n 1 hidden)"
    [ "$want" = 0 ] || [ ! -s out ] || fail "$(basename "$file"): refused, and yet there is XML"
}

# says PATTERN: in the container's log
says()
{
    grep -qE -- "$1" log || fail "the log does not say '$1'"
}

# KubeVirt's own XML: only free page reporting changes, and a second run changes nothing.
shim 0 "$data/kubevirt-sriov.xml"
[ "$(diff "$data/kubevirt-sriov.xml" out | grep -c '^[<>]')" = 2 ] || fail "more than one line was changed"
grep -q "freePageReporting='off'" out || fail "free page reporting is still on"
says 'free page reporting of the balloon: on -> off'
says 'because: .*\[free-page-reporting-inhibited\]'
cp out once.xml
shim 0 once.xml
cmp -s once.xml out || fail "a second run changes it again"
says 'nothing to change'

# The mapping budget.
shim 0 "$data/kubevirt-gpu-memory-hotplug.xml"
shim 0 "$data/virtio-mem-126g-type1.xml"
grep -q "<block unit='MiB'>4</block>" out || fail "the block size was not raised"

# What cannot be mended, what is no domain, and what libvirt's XML cannot say here, is refused with its reason.
shim 1 "$data/policy-helper.xml"
says 'left: error: .*\[helper-qemu-version\]'
says '^vfiomem: refused: errors are left'
echo '<domain><name>half' > half.xml
shim 1 half.xml
says '^vfiomem: refused: vfiomem could not read the domain XML'
: > empty.xml
shim 1 empty.xml
says '^vfiomem: refused: no --domain was given'
# shellcheck disable=SC2086 # several options
"$vfiomem" apply $VFIOMEM_OPTIONS "$data/viommu-commandline.xml" 2> /dev/null | grep -q '<hard_limit' ||
    fail "viommu-commandline.xml no longer needs a limit: this test needs another"
shim 1 "$data/viommu-commandline.xml"
says "^vfiomem: refused: .*virt-handler"
VFIOMEM=/nowhere/vfiomem shim 1 "$data/kubevirt-sriov.xml"
says '^vfiomem: refused: /nowhere/vfiomem is not in the sidecar'

# Options in another form, and one that a newer shim may have.
shim 0 "$data/kubevirt-sriov.xml" --phase=define --more
onDefineDomain --domain="$(cat once.xml)" > out 2> log || fail "--domain=XML is not understood"
cmp -s once.xml out || fail "--domain=XML is understood differently"
# Not run by the shim, it says why on standard error, as programs do.
onDefineDomain > out 2> log && fail "without arguments it succeeds"
says '^vfiomem: refused'

# The ConfigMap holds this very script; the annotation is JSON with members that KubeVirt knows.
sed -n '/^  onDefineDomain: |$/,$p' "$example/configmap.yaml" | sed -e 1d -e 's/^    //' | cmp - "$example/onDefineDomain" ||
    fail "configmap.yaml holds another script than onDefineDomain"
grep -qP '\t' "$example"/*.yaml && fail "a tab in YAML"
sed -n '/hookSidecars: >$/,/^[a-z]/p' "$example/vmi.yaml" | sed -e 1d -e '$d' > annotation
python3 - <<'P' || fail "the annotation is not what KubeVirt reads"
import json

sidecars = json.load(open("annotation"))
assert len(sidecars) == 1
assert set(sidecars[0]) <= {"image", "imagePullPolicy", "command", "args", "configMap"}, sidecars
assert sidecars[0]["args"] == ["--version", "v1alpha3"]
P
[ "$failed" = 1 ] || echo "the hook answers as KubeVirt's shim expects"
exit $failed
