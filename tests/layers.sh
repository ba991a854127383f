#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# An arrow never goes up: each folder includes only its own library and the layers below it.
#   core: libc, linux/ and GLib's data types | xml: + libxml2 | qmp: + json-glib, gio
#   plugin: + libvirt | programs on top of all
set -u
root=${1:-.}
cd "$root" || exit 2
failed=0

# forbid FOLDER PATTERN WHY
forbid() {
    [ -d "$1" ] || { echo "layers: $1 is missing"; failed=1; return; }
    if grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" "$1" --include='*.[ch]'; then
        echo "layers: $1 must not include the above: $3"
        failed=1
    fi
}

# headers FOLDER: its own headers as an alternation, to forbid them below
headers() {
    find "$1" -name '*.h' 2>/dev/null | sed 's#.*/##; s#\.#\\.#g' | paste -sd'|'
}

above_core='libxml/|json-glib/|libvirt/|gio/|glib-unix|glib-object|gmodule'
forbid src/core "$above_core" "core knows no XML, no JSON, no libvirt and no main loop"
forbid xml 'json-glib/|libvirt/|gio/|glib-object' "xml owns libxml2 and nothing else"
forbid qmp 'libxml/|libvirt/' "qmp owns json-glib and nothing else"
forbid src/vfio-user 'libxml/|libvirt/' "vfio-user owns its protocol, whose first message is JSON"
forbid plugin 'json-glib/' "plugin owns libvirt; XML and JSON come through xml/ and qmp/"

for pair in src/core:xml src/core:qmp src/core:plugin src/core:src/cli src/core:src/helper src/core:src/vfio-user \
            xml:qmp xml:plugin xml:src/cli qmp:xml qmp:plugin qmp:src/cli qmp:src/helper plugin:src/cli \
            src/vfio-user:xml src/vfio-user:qmp src/vfio-user:plugin src/vfio-user:src/cli src/vfio-user:src/helper; do
    low=${pair%%:*} high=${pair#*:}
    names=$(headers "$high")
    [ -n "$names" ] && forbid "$low" "([^\">]*/)?($names)[\">]" "$low is below or beside $high"
done
if grep -rnE 'GMainLoop|GMainContext|g_timeout_add|g_idle_add' src/core --include='*.[ch]'; then
    echo "layers: core has no main loop"
    failed=1
fi
exit $failed
