"""Who may do what: keys, tickets, sessions, quotas, pages of other origins, and where a server listens without keys."""
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from rivulet_server import PIPELINE, PROGRAM, Rivulet, image, item
from runs import until

ALICE, BOB, CAROL = 'alice-key-canary-0123456789', 'bob-key-canary-0123456789', 'carol-key-canary-0123456789'
KEYS = f'alice {ALICE}\nbob {BOB}\n'
LISTED = 'https://app.example'
OPEN = {'/', '/health', '/livez', '/readyz', '/docs', '/redoc', '/openapi.json', '/assets/{file}', '/v1/hooks/{token}'}


def key(name, **more):
    return {'Authorization': f'Bearer {name}', **{field.replace('_', '-'): value for field, value in more.items()}}


class Keyed(Rivulet):
    """A server with keys in a file."""

    def __init__(self, keys=KEYS, **settings):
        self.folder = tempfile.mkdtemp(prefix='rivulet-keys-')
        self.keys_path = os.path.join(self.folder, 'keys')
        self.write_keys(keys)
        super().__init__(RIVULET_KEYS_FILE=self.keys_path, **settings)

    def write_keys(self, keys, mode=0o600):
        with open(self.keys_path, 'w', encoding='utf-8') as file:
            file.write(keys)
        os.chmod(self.keys_path, mode)

    def job(self, name=ALICE, **orders):
        """The id of a job with one item."""
        answer = self.post('/process-batch-stream', [image(**orders)], **key(name))
        assert answer.status == 200, answer.body()
        job = answer.job
        answer.leave()
        return job

    def open_job(self, name=ALICE):
        return self.ask('POST', '/v1/jobs?pipeline=decklists&open=1', headers=key(name))

    def said(self):
        with open(os.path.join(self.top, 'stderr'), encoding='utf-8') as file:
            return file.read()

    def close(self):
        super().close()
        shutil.rmtree(self.folder)


class Case(unittest.TestCase):
    def serve(self, *arguments, **settings):
        server = Keyed(*arguments, **settings)
        self.addCleanup(server.close)
        return server

    def refused(self, answer, status, *words):
        body = answer.body()
        self.assertEqual(answer.status, status, body)
        self.assertEqual(answer.header('Content-Type'), 'application/problem+json')
        problem = json.loads(body)
        self.assertEqual(problem['status'], status)
        for word in words:
            self.assertIn(word, problem['detail'])
        return problem


