#!/usr/bin/env python3
"""Turns the files of web/ into one C file for the program: tools/embed.py OUTPUT FILE...

index.html is found at /, every other file at /assets/NAME. The ETag of a file is the hash of what it holds.

tools/embed.py --json NAME HEADER OUTPUT FILE makes one JSON file the constant NAME, which HEADER declares as a struct bytes; --text does the same with any
file, as it is.
"""
import hashlib
import json
import os
import sys

TYPES = {'.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
         '.svg': 'image/svg+xml'}


def array_of(name, content):
    rows = (', '.join(str(byte) for byte in content[at:at + 24]) for at in range(0, len(content), 24))
    return f'static const unsigned char {name}[] = {{\n    ' + ',\n    '.join(rows) + ',\n};\n'


def embed_one(how, name, header, output, path):
    with open(path, encoding='utf-8') as file:
        text = file.read()
    content = (json.dumps(json.loads(text), separators=(',', ':'), ensure_ascii=False) if how == '--json' else text).encode()
    with open(output, 'w', encoding='ascii') as file:
        file.write(f'/* Made by tools/embed.py; do not edit. */\n#include "{header}"\n\n' + array_of('content', content))
        file.write(f'\nconst struct bytes {name} = {{(const char *)content, sizeof content}};\n')


def main():
    if sys.argv[1] in ('--json', '--text'):
        embed_one(*sys.argv[1:])
        return
    output, *paths = sys.argv[1:]
    arrays, entries = [], []
    for number, path in enumerate(sorted(paths)):
        with open(path, 'rb') as file:
            content = file.read()
        base = os.path.basename(path)
        place = '/' if base == 'index.html' else f'/assets/{base}'
        media = TYPES[os.path.splitext(base)[1]]
        tag = hashlib.sha256(content).hexdigest()[:16]
        arrays.append(array_of(f'file_{number}', content))
        entries.append(f'    {{"{place}", "{media}", "\\"{tag}\\"", {{(const char *)file_{number}, sizeof file_{number}}}}},\n')
    with open(output, 'w', encoding='ascii') as file:
        file.write('/* Made by tools/embed.py; do not edit. */\n#include "server/page.h"\n\n' + '\n'.join(arrays))
        file.write('\nconst struct page_file page_files[] = {\n' + ''.join(entries) + '};\n')
        file.write('const size_t page_files_count = sizeof page_files / sizeof *page_files;\n')


if __name__ == '__main__':
    main()
