#!/usr/bin/env python3
"""A disk that is full, or takes a part of what is written, while something that was asked of another machine is on its way or being kept.

Usage: tests/trust/fulltrip.py [--quick] [--seed N]

Three jobs whose stages leave the machine: batches that a collector gathers, whose large rows are then scored by a model one by one; large answers of an
http stage; records that a model answers. From the Nth write of each on, and from the very moment at which another side answers, there is no space, for
everything or only for what is large (the log still goes on then), or the first such write does a part, or syncs find no space either; later there is space
again, or the server is killed, or told to end, meanwhile and finds space at its next start. The other sides write down what they were asked in which life of the server, and that is held against the log: a snapshot whose id was
stored is never started again, an answer that was stored is never asked for again, and within one life nothing is asked for twice.
"""
import collections
import errno
import json
import random
import sys
import threading
import time

from injection import ALL, SYNC, WRITE_FILE, Faulty, Told, Witness, points_of
from scorecard import Scorecard
from collector import Collector
from llm_double import Model

WAITING, DONE, RECORD_DONE = 6, 8, 13
FULL_S, PAD, ANSWER_BYTES = 0.3, 30000, 150000
LEG = {'timeout_s': 60, 'attempts': 3, 'backoff_ms': [10, 20]}
FULL = {'classes': WRITE_FILE, 'last': ALL, 'error': errno.ENOSPC}
# What happens: (name, how, least bytes of a write that meets it, how the server ends meanwhile, at how many writes).
WAYS = {'full': (FULL, 0, None, 2), 'full for what is large': (FULL, 4097, None, 2), 'full in the midst of a write': ({**FULL, 'piece': 2}, 0, None, 1),
        'full and killed': (FULL, 0, 'kill', 2), 'full for what is large and killed': (FULL, 4097, 'kill', 1),
        'full for what is large and told to end': (FULL, 4097, 'end', 0), 'full and told to end': (FULL, 0, 'end', 0),
        'no sync finds space': ({**FULL, 'classes': SYNC}, 0, None, 1)}
SHORT = {'classes': WRITE_FILE, 'last': ALL, 'error': errno.ENOSPC, 'piece': 1, 'strict': True}


class Trip(Faulty):
    """Knows when each of its lives began, and with which number."""

    def __init__(self, pipeline):
        self.lives = []
        super().__init__(pipeline, RIVULET_NET_ALLOW='127.0.0.1')

    def start(self):
        at = time.monotonic()
        super().start()
        self.lives.append(at)

    def life_of(self, at):
        return sum(at >= begun for begun in self.lives)

    def stored(self, kind):
        """[(number of the life that stored it, item, body)]"""
        number = {epoch: place for place, (epoch,) in enumerate(self.rows('SELECT epoch FROM opening ORDER BY epoch'), 1)}
        assert len(number) == len(self.lives), (number, self.lives)
        return [(number[epoch], job, item, json.loads(body)) for epoch, job, item, body in
                self.rows('SELECT event.epoch, job.id, item, body FROM event JOIN job ON job.job=event.job WHERE kind=? ORDER BY pos', kind)]


class Scenario:
    """A server and its other sides. begin() posts a job whose texts are new, and says what its results must have."""

    def __init__(self, witness):
        self.collector, self.model = Collector({'ready_s': 0.1, 'pad': PAD}), Model(self.judge, delay_s=0.02)
        self.collector.note = self.noted
        self.witness, self.mark, self.moment, self.scores_given = witness, 0, None, 0
        witness.forget()
        self.server = Trip({'name': 'trip', 'result_key': 'result', 'in_flight': 10, 'legs': self.legs()})
        self.server.post_job = self.post

    def noted(self, asked, status):
        Collector.note(self.collector, asked, status)
        self.reach(asked['what'])

    def judge(self, prompt, _):
        self.scores_given += 1
        self.reach('score')
        if self.scores_given == 5:      # three are asked for at a time, so those before are stored
            self.reach('fifth score')
        return {'said': prompt}

    def reach(self, what):
        """Another side is about to answer."""
        if self.moment == what:
            self.moment = None
            self.server.arm_now()

    def llm(self, prompt, **more):
        return {'stage': 'llm', 'concurrency': 3, 'with': {'api': 'openai', 'base': self.model.base, 'model': 'm', 'key': 'k', 'prompt': prompt, **more}}

    def post(self, items, wanted):
        body = json.dumps({'items': items}).encode()
        answer = self.server.ask('POST', '/v1/jobs?pipeline=trip', body, {'Content-Type': 'application/json'})
        if not self.witness.note(answer, self.server):
            return None
        told = Told(json.loads(answer.body())['id'], 'job', [])
        told.items, told.wanted = len(items), wanted
        self.witness.open.append(told)
        self.witness.jobs[told.job] = told
        return told

    def once_a_life(self, what, key, times, stored):
        """times: when it was asked for. stored: the life in which the answer became durable, or None. How often it was asked for again."""
        lives = collections.Counter(self.server.life_of(at) for at in times)
        again = [life for life, count in lives.items() if count > 1]
        if again:
            self.witness.complain(f'{what} {key} was asked for {max(lives.values())} times in one life', self.server)
        if stored and max(lives) > stored:
            self.witness.complain(f'{what} {key} was asked for again although it had been stored', self.server)
        return len(times) - 1

    def look(self, told):
        """That the job is whole, after its end."""
        document = self.server.document(told.job)
        if document['status'] != 'completed' or document['counts'] != [0, 0, told.items, 0, 0]:
            errors = [(item.get('attempt'), item['error']) for item in self.server.get(f'/v1/jobs/{told.job}/items').json()['items'] if item.get('error')]
            self.witness.complain(f'job {told.job} is {document["status"]}, {document["counts"]}: {errors[:2]}', self.server)
            return
        found = [self.server.get(f'/v1/jobs/{told.job}/items/{item}/result').json() for item in range(told.items)]
        if (said := self.said(found)) != told.wanted:
            self.witness.complain(f'job {told.job} has other results: {str(said)[:500]} instead of {str(told.wanted)[:500]}', self.server)

    def close(self):
        self.collector.close()
        self.model.close()


