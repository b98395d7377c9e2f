#!/usr/bin/env python3
"""The Firestore mirror, measured: jobs of batches with 20 profiles each, while calls fail and the server is killed.

Usage: [FIRESTORE_EMULATOR_HOST=HOST:PORT] bench/mirror.py [--jobs 3] [--batches 100] [--kills 10] [--faults PERCENT]

Without FIRESTORE_EMULATOR_HOST it starts the project's own double. Faults are ordered by POST /__admin/faults, a list of {code, status} or null for
the calls to come, where the emulator knows that. Status 1 when a counter is wrong or a batch is missing.
"""
import argparse
import http.client
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests', 'server'))
from firestore_double import Firestore, plain  # noqa: E402
from rivulet_server import Rivulet  # noqa: E402

PROFILES = '[range(20) | {id: ., name: "creator \\(.)", score: (. * 5), text: ("x" * 3800)}]'
PIPELINE = {'name': 'mirrored', 'in_flight': 8, 'mirror': {'firestore': {'project': 'demo'}},
            'legs': [{'stages': ['noop', {'stage': 'jq', 'with': {'program': PROFILES}}], 'timeout_s': 10, 'attempts': 3, 'backoff_ms': [10, 20]}]}
FAULTS = [{'code': 503, 'status': 'UNAVAILABLE'}, {'code': 429, 'status': 'RESOURCE_EXHAUSTED'}, {'code': 409, 'status': 'ABORTED'},
          {'code': 500, 'status': 'INTERNAL'}]


def call(address, method, path, body=None):
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body=body, headers={'Content-Type': 'application/json', 'Authorization': 'Bearer owner'})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b'null')
    except (OSError, http.client.HTTPException):
        return 599, None
    finally:
        connection.close()


def fields(address, path):
    """A document as Python has it, or None. An ordered fault may meet this call too."""
    while True:
        status, document = call(address, 'GET', f'/v1/projects/demo/databases/(default)/documents/{path}')
        if status in (200, 404):
            return {name: plain(value) for name, value in document['fields'].items()} if status == 200 else None


def order_faults(address, chance, percent):
    faults = [chance.choice(FAULTS) if chance.randrange(100) < percent else None for _ in range(400)]
    return call(address, 'POST', '/__admin/faults', json.dumps(faults))[0] == 200


def items_of(server, job):
    found = []
    while True:
        page = server.get(f'/v1/jobs/{job}/items?limit=200' + (f'&after={found[-1]["item"]}' if found else '')).json()['items']
        found += page
        if len(page) < 200:
            return found


def check(server, address, job):
    """Sentences about what is in Firestore other than the log says."""
    wrong, items = [], items_of(server, job)
    document = fields(address, f'pipeline_jobs/{job}')
    done = [item['item'] for item in items if item['state'] == 'completed']
    want = {'total_batches': len(items), 'batches_completed': len(done), 'batches_failed': len(items) - len(done), 'batches_processing': 0,
            'batches_pending': 0, 'overall_progress': 100}
    wrong += [f'{job}: {name} is {document.get(name)}, not {value}' for name, value in want.items() if document.get(name) != value]
    if sorted(document.get('completed_batch_indices', [])) != done:
        wrong.append(f'{job}: completed_batch_indices')
    for item in items:
        batch = fields(address, f'pipeline_jobs/{job}/batches/{item["item"]}') or {}
        good = batch.get('status') == ('completed' if item['state'] == 'completed' else 'error')
        if not good or (item['state'] == 'completed' and len(batch['profiles']) != 20):
            wrong.append(f'{job}: batch {item["item"]} is {batch.get("status")}, the item is {item["state"]}')
    return wrong


def submit(server, batches, sleep_ms):
    items = [{'noop': {'sleep_ms': sleep_ms}} for _ in range(batches)]
    answer = server.ask('POST', '/v1/jobs', json.dumps({'pipeline': 'mirrored', 'items': items}), {'Content-Type': 'application/json'})
    return answer.json()['id']


def wait_for(address, job):
    while (fields(address, f'pipeline_jobs/{job}') or {}).get('status') not in ('completed', 'error', 'cancelled'):
        time.sleep(0.02)


def main():
    parser = argparse.ArgumentParser()
    for name, value in (('jobs', 3), ('batches', 100), ('kills', 10), ('faults', 30), ('seed', 1)):
        parser.add_argument('--' + name, type=int, default=value)
    told = parser.parse_args()
    own = None if os.environ.get('FIRESTORE_EMULATOR_HOST') else Firestore()
    address = own.address if own else os.environ['FIRESTORE_EMULATOR_HOST']
    chance = random.Random(told.seed)
    server = Rivulet(PIPELINE, FIRESTORE_EMULATOR_HOST=address)
    try:
        began = time.monotonic()
        job = submit(server, told.batches, 0)
        server.wait_for(job, 'completed')
        ended = time.monotonic()
        wait_for(address, job)
        print(f'| {told.batches} batches of 20 profiles, calm: the job; its last document after it | {ended - began:.2f} s; {(time.monotonic() - ended) * 1000:.0f} ms |')
        wrong = check(server, address, job)
        faulty = not own and order_faults(address, chance, told.faults)
        if own:
            own.fault = lambda number, path: chance.choice(['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'ABORTED', 'lost', 'late']) if chance.randrange(100) < told.faults else None
        began = time.monotonic()
        jobs = [submit(server, told.batches, 60) for _ in range(told.jobs)]
        for _ in range(told.kills):
            time.sleep(chance.uniform(0.1, 1.0))
            server.kill()
            server.start()
            if faulty:
                order_faults(address, chance, told.faults)
        for job in jobs:
            wait_for(address, job)
        took = time.monotonic() - began
        if own:
            own.fault = lambda number, path: None
        elif faulty:
            call(address, 'POST', '/__admin/faults', '[]')
        wrong += [one for job in jobs for one in check(server, address, job)]
        print(f'| {told.jobs} jobs of {told.batches} batches, {told.faults if own or faulty else 0} % faults, {told.kills} kills: all mirrored | {took:.1f} s |')
        print(f'| wrong counters or batches | {len(wrong)} | 0, {"held" if not wrong else "MISSED"} |')
        print('\n'.join(wrong[:20]))
    finally:
        server.close()
        if own:
            own.close()
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
