#!/usr/bin/env python3
"""Proves that includes between the folders of src/ go down only, and that no file includes itself by a detour.

Usage: tools/layers.py [SRC]. Each wrong include is told as `file:line: sentence`; the last line is `N passed, N failed`,
where what passed or failed is a file. A folder that the graph below does not know is a failure: a new room is entered here first.
"""
import os
import re
import sys

# What each room may include from, beside itself. Siblings do not know each other.
MAY_INCLUDE = {
    'base': [],
    'os': ['base'],
    'core': ['base'],
    'store': ['core', 'os', 'base'],
    'vision': ['os', 'base'],
    'expr': ['base'],
    'stage': ['vision', 'expr', 'core', 'os', 'base'],
    'engine': ['store', 'stage', 'core', 'os', 'base'],
    'trip': ['engine', 'store', 'stage', 'core', 'os', 'base'],
    'readers': ['store', 'core', 'os', 'base'],
    'config': ['expr', 'core', 'os', 'base'],
    'worker': ['stage', 'core', 'os', 'base', 'config'],
    'http': ['os', 'base'],
    'server': ['http', 'trip', 'engine', 'readers', 'config', 'stage', 'store', 'core', 'os', 'base'],
    'client': ['os', 'base'],
    'cli': ['client', 'server', 'http', 'worker', 'trip', 'engine', 'readers', 'config', 'stage', 'vision', 'expr', 'store', 'core', 'os', 'base'],
}
# Rooms inside a room: what each may include from there, beside itself and the files at its top. Those at the top may include all.
MAY_INCLUDE_WITHIN = {
    'server': {'access': [], 'stream': ['access'], 'intake': ['stream', 'access'], 'views': ['stream', 'access'], 'ops': ['stream']},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def sources(src):
    """Every .c and .h under src, as paths relative to it."""
    for folder, _, names in sorted(os.walk(src)):
        for name in sorted(names):
            if name.endswith(('.c', '.h')):
                yield os.path.relpath(os.path.join(folder, name), src)


def includes_of(src, path):
    """[(line number, the included file relative to src)], as the compiler would find it: beside the file, or from src."""
    found = []
    with open(os.path.join(src, path), encoding='utf-8', errors='replace') as lines:
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            if match:
                beside = os.path.normpath(os.path.join(os.path.dirname(path), match.group(1)))
                found.append((number, beside if os.path.exists(os.path.join(src, beside)) else os.path.normpath(match.group(1))))
    return found


def cycle_through(path, graph):
    """A way of includes from path back to path, or None."""
    stack, seen = [(path, [path])], set()
    while stack:
        here, way = stack.pop()
        for following in graph.get(here, ()):
            if following == path:
                return way + [path]
            if following not in seen:
                seen.add(following)
                stack.append((following, way + [following]))
    return None


def inner(path):
    """The room inside a room that a path lies in; None at the top."""
    parts = path.split(os.sep)
    return parts[1] if len(parts) > 2 else None


def within(path, number, target):
    """A sentence when an include between the rooms inside one room goes the wrong way, else None."""
    room, here, there = path.split(os.sep)[0], inner(path), inner(target)
    graph = MAY_INCLUDE_WITHIN.get(room, {})
    for name in (here, there):
        if name is not None and name not in graph:
            return f'{path}:{number}: {room}/{name}/ is not in the graph of tools/layers.py'
    if here is None or there is None or here == there or there in graph[here]:
        return None
    return f'{path}:{number}: {room}/{here}/ must not include from {room}/{there}/ ({target})'


def check(src):
    """(files looked at, {file: [sentences]}) for a tree of sources."""
    files = list(sources(src))
    wrong = {}
    graph = {}
    for path in files:
        room = path.split(os.sep)[0]
        told = wrong.setdefault(path, [])
        if room not in MAY_INCLUDE:
            told.append(f'{path}:1: {room}/ is not in the graph of tools/layers.py')
            continue
        includes = includes_of(src, path)
        graph[path] = [target for _, target in includes]
        for number, target in includes:
            other = target.split(os.sep)[0]
            if os.sep not in target or other not in MAY_INCLUDE:
                if not os.path.exists(os.path.join(src, target)):
                    continue            # another library's header in quotes, or one made at build time
                told.append(f'{path}:{number}: {target} lies in no room')
            elif other != room and other not in MAY_INCLUDE[room]:
                told.append(f'{path}:{number}: {room}/ must not include from {other}/ ({target})')
            elif other == room and within(path, number, target):
                told.append(within(path, number, target))
    for path in files:
        way = cycle_through(path, graph)
        if way:
            wrong[path].append(f'{path}:1: includes itself by {" -> ".join(way)}')
    return files, {path: told for path, told in wrong.items() if told}


def main():
    src = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'src')
    files, wrong = check(src)
    for told in wrong.values():
        print('\n'.join(told))
    if not files:
        print(f'{src}: no sources here')
    print(f'{len(files) - len(wrong)} passed, {len(wrong) or (0 if files else 1)} failed')
    return 1 if wrong or not files else 0


if __name__ == '__main__':
    sys.exit(main())
