#!/usr/bin/env python3
"""Runs the suites with a program that a sanitizer, or valgrind, watches; each report of any of its processes is a failure.

Usage: tools/sanitize.py [--tool asan|tsan|valgrind] [--build DIR] [--jobs N] [SUITE | FILE]...

Suites: control unit golden sim worker cli server, and for valgrind control unit story; all of them without a name. A FILE is one of tests/*/test_*.py.
`control` plants faults and expects them to be reported. Every process writes its reports into a folder (build-asan/reports/…), the workers too, so that
none is lost when a test looks away from standard error. The program is built in build-asan, build-tsan or build-valgrind, or taken as it is from --build.
What tests of time and memory measure means nothing here: tests/sanitizers/measures.txt names them; what they do is watched like the rest.
The last line is `N passed, N failed`.
"""
import argparse
import glob
import os
import re
import shutil
import stat
import subprocess
import sys
import time

import suite
from suite import ROOT

OURS = os.path.join(ROOT, 'tests', 'sanitizers')
PATIENCE = {'asan': 3, 'tsan': 5, 'valgrind': 20}
FILE_S = 1200           # what a file of tests may take
SHOWN_REPORTS_MAX = 10
SUITES = {'asan': ['control', 'unit', 'golden', 'sim', 'worker', 'cli', 'server'], 'valgrind': ['control', 'unit', 'story']}
SUITES['tsan'] = SUITES['asan']
# What valgrind says beside its findings: calls of the system that it does not know, empty lines, and the death that the stage noop was told to die.
NO_FINDING = [re.compile(words, re.MULTILINE) for words in (
    r'^--\d+-- .*\n', r'^==\d+== Process terminating with default action of signal 4 \(SIGILL\)\n(?:==\d+==  .*\n)*', r'^==\d+== *\n')]
# Rooms whose unit tests valgrind can watch. Those of the others start processes and ask after them, of which it makes something else.
ROOMS = ['base', 'core', 'expr', 'store', 'vision', 'config', 'readers', 'http']
# Words of the reports of what control.py plants.
PLANTED = {'asan': ['heap-use-after-free', 'signed integer overflow', 'try_lost'], 'tsan': ['heap-use-after-free'], 'valgrind': ['Invalid read', 'try_lost']}
# Reports end the process that they are of. A trap (SIGILL) is how the stage noop crashes when a test wants it to.
COMMON = 'log_path={}/report:exitcode=99:halt_on_error=1:handle_sigill=0'
OPTIONS = {
    'ASAN_OPTIONS': COMMON + ':detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1',
    'UBSAN_OPTIONS': COMMON + ':print_stacktrace=1',
    'LSAN_OPTIONS': 'print_suppressions=0:suppressions=' + os.path.join(OURS, 'leaks.txt'),
    'TSAN_OPTIONS': COMMON + ':second_deadlock_stack=1:atexit_sleep_ms=0:suppressions=' + os.path.join(OURS, 'races.txt'),
}
WRAPPER = """#!/bin/sh
LD_PRELOAD={build}/tests/sanitizers/pidfd.so exec valgrind --quiet --trace-children=yes --child-silent-after-fork=yes --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \\
    --errors-for-leak-kinds=definite --num-callers=30 --suppressions={here}/valgrind.txt --log-file={reports}/report.%p {program} "$@"
"""


def frames(text):
    """What tells one report from another: its summary, or the first lines of its stack."""
    found = re.search(r'^SUMMARY: .*$', text, re.MULTILINE)
    if found:
        return re.sub(r'0x[0-9a-f]+|\d+ byte\(s\) leaked in \d+', '', found.group())
    return ' '.join(re.findall(r'(?:at|by) 0x[0-9A-F]+: (\S+)', text)[:4]) or text[:200]


