#!/usr/bin/env python3
"""Makes a log of the program that is given, to be kept for all programs to come: tests/upgrade/make.py PROGRAM FOLDER [--remote]

PROGRAM is `rivulet` as it was built of the last commit that wrote the format; FOLDER gets

    log.sql       the log as SQL, as a kill -9 left it, in the midst of its work
    blobs.json    stored files, by name: base64 of zlib
    shown.json    what that program answered of the jobs that had ended: documents, both faces' frames, results; and which jobs were open

With --remote: a job that waits at a collector, with records that have ended, and one that is done.
"""
import base64
import http.client
import json
import os
import sqlite3
import sys
import tempfile
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', folder) for folder in ('server', 'lib')]
os.environ['RIVULET'] = os.path.abspath(sys.argv[1])
import profiles  # noqa: E402
from collector import Collector  # noqa: E402
from llm_double import Model  # noqa: E402
from rivulet_server import BOUNDARY, Rivulet, form, image  # noqa: E402

PIPELINE = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': 20, 'attempts': 3, 'backoff_ms': [50, 60000]}]}
SCRIPT = {'slow': {'ready_s': 3600}}


def knows(server, path):
    answer = server.get(path)
    answer.body()
    return answer.status == 200


def shown_of(server, job):
    seen = {'document': server.get(f'/v1/jobs/{job}').json()}
    for face in ('job', 'seed'):
        stream = server.events(job, f'?face={face}')
        stream.frames()
        seen[face] = stream.raw.decode()
    if knows(server, f'/v1/jobs/{job}/results'):
        seen['results'] = server.get(f'/v1/jobs/{job}/results').body().decode()
    return seen


def ended_jobs(server):
    """{what it is: job}"""
    mixed = [image('a.jpg', accuracy=70), image('b.jpg', fail='bad'), image('big.jpg', pad=70000), image('d.txt', b'x', 'text/plain'),
             image('Zoë "ü".jpg', retry='again'), image('crash.jpg', crash=True)]
    jobs = {'mixed': server.post('/process-batch', mixed).job, 'many': server.post('/process-batch', [image(f'{n}.jpg', accuracy=n) for n in range(40)]).job}
    jobs['all failed'] = server.post('/process-batch', [image('f.jpg', fail='no')]).job
    live = server.post('/process-batch-stream', [image('quick.jpg'), *(image(f'{n}.jpg', sleep_ms=5000) for n in range(3))])
    live.until('result')
    server.ask('POST', f'/v1/jobs/{live.job}/cancel').body()
    jobs['cancelled'] = live.job
    retried = server.ask('POST', f'/v1/jobs/{jobs["mixed"]}/retry')
    if retried.status in (200, 201, 202):
        jobs['retry'] = retried.json()['id']
    values = server.ask('POST', '/v1/jobs?pipeline=noop', json.dumps({'items': [{'n': 1}, {'n': 2, 'noop': {'fail': 'never'}}]}).encode(),
                        {'Content-Type': 'application/json', 'Idempotency-Key': 'kept'})
    if values.status in (200, 201, 202):
        jobs['values'] = values.json()['id']
    for job in jobs.values():
        server.wait_for(job, 'completed', 'error', 'cancelled')
    return jobs


def open_jobs(server):
    ordered = server.post('/process-batch-stream', [image('first.jpg', accuracy=1), *(image(f'{n}.jpg', sleep_ms=1500) for n in range(3))])
    ordered.until('result')
    later = server.post_later('/process-batch-fast', [image('later.jpg', retry='not yet'), *(image(f'{n}.jpg', sleep_ms=1500) for n in range(8))])
    whole = form([image(f'{n}.jpg') for n in range(3)])
    cut = http.client.HTTPConnection('127.0.0.1', server.port, timeout=30)
    cut.putrequest('POST', '/process-batch-stream')
    cut.putheader('Content-Type', f'multipart/form-data; boundary={BOUNDARY}')
    cut.putheader('Content-Length', str(len(whole)))
    cut.endheaders()
    cut.send(whole[:len(whole) // 2])
    fed = server.ask('POST', '/v1/jobs?pipeline=noop&open=1', json.dumps({'items': [{'n': 1}]}).encode(), {'Content-Type': 'application/json'})
    fed.body()
    time.sleep(1)
    return ordered, later, cut        # the wires


def begin_remote(folder):
    collector = Collector(profiles.orders(lambda snapshot: SCRIPT['slow'] if 'slow' in snapshot.body else {'ready_s': 0.1}), key=profiles.KEYS['BRIGHTDATA_API_KEY'])
    model = Model(profiles.judge, 0, key=profiles.KEYS['OPENAI_API_KEY'])
    return collector, model, profiles.write_pipeline(folder, '100ms', size=4)


def remote_jobs(server):
    done = profiles.begin(server, [profiles.url_of(number) for number in range(6)])
    server.wait_for(done, 'completed', 'error')
    half = profiles.begin(server, [profiles.url_of(number, word=word) for word in ('fast', 'slow') for number in range(4)])
    while not any(item['state'] == 'completed' for item in server.get(f'/v1/jobs/{half}/items').json()['items']):
        time.sleep(0.05)
    time.sleep(0.5)
    return {'done': done}


def dump(server, folder):
    base = sqlite3.connect(os.path.join(server.dir, 'log.db'))
    with open(os.path.join(folder, 'log.sql'), 'w', encoding='utf-8') as file:
        file.writelines(line + '\n' for line in base.iterdump())
        file.write(f'PRAGMA user_version={base.execute("PRAGMA user_version").fetchone()[0]};\n')
    stored = {}
    for at, _, names in os.walk(os.path.join(server.dir, 'blobs')):
        for name in names:
            with open(os.path.join(at, name), 'rb') as content:
                stored[name] = base64.b64encode(zlib.compress(content.read(), 9)).decode()
    with open(os.path.join(folder, 'blobs.json'), 'w', encoding='utf-8') as file:
        json.dump(stored, file, indent=1, sort_keys=True)
    rows = base.execute('SELECT id FROM job WHERE state<2').fetchall()
    base.close()
    return [row[0] for row in rows]


def main():
    folder, remote = sys.argv[2], '--remote' in sys.argv
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        settings, path, doubles = {}, PIPELINE, ()
        if remote:
            collector, model, path = begin_remote(scratch)
            settings, doubles = profiles.settings(collector, model), (collector, model)
        server = Rivulet(path, ENABLE_PARALLEL='true', MAX_WORKERS=2, MAX_BATCH_SIZE=100, RIVULET_RETENTION='0', **settings)
        try:
            if remote:
                ended = remote_jobs(server)
            else:
                ended = ended_jobs(server)
                wires = open_jobs(server)  # noqa: F841
            shown = {name: {'id': job, **shown_of(server, job)} for name, job in ended.items()}
            server.kill()
            still = dump(server, folder)
            with open(os.path.join(folder, 'shown.json'), 'w', encoding='utf-8') as file:
                json.dump({'ended': shown, 'open': still}, file, indent=1, ensure_ascii=False)
        finally:
            server.close()
            for double in doubles:
                double.close()
    print(folder, {name: one['document']['status'] for name, one in shown.items()}, len(still), 'open')


if __name__ == '__main__':
    main()
