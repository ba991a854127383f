# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# L1's initial RAM disk: a static busybox, the programs to run and their libraries. Sourced by `lab`.

# add_file FILE [PATH]: FILE as PATH (default: where it is), with the libraries and the loader it is linked with
add_file() {
    local file=$1 path=${2:-$1} library
    [ -r "$file" ] || fail "$file cannot be read"
    path=$(realpath -s -m "/$path")
    case $path in
        /dev/* | /proc/* | /sys/*) fail "$path cannot be a file in L1: something is mounted there (--with FILE:PATH)" ;;
    esac
    mkdir -p "$root$(dirname "$path")"
    cp -L "$file" "$root$path"
    # A script or a static program has no dynamic section, and ldd says so by its status.
    while read -r library; do
        [ -e "$root$library" ] && continue
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done < <(ldd "$file" 2> /dev/null | grep -oE '/[^ ]+\.so[^ ]*' || true)
}

add_module() {
    local name
    name=$(basename "$1")
    case $name in
        *.xz) command -v xz > /dev/null || missing "xz is not installed (package xz-utils)" ;;
        *.zst) command -v zstd > /dev/null || missing "zstd is not installed" ;;
    esac
    case $name in
        *.xz) xz -dc "$1" > "$root/lab/modules/${name%.xz}" ;;
        *.zst) zstd -qdc "$1" > "$root/lab/modules/${name%.zst}" ;;
        *) cp "$1" "$root/lab/modules/$name" ;;
    esac
    echo "${name%.ko*}.ko" >> "$root/lab/modules/order"
}

# make_initrd DIR: DIR/initrd
make_initrd() {
    local directory=$1 busybox entry program
    root=$directory/root
    mkdir -p "$root"/{bin,dev,etc,lab/modules,proc,root,run,sys,tmp,var}
    busybox=$(command -v busybox)
    ldd "$busybox" > /dev/null 2>&1 && missing "$busybox is not static (package busybox-static)"
    cp -L "$busybox" "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    cp "$here/init" "$root/init"
    chmod 755 "$root/init"
    echo 'root:x:0:0::/root:/bin/sh' > "$root/etc/passwd"
    : > "$root/lab/modules/order"
    for entry in "${kernel_modules[@]}"; do
        add_module "$entry"
    done
    for entry in "${with[@]}"; do
        case $entry in
            *:*) add_file "${entry%%:*}" "${entry#*:}" ;;
            *) add_file "$(realpath -s "$entry")" ;;
        esac
    done
    # A command with a slash is a file of this machine; without one it is looked up in L1.
    program=${command[0]}
    if [[ $program == */* && -f $program ]]; then
        program=$(realpath -s "$program")
        add_file "$program"
        command[0]=$program
    fi
    printf '%s\n' "$device_slots" > "$root/lab/devices"
    printf '%s\n' "$group_slot" > "$root/lab/group"
    write_run "$root/lab/run"
    : > "$directory/initrd"
    # Tables that replace the firmware's must come first, in an archive of their own (Linux: admin-guide/acpi/initrd_table_override).
    if [ ${#reserve[@]} -gt 0 ]; then
        make_dmar "$directory/tables"
        (cd "$directory/tables" && find . | cpio -o -H newc --quiet) >> "$directory/initrd"
    fi
    (cd "$root" && find . | cpio -o -H newc --quiet) >> "$directory/initrd"
}
