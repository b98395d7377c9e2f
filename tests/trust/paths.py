"""Every way by which the program comes to a call fails once: the call paths of a scenario are recorded in some lives in which nothing fails, then there is a life for each.

    ways = Ways(witness, [ALLOC], errors, seed)      # errors(kind): what a call of it may fail with, [(error, whether nobody may see it)]
    ways.run(['upload', 'starts'])
    missed = ways.rows(card, 'allocations')

A call path is the class of the call and its DEPTH innermost frames (faults.c says more of it), so what fails is named by how the program came there, and not by a number
that shifts with every turn of the threads. Chance takes some paths in some lives only: which thread is first, what a cache holds. Those that did not come when they
were wanted are waited for together, until PATIENCE_LIVES lives brought none of them; what never came again is counted apart, as not tried.
Several lives run at a time, each with its own server and clients.
"""
import collections
import concurrent.futures
import errno
import multiprocessing
import os
import random
from typing import NamedTuple

import scenarios
from injection import ALL, CLASSES, WATCH, Faulty, Path, Sweep, Witness

RECORDS, PATIENCE_LIVES, TASK_POINTS, AT_ONCE = 4, 4, 120, max(2, os.cpu_count())
LONG_ATTEMPTS = 100
PIECE = 'a part'
NEW = {'births': 'starts', 'new upload': 'upload', 'new finish': 'finish'}        # of the first only what the other does not do fails
LONG = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': 4, 'attempts': LONG_ATTEMPTS, 'backoff_ms': [5, 10]}]}


class Point(NamedTuple):
    """A call that is to fail."""

    path: Path
    occurrence: int           # of its path, in its life
    what: object              # an error's number, or PIECE
    strict: bool              # nobody may see it

    def __str__(self):
        return f'{CLASSES[self.path.kind]} {name_of(self.what)} {self.path.hash:016x} {self.occurrence}'

    def plan(self):
        return {'classes': self.path.kind, 'first': self.occurrence, 'path': self.path, 'error': 0 if self.what == PIECE else self.what, 'piece': self.what == PIECE}


class Any(NamedTuple):
    """One of several calls, of one error: the first that comes."""

    points: list

    @property
    def what(self):
        return self.points[0].what

    @property
    def strict(self):
        return self.points[0].strict

    def __str__(self):
        return f'{name_of(self.what)} of {len(self.points)} paths'

    def plan(self):
        return {**self.points[0].plan(), 'classes': sorted({point.path.kind for point in self.points}), 'first': 1, 'path': [point.path for point in self.points]}


def name_of(what):
    return what if what == PIECE else errno.errorcode[what]


class Lives:
    """Those of a scenario, one after the other; `new`: each in an empty folder."""

    def __init__(self, witness, name, new=False):
        self.witness, self.new, self.weighed = witness, new, set()
        self.sweep = Sweep(witness, getattr(scenarios, name), getattr(scenarios, name + '_ready', None))
        if not new:      # what only the first life does is no path of the others
            self.live('nothing fails yet', classes=[], first=ALL)
            witness.settle(self.sweep.server)

    def live(self, name, **plan):
        if self.new:
            self.sweep.server.empty()
            self.witness.jobs, self.weighed = {}, set()
        self.sweep.again(name, **plan)

    def record(self, classes):
        """({hash: Path} of one life, its calls)"""
        self.live('nothing fails', classes=classes, first=ALL, record=True)
        control = self.sweep.server.control
        told = control.paths(), control.seen
        self.witness.settle(self.sweep.server)
        return told

    def fail(self, point):
        """The hash of the path whose call came, or 0."""
        server = self.sweep.server
        self.witness.spared = point.plan()['classes'] in (WATCH, [WATCH])      # it costs a connection, a call or the start of a worker
        self.live(str(point), strict=point.strict, **point.plan())
        hit = server.control.hit if server.control.failed else 0
        if hit:
            see_the_stop(self.witness, server)
        self.witness.settle(server)
        self.weighed = self.witness.weigh(server, self.weighed)
        self.witness.strict = self.witness.spared = False
        return hit

    def end(self):
        self.sweep.end()


