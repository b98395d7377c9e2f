#!/bin/sh
# Proves the two commands of the README on a bare system: a fresh Debian (or Ubuntu) that has git, a POSIX shell and apt, and nothing else.
#
#   tools/bare.sh [--with-host-network-config] [--keep] [--dir DIR] [--run COMMAND]... [SUITE]
#
#   SUITE                        what debootstrap installs: bookworm (the default), trixie, …
#   --with-host-network-config   only where the machine outside reaches the network by settings of its own: its apt sources and apt
#                                settings, its own certificate authorities, root's npm settings and the proxy variables go along
#   --run COMMAND                run this instead of ./demo and ./check; may be given several times
#   --with FOLDER                copy this folder into the system, to /root/with
#   --dir DIR                    where the system is laid (default: a new folder under TMPDIR); it must be empty or absent
#   --keep                       leave the system there when all is done
#
# It needs root and debootstrap. The bare system is kept as a tarball in ${RIVULET_BARE_CACHE:-/var/tmp/rivulet-bare} for the next time.
# All mounts live in a mount namespace of their own, so that nothing stays behind however this ends.
set -eu

fail() { echo "bare: $*" >&2; exit 2; }
now() { date +%s; }

suite=bookworm host_network='' keep='' dir='' with='' commands=''
while [ $# -gt 0 ]; do
    case $1 in
    --with-host-network-config) host_network=yes ;;
    --keep) keep=yes ;;
    --with) [ $# -gt 1 ] && [ -d "$2" ] || fail '--with wants a folder'; with=$2; shift ;;
    --dir) [ $# -gt 1 ] || fail '--dir wants a folder'; dir=$2; shift ;;
    --run) [ $# -gt 1 ] || fail '--run wants a command'; commands="$commands$2
"; shift ;;
    -h|--help) sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    -*) fail "there is no option $1; --help tells what there is" ;;
    *) suite=$1 ;;
    esac
    shift
done
[ -n "$commands" ] || commands='./demo
./check
./demo
'
[ "$(id -u)" = 0 ] || fail 'debootstrap and chroot need root'
for tool in debootstrap git unshare chroot; do command -v "$tool" >/dev/null || fail "$tool is not installed"; done
repository=$(cd "$(dirname "$0")/.." && pwd)

cache=${RIVULET_BARE_CACHE:-/var/tmp/rivulet-bare}
base=$cache/$suite.tar
mkdir -p "$cache"
if [ ! -s "$base" ]; then
    # The mirror: the one that the machine outside uses, if it shall go along; debootstrap's own otherwise.
    mirror=''
    if [ -n "$host_network" ]; then
        mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
                 sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' | head -n 1)
    fi
    echo "bare: making a minimal $suite with git (kept in $base)"
    fresh=$(mktemp -d "$cache/make.XXXXXX")
    debootstrap --variant=minbase --include=git "$suite" "$fresh" ${mirror:+"$mirror"} >"$cache/$suite.log" 2>&1 ||
        { rm -rf "$fresh"; fail "debootstrap failed; $cache/$suite.log tells why"; }
    rm -f "$fresh"/var/cache/apt/archives/*.deb
    tar -C "$fresh" -cf "$base.new" . && mv "$base.new" "$base"
    rm -rf "$fresh"
fi

[ -n "$dir" ] || dir=$(mktemp -d "${TMPDIR:-/tmp}/rivulet-bare.XXXXXX")
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ -z "$(ls -A "$dir")" ] || fail "$dir is not empty"
[ -n "$keep" ] || trap 'rm -rf --one-file-system "$dir"' EXIT
trap 'exit 130' INT TERM
tar -C "$dir" -xf "$base"
chmod 755 "$dir"

printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d"     # no service starts in here
chmod 755 "$dir/usr/sbin/policy-rc.d"
cp -L /etc/resolv.conf "$dir/etc/resolv.conf" 2>/dev/null || true
variables='HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
if [ -n "$host_network" ]; then
    # Sources are for the suite outside: they are taken over only if they speak of the suite inside; debootstrap's own line stays otherwise.
    if grep -qs "$suite" /etc/apt/sources.list.d/*.sources /etc/apt/sources.list; then
        : >"$dir/etc/apt/sources.list"
        cp /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list "$dir/etc/apt/sources.list.d/" 2>/dev/null || true
        [ ! -f /etc/apt/sources.list ] || cp /etc/apt/sources.list "$dir/etc/apt/sources.list"
    fi
    for settings in /etc/apt/apt.conf.d/*; do
        if grep -qs 'Acquire::' "$settings"; then cp "$settings" "$dir/etc/apt/apt.conf.d/"; fi
    done
    mkdir -p "$dir/usr/local/share/ca-certificates"
    cp /usr/local/share/ca-certificates/*.crt "$dir/usr/local/share/ca-certificates/" 2>/dev/null || true
    [ ! -f "${HOME:-/root}/.npmrc" ] || cp "${HOME:-/root}/.npmrc" "$dir/root/.npmrc"
    variables="$variables NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt"
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        eval "value=\${$name:-}"
        [ -z "$value" ] || variables="$variables $name=$value"
    done
fi

[ -z "$with" ] || cp -r "$with" "$dir/root/with"
# The sources: a clone of HEAD, made by the git inside from one bundle file.
git -C "$repository" bundle create -q "$dir/root/rivulet.bundle" HEAD
printf '%s' "$commands" >"$dir/root/commands"
cat >"$dir/root/inside.sh" <<'INSIDE'
set -eu
cd /root
git -c advice.detachedHead=false clone -q rivulet.bundle rivulet
cd rivulet
echo "bare: $(. /etc/os-release && echo "$PRETTY_NAME"), $(dpkg-query -W | wc -l) packages, commit $(git rev-parse --short HEAD)"
failed=0
while IFS= read -r command; do
    echo "bare: \$ $command"
    began=$(date +%s)
    if sh -c "$command" </dev/null; then answer='done'; else answer="FAILED with status $?"; failed=1; fi
    echo "bare: $command: $answer in $(($(date +%s) - began)) s"
done <../commands
exit $failed
INSIDE
# /dev holds only what every system has; processes inside cannot outlive this.
cat >"$dir/root/mounts.sh" <<'MOUNTS'
set -eu
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for node in null zero full random urandom tty; do : >"$1/dev/$node"; mount --bind "/dev/$node" "$1/dev/$node"; done
mkdir "$1/dev/pts" "$1/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts" 2>/dev/null || true
mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
ln -s pts/ptmx "$1/dev/ptmx"; ln -s /proc/self/fd "$1/dev/fd"
ln -s fd/0 "$1/dev/stdin"; ln -s fd/1 "$1/dev/stdout"; ln -s fd/2 "$1/dev/stderr"
exec chroot "$1" /usr/bin/env -i $2 sh /root/inside.sh
MOUNTS
began=$(now)
status=0
unshare --mount --pid --fork --kill-child sh "$dir/root/mounts.sh" "$dir" "$variables" || status=$?
echo "bare: all in $(($(now) - began)) s, $(du -smx "$dir" | cut -f1) MB$([ -z "$keep" ] || echo ", left in $dir")"
exit $status
