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
    'stage': ['vision', 'core', 'os', 'base'],
    'engine': ['store', 'stage', 'core', 'os', 'base'],
    'readers': ['store', 'core', 'os', 'base'],
    'config': ['core', 'os', 'base'],
    'worker': ['stage', 'core', 'os', 'base', 'config'],
    'http': ['os', 'base'],
    'server': ['http', 'engine', 'readers', 'config', 'stage', 'store', 'core', 'os', 'base'],
    'client': ['os', 'base'],
    'cli': ['client', 'server', 'http', 'worker', 'engine', 'readers', 'config', 'stage', 'vision', 'store', 'core', 'os', 'base'],
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