class Keys(Case):
    def test_every_route_that_is_not_open_wants_a_key(self):
        server = self.serve()
        paths = server.get('/openapi.json').json()['paths']
        asked = 0
        for path, methods in paths.items():
            bare = re.sub(r'^/api(/v1)?(?=/|$)', '', path) or '/' if not path.startswith('/v1/') else path
            for method in methods:
                where = path.replace('{id}', '0' * 32).replace('{n}', '0').replace('{file}', 'app.js').replace('{name}', 'x').replace('{token}', 'x')
                for headers in ({}, key(ALICE + 'x'), key('x'), {'Authorization': f'Basic {ALICE}'}, {'Authorization': ALICE}, {'Authorization': ''}):
                    answer = server.ask(method.upper(), where, headers=headers)
                    status, challenge = answer.status, answer.header('WWW-Authenticate')
                    answer.body()
                    if bare in OPEN or bare.startswith('/jobs/'):
                        self.assertNotEqual(status, 401, (method, path))
                    else:
                        self.assertEqual(status, 401, (method, path, headers))
                        self.assertTrue(challenge.startswith('Bearer'))
                        asked += 1
        self.assertGreater(asked, 60)
        self.assertEqual(server.ask('OPTIONS', '/v1/jobs').status, 204)       # a preflight carries no key
        self.assertEqual(server.get('/nowhere').status, 404)

    def test_a_refused_upload_sees_its_401(self):
        server = self.serve()
        files = [image(content=b'x' * 3_000_000) for _ in range(3)]
        self.refused(server.post('/process-batch', files), 401, 'Bearer')

    def test_the_jobs_of_another_owner_are_not_there(self):
        server = self.serve()
        job = server.job()
        until(lambda: server.get(f'/v1/jobs/{job}', **key(ALICE)).json()['status'] == 'completed')
        for path in ('', '/events', '/items', '/items/0', '/items/0/result', '/results'):
            mine, theirs = server.get(f'/v1/jobs/{job}{path}', **key(ALICE)), server.get(f'/v1/jobs/{job}{path}', **key(BOB))
            nothing = server.get(f'/v1/jobs/{"0" * 32}{path}', **key(BOB))
            self.assertNotEqual(mine.status, 404, path)
            mine.leave()
            told = self.refused(theirs, 404)
            self.assertEqual(told['detail'].replace(job, ''), nothing.json()['detail'].replace('0' * 32, ''))
        for method, path in (('POST', '/cancel'), ('POST', '/retry'), ('POST', '/seal'), ('POST', '/tickets'), ('DELETE', '')):
            self.assertEqual(server.ask(method, f'/v1/jobs/{job}{path}', headers=key(BOB)).status, 404, path)
        self.assertEqual(server.get('/v1/jobs', **key(BOB)).json()['jobs'], [])
        self.assertEqual([one['id'] for one in server.get('/v1/jobs', **key(ALICE)).json()['jobs']], [job])

    def test_keys_are_read_again_when_told_so(self):
        server = self.serve()
        session = server.ask('POST', '/v1/session', headers=key(BOB)).header('Set-Cookie').split(';')[0]
        self.assertEqual(server.get('/v1/session', Cookie=session).json()['owner'], 'bob')
        server.write_keys(f'alice {ALICE}\ncarol {CAROL} jobs=3\n')
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.get('/v1/session', **key(CAROL)).status == 200)
        self.assertEqual(server.get('/v1/session', **key(CAROL)).json()['quota'], {'jobs': 3})
        self.assertEqual(server.get('/v1/session', **key(ALICE)).status, 200)
        self.assertEqual(server.get('/v1/session', **key(BOB)).status, 401)
        self.assertEqual(server.get('/v1/session', Cookie=session).status, 401)
        server.write_keys('nonsense\n')
        server.process.send_signal(signal.SIGHUP)
        until(lambda: 'stay as they were' in server.said())
        self.assertEqual(server.get('/v1/session', **key(CAROL)).status, 200)
        server.write_keys(KEYS, 0o644)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: 'mode 0644' in server.said())
        self.assertEqual(server.get('/v1/session', **key(BOB)).status, 401)

    def test_without_keys_everybody_is_the_one_owner(self):
        server = Rivulet()
        self.addCleanup(server.close)
        self.assertEqual(server.get('/v1/session').json(), {'owner': 'local', 'keys': False})
        answer = server.ask('POST', '/v1/session')
        self.assertEqual((answer.status, answer.header('Set-Cookie')), (200, None))
        job = server.post('/process-batch', [image()]).job
        ticket = server.ask('POST', f'/v1/jobs/{job}/tickets').json()['ticket']
        self.assertEqual(server.get(f'/v1/jobs/{job}/events?ticket={ticket}').frames()[-1].event, 'complete')


