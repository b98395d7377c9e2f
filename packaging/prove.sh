#!/bin/sh
# Proves what packaging/ promises on clean systems that debootstrap makes: builds the packages on a bare Debian, and installs them on another one
# (prove-install.sh). Needs root, debootstrap and a quarter of an hour; nothing of the system outside changes.
#
#   packaging/prove.sh [--with-host-network-config] [--to FOLDER] SUITE...      bookworm, trixie; the packages land in FOLDER/SUITE (build/packages)
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
to=$here/build/packages network='' suites=''
while [ $# -gt 0 ]; do
    case $1 in
    --with-host-network-config) network=$1 ;;
    --to) to=${2:?a folder}; shift ;;
    -h|--help) sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    -*) echo "prove: there is no option $1" >&2; exit 2 ;;
    *) suites="$suites $1" ;;
    esac
    shift
done
status=0
for suite in ${suites:-bookworm trixie}; do
    room=$(mktemp -d "${TMPDIR:-/tmp}/rivulet-prove.XXXXXX")
    trap 'rm -rf --one-file-system "$room"' EXIT
    mkdir -p "$to/$suite" "$room/build"
    rm -f "$to/$suite"/*.deb
    # shellcheck disable=SC2086
    if "$here/tools/bare.sh" $network --keep --dir "$room/build" --run 'packaging/build-deb.sh' "$suite"; then
        cp "$room/build/root/rivulet/build/deb"/*.deb "$to/$suite/"
        "$here/packaging/recogniser-deb.sh" "$to/$suite"        # the same for every release; from what this machine has fetched
        rm -rf --one-file-system "$room/build"
        "$here/tools/bare.sh" $network --with "$to/$suite" --run 'packaging/prove-install.sh /root/with' "$suite" || status=1
    else
        status=1
    fi
    rm -rf --one-file-system "$room"
done
exit $status
