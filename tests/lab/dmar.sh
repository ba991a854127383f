# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A DMAR table with reserved memory regions (RMRR), to replace the one QEMU makes. Sourced by `lab`.
#
# Real firmware reserves ranges of a device's IOVA space for itself (management controllers, legacy USB), and such a
# device cannot share guest physical = IOVA with RAM there. QEMU's table never has one, so Linux is given another table
# from the initial RAM disk; it takes it where signature and OEM identification are the same and the revision is
# higher (Linux: drivers/acpi/tables.c). Layout: Intel VT-d specification, chapter 8.

# little SIZE NUMBER: NUMBER in SIZE bytes, little endian, as hex
little() {
    local i number=$2
    for ((i = 0; i < $1; i++)); do
        printf '%02x' $((number & 0xff))
        number=$((number >> 8))
    done
}

text_hex() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; }

# dmar_hex CHECKSUM: the whole table as hex
dmar_hex() {
    local body entry number first last slot
    # One unit for all of PCI (flag 1), at QEMU's address; its scope names the I/O APIC, for interrupt remapping.
    body=$(little 2 0)$(little 2 24)$(little 1 1)$(little 1 0)$(little 2 0)$(little 8 0xfed90000)
    body+=$(little 1 3)$(little 1 8)$(little 2 0)$(little 1 0)$(little 1 0xff)$(little 2 0)
    for entry in "${reserve[@]}"; do
        [[ $entry =~ ^([0-9]+):(0x[0-9a-f]+)-(0x[0-9a-f]+)$ ]] || misuse "--reserve $entry: not N:0xFIRST-0xLAST"
        number=${BASH_REMATCH[1]} first=${BASH_REMATCH[2]} last=${BASH_REMATCH[3]}
        ((first % 4096 == 0 && (last + 1) % 4096 == 0 && first < last)) || misuse "--reserve $entry: not whole pages"
        slot=$((number + 15)) # as device_arguments counts
        [[ " $device_slots" == *" 0000:00:$(printf '%02x' $slot).0 "* ]] || misuse "--reserve $entry: no such device"
        body+=$(little 2 1)$(little 2 32)$(little 2 0)$(little 2 0)$(little 8 "$first")$(little 8 "$last")
        body+=$(little 1 1)$(little 1 8)$(little 2 0)$(little 1 0)$(little 1 0)$(little 1 $slot)$(little 1 0)
    done
    # 39 bits of address as QEMU's, interrupt remapping on.
    body=$(little 1 0x26)$(little 1 1)$(little 10 0)$body
    printf '%s%s%s%s%s%s%s%s%s%s' "$(text_hex DMAR)" "$(little 4 $((36 + ${#body} / 2)))" "$(little 1 1)" \
        "$(little 1 "$1")" "$(text_hex 'BOCHS ')" "$(text_hex 'BXPC    ')" "$(little 4 2)" "$(text_hex BXPC)" \
        "$(little 4 1)" "$body"
}

# make_dmar DIR: DIR/kernel/firmware/acpi/dmar.aml, where Linux looks for replacements
make_dmar() {
    local hex sum=0 i
    hex=$(dmar_hex 0)
    for ((i = 0; i < ${#hex}; i += 2)); do
        sum=$((sum + 0x${hex:i:2}))
    done
    hex=$(dmar_hex $((-sum & 0xff)))
    mkdir -p "$1/kernel/firmware/acpi"
    # shellcheck disable=SC2059 # the format is made here, of \x escapes only
    printf "$(printf '%s' "$hex" | sed 's/../\\x&/g')" > "$1/kernel/firmware/acpi/dmar.aml"
}
