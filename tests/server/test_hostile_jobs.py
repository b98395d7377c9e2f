"""The job face under clients that are hostile or unlucky: questions and bodies of nonsense, all of them at one job at once, gone at any
moment, a server that ends in the middle of anything. What was told stays true, and what nobody was told is there once or not at all."""
import json
import random
import socket
import threading
import time
import unittest

from survival import DONE, FAILED, LOST, Mortal

JSON, LINES = 'application/json', 'application/jsonl'
GRACE_S = 20


def lines(count, mark='', **orders):
    return '\n'.join(json.dumps({'name': f'{mark}-{n}', 'value': {'noop': {**orders, **({'fail': 'no'} if n % 2 else {})}}})
                     for n in range(count)).encode()


def request(method, path, body=b'', media=None, more=''):
    head = f'{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}'
    head += f'Content-Type: {media}\r\n' if media else ''
    head += f'Content-Length: {len(body)}\r\n' if method == 'POST' else ''
    return head.encode() + b'\r\n' + body


def connect(server):
    sock = socket.create_connection(('127.0.0.1', server.port))
    sock.settimeout(GRACE_S)
    return sock


def all_of(sock):
    """(status, what follows the head) of what still comes; a status of 0 when nothing came."""
    content = b''
    try:
        while piece := sock.recv(65536):
            content += piece
    except LOST:
        pass
    sock.close()
    return int(content[9:12] or 0), content.partition(b'\r\n\r\n')[2]


class Case(unittest.TestCase):
    timeout_s = 60

    def serve(self, **settings):
        server = Mortal(MAX_WORKERS=2, **settings)
        self.addCleanup(server.close)
        return server

    def post(self, server, path, body=None, media=None, **headers):
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        return server.ask('POST', path, body, {**({'Content-Type': media} if media else {}), **headers})

    def open_job(self, server):
        return self.post(server, '/v1/jobs?pipeline=noop&open=1').json()['id']

    def names(self, server, job):
        """The names of a job's items by their number."""
        path, found = f'/v1/jobs/{job}/items?limit=256', {}
        while path:
            answer = server.get(path)
            link = answer.header('Link')
            page = answer.json()['items']
            self.assertFalse(set(found) & {item['item'] for item in page}, 'an item is on two pages')
            found.update((item['item'], item['name']) for item in page)
            path = link and link[1:link.index('>')]
        return found


class Endings(Case):
    def test_what_a_stopping_server_says_of_an_addition_is_true(self):
        """Additions of several commits, cut by SIGTERM: the answer says what of them is in the job."""
        server, said = self.serve(), set()
        for turn in range(6):
            job, socks = self.open_job(server), []
            for count in (12000, 1, 3000):
                socks.append((count, connect(server)))
                socks[-1][1].sendall(request('POST', f'/v1/jobs/{job}/items', lines(count, f'{count}'), LINES, 'Connection: close\r\n'))
            time.sleep(0.015 * turn)
            self.assertEqual(server.stop(), 0, server.complaints())
            answers = {count: all_of(sock) for count, sock in socks}
            server.start()
            names = list(self.names(server, job).values())
            self.assertEqual(len(set(names)), len(names))
            for count, (status, body) in answers.items():
                answer = json.loads(body) if body else {}
                taken = answer['count'] if status == 202 else answer.get('taken', 0)
                self.assertEqual(sum(name.startswith(f'{count}-') for name in names), taken, (count, status, answer))
                said.add((status, 0 < taken < count))
            self.post(server, f'/v1/jobs/{job}/cancel').body()
        self.assertIn((503, False), said)


