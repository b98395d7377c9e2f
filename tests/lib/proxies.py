"""The proxies of docs/proxies, each started as the present user on a free port in front of a server, from the very file that is shown.

What is changed in the file is the two ports and, for tests, the time after which a silent stream is cut.
"""
import os
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
EXAMPLES = os.path.join(ROOT, 'docs', 'proxies')
START_S = 15


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def changed(text, *pairs):
    for old, new in pairs:
        assert old in text, f'{old!r} is not in the example any more'
        text = text.replace(old, new)
    return text


def example(name):
    with open(os.path.join(EXAMPLES, name), encoding='utf-8') as file:
        return file.read()


class Proxy:
    """One that runs. `silence_s`: it cuts a stream that is silent so long; None leaves its own times."""
    name = None

    def __init__(self, server_port, silence_s=None):
        self.port, self.server_port, self.silence_s = free_port(), server_port, silence_s
        self.folder = tempfile.mkdtemp(prefix=f'rivulet-{self.name}-')
        self.process = None
        self.write()
        self.start()

    def path(self, name):
        return os.path.join(self.folder, name)

    def put(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)

    def run(self, words):
        """Where it says what it thinks of its file: (status, words)."""
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, env=self.env(), check=False)
        return done.returncode, done.stdout + done.stderr

    def env(self):
        return dict(os.environ, HOME=self.folder, XDG_DATA_HOME=self.folder, XDG_CONFIG_HOME=self.folder)

    def start(self):
        with open(self.path('said'), 'wb') as said:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=self.env())
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    said = self.said()
                    self.close()
                    raise AssertionError(f'{self.name} did not start: {said}') from None
                time.sleep(0.01)

    def said(self):
        with open(self.path('said'), encoding='utf-8', errors='replace') as file:
            return file.read()[-3000:]

    def close(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nginx(Proxy):
    name = 'nginx'

    def write(self):
        self.put('site.conf', changed(example('nginx.conf'), ('listen 80;', f'listen 127.0.0.1:{self.port};'),
                                      ('127.0.0.1:8080', f'127.0.0.1:{self.server_port}')))
        cut = f'proxy_read_timeout {self.silence_s}s; send_timeout {self.silence_s}s;' if self.silence_s else ''
        temp = ' '.join(f'{kind}_temp_path {self.path(kind)};' for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        user = 'user root;' if os.geteuid() == 0 else ''
        self.put('nginx.conf', f'{user} daemon off; worker_processes 1; pid {self.path("pid")}; error_log {self.path("errors")};\n'
                               f'events {{ worker_connections 256; }}\nhttp {{ access_log off; {temp} {cut}\ninclude {self.path("site.conf")};\n}}\n')

    def command(self):
        return ['nginx', '-p', self.folder, '-c', self.path('nginx.conf'), '-e', self.path('errors')]

    def check(self):
        return self.run(self.command() + ['-t'])


class Haproxy(Proxy):
    name = 'haproxy'

    def write(self):
        text = changed(example('haproxy.cfg'), ('bind :80\n', f'bind 127.0.0.1:{self.port}\n'), ('127.0.0.1:8080', f'127.0.0.1:{self.server_port}'))
        if self.silence_s:
            text = changed(text, ('client 60s', f'client {self.silence_s}s'), ('server 60s', f'server {self.silence_s}s'))
        self.put('haproxy.cfg', text)

    def command(self):
        return ['haproxy', '-db', '-f', self.path('haproxy.cfg')]

    def check(self):
        return self.run(self.command() + ['-c'])


class Caddy(Proxy):
    name = 'caddy'

    def write(self):
        text = changed(example('Caddyfile'), ('rivulet.example.com {', f'http://:{self.port} {{\n\tbind 127.0.0.1'),
                       ('127.0.0.1:8080', f'127.0.0.1:{self.server_port}'))
        if self.silence_s:
            text = changed(text, ('\t\theader_up', f'\t\ttransport http {{\n\t\t\tread_timeout {self.silence_s}s\n\t\t}}\n\t\theader_up'))
        self.put('Caddyfile', '{\n\tadmin off\n\tauto_https off\n}\n' + text)

    def command(self):
        return ['caddy', 'run', '--config', self.path('Caddyfile'), '--adapter', 'caddyfile']

    def check(self):
        return self.run(['caddy', 'validate', '--config', self.path('Caddyfile'), '--adapter', 'caddyfile'])


KINDS = [Nginx, Haproxy, Caddy]


def missing():
    """Which of them this system does not have."""
    return [kind.name for kind in KINDS if not shutil.which(kind.name)]