class Tickets(Case):
    def setUp(self):
        self.server = self.serve()
        self.job = self.server.job()

    def ticket(self, path, name=ALICE):
        answer = self.server.ask('POST', path, headers=key(name))
        self.assertEqual(answer.status, 201)
        told = answer.json()
        self.assertRegex(told['ticket'], r'\A[0-9a-f]{48}\Z')
        self.assertRegex(told['expires_at'], r'\A20\d\d-')
        return told['ticket']

    def test_a_ticket_opens_one_stream_once(self):
        path = f'/v1/jobs/{self.job}/events?ticket='
        ticket = self.ticket(f'/v1/jobs/{self.job}/tickets')
        self.assertEqual(self.server.ask('HEAD', path + ticket).status, 401)      # takes nothing away
        self.assertEqual(self.server.get(path + ticket).frames()[-1].event, 'complete')
        self.refused(self.server.get(path + ticket), 401, 'once')
        self.refused(self.server.get(path + ticket[:-1]), 401, 'ticket')
        self.refused(self.server.get(path), 401, 'ticket')
        self.refused(self.server.get(path + '0' * 48), 401, 'ticket')
        self.refused(self.server.get(path + '0' * 4000), 401, 'ticket')

    def test_a_ticket_opens_nothing_else(self):
        other = self.server.job()
        for where in (f'/v1/jobs/{other}/events', f'/v1/events?job={self.job}&job={other}', '/v1/events'):
            ticket = self.ticket(f'/v1/jobs/{self.job}/tickets')
            self.refused(self.server.get(where + ('&' if '?' in where else '?') + 'ticket=' + ticket), 401, 'ticket')
            self.refused(self.server.get(f'/v1/jobs/{self.job}/events?ticket={ticket}'), 401, 'ticket')      # used up
        ticket = self.ticket(f'/v1/jobs/{self.job}/tickets')
        for method, where in (('GET', ''), ('GET', '/results'), ('GET', '/items'), ('POST', '/cancel'), ('DELETE', ''), ('POST', '/tickets')):
            self.refused(self.server.ask(method, f'/v1/jobs/{self.job}{where}?ticket={ticket}'), 401, 'key')
        self.assertEqual(self.server.get(f'/v1/jobs/{self.job}/events?ticket={ticket}').status, 200)

    def test_a_ticket_for_several_jobs(self):
        other, third = self.server.job(), self.server.job()
        ticket = self.ticket(f'/v1/events/tickets?job={self.job}&job={other}@7-1')
        frames = self.server.get(f'/v1/events?job={self.job}&job={other}&ticket={ticket}').frames()
        self.assertEqual({frame.data['job'] for frame in frames if frame.data and 'job' in frame.data}, {self.job, other})
        ticket = self.ticket(f'/v1/events/tickets?job={self.job}')
        self.refused(self.server.get(f'/v1/events?job={self.job}&job={third}&ticket={ticket}'), 401, 'ticket')
        for bad in ('', '?job=x', '?job=' + '&job='.join(['0' * 32] * 65)):
            self.refused(self.server.ask('POST', '/v1/events/tickets' + bad, headers=key(ALICE)), 400, '64')

    def test_a_ticket_gives_no_more_than_its_key(self):
        ticket = self.ticket(f'/v1/events/tickets?job={self.job}', BOB)
        self.refused(self.server.get(f'/v1/events?job={self.job}&ticket={ticket}'), 404)
        self.assertEqual(self.server.ask('POST', f'/v1/jobs/{self.job}/tickets', headers=key(BOB)).status, 404)


class Sessions(Case):
    def setUp(self):
        self.server = self.serve(RIVULET_CORS_ORIGINS=LISTED)
        self.cookie = self.begin().split(';')[0]
        self.here = f'http://127.0.0.1:{self.server.port}'

    def begin(self, **more):
        answer = self.server.ask('POST', '/v1/session', headers=key(ALICE, **more))
        self.assertEqual(answer.status, 201)
        told = answer.body()
        cookie = answer.header('Set-Cookie')
        self.assertNotIn(cookie.split(';')[0].split('=')[1].encode(), told)
        return cookie

    def test_the_cookie_is_for_this_server_alone(self):
        self.assertRegex(self.begin(), r'\Arivulet_session=[0-9a-f]{48}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200\Z')
        self.assertTrue(self.begin(X_Forwarded_Proto='https').endswith('; Secure'))
        self.assertEqual(self.server.ask('POST', '/v1/session', headers={'Cookie': self.cookie, 'Origin': self.here}).status, 400)

    def test_a_session_reads_and_streams(self):
        job = self.server.job()
        self.assertEqual(self.server.get(f'/v1/jobs/{job}', Cookie=f'a=b; {self.cookie}; c=d').status, 200)
        self.assertEqual(self.server.get(f'/v1/jobs/{job}/events', Cookie=self.cookie).frames()[-1].event, 'complete')
        self.assertEqual(self.server.get(f'/v1/jobs/{job}', Cookie=self.cookie[:-1]).status, 401)
        self.assertEqual(self.server.get(f'/v1/jobs/{job}', Cookie='x' + self.cookie).status, 401)
        self.refused(self.server.get(f'/v1/jobs/{job}', Cookie=self.cookie, Authorization='Bearer wrong'), 401, 'not known')

    def test_what_changes_something_comes_from_this_origin(self):
        job = self.server.job()
        port = self.server.port
        cases = {None: 403, self.here: 200, LISTED: 200, 'null': 403, 'https://evil.example': 403, f'http://127.0.0.1:{port + 1}': 403,
                 f'http://localhost:{port}': 403, f'{self.here}.evil.example': 403, f'ftp://127.0.0.1:{port}': 403, f'127.0.0.1:{port}': 403,
                 f'https://127.0.0.1:{port}': 200, '': 403}
        for origin, status in cases.items():
            headers = {'Cookie': self.cookie, **({} if origin is None else {'Origin': origin})}
            self.assertEqual(self.server.ask('POST', f'/v1/jobs/{job}/cancel', headers=headers).status, status, origin)
        forwarded = {'Cookie': self.cookie, 'X-Forwarded-Proto': 'https'}
        self.assertEqual(self.server.ask('POST', f'/v1/jobs/{job}/cancel', headers={**forwarded, 'Origin': self.here}).status, 403)
        self.assertEqual(self.server.ask('POST', f'/v1/jobs/{job}/cancel', headers={**forwarded, 'Origin': f'https://127.0.0.1:{port}'}).status, 200)

    def test_a_session_ends(self):
        answer = self.server.ask('DELETE', '/v1/session', headers={'Cookie': self.cookie, 'Origin': self.here})
        self.assertEqual(answer.status, 204)
        self.assertIn('Max-Age=0', answer.header('Set-Cookie'))
        self.assertEqual(self.server.get('/v1/session', Cookie=self.cookie).status, 401)

    def test_a_key_has_64_sessions_and_the_oldest_gives_way(self):
        cookies = [self.begin().split(';')[0] for _ in range(64)]
        self.assertEqual(self.server.get('/v1/session', Cookie=self.cookie).status, 401)
        self.assertEqual(self.server.get('/v1/session', Cookie=cookies[0]).status, 200)
        self.server.kill()
        self.server.start()
        self.assertEqual(self.server.get('/v1/session', Cookie=cookies[0]).status, 401)


