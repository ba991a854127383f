# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Kernels for the lab: found, fetched from Debian, or built from Debian's source. Sourced by `lab`.
#
# find_kernel NAME sets
#   kernel_image    the bzImage
#   kernel_modules  modules to load, in order (full paths); empty where all is built in

kernel_cache=${VFIOMEM_LAB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/vfiomem/lab}
kernel_source=linux-source-6.12
kernel_image='' kernel_modules=()
kernel_scratch='' # removed by lab's cleanup, whatever happens

# The order matters: each needs those before it. A name that a kernel version does not have is skipped.
stock_modules='irqbypass vfio vfio_virqfd iommufd vfio_iommu_type1 vfio-pci-core vfio-pci'

find_kernel() {
    case $1 in
        lab) find_lab_kernel ;;
        stock) find_stock_kernel ;;
        *)
            [ -r "$1" ] || missing "kernel $1 cannot be read"
            kernel_image=$1
            ;;
    esac
}

find_lab_kernel() {
    if [ -n "${VFIOMEM_LAB_KERNEL:-}" ]; then
        [ -r "$VFIOMEM_LAB_KERNEL" ] || missing "VFIOMEM_LAB_KERNEL=$VFIOMEM_LAB_KERNEL cannot be read"
        kernel_image=$VFIOMEM_LAB_KERNEL
        return
    fi
    kernel_image=$kernel_cache/bzImage-$(kernel_configuration_id)
    [ -r "$kernel_image" ] && return
    [ "$may_build" = yes ] && [ "$may_fetch" = yes ] \
        || missing "no lab kernel: set VFIOMEM_LAB_KERNEL, or let 'tests/lab/lab kernel lab' build one (8 minutes)"
    build_lab_kernel
}

# Changes with what the kernel is made of, so that an old one in the cache is not taken for the present one.
kernel_configuration_id() {
    { echo "$kernel_source"; cat "$here/kernel.config"; } | sha256sum | cut -c 1-12
}

# One builder or fetcher at a time: a second one waits and finds the result.
kernel_lock() {
    mkdir -p "$kernel_cache" || missing "the cache $kernel_cache cannot be made"
    exec 8> "$kernel_cache/lock"
    flock -w 1800 8 || fail "another process holds $kernel_cache/lock for half an hour"
}

# download DIR PACKAGE: the newest version apt knows, as DIR/*.deb
download() {
    command -v apt-get > /dev/null || missing "no apt-get to fetch $2 with"
    say "fetching $2"
    # As root apt drops to its own user for downloads, who must be able to write here.
    chmod 755 "$1"
    (cd "$1" && timeout 300 apt-get -o APT::Sandbox::User=root -q=2 download "$2" > "$1/apt.log" 2>&1) \
        || missing "cannot fetch $2: $(tail -n 1 "$1/apt.log" 2> /dev/null) (apt-get update may help)"
}

find_stock_kernel() {
    local root=${VFIOMEM_LAB_STOCK_KERNEL:-} module name
    if [ -z "$root" ]; then
        root=$kernel_cache/stock
        [ -d "$root" ] || fetch_stock_kernel "$root"
    fi
    kernel_image=$(find "$root/boot" -name 'vmlinuz-*' 2> /dev/null | sort -V | tail -n 1) || true
    [ -n "$kernel_image" ] || missing "$root holds no boot/vmlinuz-*"
    local version=${kernel_image##*/vmlinuz-}
    for name in $stock_modules; do
        module=$(find "$root/lib/modules/$version" "$root/usr/lib/modules/$version" \
            -name "$name.ko*" 2> /dev/null | head -n 1) || true
        [ -z "$module" ] || kernel_modules+=("$module")
    done
    [ ${#kernel_modules[@]} -gt 0 ] || missing "$root holds no VFIO modules for $version"
}

# Debian's cloud build: the same sources and VFIO modules as the generic one, without the drivers of real hardware.
fetch_stock_kernel() {
    local package
    kernel_lock
    [ -d "$1" ] && return
    [ "$may_fetch" = yes ] || missing "no stock kernel in $1, and --no-fetch"
    package=$(apt-cache depends linux-image-cloud-amd64 2> /dev/null | awk '/Depends:/ { print $2; exit }') || true
    [ -n "$package" ] || missing "apt knows no linux-image-cloud-amd64 (apt-get update may help)"
    kernel_scratch=$(mktemp -d "$kernel_cache/fetch.XXXXXX")
    download "$kernel_scratch" "$package"
    dpkg -x "$kernel_scratch"/*.deb "$kernel_scratch/root" || missing "cannot unpack $package"
    mv "$kernel_scratch/root" "$1"
    rm -rf "$kernel_scratch"
    exec 8>&-
}

build_lab_kernel() {
    local tool scratch source jobs seconds=$SECONDS
    for tool in make gcc flex bison bc xz ld; do
        command -v "$tool" > /dev/null || missing "building the lab kernel needs $tool (docs/lab.md lists the packages)"
    done
    kernel_lock
    [ -r "$kernel_image" ] && return
    say "no lab kernel yet: building one from Debian's $kernel_source, once (about 8 minutes on 2 cores, 2.5 GB of disk)"
    scratch=$(mktemp -d "$kernel_cache/build.XXXXXX")
    kernel_scratch=$scratch
    download "$scratch" "$kernel_source"
    say "unpacking"
    dpkg -x "$scratch"/*.deb "$scratch/deb" && rm "$scratch"/*.deb
    mkdir "$scratch/src"
    tar -C "$scratch/src" --strip-components=1 -xJf "$scratch"/deb/usr/src/linux-source-*.tar.xz
    rm -rf "$scratch/deb"
    source=$scratch/src jobs=$(nproc)
    {
        make -C "$source" tinyconfig
        "$source/scripts/kconfig/merge_config.sh" -m -O "$source" "$source/.config" "$here/kernel.config"
        make -C "$source" olddefconfig
    } > "$scratch/log" 2>&1 || { tail -n 20 "$scratch/log" >&2; fail "configuring the kernel failed"; }
    make -C "$source" -j "$jobs" bzImage >> "$scratch/log" 2>&1 &
    local child=$!
    while kill -0 "$child" 2> /dev/null; do
        say "building: $(grep -cE '^ +(CC|AR|LD|AS) ' "$scratch/log") files, $((SECONDS - seconds)) s"
        # Waits on the build itself, at most 20 s at a time, so that its end is seen at once.
        timeout 20 tail --pid="$child" -f /dev/null || true
    done
    wait "$child" || { tail -n 20 "$scratch/log" >&2; fail "building the kernel failed"; }
    mv "$source/arch/x86/boot/bzImage" "$kernel_image"
    rm -rf "$scratch"
    say "built in $((SECONDS - seconds)) s: $kernel_image"
    exec 8>&-
}