def see_the_stop(witness, server):
    """A sync of the log that failed is never tried again: what the disk holds is unknown, and the process ends at once. SQLite syncs the log's folder too, without
    heed of the outcome; the store has done that before, and ends if it fails."""
    spot = server.control.spot()
    if not spot or spot[0] not in ('fsync', 'fdatasync') or not any(line.startswith('libsqlite3') for line in spot[1:]):
        return
    witness.syncs += 1
    witness.await_end(server)
    if server.alive():
        witness.unstopped += 1
        witness.complain('the server goes on behind a sync of its log that failed', server)


class Starts:
    """Starts of a server that has jobs to go on with, until it says that it is ready."""

    name, of_jobs = 'starts', True

    def __init__(self, witness):
        self.witness, self.lives = witness, 0
        witness.whole_log, witness.jobs = True, {}
        self.server, self.told = Faulty(LONG), []
        self.load()

    def load(self):
        """A job whose first item outlives many servers, one that is looked at afterwards, and a large result."""
        if self.of_jobs:
            self.told = [self.witness.submit(self.server, [scenarios.image('o.jpg', sleep_ms=1500), scenarios.image('p.jpg', result=scenarios.SMALL)], ['"said":"small"'])]
            done = self.witness.submit(self.server, [scenarios.image('q.jpg', pad=scenarios.LARGE)], [])
            self.witness.read(done)
            self.told.append(done)
        self.witness.open = []
        self.server.kill()

    def settle(self):
        if not self.server.alive():
            self.server.start()
        self.witness.open = self.told
        self.witness.settle(self.server)

    def begin(self):
        """Where a start stands before it."""
        if self.server.alive():
            self.server.kill()
        self.lives += 1
        if self.lives % (LONG_ATTEMPTS * 2 // 3) == 0:
            self.settle()
            self.load()

    def record(self, classes):
        self.begin()
        self.witness.context = f'{self.name}, nothing fails'
        status, said = self.server.start_armed(classes, first=ALL, record=True)
        if status is not None:
            self.witness.complain(f'the start came to nothing: {status} {said}', self.server)
        return self.server.control.paths(), self.server.control.seen

    def fail(self, point):
        self.begin()
        self.witness.context, self.witness.points, self.witness.strict = f'{self.name}, {point}', self.witness.points + 1, point.strict
        status, said = self.server.start_armed(**point.plan())
        hit = self.server.control.hit if self.server.control.failed else 0
        if status is not None:
            self.witness.fate(self.server, status, said)
        elif 'rror' in said and (point.strict or point.what == errno.ENOMEM):
            self.witness.complain(f'it started and said {said}', self.server)
        self.witness.strict = False
        if hit and status is None:
            see_the_stop(self.witness, self.server)
        return hit

    def end(self):
        self.settle()
        self.witness.context = f'{self.name}, at the end'
        self.witness.audit(self.server)
        self.server.drop()


class Births(Starts):
    """Starts in an empty folder; what such a one leaves is good for the next."""

    name, of_jobs = 'births', False

    def begin(self):
        self.server.empty()

    def fail(self, point):
        hit = super().fail(point)
        if self.server.alive():
            self.server.kill()
        self.server.start()
        return hit


KINDS = {'starts': Starts, 'births': Births}      # of lives that are no scenario's; a part may add its own


def lives_of(witness, name):
    """`new NAME`: the scenario in an empty folder."""
    first, _, rest = name.rpartition(' ')
    return KINDS[name](witness) if name in KINDS else Lives(witness, rest, first == 'new')


def points_of(paths, errors, both=True):
    """One for the first call of each path with each error, and, with `both`, for its last where there are more."""
    return [Point(path, occurrence, what, strict) for path in sorted(paths.values()) for what, strict in errors(CLASSES[path.kind])
            for occurrence in sorted({1, path.count if both else 1})]


# ---- what runs in a process of its own

def recorded(lives, classes, wanted):
    """({hash: Path}, most calls in a life)"""
    paths, calls = {}, 0
    for _ in range(wanted):
        found, seen = lives.record(classes)
        calls = max(calls, seen)
        for path in found.values():
            known = paths.get(path.hash, path)
            paths[path.hash] = path._replace(count=min(path.count, known.count))
    return paths, calls


def failed(lives, points):
    """The points that were reached."""
    reached, waiting = [], collections.defaultdict(list)
    for point in points:
        if lives.fail(point):
            reached.append(point)
        elif point.occurrence == 1:
            waiting[point.what, point.strict].append(point)
    for group in waiting.values():
        idle = 0
        while group and idle < PATIENCE_LIVES:
            hit = lives.fail(Any(group))
            reached += [point for point in group if point.path.hash == hit]
            group = [point for point in group if point.path.hash != hit]
            idle = 0 if hit else idle + 1
    return reached


def record(name, classes, seed):
    """(witness, paths, calls)"""
    witness = Witness(seed)
    lives = lives_of(witness, name)
    told = recorded(lives, classes, RECORDS)
    lives.end()
    witness.forget()
    return witness, *told


def fail(name, points, seed):
    """(witness, the points that were reached)"""
    witness = Witness(seed)
    lives = lives_of(witness, name)
    reached = failed(lives, points)
    lives.end()
    witness.forget()
    return witness, reached


def sample(name, classes, errors, seed, wanted):
    """All in one server: (witness, paths, calls, the points that were chosen, those that were reached)"""
    witness = Witness(seed)
    lives = lives_of(witness, name)
    paths, calls = recorded(lives, classes, 1)
    points = points_of(paths, errors)
    chosen = random.Random(f'{seed} {name}').sample(points, min(wanted, len(points)))
    reached = failed(lives, chosen)
    lives.end()
    witness.forget()
    return witness, paths, calls, chosen, reached


# ---- the whole

class Ways:
    def __init__(self, witness, classes, errors, seed, quick=None, both=True):
        """quick: at most so many points of a scenario, by chance; both: the last call of a path fails too."""
        self.witness, self.classes, self.errors, self.seed, self.quick, self.both = witness, classes, errors, seed, quick, both
        self.found, self.calls, self.chosen, self.failed, self.tally, self.late = {}, {}, {}, {}, collections.Counter(), collections.Counter()

    def run(self, names):
        """Answers how many calls failed."""
        with concurrent.futures.ProcessPoolExecutor(AT_ONCE, multiprocessing.get_context('fork')) as pool:
            (self.run_whole if self.quick is None else self.run_quick)(pool, names)
        return sum(self.tally.values())

    def run_quick(self, pool, names):
        tasks = {name: pool.submit(sample, name, self.classes, self.errors, self.seed, self.quick) for name in names}
        for name in names:
            witness, self.found[name], self.calls[name], self.chosen[name], reached = tasks[name].result()
            self.failed[name] = set()
            self.count(name, witness, reached)

    def run_whole(self, pool, names):
        records = {name: pool.submit(record, name, self.classes, self.seed) for name in names}
        for name in names:
            witness, self.found[name], self.calls[name] = records[name].result()
            self.witness.add(witness)
        for new, old in NEW.items():
            for hash in self.found.get(old, {}):
                self.found.get(new, {}).pop(hash, None)
        tasks = []
        for name in names:
            points = points_of(self.found[name], self.errors, self.both)
            self.chosen[name], self.failed[name] = points, set()
            parts = -(-len(points) // TASK_POINTS)
            tasks += [(name, pool.submit(fail, name, points[n::parts], self.seed)) for n in range(parts)]
        for name, task in tasks:
            self.count(name, *task.result())

    def count(self, name, witness, reached):
        self.witness.add(witness)
        self.failed[name].update(reached)
        self.tally.update(f'{CLASSES[point.path.kind]} {name_of(point.what)}' for point in reached)

    def rows(self, card, calls):
        """What failed of each scenario; those that did not come again were not tried. Answers how many of these there are."""
        missed = 0
        for name, reached in self.failed.items():
            wanted = {(point.path.hash, point.what) for point in self.chosen[name]}
            held = {(point.path.hash, point.what) for point in reached}
            paths, errors = len(self.found[name]), 'with each error, ' if len(wanted) != len(self.found[name]) and self.quick is None else ''
            whole = f'{paths} call paths, {errors}' if self.quick is None or errors else f'a choice from {paths} call paths, '
            card.row(f'{calls} that failed in {name}', len(held), f'of {len(wanted)} ({whole}{self.calls[name]:,} calls in a life)')
            missed += len(wanted - held)
            self.late.update(f'{name}, {CLASSES[path.kind]}' for path in self.found[name].values() for hash, _ in wanted - held if hash == path.hash)
        if missed:
            card.note('these did not come again: ' + ', '.join(f'{what} {times}' for what, times in sorted(self.late.items())))
        return missed
