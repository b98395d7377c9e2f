#!/usr/bin/env python3
"""Proves that the simulator can fail: every deliberate bug in the sources (`#ifdef BUG_name`) must be caught by it.

Usage: tools/mutants.py [--build DIR] [--seeds N] [NAME]...

For each bug only the files that mention it are compiled again, with -DBUG_name, and linked in the place of the sound ones; the simulator
made that way must fail within N seeds. Bugs that no run catches are failures, and so are fewer than three bugs altogether.
The last line is `N passed, N failed`.
"""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
BUG = re.compile(r'\bBUG_(\w+)')
BUGS_MIN = 3
RUN_SECONDS_MAX = 120
SOUND_SEEDS = 50


def commands_of(build, target):
    """The commands that make a target, the last of them its link, as lists of words."""
    told = subprocess.run(['ninja', '-C', build, '-t', 'commands', target], capture_output=True, text=True)
    if told.returncode:
        print(f'{build} has no {target}: {told.stdout.strip()}\n0 passed, 1 failed')
        sys.exit(1)
    return [shlex.split(line) for line in told.stdout.splitlines() if line.strip()]


def bugs_in(sources):
    """{bug: [source files that mention it, themselves]}"""
    found = {}
    for path in sources:
        with open(path, encoding='utf-8') as file:
            for name in set(BUG.findall(file.read())):
                found.setdefault(name, []).append(path)
    return found


def make_mutant(build, name, files, compiles, link, folder):
    """The path of a simulator with the bug in it."""
    objects, place = [], {}
    for path in files:
        words = list(compiles[path])
        sound = words[words.index('-o') + 1]
        mutated = os.path.join(folder, f'{name}-{len(objects)}.o')
        words[words.index('-o') + 1] = mutated
        for dependency in ('-MF', '-MQ'):
            words[words.index(dependency) + 1] = mutated + '.d'
        subprocess.run(words + ['-DBUG_' + name, '-Wno-error'], cwd=build, check=True)
        objects.append(mutated)
        place[sound] = mutated
    program = os.path.join(folder, 'sim-' + name)
    words = [place.get(word, word) for word in link]
    words[words.index('-o') + 1] = program
    # An object named before the archive stands in for the archive's own, which defines the same and is never opened.
    words[words.index('-o') + 2:words.index('-o') + 2] = [made for sound, made in place.items() if sound not in link]
    subprocess.run(words, cwd=build, check=True)
    return program


def caught(program, seeds):
    """(whether the simulator failed, its own words)."""
    try:
        done = subprocess.run([program, '--seeds', str(seeds)], capture_output=True, text=True, timeout=RUN_SECONDS_MAX, errors='replace')
    except subprocess.TimeoutExpired:
        return False, f'no end within {RUN_SECONDS_MAX} s'
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return done.returncode != 0, lines[0][:150] if lines else f'status {done.returncode}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*')
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--seeds', type=int, default=500)
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    *_, link = commands_of(build, 'sim')
    with open(os.path.join(build, 'compile_commands.json'), encoding='utf-8') as file:
        compiles = {}
        for entry in json.load(file):
            path = os.path.normpath(os.path.join(entry['directory'], entry['file']))
            compiles.setdefault(path, shlex.split(entry['command']))
    wanted = {words[words.index('-o') + 1] for words in commands_of(build, 'sim') if '-c' in words}
    sources = [path for path, words in compiles.items() if words[words.index('-o') + 1] in wanted]
    bugs = bugs_in(sources)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        bad, words = caught(make_mutant(build, 'none', [], compiles, link, folder), SOUND_SEEDS)
        if bad:        # a stale build, most often: then it would "catch" every bug
            print(f'the simulator without any bug fails, so it proves nothing: {words}\n0 passed, 1 failed')
            return 1
        for name in sorted(bugs):
            if options.names and name not in options.names:
                continue
            good, words = caught(make_mutant(build, name, bugs[name], compiles, link, folder), options.seeds)
            print(f'{"caught" if good else "NOT CAUGHT"}: {name}: {words}', flush=True)
            passed += good
            failed += not good
    if not options.names and len(bugs) < BUGS_MIN:
        print(f'only {len(bugs)} deliberate bugs in the sources, {BUGS_MIN} are the least')
        failed += 1
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