class Collected(Scenario):
    """Three batches, each of three rows of 30 kB, each row scored: what a leg makes of it is a file again."""

    moments = ('trigger', 'snapshot', 'score', 'fifth score')

    def legs(self):
        remote = {'stage': 'remote_job', 'name': 'collect', 'timeout_us': 30000000, 'with': {
            'base': self.collector.base, 'start': {'method': 'POST', 'url': '"/trigger?dataset_id=d"', 'body': 'map({url: .})', 'id': '.snapshot_id'},
            'poll': {'url': '"/progress/\\($id)"', 'state': '.status', 'every_us': [40000, 40000]},
            'fetch': {'url': '"/snapshot/\\($id)"', 'as': 'jsonl'}, 'join': {'row_key': '.input.url // .url'}}}
        return [{**LEG, 'stages': [remote]}, {**LEG, 'each': 'record', 'stages': [self.llm('.url', into='score')]}]

    def begin(self):
        self.mark += 1
        urls = [[f'https://s.example/{self.mark}/{batch}/{row}' for row in range(3)] for batch in range(3)]
        return self.post(urls, sum(urls, []))

    def said(self, found):
        scores = [row['score'] if len(row.get('biography', '')) == PAD else row for rows in found for row in rows]
        return [json.loads(score)['said'] for score in scores]

    def books(self):
        """How many starts, and how many scores, were asked for again."""
        stored = {body['remote']['id']: life for life, _, _, body in reversed(self.server.stored(WAITING)) if 'id' in body['remote']}
        starts = scores = 0
        for snapshot in self.collector.snapshots:
            times = [call.at for call in self.collector.of('trigger', snapshot.id)]
            starts += self.once_a_life('the start of snapshot', snapshot.id, times, stored.get(snapshot.id))
        if self.collector.second_triggers():
            self.witness.complain(f'{len(self.collector.second_triggers())} batches were started twice')
        scores += self.scores()
        return starts, scores

    def scores(self):
        stored = {self.said([[body['value']]])[0]: life for life, _, _, body in reversed(self.server.stored(RECORD_DONE))}
        asked = collections.defaultdict(list)
        for call in self.model.calls:
            asked[call.prompt].append(call.at)
        return sum(self.once_a_life('the score of', prompt, times, stored.get(prompt)) for prompt, times in asked.items())


class Scored(Collected):
    """Two items of eight records each, which a model answers; nothing is large."""

    moments = ('score', 'fifth score')

    def legs(self):
        return [{**LEG, 'each': 'record', 'stages': [self.llm('.')]}]

    def begin(self):
        self.mark += 1
        names = [[f'm{self.mark} i{item} r{row}' for row in range(8)] for item in range(2)]
        return self.post(names, sum(names, []))

    def said(self, found):
        return [json.loads(text)['said'] for texts in found for text in texts]


class Answered(Scenario):
    """Four answers of 150 kB."""

    moments = ('slow',)

    def legs(self):
        call = {'stage': 'http', 'with': {'method': 'POST', 'base': self.collector.base, 'url': '"/slow?ms=20"',
                                         'body': f'{{n: ., text: ("x" * {ANSWER_BYTES})}}'}}
        return [{**LEG, 'stages': [call]}]

    def begin(self):
        self.mark += 1
        names = [f'm{self.mark} {item}' for item in range(4)]
        return self.post(names, names)

    def said(self, found):
        return [one['n'] if len(one['text']) == ANSWER_BYTES else 'cut' for one in found]

    def books(self):
        stored = {(job, item): life for life, job, item, _ in self.server.stored(DONE)}
        lives = {name: stored.get((told.job, item)) for told in self.witness.jobs.values() for item, name in enumerate(told.wanted)}
        asked = collections.defaultdict(list)
        for call in self.collector.of('slow'):
            asked[json.loads(call.body)['n']].append(call.at)
        return 0, sum(self.once_a_life('the answer', name, times, lives[name]) for name, times in asked.items())