class Quotas(Case):
    def over(self, answer, quota, limit, present):
        self.assertGreaterEqual(int(answer.header('Retry-After')), 1)
        problem = self.refused(answer, 429, str(limit))
        self.assertEqual((problem['quota'], problem['limit'], problem['present']), (quota, limit, present))

    def test_jobs(self):
        server = self.serve(f'alice {ALICE} jobs=2\nbob {BOB}\n')
        jobs = [server.open_job() for _ in range(2)]
        self.assertEqual([job.status for job in jobs], [202, 202])
        self.over(server.open_job(), 'jobs', 2, 2)
        self.over(server.post('/process-batch', [image()], **key(ALICE)), 'jobs', 2, 2)
        self.assertEqual(server.open_job(BOB).status, 202)
        server.ask('POST', f'/v1/jobs/{jobs[0].job}/cancel', headers=key(ALICE)).body()
        self.assertEqual(server.post('/process-batch', [image()], **key(ALICE)).json()['successful'], 1)
        server.kill()
        server.start()
        self.assertEqual(server.open_job().status, 202)
        self.over(server.open_job(), 'jobs', 2, 2)         # what was open before counts still

    def test_items_and_bytes(self):
        server = self.serve(f'alice {ALICE} items=3 bytes=100000\n')
        job = server.post('/process-batch-stream', [image(sleep_ms=4000)] * 2, **key(ALICE))
        self.assertEqual(job.status, 200)
        self.over(server.post('/process-batch', [image()] * 2, **key(ALICE)), 'items', 3, 2)
        self.over(server.post('/process-batch', [image(content=b'x' * 100001)], **key(ALICE)), 'bytes', 100000, 2 * len(item(sleep_ms=4000)))
        opened = server.open_job()
        self.assertEqual(opened.status, 202)
        add = f'/v1/jobs/{opened.job}/items'
        self.over(server.post(add, [image()] * 2, **key(ALICE)), 'items', 3, 2)
        self.assertEqual(server.post(add, [image()], **key(ALICE)).status, 202)
        server.ask('POST', f'/v1/jobs/{job.job}/cancel', headers=key(ALICE)).body()
        until(lambda: server.post('/process-batch', [image()] * 2, **key(ALICE)).status == 200)
        job.leave()

    def test_streams(self):
        server = self.serve(f'alice {ALICE} streams=2\nbob {BOB}\n')
        job, theirs = server.open_job().job, server.open_job(BOB).job
        streams = [server.get(f'/v1/jobs/{job}/events', **key(ALICE)) for _ in range(2)]
        self.over(server.get(f'/v1/jobs/{job}/events', **key(ALICE)), 'streams', 2, 2)
        self.over(server.get(f'/v1/events?job={job}', **key(ALICE)), 'streams', 2, 2)
        self.over(server.get(f'/v1/jobs/{job}/results?follow=1', **key(ALICE)), 'streams', 2, 2)
        self.over(server.post('/process-batch-stream', [image()], **key(ALICE)), 'streams', 2, 2)
        self.assertEqual(server.get('/v1/jobs', **key(ALICE)).json()['jobs'][0]['id'], job)      # nothing was made for it
        self.assertEqual(server.open_job().status, 202)            # no stream was asked for
        server.get(f'/v1/jobs/{theirs}/events', **key(BOB)).leave()
        for stream in streams:
            stream.leave()

        def again():
            stream = server.get(f'/v1/jobs/{job}/events', **key(ALICE))
            stream.leave()
            return stream.status == 200
        until(again)

    def test_a_stream_has_its_place_before_its_body_is_there(self):
        server = self.serve(f'alice {ALICE} streams=1\n')
        job = server.open_job().job
        coming = socket.create_connection(('127.0.0.1', server.port), timeout=20)
        coming.sendall(f'POST /process-batch-stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: 1000\r\n'
                       'Content-Type: multipart/form-data; boundary=b\r\nExpect: 100-continue\r\n\r\n'.encode())
        self.assertIn(b'100 Continue', coming.recv(1000))
        self.over(server.get(f'/v1/jobs/{job}/events', **key(ALICE)), 'streams', 1, 1)
        coming.close()

        def again():
            stream = server.get(f'/v1/jobs/{job}/events', **key(ALICE))
            stream.leave()
            return stream.status == 200
        until(again)


