"""Names that resolve to one address when somebody looks and to another when somebody connects, and redirects to what is not public: nothing that belongs to
this machine is reached by the address in an item.

The test runs again in a network of its own, with a name server of its own and a host that has a public address there; without the right to make such a
network it is skipped.
"""
import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

from rivulet_server import Rivulet

INSIDE, PUBLIC, PRIVATE = 'RIVULET_TEST_INSIDE', '198.41.0.4', '127.0.0.1'
UNSHARE = ['unshare', '--net', '--mount', '--propagation', 'private']
PIPELINE = {'name': 'calls', 'legs': [{'timeout_s': 20, 'attempts': 1, 'stages': [{'stage': 'http', 'with': {'url': '.url', 'redirects': True}}]}]}


def may_be_alone():
    tried = 'ip link set lo up && mount --bind /etc/hosts /etc/hosts'
    return subprocess.run(UNSHARE + ['sh', '-c', tried], capture_output=True, check=False).returncode == 0


class Names(threading.Thread):
    """A name server. What a name gives stands in it: first-N gives the private address from its second question on, both-N gives both."""

    def __init__(self):
        super().__init__(daemon=True)
        self.asked = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((PRIVATE, 53))
        self.start()

    def addresses(self, name):
        self.asked[name] = self.asked.get(name, 0) + 1
        kind = name.split('-')[0]
        return {'public': [PUBLIC], 'private': [PRIVATE], 'both': [PUBLIC, PRIVATE], 'other': [PRIVATE, PUBLIC],
                'first': [PUBLIC] if self.asked[name] == 1 else [PRIVATE]}.get(kind, [])

    def run(self):
        while True:
            question, sender = self.socket.recvfrom(512)
            at, labels = 12, []
            while question[at]:
                labels.append(question[at + 1:at + 1 + question[at]].decode())
                at += 1 + question[at]
            kind, = struct.unpack('>H', question[at + 1:at + 3])
            found = self.addresses(labels[0]) if kind == 1 else []
            records = b''.join(b'\xc0\x0c' + struct.pack('>HHIH', 1, 1, 0, 4) + socket.inet_aton(one) for one in found)
            self.socket.sendto(question[:2] + struct.pack('>HHHHH', 0x8180, 1, len(found), 0, 0) + question[12:at + 5] + records, sender)


class Host(http.server.ThreadingHTTPServer):
    """Answers /to?ADDRESS with a redirect there, all else with a word; keeps what came."""
    daemon_threads = True

    def __init__(self, address):
        host = self
        self.came, self.word = [], address

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                host.came.append(self.path)
                self.send_response(302 if self.path.startswith('/to?') else 200)
                if self.path.startswith('/to?'):
                    self.send_header('Location', self.path[4:])
                body = json.dumps(host.word).encode()
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        super().__init__((address, 8080), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def alone():
    """A network that has nothing but loopback, on which the public address lies too, and our own name server."""
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    subprocess.run(['ip', 'address', 'add', PUBLIC + '/32', 'dev', 'lo'], check=True)
    for path, text in (('/etc/resolv.conf', f'nameserver {PRIVATE}\noptions timeout:1 attempts:1\n'), ('/etc/hosts', f'{PRIVATE} localhost\n'),
                       ('/etc/nsswitch.conf', 'hosts: files dns\n')):
        with tempfile.NamedTemporaryFile('w', delete=False) as file:
            file.write(text)
        os.chmod(file.name, 0o644)
        if os.path.exists(path):
            subprocess.run(['mount', '--bind', file.name, os.path.realpath(path)], check=True)
        os.unlink(file.name)


class Rebinding(unittest.TestCase):
    def setUp(self):
        if INSIDE not in os.environ:
            self.skipTest('is run by test_in_a_network_of_its_own')
        alone()
        self.names, self.outside, self.inside = Names(), Host(PUBLIC), Host(PRIVATE)
        self.server = Rivulet(PIPELINE, RIVULET_NET_ALLOW='')
        self.addCleanup(self.server.close)

    def results(self, urls):
        body = ''.join(json.dumps({'url': url}) + '\n' for url in urls)
        answer = self.server.ask('POST', '/v1/jobs?pipeline=calls', body, {'Content-Type': 'application/x-ndjson', 'Prefer': 'wait=30'})
        job = answer.json()['id']
        items = self.server.get(f'/v1/jobs/{job}/items').json()['items']
        return [(item['state'], item.get('error')) for item in items]

    def test_what_is_not_public_is_never_reached(self):
        public = 'http://public-1.test:8080'
        good = [f'{public}/a', f'{public}/to?{public}/b', 'http://both-9.test:8080/', f'{public}/to?http://both-8.test:8080/']
        hosts = ['private-1.test', '127.0.0.1', '127.1', '2130706433', '0x7f.1', '0177.0.0.1', '[::1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', 'localhost',
                 '0.0.0.0', '0', '127.0.0.1.', '[::]', '[64:ff9b::7f00:1]', 'private-1.test.']
        bad = [f'http://{host}:8080/' for host in hosts]
        bad += [f'{public}/to?http://{host}:8080/' for host in hosts]
        bad += [f'{public}/to?{public}/to?http://private-2.test:8080/', f'{public}/to?//127.0.0.1:8080/', f'{public}/to?file:///etc/passwd',
                f'{public}/to?gopher://127.0.0.1:8080/', 'http://user@127.0.0.1:8080/', f'http://{PUBLIC}:8080@127.0.0.1:8080/']
        found = self.results(good + bad)
        self.assertEqual([state for state, _ in found[:len(good)]], ['completed'] * len(good), found[:len(good)])
        for url, (state, error) in zip(bad, found[len(good):]):
            with self.subTest(url):
                self.assertEqual(state, 'failed', error)
        # A name that is looked up anew for each connection: whatever it says, only the public host hears of it.
        self.results([f'http://first-{n}.test:8080/{k}' for n in range(20) for k in range(3)])
        self.results([f'http://other-{n}.test:8080/' for n in range(20)])
        self.assertEqual(self.inside.came, [])
        self.assertGreater(len(self.outside.came), 20)
        self.assertGreater(max(count for name, count in self.names.asked.items() if name.startswith('first')), 1, 'no name was looked up twice')


class InANetworkOfItsOwn(unittest.TestCase):
    timeout_s = 120

    @unittest.skipIf(INSIDE in os.environ, 'this is it')
    @unittest.skipUnless(may_be_alone(), 'no right to make a network of its own')
    def test_in_a_network_of_its_own(self):
        told = subprocess.run(UNSHARE + [sys.executable, '-m', 'unittest', '-v', 'test_rebinding.Rebinding'], capture_output=True, text=True, timeout=110, check=False,
                              cwd=os.path.dirname(os.path.abspath(__file__)), env={**os.environ, INSIDE: '1'})
        self.assertEqual(told.returncode, 0, told.stdout + told.stderr)
        self.assertNotIn('skipped', told.stderr)


if __name__ == '__main__':
    unittest.main()