QUICK = {Collected: (('trigger', 'full and killed'), ('trigger', 'full'), ('snapshot', 'full for what is large'), ('fifth score', 'full and killed')),
         Answered: (('slow', 'full for what is large'),)}


def client(server, scenario, told):
    """A job, to its end. While the log stands still its answers may wait for it."""
    told.append(scenario.begin())
    while told[0] and server.document(told[0].job)['status'] not in ('completed', 'error'):
        time.sleep(0.01)


def end(server, witness, how):
    """While the disk is full; there is space again when it starts."""
    if how == 'kill':
        server.kill()
    elif (status := server.stop()) != 0:      # the last of the log found no space
        witness.fate(server, status, server.sentences())
    server.start()


def once(scenario, way, point=1, moment=None):
    """One job, in the midst of which the disk is as it is to be. How many calls failed; of those that fail nowhere, or do a part, how many there were."""
    how, least, ends, _ = way
    server, witness, told = scenario.server, scenario.witness, []
    if server.alive():
        server.kill()
    server.start()
    server.control.least(least)
    server.plan, server.witness, scenario.moment = {**how, 'first': point}, witness, moment
    scenario.scores_given = 0
    if not moment:
        server.arm_now()
    asks = threading.Thread(target=witness.tries, args=(client, server, scenario, told), daemon=True)
    asks.start()
    until_s = time.monotonic() + 10
    counts = witness.strict or point == ALL
    while asks.is_alive() and time.monotonic() < until_s and (counts or not server.control.failed):
        time.sleep(0.005)
    seen, failed = server.control.seen, server.control.failed
    if failed and not counts:
        time.sleep(FULL_S)
    if ends and failed and server.alive():
        end(server, witness, ends)
    server.disarm()
    asks.join(30)
    scenario.moment = None
    witness.settle(server)
    witness.strict = False
    if told and told[0]:
        scenario.look(told[0])
    return seen if counts else failed


def at_moments(scenario, name, wanted):
    """Full from the moment on at which another side answers."""
    runs = 0
    for moment, way in wanted:
        scenario.witness.context = f'{name}, {way} from a {moment} on'
        runs += once(scenario, WAYS[way], moment=moment) > 0
    return runs


def at_writes(scenario, name, chance):
    """Full from the Nth write on."""
    counts, runs = {}, 0
    for way, how in WAYS.items():
        if not how[-1]:
            continue
        asked = how[0]['classes'], how[1]
        scenario.witness.context = f'{name}, counting'
        if asked not in counts:
            counts[asked] = once(scenario, how, ALL)
        for point in points_of(counts[asked], how[-1], chance):
            scenario.witness.context = f'{name}, {way} from {point} of {counts[asked]} on'
            runs += once(scenario, how, point) > 0
    return runs


def sweep(card, witness, kind, chance, quick):
    scenario = kind(witness)
    server, name = scenario.server, kind.__name__.lower()
    runs = at_moments(scenario, name, quick or [(moment, way) for moment in kind.moments for way in WAYS
                                                if WAYS[way][2] != 'end' or moment in ('snapshot', 'slow')])
    if not quick:
        runs += at_writes(scenario, name, chance)
    witness.context = f'{name}, writes that do a part'
    pieces = once(scenario, (SHORT, 0, None, 1))
    witness.context = f'{name}, at the end'
    again = scenario.books()
    witness.audit(server)
    if server.alive():
        server.stop()
    server.close()
    scenario.close()
    card.row(f'{name}: times the disk was full', runs, bar='1 at least', good=runs > 0)
    card.row(f'{name}: writes that did a part', pieces, bar='1 at least', good=pieces > 0)
    return again


def main():
    card = Scorecard('fulltrip', __doc__)
    options = card.begin()
    chance, witness = random.Random(options.seed), Witness(options.seed)
    told = [sweep(card, witness, kind, chance, wanted) for kind, wanted in (QUICK if options.quick else dict.fromkeys((Collected, Answered, Scored))).items()]
    card.row('starts sent again under their key: the server ended before their id was stored', sum(starts for starts, _ in told))
    card.row('answers asked for again: the server ended before they were stored', sum(answers for _, answers in told))
    for status, times in sorted(witness.ends.items(), key=str):
        card.row(f'    ended with {status}', times)
    card.row('times that something was wrong', len(witness.wrong), bar=0)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
