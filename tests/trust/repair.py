#!/usr/bin/env python3
"""Caches damaged at random and made anew, equal to before; backups of a server at work, whole and with all that was acknowledged before they began.

Usage: tests/trust/repair.py [--quick] [--seed N]
"""
import os
import random
import shutil
import subprocess
import sys
import threading
import time

from scorecard import Scorecard
from logs import CACHES, base_of, caches
from rivulet_server import PROGRAM, Rivulet, image

DAMAGES, DAMAGES_QUICK, BACKUPS, BACKUPS_QUICK = 300, 8, 20, 1
CLIENTS = 3


def command(*words):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=120)


def damage_one(base, chance):
    """One row of a cache gone, a number moved, or a byte of a blob or text flipped; what was done."""
    table, columns = chance.choice((('job', ('owner', 'state', 'created_at', 'ended_at', 'fold')), ('place', ('count', 'deltas', 'first_seq')),
                                    ('cell', ('body', 'page')), ('blob_use', ('sha',))))
    keys = {'job': 'job', 'place': 'job, first_seq', 'cell': 'job, page', 'blob_use': 'sha, job'}[table]
    rows = base.execute(f'SELECT {keys} FROM {table}').fetchall()
    if not rows:
        return f'nothing is left of {table}'
    row = chance.choice(rows)
    where = ' AND '.join(f'{key.strip()}=?' for key in keys.split(','))
    if chance.random() < 0.25:
        base.execute(f'DELETE FROM {table} WHERE {where}', row)
        return f'a row of {table} gone'
    column = chance.choice(columns)
    value, = base.execute(f'SELECT {column} FROM {table} WHERE {where}', row).fetchone()
    if isinstance(value, bytes) and value:
        changed = bytearray(value)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        value = bytes(changed)
    elif column == 'state':
        value = (value + chance.choice((1, 2))) % 3     # 3 is no cache: it alone says that the job was deleted
    elif isinstance(value, str):
        value += '?'
    else:
        value = (value or 0) + chance.choice((-1, 1, 2))
    base.execute(f'UPDATE OR IGNORE {table} SET {column}=? WHERE {where}', (value, *row))
    return f'{table}.{column}'


def damage(card, folder, chance, times):
    """Damages that were not told; rebuilds that did not come to what was before."""
    command('check', '--data', folder, '--rebuild')
    whole, untold, unmended = caches(folder), 0, 0
    for _ in range(times):
        base = base_of(folder)
        words = [damage_one(base, chance) for _ in range(chance.choice((1, 1, 3)))]
        base.close()
        changed = caches(folder) != whole
        told = command('check', '--data', folder)
        if changed and told.returncode != 1 and not only_old(folder, whole):
            untold += 1
            card.note(f'not told: {words}')
        told = command('check', '--data', folder, '--rebuild')
        if told.returncode or caches(folder) != whole:
            unmended += 1
            card.note(f'not mended: {words} {told.stdout[-600:]}{told.stderr}')
    return untold, unmended


def only_old(folder, whole):
    """The bit of an item that is set when opening and never looked at in a cell is no damage: all else is as it was."""
    now = caches(folder)
    def strip(cells):
        return [(job, page, bytes(byte & ~0x10 if at % 16 == 14 else byte for at, byte in enumerate(body))) for job, page, body in cells]
    return all(now[table] == whole[table] for table in CACHES if table != 'cell') and strip(now['cell']) == strip(whole['cell'])


class Load:
    """Clients that post and note what was acknowledged; `slowest` is the longest time between a post and its 'all done'."""

    def __init__(self, server):
        self.server, self.known, self.trouble, self.slowest, self.count, self.over = server, [], [], 0, 0, threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(n,)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def work(self, number):
        chance = random.Random(number)
        try:
            while not self.over.is_set():
                began = time.monotonic()
                answer = self.server.post('/process-batch', [image(f'{n}.jpg', pad=chance.choice((10, 70000))) for n in range(3)])
                job = answer.job
                answer.body()
                self.slowest, self.count = max(self.slowest, time.monotonic() - began), self.count + 1
                self.known.append(job)
        except Exception as error:
            self.trouble.append(error)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def back_up(card, server, times):
    """(not clean, acknowledged and not in it, seconds of the slowest, slowest post meanwhile, slowest post without)"""
    load, unclean, missing, slowest = Load(server), 0, 0, 0
    time.sleep(1)
    alone, load.slowest = load.slowest, 0
    for n in range(times):
        kept, to, began = list(load.known), os.path.join(server.top, f'backup-{n}'), time.monotonic()
        made = command('backup', '--data', server.dir, to)
        slowest = max(slowest, time.monotonic() - began)
        told = command('check', '--data', to) if made.returncode == 0 else made
        if made.returncode or told.returncode:
            unclean += 1
            card.note(made.stderr + told.stdout[-600:])
            continue
        base = base_of(to)
        missing += len(set(kept) - {row[0] for row in base.execute('SELECT id FROM job WHERE state=2')})
        base.close()
        shutil.rmtree(to)
    load.end()
    for trouble in load.trouble:
        card.note(repr(trouble))
    return unclean + len(load.trouble), missing, slowest, load.slowest, alone, load.count


def main():
    card = Scorecard('repair', __doc__)
    options = card.begin()
    damages, backups = (DAMAGES_QUICK, BACKUPS_QUICK) if options.quick else (DAMAGES, BACKUPS)
    server = Rivulet(ENABLE_PARALLEL='true', MAX_WORKERS=2, MAX_BATCH_SIZE=2000)
    try:
        server.post('/process-batch', [image(f'{n}.jpg', accuracy=n, fail='no') if n % 7 == 0 else image(f'{n}.jpg', pad=n * 3000) for n in range(40)]).body()
        server.post('/process-batch', [image(f'{n % 9}.jpg', accuracy=n % 9) for n in range(530)]).body()
        calm = os.path.join(server.top, 'calm')
        time.sleep(1.5)          # so that the caches are behind the log
        command('backup', '--data', server.dir, calm)
        untold, unmended = damage(card, calm, random.Random(options.seed), damages)
        unclean, missing, slowest, during, alone, posts = back_up(card, server, backups)
    finally:
        server.close()
    card.row(f'caches damaged from seed {options.seed}', damages)
    card.row('damages that were not told', untold, bar=0)
    card.row('rebuilds that did not come to what was before', unmended, bar=0)
    card.row('backups of a server at work', backups, f'during {posts} acknowledged jobs')
    card.row('backups that were not clean', unclean, bar=0)
    card.row('jobs acknowledged before a backup that are not in it', missing, bar=0)
    card.row('slowest backup', round(slowest, 2), 's')
    card.row('slowest job while backups were made', round(during, 2), f's, without {alone:.2f} s')
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
