#!/usr/bin/env python3
"""Runs the scorecard of docs/TRUST.md: what the program promises, tried again and again.

Usage: tools/trust.py [--quick] [--write] [--list] [--jobs N] [--seed N] [PART]...

A part is a command that prints rows `trust: WHAT = VALUE UNIT (bar BAR) held|MISSED` and ends with `N passed, N failed`; one that prints no such
line, dies or takes too long counts as one failure. --quick is the share of every check; --write puts the rows into docs/TRUST.md, dated. Programs
are taken from the folder that RIVULET_BUILD names (build/ by default). What a part printed lies there, in trust/PART.log.

Parts that measure time run by themselves, first. The others wait more than they work: as many run at once as there are cores, but those of --quick,
whose limits are short, one by one.
"""
import argparse
import collections
import concurrent.futures
import os
import platform
import re
import sys
import threading
import time

import suite
from suite import ROOT

BUILD = os.path.abspath(os.environ.get('RIVULET_BUILD') or os.path.join(ROOT, 'build'))
PAPER = os.path.join(ROOT, 'docs', 'TRUST.md')
ROW = re.compile(r'^trust: (?P<what>.*?) = (?P<value>.*?)(?: \(bar (?P<bar>[^()]*)\))?(?: (?P<verdict>held|MISSED))?$')
BEGIN, END = '<!-- figures of {}: made by make trust -->', '<!-- end of {} -->'
QUICK_S = 120           # a quick part that takes longer than this hangs

# seconds_max: of the whole of it.
Part = collections.namedtuple('Part', 'name proves seconds_max command')

# What these measure is time, or memory, which a slow disk makes more: nothing runs beside them.
TIMED = [
    Part('subscribers', 'thousands of readers, slow and dead ones among them', 400, '{python} tests/trust/subscribers.py'),
    Part('dribblers', 'clients that dribble cost the others nothing', 400, '{python} tests/trust/dribblers.py'),
    Part('restarts', 'SIGTERM and a new start under load lose nothing and hold up nobody', 400, '{python} tests/trust/restarts.py'),
    Part('soak', 'ten million events, and the server holds what it held', 2400, '{python} tests/trust/soak.py'),
]
# The longest first, so that the last one is short.
OTHERS = [
    Part('fuzz', 'every input that was kept for the parsers, and new ones', 2400, '{python} tests/trust/fuzz.py'),
    Part('power', 'what a power cut, a failing disk and a full one leave of the log and its files', 1800, '{build}/power'),
    Part('kills', 'kill -9 of the server under load loses nothing that was acknowledged', 1800, '{python} tests/trust/kills.py'),
    Part('sim', 'deterministic lives of the store and the engine', 1800, '{python} tests/trust/sim.py'),
    Part('syscalls', 'every call path to a call of the system fails, and nothing told is lost', 2400, '{python} tests/trust/syscalls.py'),
    Part('memory', 'every call path to an allocation fails once, and nothing told is lost', 2700, '{python} tests/trust/memory.py --first'),
    Part('inside', 'every call path inside a worker fails, and costs an attempt at most', 2400, '{python} tests/trust/inside.py'),
    Part('repair', 'caches damaged and made anew, backups under load', 1200, '{python} tests/trust/repair.py'),
    Part('workers', 'killed, stopped and late workers do nothing twice; poison ends', 900, '{python} tests/trust/workers.py'),
    Part('cover', 'the tests go through the core, the parsers and the fence', 1500, '{python} tools/cover.py'),
    Part('disk', 'a disk that is full from any write on, for a while', 900, '{python} tests/trust/disk.py'),
    Part('fulltrip', 'a disk that is full while what others were asked for comes and is kept', 600, '{python} tests/trust/fulltrip.py'),
    Part('clock', 'a wall clock that is set while jobs run changes nothing', 600, '{python} tests/trust/clock.py'),
    Part('sandbox', 'what a worker cannot do, however it tries', 600, '{python} tests/trust/sandbox.py'),
    Part('multipart', 'forms cut at every byte are read alike', 600, '{python} tests/trust/multipart.py'),
    Part('packaging', 'the unit of packaging/ leaves little open, and all that is needed', 300, '{python} tests/trust/packaging.py'),
    Part('descriptors', 'silent clients take no descriptor that the program needs', 300, '{python} tests/trust/descriptors.py'),
]
# Parts without a share of every check: nothing of them is quick.
NOT_QUICK = {'cover'}
TELLING = threading.Lock()


def paper_rows(rows):
    """What docs/TRUST.md shows of a part."""
    lines = ['| what | measured | bar | |', '|---|---|---|---|']
    lines += [f'| {re.sub("^ +", "… ", row["what"])} | {row["value"]} | {row["bar"] or ""} | {row["verdict"] or ""} |' for row in rows]
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


def run(part, options):
    """Runs a part, tells of it in one piece, and answers (passed, failed)."""
    began, quick = time.monotonic(), options.quick and part.name not in NOT_QUICK
    words = part.command.format(build=BUILD, python=sys.executable) + (' --quick' if options.quick else '')
    words += f' --seed {options.seed}' if options.seed is not None else ''
    lines, passed, failed, note = suite.run('exec ' + words, QUICK_S if quick else part.seconds_max, os.path.join(BUILD, 'trust', part.name + '.log'),
                                            {**os.environ, 'RIVULET_BUILD': BUILD})
    with TELLING:
        print(f'{part.name:12} {passed:4} held {failed:3} missed {time.monotonic() - began:7.1f} s  {part.proves}{": " + note if note else ""}', flush=True)
        rows = [match for match in map(ROW.match, lines) if match]
        if failed:
            suite.show_end(lines)
        elif not options.quick:
            for row in rows:
                print(f'    {row["what"]}: {row["value"]}{" (bar " + row["bar"] + ")" if row["bar"] else ""} {row["verdict"] or ""}', flush=True)
        if options.write and not note:
            write(part.name, rows)
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('parts', nargs='*', metavar='PART')
    parser.add_argument('--quick', action='store_true', help='the share of every check')
    parser.add_argument('--write', action='store_true', help='put the figures into docs/TRUST.md')
    parser.add_argument('--list', action='store_true', help='the parts and their commands')
    parser.add_argument('--jobs', type=int, help='how many parts that measure no time run at once')
    parser.add_argument('--seed', type=int, help='where chance begins')
    options = parser.parse_args()
    if options.list:
        for part in TIMED + OTHERS:
            print(f'{part.name:12} {part.proves}: {part.command.format(build="build", python="python3")}')
        return 0
    known = [part.name for part in TIMED + OTHERS]
    for name in options.parts:
        if name not in known:
            parser.error(f'there is no part {name}; there are {", ".join(known)}')
    wanted = [part.name for part in TIMED + OTHERS if (part.name in options.parts if options.parts else not (options.quick and part.name in NOT_QUICK))]
    os.makedirs(os.path.join(BUILD, 'trust'), exist_ok=True)
    began = time.monotonic()
    told = [run(part, options) for part in TIMED if part.name in wanted]
    with concurrent.futures.ThreadPoolExecutor(options.jobs or (1 if options.quick else os.cpu_count() or 1)) as lanes:
        told += lanes.map(lambda part: run(part, options), [part for part in OTHERS if part.name in wanted])
    passed, failed = map(sum, zip(*told))
    print(f'{"all":12} {time.monotonic() - began:.1f} s')
    print(f'{passed} passed, {failed} failed', flush=True)
    return 0 if passed and not failed else 1


if __name__ == '__main__':
    sys.exit(main())
