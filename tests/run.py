#!/usr/bin/env python3
"""Runs the Python tests: tests/<suite>/test_*.py, written with unittest and the standard library only.

Usage: tests/run.py [-k PART] [--build DIR] [--jobs N] [--timeout S] [--patience N] [--measures FILE] [-v] [SUITE | FILE]...

Without a name every suite runs. Each file runs in a process and session of its own, so that what it leaves behind is ended with it; --jobs files
run at a time, but those that say why not (`ALONE = '…'`, of a bar of time mostly) run by themselves after the others.
A test that takes longer than --timeout seconds (60; a test case may set its own `timeout_s`) fails, and so does a file that dies.
Tests find the programs under test in the folder that the environment's RIVULET_BUILD names (what --build sets; build/ by default),
and shared helpers in tests/lib. The last line is `N passed, N failed`.

Where the program is slowed down, by a sanitizer say, --patience makes every time limit N times as long, that of the shared helpers too, and --measures
names a file of tests that measure time or memory, a name and a reason a line: they run, and do not count when they fail.
"""
import argparse
import concurrent.futures
import faulthandler
import glob
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import traceback
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
DEFAULT_TIMEOUT_S = 60
FILE_GRACE_S = 30       # what a file may take beside its tests: imports, class fixtures, ending


class TooLong(Exception):
    pass


