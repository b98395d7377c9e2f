#!/usr/bin/env python3
"""Looks for what the project's C never does: banned functions, asserts switched off, a header without `#pragma once`,
a buffer that is let go before it is set.

Usage: tools/style.py [FOLDER]... (src, tests, bench by default). The last line is `N passed, N failed`, in files. Files above 600 lines and
functions above 70 are told as warnings: look at them, they need not be wrong.
"""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
FILE_LINES_MAX, FUNCTION_LINES_MAX = 600, 70
BANNED = {
    'strcpy': 'has no bound: use buf_* or struct bytes', 'strcat': 'has no bound: use buf_*', 'sprintf': 'has no bound: use snprintf or buf_*',
    'vsprintf': 'has no bound: use vsnprintf', 'strtok': 'keeps state and writes into its input', 'atoi': 'cannot tell a mistake: use text_*',
    'atol': 'cannot tell a mistake: use text_*', 'atof': 'cannot tell a mistake', 'gets': 'has no bound', 'alloca': 'has no bound',
    'system': 'asks a shell: use os/ child', 'mktemp': 'is a race: use mkstemp', 'tmpnam': 'is a race: use mkstemp',
}
CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')
# Comments, strings and characters are blanked before looking; line ends stay.
NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_of(text):
    return NOT_CODE.sub(lambda match: re.sub(r'[^\n]', ' ', match.group()), text)


def long_functions(code):
    """(line, lines) of each function body, `{` alone in the first column or at a definition's end, that is too long."""
    opened = None
    for number, line in enumerate(code.split('\n'), 1):
        if line.startswith('{'):
            opened = number
        elif line.startswith('}'):
            if opened and number - opened - 1 > FUNCTION_LINES_MAX:
                yield opened, number - opened - 1
            opened = None


def left_before_set(code):
    """(line, name) of each `struct buf NAME BUF_OWNED;` that a return may leave, and so free, before anything has set it."""
    lines = code.split('\n')
    for number, line in enumerate(lines, 1):
        first = re.search(r'BUF_OWNED struct buf ([\w, ]+);', line)
        for name in re.findall(r'(\w+) BUF_OWNED[;,]', line) + (first.group(1).split(', ') if first else []):
            for behind in lines[number:]:
                if re.search(rf'&{name}\b', behind) or behind.startswith('}'):
                    break
                if re.search(r'\b(return|goto)\b', behind):
                    yield number, name
                    break


def look_at(path, shown):
    """(failures, warnings) of one file, as sentences."""
    with open(path, encoding='utf-8') as file:
        text = file.read()
    code = code_of(text)
    failures, warnings = [], []
    for number, line in enumerate(code.split('\n'), 1):
        for match in CALL.finditer(line):
            failures.append(f'{shown}:{number}: {match.group(1)} {BANNED[match.group(1)]}')
        if re.match(r'\s*#\s*define\s+NDEBUG', line):
            failures.append(f'{shown}:{number}: asserts stay on')
    if shown.endswith('.h') and '#pragma once' not in code:
        failures.append(f'{shown}:1: a header without #pragma once')
    lines = text.count('\n')
    if lines > FILE_LINES_MAX:
        warnings.append(f'{shown}: {lines} lines')
    failures += [f'{shown}:{number}: {name} may be let go before it is set' for number, name in left_before_set(code)]
    warnings += [f'{shown}:{number}: a function of {length} lines' for number, length in long_functions(code)]
    return failures, warnings


def main():
    files = []
    for top in sys.argv[1:] or ['src', 'tests', 'bench']:
        for folder, _, names in sorted(os.walk(os.path.join(ROOT, top))):
            files += [os.path.join(folder, name) for name in sorted(names) if name.endswith(('.c', '.h'))]
    failed = 0
    for path in files:
        failures, warnings = look_at(path, os.path.relpath(path, ROOT))
        failed += bool(failures)
        for sentence in failures:
            print(sentence)
        for sentence in warnings:
            print('warning: ' + sentence)
    print(f'{len(files) - failed} passed, {failed or (0 if files else 1)} failed')
    return 1 if failed or not files else 0


if __name__ == '__main__':
    sys.exit(main())
