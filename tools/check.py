#!/usr/bin/env python3
"""Runs every suite of tests, one after the other, and adds up what they say.

Usage: tools/check.py [--jobs N] [--list] [SUITE]...

A suite is a command whose last line is `N passed, N failed`; one that prints no such line, dies, exits other than 0 while it tells of no
failure, or takes too long counts as one failure. A table grows as the suites end; of a suite that failed the end of its output is shown,
all of it lies in build/check/SUITE.log. The last line sums everything up; the exit status is 0 only if nothing failed and something passed.
"""
import argparse
import os
import subprocess
import sys
import time

import suite
from suite import ROOT

PYTHON = sys.executable

# Name, seconds it may take, the command (a shell's words; {jobs} is how many compilers, or files of tests, may run). Builds come before what they build.
SUITES = [
    ('layers',   30, '{python} tools/layers.py'),
    ('style',    30, '{python} tools/style.py'),
    ('build',   600, 'make build J={jobs} && echo "1 passed, 0 failed"'),
    ('tools',   120, '{python} tests/run.py tools'),
    ('unit',    300, 'build/unit'),
    ('golden',   60, 'build/golden tests/golden'),
    ('sim',     600, 'build/sim --seeds 2000'),
    ('mutants', 300, '{python} tools/mutants.py'),
    ('clang',   600, 'make clang J={jobs} && build-clang/unit'),
    ('asan',    900, 'make asan J={jobs}'),
    ('tsan',    900, 'make tsan J={jobs}'),
    ('trust',   600, '{python} tools/trust.py --quick'),
    ('scorer',   60, '{python} tools/samples/score_test.py'),
    ('samples', 300, 'sh tools/samples/run.sh build/rivulet'),
    ('fallback', 300, 'sh tools/samples/run.sh --fallback build/rivulet'),
    ('cli',     600, '{python} tests/run.py --jobs {jobs} cli'),
    ('server', 1200, '{python} tests/run.py --jobs {jobs} server'),
    ('docs',    300, '{python} tests/run.py docs'),
    ('browser', 300, '{python} tests/run.py browser'),
    ('js',      300, 'node js/test/run.js'),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('suites', nargs='*', metavar='SUITE')
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 2)
    parser.add_argument('--list', action='store_true', help='the suites and their commands')
    options = parser.parse_args()
    if options.list:
        for name, seconds_max, command in SUITES:
            print(f'{name:10} {command.format(python="python3", jobs=options.jobs)}')
        return 0
    known = [one[0] for one in SUITES]
    for name in options.suites:
        if name not in known:
            parser.error(f'there is no suite {name}; there are {", ".join(known)}')
    logs = os.path.join(ROOT, 'build', 'check')
    if not os.path.exists(os.path.join(ROOT, 'build', 'build.ninja')):
        subprocess.run(['make', 'build/build.ninja'], cwd=ROOT, check=False)
    os.makedirs(logs, exist_ok=True)
    began = time.monotonic()
    all_passed = all_failed = 0
    print(f'{"suite":10} {"passed":>7} {"failed":>7} {"seconds":>8}')
    for name, seconds_max, command in SUITES:
        if options.suites and name not in options.suites:
            continue
        suite_began = time.monotonic()
        log = os.path.join(logs, name + '.log')
        lines, passed, failed, note = suite.run(command.format(python=PYTHON, jobs=options.jobs), seconds_max, log)
        print(f'{name:10} {passed:7} {failed:7} {time.monotonic() - suite_began:8.1f}{"  " + note if note else ""}', flush=True)
        if failed:
            suite.show_end(lines)
        all_passed += passed
        all_failed += failed
    print(f'{"all":10} {all_passed:7} {all_failed:7} {time.monotonic() - began:8.1f}')
    print(f'{all_passed} passed, {all_failed} failed', flush=True)
    return 0 if all_passed and not all_failed else 1


if __name__ == '__main__':
    sys.exit(main())
