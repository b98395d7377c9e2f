#!/usr/bin/env python3
"""kill -9 of the server at random moments under load, and what its clients were told against what is there at the end.

Usage: tests/trust/kills.py [--quick] [--seed N] [--kills N]
"""
import random
import sys
import time

from scorecard import Scorecard
from ledger import Ledger, Server

KILLS, KILLS_QUICK = 1000, 25
LIFE_S, FIRST_S = 0.3, 2.0
BEFORE_READY = 0.15               # of the kills hit a server that has not said it is ready


def live_a_while(server, chance):
    """Until some random moment: of all lives, of those in which something has happened, or when the log has grown by some events."""
    kind, began = chance.random(), time.monotonic()
    events = logged(server) + 1 if kind < 0.75 else 0
    wait_for(server, events, began + FIRST_S)       # a machine that is busy takes its time
    if kind < 0.35 or not events:
        time.sleep(chance.uniform(0, LIFE_S))
    else:
        wait_for(server, events + chance.randint(0, 60), time.monotonic() + LIFE_S)


def wait_for(server, pos, end):
    while logged(server) < pos and time.monotonic() < end:
        time.sleep(0.001)


def logged(server):
    return server.rows('SELECT max(pos) FROM event')[0][0] or 0


def main():
    card = Scorecard('kills', __doc__)
    card.parser.add_argument('--kills', type=int)
    options = card.begin()
    kills = options.kills or (KILLS_QUICK if options.quick else KILLS)
    chance, early, working = random.Random(options.seed), 0, 0
    server = Server()
    ledger = Ledger(server, options.seed)
    try:
        done = 0
        while done < kills:
            live_a_while(server, chance)
            working += bool(server.rows('SELECT 1 FROM job WHERE state<2'))
            server.kill()
            done += 1
            while chance.random() < BEFORE_READY and done < kills:
                server.kill_before_ready(chance.uniform(0, 0.05))
                done, early = done + 1, early + 1
            server.start()
        ledger.close_books()
        card.row(f'kill -9 of the server under load (seed {options.seed})', done, bar=kills, good=done >= kills)
        card.row('    of them before it was ready again', early)
        card.row('    of them with a job under way', working)
        ledger.audit(card)
    finally:
        server.give_up()
        try:
            server.close()
        except AssertionError as trouble:
            card.row('the server ended well at last', str(trouble)[:300], good=False)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
