#!/usr/bin/env python3
"""A short story of the server for tools that are too slow for the suites: a start, three items, a stream that is left and taken up again, a job
of JSON Lines, a cancelled one, the page and the numbers, SIGTERM; then it is started again on what it left, and `rivulet run` does one item."""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'server'), os.path.join(HERE, '..', 'lib')]
from rivulet_server import PATIENCE, PROGRAM, Rivulet, image, item  # noqa: E402

PIPELINE = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': 60, 'attempts': 2, 'backoff_ms': [10, 20]}]}


class Story:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, true, told=''):
        self.passed, self.failed = self.passed + bool(true), self.failed + (not true)
        print(f'{"ok  " if true else "FAIL"} {what} {"" if true else told}', flush=True)

    def serve(self):
        server = Rivulet(PIPELINE)
        try:
            answer = server.post('/process-batch-stream', [image(f'{number}.jpg', hints=True) for number in range(3)])
            answer.until('result')
            job = answer.job
            answer.leave()
            frames = server.events(job, last='1').frames()
            self.check('a stream is taken up again and ends', frames[-1].event == 'complete')
            failed = server.post('/process-batch', [image('bad.jpg', fail='no good'), image('crash.jpg', crash=True), image('again.jpg', retry='later')]).json()
            self.check('items that fail end', failed['failed'] == 3)
            self.check('the numbers', server.get('/metrics').status == 200 and server.get('/').status == 200)
            lines = ''.join(json.dumps({'noop': {'result': number}}) + '\n' for number in range(50)).encode()
            answer = server.ask('POST', '/v1/jobs?pipeline=noop', lines, {'Content-Type': 'application/x-ndjson'})
            self.check('a job of lines', answer.status == 202)
            job = answer.json()['id']
            self.check('it ends', server.wait_for(job, 'completed')['status'] == 'completed')
            slow = server.ask('POST', '/v1/jobs?pipeline=noop', b'{"noop": {"hang": true}}\n', {'Content-Type': 'application/x-ndjson'}).json()['id']
            self.check('a cancelled one', server.ask('POST', f'/v1/jobs/{slow}/cancel').status < 300 and server.wait_for(slow, 'cancelled'))
            self.check('SIGTERM ends it well', server.stop() == 0)
            server.start()
            self.check('it knows its job again', server.document(job)['status'] == 'completed')
        finally:
            server.close()

    def run(self):
        with tempfile.TemporaryDirectory(prefix='rivulet-story-') as folder:
            path = os.path.join(folder, 'item')
            with open(path, 'wb') as file:
                file.write(item(result=7))
            done = subprocess.run([PROGRAM, 'run', 'noop', '--workers', '1', path], cwd=folder, capture_output=True, timeout=60 * PATIENCE, check=False,
                                  env={**os.environ, 'TMPDIR': folder})
        self.check('an item goes through the command line', done.returncode == 0 and b'"result":7' in done.stdout, done)


def main():
    story = Story()
    for part in sys.argv[1:] or ('serve', 'run'):
        getattr(story, part)()
    print(f'{story.passed} passed, {story.failed} failed')
    return story.failed != 0


if __name__ == '__main__':
    sys.exit(main())
