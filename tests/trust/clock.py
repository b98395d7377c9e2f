#!/usr/bin/env python3
"""The wall clock is set, by an hour and by days, forwards and back, while jobs run: nothing is handed out twice, nothing waits for the clock to come round.

Usage: tests/trust/clock.py [--quick] [--seed N]
"""
import json
import random
import sys
import time

from injection import Faulty, Witness
from rivulet_server import image
from runs import until
from scorecard import Scorecard
from survival import DONE, FAILED, Follower

HOUR, DAY = 3600, 86400
SLACK_S, SLACK_QUICK_S = 4, 60        # a check may run on a machine that is busy; what waited for the clock would wait for an hour
JUMPS = (HOUR, -HOUR, 1, -1, DAY, -DAY, 30 * DAY, 2 * HOUR, -2 * HOUR)
BACKOFF = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': 1, 'attempts': 2, 'backoff_ms': [400, 400], 'jitter': False}]}


def jobs_under_jumps(card, chance, rounds, slack):
    """Jobs run, the clock jumps all the while. Who started twice, and how long it took."""
    server, witness, followers = Faulty(BACKOFF, MAX_WORKERS=2, RIVULET_RETENTION='400d'), Witness(), []
    wanted, storms, jumps, wrong = {}, 0, 0, 0
    began = time.monotonic()
    for _ in range(rounds):
        files = [image(f'{n}.jpg', sleep_ms=chance.randint(5, 40), result={'said': n}) for n in range(10)]
        files += [image('x.jpg', fail='no'), image('y.jpg', retry='again'), image('z.jpg', hang=True)]
        stream = server.post('/process-batch-stream', files)
        wanted[stream.job] = [1] * 11 + [2, 2]
        followers.append(Follower(server, stream.job, 'seed', stream))
        while not followers[-1].ended and followers[-1].is_alive():
            server.control.skew(chance.choice(JUMPS) + chance.randint(-5, 5))
            jumps += 1
            time.sleep(chance.random() * 0.1)
    for follower in followers:
        follower.join(20)
        wrong += not follower.ended or follower.trouble is not None
    seconds = (time.monotonic() - began) / rounds
    witness.jobs = wanted
    server.control.skew(0)
    stories = witness.audit(server)
    for job, story in stories.items():
        starts = [len(story.starts.get(item, [])) for item in range(13)]
        storms += sum(have > want for have, want in zip(starts, wanted[job]))
        wrong += [story.outcomes[item][0] for item in range(13)] != [DONE] * 10 + [FAILED] * 3
    card.row('jumps of the clock, by seconds to 30 days', jumps)
    card.row('items started more often than they should be', storms, f'of {13 * rounds}', bar=0)
    card.row('outcomes or readers that a jump changed', wrong, bar=0)
    card.row('seconds of a job with two deadlines of 1 s and a pause', seconds, 's', bar=f'2.2 … {2.2 + slack}', good=2.2 <= seconds <= 2.2 + slack)
    card.row('breaches of the log', len(witness.wrong), bar=0)
    server.drop()


def waits_over_a_restart(card, slack):
    """An item rests when the server dies, and the next life finds another time of day. The rest is never longer than it was."""
    longest = 0
    for jump in (-DAY, -HOUR, HOUR):
        server = Faulty(BACKOFF, MAX_WORKERS=1)
        job = server.post('/process-batch-stream', [image('a.jpg', retry='again')]).job
        until(lambda: server.rows('SELECT count(*) FROM event WHERE kind = 7') == [(1,)])
        server.kill()
        server.control.skew(jump)
        began = time.monotonic()
        server.start()
        server.wait_for(job, 'error', 'completed')
        longest = max(longest, time.monotonic() - began)
        server.drop()
    card.row('longest end of a rest of 0.4 s over a restart and a jump', longest, 's', bar=0.4 + slack)


def words_by_the_clock(card):
    """Tickets run by time that only goes on; keys for a day and retention by the calendar; sessions stay."""
    server, held = Faulty(RIVULET_RETENTION='3h', RIVULET_KEYS='me secret-of-a-test-000000000000'), 0
    key = {'Authorization': 'Bearer secret-of-a-test-000000000000'}
    def post(name):
        answer = server.ask('POST', '/v1/jobs?pipeline=noop', json.dumps({'items': [1]}), {**key, 'Content-Type': 'application/json', 'Idempotency-Key': name})
        return json.loads(answer.body())['id']
    job = post('one')
    for jump in (HOUR, -HOUR):
        server.control.skew(0)
        ticket = json.loads(server.ask('POST', f'/v1/jobs/{job}/tickets', headers=key).body())
        server.control.skew(jump)
        stream = server.get(f'/v1/jobs/{job}/events?ticket={ticket["ticket"]}')
        held += stream.status in (200, 204)
    card.row('tickets good in spite of a jump of an hour', held, 'of 2', bar='2', good=held == 2)
    same = sum(post('one') == job for jump in (HOUR, -HOUR, 0) if server.control.skew(jump) is None)
    card.row('idempotency keys that stood over a jump', same, 'of 3', bar='3', good=same == 3)
    server.drop()


def main():
    card = Scorecard('clock', __doc__)
    options = card.begin()
    chance = random.Random(options.seed)
    slack = SLACK_QUICK_S if options.quick else SLACK_S
    jobs_under_jumps(card, chance, 1 if options.quick else 25, slack)
    waits_over_a_restart(card, slack)
    words_by_the_clock(card)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