class Races(Case):
    ORDERS = ['add'] * 8 + ['many', 'many', 'first', 'seal', 'cancel', 'retry', 'retry', 'delete', 'delete', 'leave', 'leave', 'read', 'key', 'new']

    def test_everybody_does_everything_to_the_same_jobs(self):
        """Eight clients add to, seal, cancel, retry, delete and read two jobs, some of them gone before they are told. Then the log obeys its
        law, and all that was told of is there once, before and after a restart."""
        self.server, self.told, self.gone, self.trouble, self.lock = self.serve(), {}, set(), [], threading.Lock()
        self.jobs, self.until = [self.open_job(self.server) for _ in range(2)], time.monotonic() + 2
        clients = [threading.Thread(target=self.client, args=(number,)) for number in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.assertEqual(self.trouble, [])
        for job in self.server.get('/v1/jobs?limit=1000').json()['jobs']:
            self.post(self.server, f'/v1/jobs/{job["id"]}/cancel').body()
        self.all_is_there()
        self.assertEqual(self.server.stop(), 0, self.server.complaints())
        self.server.start()
        self.all_is_there()

    def all_is_there(self):
        for job, additions in self.told.items():
            if self.server.get(f'/v1/jobs/{job}').status == 404:
                self.assertIn(job, self.gone)
                continue
            names = self.names(self.server, job)
            self.assertEqual(sorted(names), list(range(len(names))))
            self.assertEqual(len(set(names.values())), len(names), 'an item is there twice')
            for first, mark, count in additions:
                self.assertEqual([names.get(first + n) for n in range(count)], [f'{mark}-{n}' for n in range(count)])

    def client(self, number):
        chance, serial = random.Random(number), 0
        while time.monotonic() < self.until:
            place, order = chance.randrange(2), chance.choice(self.ORDERS)
            serial += 1
            try:
                self.act(chance, order, place, self.jobs[place], f'{number}-{serial}')
            except Exception as trouble:    # noqa: BLE001  whatever it is, the test says it
                self.trouble.append((order, repr(trouble)))
                return

    def act(self, chance, order, place, job, mark):
        path, server = f'/v1/jobs/{job}', self.server
        if order in ('add', 'many', 'first'):
            count = chance.choice([1, 2, 5]) if order != 'many' else 3000
            self.add(path + '/items' + (f'?first={chance.randrange(5)}' if order == 'first' else ''), job, mark, count)
        elif order == 'new':
            self.jobs[place] = self.open_job(server)
        elif order == 'delete':
            if self.allowed(server.ask('DELETE', path), 204, 404, 409) == 204:
                with self.lock:
                    self.gone.add(job)
                self.jobs[place] = self.open_job(server)
        elif order in ('seal', 'cancel'):
            self.allowed(self.post(server, f'{path}/{order}'), 200, 404, 409)
        elif order == 'retry':
            self.allowed(self.post(server, path + '/retry'), 202, 404, 409)
        elif order == 'key':
            self.allowed(self.post(server, '/v1/jobs?pipeline=noop', b'{"items":[1,2]}', JSON, Idempotency_Key=f'k{chance.randrange(3)}'), 202)
        elif order == 'read':
            document = server.get(path)
            counts = document.json()
            if document.status == 200:
                assert counts['total_batches'] == sum(counts['counts']), counts
        else:
            self.leave(chance, path)

    def allowed(self, answer, *statuses):
        body = answer.body()
        assert answer.status in statuses, (answer.status, body)
        return answer.status

    def add(self, path, job, mark, count):
        answer = self.post(self.server, path, lines(count, mark), LINES)
        body = json.loads(answer.body())
        assert answer.status in (202, 404, 409), body
        if answer.status == 202:
            with self.lock:
                self.told.setdefault(job, []).append((body['first'], mark, count))

    def leave(self, chance, path):
        method, behind = chance.choice([('GET', '/events'), ('GET', '/results?follow=1&order=input'), ('GET', '/results?order=score'), ('GET', '?results=1'),
                                        ('GET', '/events?wait=5'), ('GET', '/items'), ('POST', '/retry'), ('POST', '/cancel'), ('POST', '/seal')])
        with connect(self.server) as sock:
            sock.sendall(request(method, path + behind)[:None if chance.random() < .8 else -chance.randrange(1, 30)])
            if chance.random() < .3:
                sock.settimeout(0.05)
                try:
                    sock.recv(chance.choice([1, 2000]))
                except TimeoutError:
                    pass
            if chance.random() < .5:      # a reset instead of an end
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')


class Kills(Case):
    def test_what_was_told_survives_kills_and_no_retry_is_made_twice(self):
        """Two clients fill open jobs and two retry parts of a large one while the server is killed four times."""
        self.server = server = self.serve()
        failed = self.post(server, '/v1/jobs?pipeline=noop', lines(800), LINES, Prefer='wait=20').json()
        self.assertEqual(failed['batches_failed'], 400)
        self.told, self.retried, self.over = {}, {}, False
        clients = [threading.Thread(target=self.fill, args=(number,)) for number in range(2)]
        clients += [threading.Thread(target=self.retry, args=(failed['id'], number)) for number in range(2)]
        for client in clients:
            client.start()
        for kill in range(4):
            time.sleep(0.15 + 0.07 * kill)
            server.kill()
            server.start()
        self.over = True
        for client in clients:
            client.join()
        self.assertGreater(len(self.told), 1)
        self.assertTrue(self.retried)
        for job, additions in self.told.items():
            names = self.names(server, job)
            self.assertEqual(len(set(names.values())), len(names), 'an item is there twice')
            for first, mark, count in additions:
                self.assertEqual([names.get(first + n) for n in range(count)], [f'{mark}-{n}' for n in range(count)])
        for items, jobs in self.retried.items():
            self.assertEqual(len(jobs), 1, 'one question made two jobs')
            self.assertEqual(server.document(jobs.pop())['total_batches'], len(items))
        for job in server.get('/v1/jobs?limit=1000').json()['jobs']:
            self.post(server, f'/v1/jobs/{job["id"]}/cancel').body()
        self.assertEqual(server.rows('SELECT job, item FROM event WHERE kind IN (?, ?) GROUP BY job, item HAVING count(*) > 1', DONE, FAILED), [])
        self.assertEqual(server.rows('SELECT max(pos) FROM event'), server.rows('SELECT count(*) FROM event'), 'pos has a gap')

    def fill(self, number):
        job, serial = None, 0
        while not self.over:
            serial += 1
            try:
                job = job or self.open_job(self.server)
                count = (1, 300, 2500)[serial % 3]
                mark = f'{number}-{serial}'
                answer = self.post(self.server, f'/v1/jobs/{job}/items', lines(count, mark), LINES)
                body = json.loads(answer.body())
                if answer.status == 202:
                    self.told.setdefault(job, []).append((body['first'], mark, count))
                if serial % 7 == 0:
                    job = None
            except LOST + (ValueError,):      # killed
                time.sleep(0.02)

    def retry(self, job, number):
        serial = 0
        while not self.over:
            serial += 1
            items = tuple(2 * n + 1 for n in range(400) if (n + serial // 3) % 7 != number)
            try:
                answer = self.post(self.server, f'/v1/jobs/{job}/retry', json.dumps({'items': items}).encode())
                body = json.loads(answer.body())
                if answer.status == 202:
                    self.retried.setdefault(items, set()).add(body['id'])
            except LOST + (ValueError,):
                time.sleep(0.02)


class Nonsense(Case):
    def test_a_name_ends_where_it_ends(self):
        answer = self.post(self.serve(), '/v1/jobs', b'{"items":[1],"pipeline":"noop\\u0000x"}', JSON)
        self.assertEqual((answer.status, answer.json().get('detail')), (400, '"pipeline" must be a name.'))

    def test_questions_of_nonsense_are_answered_and_cost_nothing(self):
        server = self.serve()
        job = self.post(server, '/v1/jobs?pipeline=noop', lines(5), LINES, Prefer='wait=10').json()['id']
        ids = [job, 'x', '0' * 32, job.upper(), job + '0', job[:-1], '%2e%2e', '..%2f..', '%00', 'a%2Fb', '%ff', '%E6%98%93', 'x' * 7000, '%zz', '*']
        values = ['', '-1', '01', '+1', '1e3', '9223372036854775807', '9223372036854775808', '%00', '%ff', 'x' * 500, 'end', '1-', '99-99', '1%00', 'end-1']
        behind = ['', '/items', '/items/0', '/items/-1', '/items/0/result', '/results', '/events', '/cancel', '/retry', '/seal', '/tickets']
        targets = [f'/v1/jobs/{one}{tail}' for one in ids for tail in behind]
        targets += [f'/v1/jobs/{job}{tail}?{name}={value}' for tail in behind for name in ('after', 'limit', 'state', 'order', 'wait', 'results', 'first')
                    for value in values]
        targets += [f'/v1/events?job={job}&job={one}' for one in ids] + [f'/v1/events?job={job}@{value}' for value in values]
        for target in targets:
            for method in ('GET', 'POST', 'HEAD', 'OPTIONS', 'PUT'):
                with connect(server) as sock:
                    sock.sendall(request(method, target, more='Connection: close\r\n'))
                    status, body = all_of(sock)
                self.assertTrue(200 <= status < 500, (method, target[:200], status))
                if method == 'HEAD':
                    self.assertEqual(body, b'')
                elif status >= 400:
                    problem = json.loads(body)
                    self.assertEqual(problem['status'], status)
                    self.assertTrue(problem['detail'].strip())
        self.assertEqual(server.document(job)['total_batches'], 5)


if __name__ == '__main__':
    unittest.main()
