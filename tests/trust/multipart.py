#!/usr/bin/env python3
"""Forms cut at every byte: 200 bodies as browsers, curl and libraries send them, and as nobody should, each read whole, in two pieces cut at every byte and a
byte at a time. Every reading must tell the same parts and the same bytes.

Usage: tests/trust/multipart.py [--quick] [--seed N]
"""
import os
import random
import re
import subprocess
import sys
import tempfile

from scorecard import BUILD, Scorecard

SPLIT = os.path.join(BUILD, 'tests', 'fuzz', 'multipart-split')
FORMS, FORMS_QUICK, BYTES, BYTES_QUICK = 200, 80, 4000, 250
BOUNDARIES = ['b', '----WebKitFormBoundary7MA4YWxkTrZu0gW', '-----------------------------9051914041544843365972754266', '------------------------d74496d66958873e',
              "a'()+_,-./:=?b", '-', '--', 'x' * 70]
NAMES = ['files', 'a"b', '易.jpg', '../../etc/passwd', 'a\\"b', '', 'x' * 300, '%22%0d%0a', 'é', 'file name;=.png', 'CON', '\u202egpj.exe']


def quoted(chance, name):
    way = chance.randrange(4)
    if way == 0:
        return '"' + name.replace('"', '%22').replace('\r', '%0D').replace('\n', '%0A') + '"'
    if way == 1:
        return '"' + name.replace('\\', '\\\\').replace('"', '\\"') + '"'
    if way == 2 and re.fullmatch(r'[A-Za-z0-9.]+', name):
        return name
    return '"' + name.replace('"', '') + '"'


def content(chance, boundary, room):
    """Bytes that are like the end of a part, and are not; or anything."""
    near = [b'\r\n', b'\r', b'\n', b'--', b'\r\n--', b'\r\n--' + boundary[:-1], b'\n--' + boundary, b'\r\r\n--' + boundary[:2], b'--' + boundary, b'\r\n--' + boundary[:-1] + b'~',
            b'\0', b'\xff\xd8\xff\xe0', b'{"a":1}', b'\r\n\r\n']
    out = b''
    while len(out) < room:
        out += chance.choice(near) if chance.randrange(3) else bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
    return out[:room].replace(b'\r\n--' + boundary, b'')


def head(chance):
    lines = [f'Content-Disposition: form-data; name={quoted(chance, chance.choice(["files", "file", "params", "a[]", "x y"]))}']
    if chance.randrange(3):
        lines[0] += f'; filename={quoted(chance, chance.choice(NAMES))}'
        if not chance.randrange(4):
            lines[0] += "; filename*=UTF-8''%e6%98%93.jpg"
        lines.append(chance.choice(['Content-Type: image/jpeg', 'content-type:application/octet-stream', 'Content-Type: text/plain; charset=utf-8']))
    if not chance.randrange(8):
        lines.append('X-Other: ' + 'y' * chance.randrange(100))
    if not chance.randrange(12):
        chance.shuffle(lines)
    return '\r\n'.join(lines).encode()


def spoil(chance, form):
    """One in five is what it should not be."""
    way = chance.randrange(25)
    if way == 0:
        return form[:chance.randrange(len(form))]
    if way == 1:
        return form.replace(b'\r\n\r\n', b'\n\n', 1)
    if way == 2:
        return form.replace(b'form-data', b'attachment', 1)
    if way == 3:
        at = chance.randrange(len(form))
        return form[:at] + bytes([chance.randrange(256)]) + form[at + 1:]
    if way == 4:
        return form.replace(b'Content-Disposition', b'X', 1)
    return form


def make(chance, room):
    boundary = chance.choice(BOUNDARIES).encode()
    form = chance.choice([b'', b'', b'', b'a preamble\r\n', b'\r\n'])
    parts = chance.choice([0, 1, 1, 2, 3, 6, 19])
    for _ in range(parts):
        form += b'--' + boundary + (b' \t' if not chance.randrange(10) else b'') + b'\r\n' + head(chance) + b'\r\n\r\n'
        form += content(chance, boundary, chance.choice([0, 1, 2, chance.randrange(max(1, room // parts // 2 + 1))])) + b'\r\n'
    form += b'--' + boundary + b'--' + chance.choice([b'', b'\r\n', b'\r\nan epilogue\r\n--' + boundary + b'\r\n'])
    return boundary + b'\n' + spoil(chance, form)


def main():
    card = Scorecard('multipart', __doc__)
    options = card.begin()
    chance = random.Random(options.seed)
    count, room = (FORMS_QUICK, BYTES_QUICK) if options.quick else (FORMS, BYTES)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for index in range(count):
            paths.append(os.path.join(folder, f'form-{index}'))
            with open(paths[-1], 'wb') as file:
                file.write(make(chance, room))
        done = subprocess.run([SPLIT, *paths], text=True, errors='replace', stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    told = re.search(r'(\d+) readings\n(\d+) passed, (\d+) failed\s*$', done.stdout)
    if done.returncode or not told:
        print(done.stdout)
    readings, passed, failed = map(int, told.groups()) if told else (0, 0, 1)
    card.row('forms', passed, '', good=passed + failed == count)
    card.row('readings of them, each cut elsewhere', readings, '', good=readings > 100 * count)
    card.row('forms that were not read alike', failed, '', bar=0)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
