#!/usr/bin/env python3
"""Runs the scorecard of docs/TRUST.md: what the program promises, tried again and again.

Usage: tools/trust.py [--quick] [--write] [--list] [--seed N] [PART]...

A part is a command that prints rows `trust: WHAT = VALUE UNIT (bar BAR) held|MISSED` and ends with `N passed, N failed`; one that prints no such
line, dies or takes too long counts as one failure. --quick is the share of every check; --write puts the rows into docs/TRUST.md, dated. Programs
are taken from the folder that RIVULET_BUILD names (build/ by default). What a part printed lies there, in trust/PART.log.
"""
import argparse
import os
import platform
import re
import sys
import time

import suite
from suite import ROOT

BUILD = os.path.abspath(os.environ.get('RIVULET_BUILD') or os.path.join(ROOT, 'build'))
PAPER = os.path.join(ROOT, 'docs', 'TRUST.md')
ROW = re.compile(r'^trust: (?P<what>.*?) = (?P<value>.*?)(?: \(bar (?P<bar>[^()]*)\))?(?: (?P<verdict>held|MISSED))?$')
BEGIN, END = '<!-- figures of {}: made by make trust -->', '<!-- end of {} -->'
QUICK_S = 120           # a quick part that takes longer than this hangs

# Name, what it proves, seconds the whole of it may take, the command.
PARTS = [
    ('power', 'what a power cut, a failing disk and a full one leave of the log and its files', 1200, '{build}/power'),
    ('repair', 'caches damaged and made anew, backups under load', 600, '{python} tests/trust/repair.py'),
    ('sim', 'deterministic lives of the store and the engine', 1200, '{python} tests/trust/sim.py'),
    ('subscribers', 'thousands of readers, slow and dead ones among them', 240, '{python} tests/trust/subscribers.py'),
    ('workers', 'killed, stopped and late workers do nothing twice; poison ends', 420, '{python} tests/trust/workers.py'),
    ('restarts', 'SIGTERM and a new start under load lose nothing and hold up nobody', 180, '{python} tests/trust/restarts.py'),
    ('kills', 'kill -9 of the server under load loses nothing that was acknowledged', 480, '{python} tests/trust/kills.py'),
    ('fuzz', 'every input that was kept for the parsers, and new ones', 1500, '{python} tests/trust/fuzz.py'),
    ('multipart', 'forms cut at every byte are read alike', 300, '{python} tests/trust/multipart.py'),
    ('sandbox', 'what a worker cannot do, however it tries', 600, '{python} tests/trust/sandbox.py'),
    ('memory', 'every allocation fails once, and nothing told is lost', 1200, '{python} tests/trust/memory.py'),
    ('packaging', 'the unit of packaging/ leaves little open, and all that is needed', 300, '{python} tests/trust/packaging.py'),
    ('dribblers', 'clients that dribble cost the others nothing', 300, '{python} tests/trust/dribblers.py'),
    ('syscalls', 'calls of the system that fail once, and nothing told is lost', 2400, '{python} tests/trust/syscalls.py'),
    ('disk', 'a disk that is full from any write on, for a while', 900, '{python} tests/trust/disk.py'),
    ('descriptors', 'silent clients take no descriptor that the program needs', 300, '{python} tests/trust/descriptors.py'),
    ('clock', 'a wall clock that is set while jobs run changes nothing', 300, '{python} tests/trust/clock.py'),
    ('cover', 'the tests go through the core, the parsers and the fence', 1500, '{python} tools/cover.py'),
]
# Parts without a share of every check: nothing of them is quick.
NOT_QUICK = {'cover'}


def paper_rows(rows):
    """What docs/TRUST.md shows of a part."""
    lines = ['| what | measured | bar | |', '|---|---|---|---|']
    lines += [f'| {row["what"]} | {row["value"]} | {row["bar"] or ""} | {row["verdict"] or ""} |' for row in rows]
    return lines


def write(name, rows):
    """Puts the rows in the place that the paper keeps for them."""
    with open(PAPER, encoding='utf-8') as file:
        text = file.read()
    begin, end = BEGIN.format(name), END.format(name)
    if begin not in text or end not in text:
        print(f'docs/TRUST.md has no place for {name}: {begin}', file=sys.stderr)
        return
    head, rest = text.split(begin, 1)
    machine = f'{os.cpu_count()} cores, Linux {platform.release().split("-")[0]}, {time.strftime("%Y-%m-%d")}:'
    body = '\n'.join([begin, machine, '', *paper_rows(rows), ''])
    with open(PAPER, 'w', encoding='utf-8') as file:
        file.write(head + body + end + rest.split(end, 1)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('parts', nargs='*', metavar='PART')
    parser.add_argument('--quick', action='store_true', help='the share of every check')
    parser.add_argument('--write', action='store_true', help='put the figures into docs/TRUST.md')
    parser.add_argument('--list', action='store_true', help='the parts and their commands')
    parser.add_argument('--seed', type=int, help='where chance begins')
    options = parser.parse_args()
    if options.list:
        for name, proves, _, command in PARTS:
            print(f'{name:12} {proves}: {command.format(build="build", python="python3")}')
        return 0
    known = [part[0] for part in PARTS]
    for name in options.parts:
        if name not in known:
            parser.error(f'there is no part {name}; there are {", ".join(known)}')
    logs = os.path.join(BUILD, 'trust')
    os.makedirs(logs, exist_ok=True)
    began, all_passed, all_failed = time.monotonic(), 0, 0
    for name, proves, seconds_max, command in PARTS:
        if name not in options.parts if options.parts else options.quick and name in NOT_QUICK:
            continue
        part_began, log = time.monotonic(), os.path.join(logs, name + '.log')
        words = command.format(build=BUILD, python=sys.executable) + (' --quick' if options.quick else '') + (f' --seed {options.seed}' if options.seed is not None else '')
        lines, passed, failed, note = suite.run('exec ' + words, QUICK_S if options.quick and name not in NOT_QUICK else seconds_max, log,
                                                {**os.environ, 'RIVULET_BUILD': BUILD})
        rows = [match for match in map(ROW.match, lines) if match]
        print(f'{name:12} {passed:4} held {failed:3} missed {time.monotonic() - part_began:7.1f} s  {proves}{": " + note if note else ""}', flush=True)
        if failed:
            suite.show_end(lines)
        elif not options.quick:
            for row in rows:
                print(f'    {row["what"]}: {row["value"]}{" (bar " + row["bar"] + ")" if row["bar"] else ""} {row["verdict"] or ""}', flush=True)
        if options.write and not note:
            write(name, rows)
        all_passed += passed
        all_failed += failed
    print(f'{"all":12} {time.monotonic() - began:.1f} s')
    print(f'{all_passed} passed, {all_failed} failed', flush=True)
    return 0 if all_passed and not all_failed else 1


if __name__ == '__main__':
    sys.exit(main())
