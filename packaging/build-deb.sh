#!/bin/sh
# Makes Debian packages for the release that this runs on: rivulet, out of the working tree, and rivulet-recogniser, if the recogniser has been fetched
# (tools/fetch-models.sh). They land in ${1:-build/deb}.
#
# What building takes is installed first when this runs as root; otherwise it must be there (packaging/debian/control).
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
to=${1:-$here/build/deb}
fail() { echo "deb: $*" >&2; exit 2; }

needs='dpkg-dev debhelper fakeroot'
missing=$(for name in $needs; do dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q '^install ok installed$' || echo "$name"; done)
if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] || fail "not installed: $(echo $missing)"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends $missing
fi
mkdir -p "$to"
to=$(cd "$to" && pwd)
room=$(mktemp -d "${TMPDIR:-/tmp}/rivulet-deb.XXXXXX")
trap 'rm -rf "$room"' EXIT
trap 'exit 130' INT TERM

# A copy of what git knows, as it lies here, or of everything where there is no git.
mkdir "$room/rivulet"
if git -C "$here" rev-parse >/dev/null 2>&1; then
    git -C "$here" ls-files -z --cached --others --exclude-standard --deduplicate >"$room/names"
    tar -C "$here" --null --ignore-failed-read -T "$room/names" -cf "$room/sources.tar" 2>/dev/null
else
    tar -C "$here" --exclude='./build*' -cf "$room/sources.tar" .
fi
tar -C "$room/rivulet" -xf "$room/sources.tar"
cp -r "$here/packaging/debian" "$room/rivulet/debian"
for name in service socket sysusers tmpfiles; do cp "$here/packaging/rivulet.$name" "$room/rivulet/debian/rivulet.$name"; done
cd "$room/rivulet"
if ! dpkg-checkbuilddeps 2>"$room/missing"; then
    [ "$(id -u)" = 0 ] || fail "$(cat "$room/missing")"
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends build-dep ./
fi
# Two releases make packages of one version: the name says for which.
release=$(. /etc/os-release && echo "${VERSION_ID:-0}")
sed -i "1s/(\([^)]*\))/(\1~deb$release)/" debian/changelog
dpkg-buildpackage -b -us -uc >"$room/log" 2>&1 || { tail -n 40 "$room/log" >&2; fail 'dpkg-buildpackage failed'; }
mv "$room"/*.deb "$room"/*.buildinfo "$room"/*.changes "$to/"
"$here/packaging/recogniser-deb.sh" "$to"
ls -l "$to"/*.deb