class Reports:
    """A folder for one run, that every user may write to."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        os.chmod(folder, 0o1777)

    def read(self):
        """{what it is: [text…]}"""
        found = {}
        for path in sorted(glob.glob(os.path.join(self.folder, 'report.*'))):
            with open(path, encoding='utf-8', errors='replace') as file:
                text = file.read()
            for line in NO_FINDING:
                text = line.sub('', text)
            if text.strip():
                found.setdefault(frames(text), []).append(text)
        return found

    def show(self, found):
        for what, texts in list(found.items())[:SHOWN_REPORTS_MAX]:
            print(f'    REPORT ({len(texts)} of this kind) {what}')
            suite.show_end(texts[0].splitlines()[:suite.SHOWN_LINES_MAX])
        if found:
            print(f'    all of them: {self.folder}', flush=True)


class Watch:
    def __init__(self, tool, build):
        self.tool, self.build, self.passed, self.failed = tool, build, 0, 0
        self.top = os.path.join(build, 'reports')
        os.makedirs(self.top, exist_ok=True)

    def environment(self, reports):
        env = {**os.environ, **{name: value.format(reports.folder) for name, value in OPTIONS.items()}}
        env.update(RIVULET_BUILD=self.build, RIVULET_PATIENCE=str(PATIENCE[self.tool]))
        return env

    def wrapped(self, program, reports, name):
        """The program as it is, or a script that runs it under valgrind."""
        if self.tool != 'valgrind':
            return program
        path = os.path.join(reports.folder, name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(WRAPPER.format(here=OURS, reports=reports.folder, program=program, build=self.build))
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        return path

    def run(self, name, command, seconds, expected=(), **env):
        """A command and the reports of all its processes. `expected`: words, each of which has to be in some report; then reports are no failure."""
        began, reports = time.monotonic(), Reports(os.path.join(self.top, name))
        env = {key: value.format(reports=reports.folder) for key, value in env.items()}
        program = self.wrapped(os.path.join(self.build, env.pop('PROGRAM', 'rivulet')), reports, 'rivulet')
        lines, passed, failed, note = suite.run(command.format(program=program, build=self.build, python=sys.executable), seconds,
                                                os.path.join(self.top, name + '.log'), {**self.environment(reports), 'RIVULET': program, **env})
        found = reports.read()
        text = '\n'.join(one for texts in found.values() for one in texts)
        missing = [word for word in expected if word not in text]
        slow = sum(line.startswith('slow ') for line in lines)
        if slow and note == 'ran no test':
            failed, note = 0, ''
        if expected:
            passed, failed = len(expected) - len(missing) + passed, len(missing) + failed
            note = f'planted, and not reported: {", ".join(missing)}' if missing else note
        count = 0 if expected else sum(len(texts) for texts in found.values())
        print(f'{name:24} {passed:5} passed {failed:3} failed {count:3} reports {time.monotonic() - began:7.1f} s'
              f'{f"  {slow} measured too much" if slow else ""}{"  " + note if note else ""}', flush=True)
        if failed:
            suite.show_end(lines)
        if count:
            reports.show(found)
        self.passed, self.failed = self.passed + passed, self.failed + failed + count

    def python_file(self, path):
        words = f'{{python}} tests/run.py -v --patience {PATIENCE[self.tool]} --measures {OURS}/measures.txt {path}'
        self.run(os.path.splitext(os.path.basename(path))[0], words, FILE_S)

    def suite(self, name):
        if name.endswith('.py'):
            self.python_file(name)
        elif name in ('worker', 'cli', 'server'):
            for path in sorted(glob.glob(os.path.join(ROOT, 'tests', name, 'test_*.py'))):
                self.python_file(path)
        elif name == 'control':
            self.run('control', f'{{python}} {OURS}/control.py', 300, PLANTED[self.tool], PROGRAM='tests/rivulet-try')
        elif name == 'story':
            self.run('story', f'{{python}} {OURS}/story.py', 1200)
        elif name == 'unit' and self.tool == 'valgrind':
            for room in ROOMS:
                self.run('unit-' + room, f'{{program}} --quick src/{room}/', 1200, PROGRAM='unit')
        elif name == 'unit':
            self.run('unit', '{program}', 3600, PROGRAM='unit')
        else:
            self.run(name, {'golden': '{program} tests/golden', 'sim': '{program} --seeds 200'}[name], 1200, PROGRAM=name)


def built(tool, jobs):
    """The folder of the program for this tool, made now."""
    folder = os.path.join(ROOT, 'build-' + tool)
    subprocess.run(['make', f'build-{tool}/build.ninja'], cwd=ROOT, check=True)
    subprocess.run(['ninja', '-j', str(jobs), '-C', folder, '--quiet'], check=True)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*', metavar='SUITE | FILE')
    parser.add_argument('--tool', choices=sorted(SUITES), default='asan')
    parser.add_argument('--build', help='a folder with the program as it is to be tried')
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    for name in options.names:
        if name not in SUITES[options.tool] and not os.path.exists(name):
            parser.error(f'there is no suite or file {name}; there are {", ".join(SUITES[options.tool])}')
    if options.tool == 'valgrind' and not shutil.which('valgrind'):
        parser.error('there is no valgrind on this machine')
    watch = Watch(options.tool, os.path.abspath(options.build) if options.build else built(options.tool, options.jobs))
    for name in options.names or SUITES[options.tool]:
        watch.suite(name)
    print(f'{watch.passed} passed, {watch.failed} failed', flush=True)
    return 0 if watch.passed and not watch.failed else 1


if __name__ == '__main__':
    sys.exit(main())