def cases_in(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from cases_in(part)
        else:
            yield part


class Reporter(unittest.TestResult):
    """Writes one JSON object a test to a pipe, and keeps an alarm over each."""

    def __init__(self, pipe, options):
        super().__init__()
        self.pipe, self.timeout_s, self.patience, self.answer, self.why = pipe, options.timeout, options.patience, 'passed', ''

    def write(self, **fields):
        os.write(self.pipe, (json.dumps(fields) + '\n').encode())

    def startTest(self, test):
        super().startTest(test)
        self.answer, self.why, self.began = 'passed', '', time.monotonic()
        seconds = getattr(test, 'timeout_s', self.timeout_s) * self.patience
        self.write(name=test.id(), answer='started', deadline_s=seconds)

        def ring(_signal, _frame):
            signal.setitimer(signal.ITIMER_REAL, 10)      # again, should a cleanup hang as well
            raise TooLong(f'took longer than {seconds} s')
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def stopTest(self, test):
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.write(name=test.id(), answer=self.answer, why=self.why, seconds=time.monotonic() - self.began)
        super().stopTest(test)

    def told(self, answer, error):
        self.answer = answer
        self.why += ''.join(traceback.format_exception(*error))

    def addError(self, test, err):
        self.told('failed', err)
        if not isinstance(test, unittest.TestCase):     # setUpClass or setUpModule failed: no startTest comes
            self.write(name=str(test), answer='failed', why=self.why, seconds=0)

    def addFailure(self, test, err):
        self.told('failed', err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.why += f'in {subtest}:\n'
            self.told('failed', err)

    def addSkip(self, test, reason):
        self.answer, self.why = 'skipped', reason
        if not isinstance(test, unittest.TestCase):
            self.write(name=str(test), answer='skipped', why=reason, seconds=0)

    def addUnexpectedSuccess(self, test):
        self.answer, self.why = 'failed', 'was expected to fail, and did not'


def run_file_inside(path, options):
    """The child: runs the tests of one file."""
    faulthandler.enable()
    sys.path[:0] = [os.path.dirname(path), os.path.join(HERE, 'lib'), HERE]
    loader = unittest.TestLoader()
    name = os.path.splitext(os.path.basename(path))[0]
    suite = loader.loadTestsFromName(name)
    for failure in loader.errors:
        print(failure)
    chosen = [case for case in cases_in(suite) if not options.k or options.k in case.id()]
    unittest.TestSuite(chosen).run(Reporter(options.inside, options))
    os.write(options.inside, b'{"answer": "end"}\n')


def run_file(path, options):
    """The parent: [(name, answer, why, seconds)] of one file; kills what is left of its session."""
    readable, writable = os.pipe()
    command = [sys.executable, os.path.abspath(__file__), '--inside', str(writable), '--timeout', str(options.timeout),
               '--patience', str(options.patience), path]
    if options.k:
        command += ['-k', options.k]
    environment = dict(os.environ, RIVULET_BUILD=os.path.abspath(options.build), RIVULET_PATIENCE=str(options.patience), PYTHONDONTWRITEBYTECODE='1')
    child = subprocess.Popen(command, pass_fds=[writable], stdin=subprocess.DEVNULL, start_new_session=True, env=environment)
    os.close(writable)
    results, running, ended, rest = [], None, False, b''
    deadline = time.monotonic() + FILE_GRACE_S * options.patience
    try:
        while not ended and time.monotonic() < deadline:
            if not select.select([readable], [], [], max(0, deadline - time.monotonic()))[0]:
                break
            piece = os.read(readable, 65536)
            if not piece:
                break
            rest += piece
            *lines, rest = rest.split(b'\n')
            for line in lines:
                told = json.loads(line)
                if told['answer'] == 'end':
                    ended = True
                elif told['answer'] == 'started':
                    running = told['name']
                    deadline = time.monotonic() + told['deadline_s'] + FILE_GRACE_S * options.patience
                else:
                    running = None
                    deadline = time.monotonic() + FILE_GRACE_S * options.patience
                    results.append(judged(told, options))
                    show(results[-1], options)
        try:
            child.wait(5 if ended else 1)
        except subprocess.TimeoutExpired:
            pass
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        os.close(readable)
    if not ended:
        results.append((running or os.path.relpath(path, ROOT), 'failed',
                        f'{os.path.relpath(path, ROOT)} hung or died (status {child.returncode})', 0))
        show(results[-1], options)
    return results


def judged(told, options):
    answer = 'slow' if told['answer'] == 'failed' and told['name'] in options.measured else told['answer']
    return told['name'], answer, told['why'], told['seconds']


def read_measures(path):
    """{name: reason} of a file of tests that measure."""
    with open(path, encoding='utf-8') as file:
        lines = [line.split(None, 1) for line in file if line.strip() and not line.startswith('#')]
    return {name: reason.strip() for name, reason in lines}


def strangers(results, options):
    """What --measures names although no such test is in the files that ran."""
    ran = {result[0] for result in results}
    modules = {name.split('.')[0] for name in ran}
    return [name for name in options.measured if name not in ran and name.split('.')[0] in modules] if not options.k else []


def show(result, options):
    name, answer, why, seconds = result
    said = {'failed': f'FAIL {name} ({seconds:.1f} s)\n    ' + why.rstrip().replace('\n', '\n    '),
            'skipped': f'skip {name}: {why}',
            'passed': f'ok   {name} ({seconds:.1f} s)' if options.v else ''}
    if answer == 'slow':
        said['slow'] = f'slow {name} ({seconds:.1f} s): {options.measured[name]}: {why.strip().splitlines()[-1]}'
    if said[answer]:
        sys.stdout.write(said[answer] + '\n')      # in one piece: other files are told of at the same time
        sys.stdout.flush()


def files_of(names):
    """The test files that the names stand for: a suite's folder under tests/, or a file itself."""
    files = []
    for name in names or ['*']:
        if name.endswith('.py'):
            files.append(os.path.abspath(name))
        else:
            files += sorted(glob.glob(os.path.join(HERE, name, 'test_*.py')))
    return files


def runs_alone(path):
    with open(path, encoding='utf-8') as file:
        return re.search(r'^ALONE = ', file.read(), re.MULTILINE) is not None


def run_files(paths, options):
    """Several at a time, then those that run alone."""
    together = [path for path in paths if options.jobs > 1 and not runs_alone(path)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = [result for told in pool.map(lambda path: run_file(path, options), together) for result in told]
    for path in paths:
        if path not in together:
            results += run_file(path, options)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*')
    parser.add_argument('-k', default='')
    parser.add_argument('-v', action='store_true')
    parser.add_argument('--build', default=os.environ.get('RIVULET_BUILD', os.path.join(ROOT, 'build')))
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('--timeout', type=float, default=DEFAULT_TIMEOUT_S)
    parser.add_argument('--patience', type=float, default=float(os.environ.get('RIVULET_PATIENCE', '1')))
    parser.add_argument('--measures', default='')
    parser.add_argument('--inside', type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        run_file_inside(options.names[0], options)
        return 0
    options.measured = read_measures(options.measures) if options.measures else {}
    results = run_files(files_of(options.names), options)
    for name in strangers(results, options):
        results.append((name, 'failed', f'{options.measures} names it, and there is no such test', 0))
        show(results[-1], options)
    passed = sum(1 for result in results if result[1] == 'passed')
    failed = sum(1 for result in results if result[1] == 'failed')
    print(f'{passed} passed, {failed} failed', flush=True)
    return 0 if (passed or any(result[1] == 'slow' for result in results)) and not failed else 1


if __name__ == '__main__':
    sys.exit(main())
