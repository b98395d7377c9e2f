#!/bin/sh
# Proves what packaging/ promises on clean systems that debootstrap makes: builds the packages on a bare Debian, and installs them on another one
# (prove-install.sh). Needs root, debootstrap and a quarter of an hour; nothing of the system outside changes.
#
#   packaging/prove.sh [--with-host-network-config] [--boot] [--to FOLDER] SUITE...
#
#   SUITE      bookworm, trixie; the packages land in FOLDER/SUITE (build/packages)
#   --boot     start systemd in the second system too, by systemd-nspawn, and try the unit there (prove-service.sh)
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
to=$here/build/packages network='' suites='' boot=''
while [ $# -gt 0 ]; do
    case $1 in
    --with-host-network-config) network=$1 ;;
    --boot) boot=yes; command -v systemd-nspawn >/dev/null || { echo 'prove: systemd-nspawn is not installed (systemd-container)' >&2; exit 2; } ;;
    --to) to=${2:?a folder}; shift ;;
    -h|--help) sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    -*) echo "prove: there is no option $1" >&2; exit 2 ;;
    *) suites="$suites $1" ;;
    esac
    shift
done
# Boots the system in the folder, and runs the proof beside its systemd.
boot() {
    rm -f "$1/usr/sbin/policy-rc.d"
    cp "$here/packaging/prove-service.sh" "$1/root/"
    timeout -k 20 600 systemd-nspawn -q -D "$1" -M "rivulet-prove-$$" --register=no --keep-unit --link-journal=no --private-network --boot -- systemd.unit=multi-user.target \
        </dev/null >"$1.log" 2>&1 &
    outside=$! tries=0 leader=''
    until [ -n "$leader" ] && nsenter -t "$leader" -a systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; do
        tries=$((tries + 1)); [ $tries -lt 300 ] || { cat "$1.log"; return 1; }
        sleep 0.2
        for below in $(pgrep -P "$outside"); do leader=$(pgrep -P "$below" -x systemd || pgrep -P "$below" -x init || true); done
    done
    answer=0
    nsenter -t "$leader" -a /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 sh /root/prove-service.sh || answer=1
    kill -TERM "$outside"               # it asks for an orderly end
    wait $outside || true
    kill -KILL "$leader" 2>/dev/null || true
    return $answer
}

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
        # shellcheck disable=SC2086
        "$here/tools/bare.sh" $network ${boot:+--keep} --dir "$room/install" --with "$to/$suite" --run 'packaging/prove-install.sh /root/with' \
            ${boot:+--run 'apt-get install -q -y --no-install-recommends dbus systemd-sysv'} "$suite" || status=1
        [ -z "$boot" ] || boot "$room/install" || status=1
    else
        status=1
    fi
    rm -rf --one-file-system "$room"
done
exit $status
