"""A real `rivulet serve` for tests: started on a free port in a folder of its own, its forms, its streams read frame by frame.

The pipeline does nothing but what each file orders: item(sleep_ms=200) is the content of a file that takes 200 ms (src/stage/noop.c
lists the orders).
"""
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
PROGRAM = os.environ.get('RIVULET') or os.path.join(os.environ.get('RIVULET_BUILD', os.path.join(ROOT, 'build')), 'rivulet')
PIPELINE = {'name': 'decklists', 'result_key': 'decklist', 'legs': [{'stages': ['noop'], 'timeout_s': 5, 'attempts': 2, 'backoff_ms': [10, 20]}]}
OURS = ('RIVULET', 'MAX_', 'CARD_MAPPING', 'ENABLE_', 'SERVICE_', 'PORT', 'USE_GPU', 'DEBUG')
BOUNDARY = 'the-boundary-of-a-test'
PATIENCE = float(os.environ.get('RIVULET_PATIENCE', '1'))      # how many times as slow as usual the program may be (tests/run.py)
START_S = 20 * PATIENCE


def item(**orders):
    return json.dumps({'noop': orders}).encode()


def image(name='deck.jpg', content=None, media='image/jpeg', **orders):
    """(file name, media type, content) of a form's file."""
    return name, media, item(**orders) if content is None else content


def form(files, field='files'):
    """A multipart body; a name of None leaves the file name away."""
    parts = []
    for name, media, content in files:
        given = '' if name is None else '; filename="' + name.replace('\\', '\\\\').replace('"', '\\"') + '"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{given}\r\n'
        head += f'Content-Type: {media}\r\n' if media else ''
        parts += [head.encode() + b'\r\n', content, b'\r\n']
    return b''.join(parts) + f'--{BOUNDARY}--\r\n'.encode()


class Frame:
    def __init__(self, raw):
        self.raw = raw
        self.event = self.data = self.id = None
        for line in raw.decode().split('\n'):
            name, _, value = line.partition(': ')
            if name == 'event':
                self.event = value
            elif name == 'data':
                self.data = json.loads(value)
            elif name == 'id':
                self.id = value

    def __repr__(self):
        return f'<{self.event} {self.data} {self.id}>'


class Answer:
    """An answer, or a stream that is read as it comes."""

    def __init__(self, connection, response):
        self.connection, self.response, self.rest, self.raw = connection, response, b'', b''
        self.status = response.status

    def header(self, name):
        return self.response.getheader(name)

    @property
    def job(self):
        return self.header('X-Job-Id')

    def body(self):
        content = self.response.read()
        self.connection.close()
        return content

    def json(self):
        return json.loads(self.body())

    def frame(self):
        """The next frame, or None at the end of the stream."""
        while b'\n\n' not in self.rest:
            piece = self.response.read1(65536)
            if not piece:
                assert not self.rest, self.rest
                self.connection.close()
                return None
            self.rest += piece
        raw, self.rest = self.rest.split(b'\n\n', 1)
        self.raw += raw + b'\n\n'
        return Frame(raw)

    def frames(self):
        """All that still come, heartbeats and comments left away."""
        found = []
        while True:
            frame = self.frame()
            if frame is None:
                return found
            if frame.event not in (None, 'heartbeat'):
                found.append(frame)

    def until(self, event):
        while True:
            frame = self.frame()
            assert frame is not None, f'the stream ended without {event}'
            if frame.event == event:
                return frame

    def leave(self):
        """Go away without a word, as a lost client does."""
        sock = self.connection.sock or self.response.fp.raw._sock
        sock.shutdown(socket.SHUT_RDWR)
        self.response.close()
        self.connection.close()


class Rivulet:
    program = None        # another one than PROGRAM

    def __init__(self, pipeline=None, **settings):
        """The pipeline: a dict, or the path of a file. Settings are environment variables. The data lies in self.dir and stays until close()."""
        self.top = tempfile.mkdtemp(prefix='rivulet-test-')
        self.dir = os.path.join(self.top, 'data')
        path = pipeline if isinstance(pipeline, str) else os.path.join(self.top, 'pipeline.json')
        if path != pipeline:
            with open(path, 'w', encoding='utf-8') as file:
                json.dump(pipeline or PIPELINE, file)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.env.update({'RIVULET_PIPELINE': path, 'PORT': '0', 'RIVULET_DATA': self.dir})
        self.env.update({name: str(value) for name, value in settings.items()})
        self.process = None
        self.start()

    def start(self):
        self.errors = open(os.path.join(self.top, 'stderr'), 'ab')
        self.process = subprocess.Popen([self.program or PROGRAM, 'serve'], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors)
        if not select.select([self.process.stdout], [], [], START_S)[0]:
            self.process.kill()
        line = self.process.stdout.readline().decode()
        if not line.startswith('rivulet ready on http://127.0.0.1:'):
            self.process.kill()
            self.process.wait()
            raise AssertionError(f'the server did not start: {line!r} {self.complaints()}')
        self.port = int(line.rsplit(':', 1)[1])

    def complaints(self):
        with open(os.path.join(self.top, 'stderr'), encoding='utf-8', errors='replace') as file:
            return file.read()[-3000:]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def stop(self):
        """End it well; its status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.process.stdout.close()
        self.errors.close()
        return status

    def close(self):
        status = 0
        if self.process and self.process.poll() is None:
            status = self.stop()
        elif self.process:
            status = self.process.returncode
        complaints = self.complaints()
        shutil.rmtree(self.top, ignore_errors=True)
        if status not in (0, -signal.SIGKILL):
            raise AssertionError(f'the server ended with {status}: {complaints}')

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30 * PATIENCE)
        connection.request(method, path, body=body, headers=headers or {})
        return Answer(connection, connection.getresponse())

    def get(self, path, **headers):
        return self.ask('GET', path, headers={name.replace('_', '-'): value for name, value in headers.items()})

    def post(self, path, files, field='files', **headers):
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        headers['Content-Type'] = f'multipart/form-data; boundary={BOUNDARY}'
        return self.ask('POST', path, form(files, field), headers)

    def post_later(self, path, files, field='files'):
        """The same without waiting for the answer: the connection, whose getresponse() is still to be called."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30 * PATIENCE)
        connection.request('POST', path, body=form(files, field), headers={'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'})
        return connection

    def events(self, job, query='', last=None):
        return self.get(f'/v1/jobs/{job}/events{query}', **({'Last_Event_ID': last} if last else {}))

    def document(self, job):
        return self.get(f'/v1/jobs/{job}').json()

    def wait_for(self, job, *states):
        """Until the job is in one of the states; the test's own deadline ends a wait that is in vain."""
        while True:
            document = self.document(job)
            if document['status'] in states:
                return document
            time.sleep(0.01)

    def number(self, name):
        """One of /metrics."""
        return int(re.search(rf'^{re.escape(name)} (\d+)$', self.get('/metrics').body().decode(), re.MULTILINE).group(1))

    def descriptors(self):
        """How many are open. Only root may look into a server, which has shut itself; whoever else asks it has one more open for that."""
        folder = f'/proc/{self.process.pid}/fd'
        return len(os.listdir(folder)) if os.access(folder, os.R_OK) else self.number('process_open_fds')

    def rss_kib(self):
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as file:
            return next(int(line.split()[1]) for line in file if line.startswith('VmRSS'))