class Origins(Case):
    METHODS = (('GET', '/health'), ('GET', '/v1/session'), ('GET', '/nowhere'), ('OPTIONS', '/v1/jobs'), ('POST', '/livez'))

    def answers(self, server, origin):
        """Access-Control-Allow-Origin, -Credentials and Vary of every kind of answer; they must agree."""
        told = set()
        for method, path in self.METHODS:
            headers = {} if origin is None else {'Origin': origin}
            if method == 'OPTIONS':
                headers['Access-Control-Request-Method'] = 'POST'
            answer = server.ask(method, path, headers=headers)
            answer.body()
            told.add((answer.header('Access-Control-Allow-Origin'), answer.header('Access-Control-Allow-Credentials'),
                      'Origin' in (answer.header('Vary') or '')))
            if method == 'OPTIONS':
                allowed = answer.header('Access-Control-Allow-Headers').split(', ')
                self.assertLessEqual({'Authorization', 'Idempotency-Key', 'Last-Event-ID', 'Prefer', 'Content-Type'}, set(allowed))
            if answer.header('Access-Control-Allow-Origin'):
                exposed = answer.header('Access-Control-Expose-Headers').split(', ')
                self.assertLessEqual({'Location', 'X-Job-Id', 'Link', 'Retry-After', 'ETag'}, set(exposed))
        self.assertEqual(len(told), 1, told)
        return told.pop()

    def test_the_matrix(self):
        every, none = ('*', None, False), (None, None, False)
        server = Rivulet()
        self.addCleanup(server.close)
        for origin in (None, LISTED, 'null'):
            self.assertEqual(self.answers(server, origin), every)
        server = self.serve()
        for origin in (None, LISTED, 'null'):
            self.assertEqual(self.answers(server, origin), none)
        server = self.serve(RIVULET_CORS_ORIGINS=f'{LISTED}, http://localhost:3000')
        for origin in (LISTED, 'http://localhost:3000'):
            self.assertEqual(self.answers(server, origin), (origin, 'true', True))
        for origin in (None, '', 'null', '*', 'http://app.example', f'{LISTED}:443', f'{LISTED}.evil', 'https://APP.example', 'http://localhost'):
            self.assertEqual(self.answers(server, origin), (None, None, True), origin)

    def test_a_stream_is_told_too(self):
        server = self.serve(RIVULET_CORS_ORIGINS=LISTED)
        job = server.job()
        answer = server.get(f'/v1/jobs/{job}/events', **key(ALICE, Origin=LISTED))
        self.assertEqual(answer.header('Access-Control-Allow-Origin'), LISTED)
        answer.frames()


class Secrets(Case):
    def test_no_key_ticket_or_cookie_is_ever_written_down(self):
        server = self.serve(RIVULET_LOG='json', RIVULET_KEYS=f'carol {CAROL}', DEBUG='1')
        job = server.job()
        secrets = [ALICE, BOB, CAROL]
        for name in secrets[:3]:
            secrets.append(server.ask('POST', '/v1/session', headers=key(name)).header('Set-Cookie').split(';')[0].split('=')[1])
        for _ in range(3):
            secrets.append(server.ask('POST', f'/v1/jobs/{job}/tickets', headers=key(ALICE)).json()['ticket'])
        seen = [server.get(f'/v1/jobs/{job}/events?ticket={secrets[-1]}').response.read()]
        bodies = [server.get(f'/v1/jobs/{job}/events?ticket={secrets[-1]}'), server.get(f'/v1/jobs/{job}?key={BOB}&ticket={secrets[-2]}'),
                  server.get(f'/v1/jobs/{job}', Cookie=f'rivulet_session={secrets[3]}'), server.get('/metrics', **key(CAROL)),
                  server.get('/stats', Authorization=f'Basic {ALICE}'),
                  server.ask('DELETE', '/v1/session', headers={'Cookie': f'rivulet_session={secrets[4]}'}),
                  server.get(f'/nowhere?ticket={secrets[-2]}'), server.get('/openapi.json'), server.get(f'/v1/jobs/{job}', **key(ALICE))]
        seen += [answer.body() for answer in bodies]
        server.write_keys(f'alice {ALICE}\nalice {ALICE}\n')
        server.process.send_signal(signal.SIGHUP)
        until(lambda: 'stay as they were' in server.said())
        server.stop()
        written = server.said().encode()
        self.assertGreater(written.count(b'\n'), 10)
        for folder, _, names in os.walk(server.dir):
            for name in names:
                with open(os.path.join(folder, name), 'rb') as file:
                    written += file.read()
        for secret in secrets:
            self.assertNotIn(secret.encode(), written)
            for body in seen:
                self.assertNotIn(secret.encode(), body)


class Reach(unittest.TestCase):
    """Where a server listens when there are no keys."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='rivulet-reach-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        pipeline = os.path.join(self.folder, 'pipeline.json')
        with open(pipeline, 'w', encoding='utf-8') as file:
            json.dump(PIPELINE, file)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(('RIVULET', 'SERVICE_', 'PORT'))}
        self.env.update(RIVULET_PIPELINE=pipeline, RIVULET_DATA=os.path.join(self.folder, 'data'), PORT='0')

    def run_server(self, *arguments, **settings):
        """(line on standard output, standard error without the word to root, status) of a server that is ended as soon as it listens."""
        process = subprocess.Popen([PROGRAM, 'serve', *arguments], env={**self.env, **settings}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        select.select([process.stdout], [], [], 20)
        line = process.stdout.readline().decode()
        process.terminate()
        said = process.communicate(timeout=20)[1].decode()
        return line, re.sub(r'.* runs as root,.*\n', '', said), process.returncode

    def test_beyond_this_machine_only_when_told_or_with_keys(self):
        line, said, status = self.run_server('--listen', '0.0.0.0:0')
        self.assertEqual((line, status), ('', 2))
        self.assertRegex(said, r'\Arivulet serve: --listen 0\.0\.0\.0 is beyond this machine [^\n]*--keys[^\n]*SERVICE_HOST[^\n]*\n\Z')
        line, said, status = self.run_server(SERVICE_HOST='0.0.0.0')
        self.assertTrue(line.startswith('rivulet ready on http://0.0.0.0:'))
        self.assertEqual((status, said.count('\n')), (0, 1))
        self.assertIn('there are no keys', said)
        for arguments in (('--listen', '127.0.0.1:0'), ('--listen', 'localhost:0'), ()):
            line, said, status = self.run_server(*arguments)
            self.assertEqual((line[:16], said, status), ('rivulet ready on', '', 0))
        line, said, status = self.run_server('--listen', '0.0.0.0:0', RIVULET_KEYS=f'alice {ALICE}')
        self.assertEqual((line[:16], said, status), ('rivulet ready on', '', 0))

    def test_bad_keys_and_origins_are_refused_before_anything_listens(self):
        path = os.path.join(self.folder, 'keys')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(KEYS)
        os.chmod(path, 0o644)
        cases = [(('--keys', path), {}, 'mode 0644'), (('--keys', path + '.not'), {}, 'cannot be read'),
                 ((), {'RIVULET_KEYS': 'alice'}, 'an owner and a key'),
                 ((), {'RIVULET_CORS_ORIGINS': 'app.example'}, 'no origin'), ((), {'RIVULET_LOG': 'xml'}, 'text, json or off')]
        for arguments, settings, words in cases:
            line, said, status = self.run_server(*arguments, **settings)
            self.assertEqual((line, status), ('', 2), said)
            self.assertRegex(said, r'\Arivulet serve: [^\n]+\n\Z')
            self.assertIn(words, said)
            self.assertNotIn(ALICE, said)


if __name__ == '__main__':
    unittest.main()
