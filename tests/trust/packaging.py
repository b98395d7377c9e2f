#!/usr/bin/env python3
"""What the unit of packaging/ promises: how little it leaves open, and that the server, its workers, its recogniser and programs of pipelines live within it.

Usage: tests/trust/packaging.py [--quick] [--seed N]

The unit's list of system calls is laid on a real server as a filter that kills where systemd's would answer EPERM, together with MemoryDenyWriteExecute, no new
privileges and, for root, another user: whatever it needs and the unit forgets ends it. A list that lacks one call must end it too, or the filter is none.
"""
import ctypes
import http.client
import json
import os
import platform
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

from scorecard import BUILD, ROOT, Scorecard
from rivulet_server import BOUNDARY, form, image

UNIT = os.path.join(ROOT, 'packaging', 'rivulet.service')
SAMPLES = os.path.join(ROOT, 'examples', 'decklists')
EXPOSURE_MAX = 2.0
NUMBERS = ['/usr/include/x86_64-linux-gnu/asm/unistd_64.h', '/usr/include/asm/unistd_64.h']
ARCH_X86_64, ALLOW, KILL = 0xC000003E, 0x7FFF0000, 0x80000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_MDWE, MODE_FILTER = 38, 22, 65, 2
NOBODY = 65534
LACKED = 'epoll_ctl'            # no server without it
PROGRAM_PIPELINE = 'pipeline: programs\nstages:\n- exec: {argv: [tr, a-z, A-Z], stdin: input, stdout: text}\n'


def exposure():
    told = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--no-pager', UNIT], capture_output=True, text=True)
    return float(re.search(r'Overall exposure level for \S+: ([\d.]+)', told.stdout).group(1))


def calls_of(word):
    """The names that an entry of SystemCallFilter= stands for."""
    if not word.startswith('@'):
        return {word}
    told = subprocess.run(['systemd-analyze', 'syscall-filter', word], capture_output=True, text=True, check=True).stdout
    found = set()
    for line in told.splitlines()[1:]:
        name = line.strip()
        if name and not name.startswith('#'):
            found |= calls_of(name)
    return found


def allowed():
    """The names that the unit allows: the first list opens, those with ~ take away."""
    names = calls_of('@default')
    with open(UNIT, encoding='utf-8') as file:
        for line in file:
            if line.startswith('SystemCallFilter='):
                words = line.split('=', 1)[1].strip()
                for word in words.lstrip('~').split():
                    names = names - calls_of(word) if words.startswith('~') else names | calls_of(word)
    return names


def filter_of(names):
    path = next(path for path in NUMBERS if os.path.exists(path))
    with open(path, encoding='ascii') as file:
        numbers = {name: int(number) for name, number in re.findall(r'#define __NR_(\w+) (\d+)', file.read())}
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, ARCH_X86_64), (0x06, 0, 0, KILL), (0x20, 0, 0, 0)]      # load the architecture, then the number
    for number in sorted(numbers[name] for name in names if name in numbers):
        code += [(0x15, 0, 1, number), (0x06, 0, 0, ALLOW)]
    code.append((0x06, 0, 0, KILL))
    return b''.join(struct.pack('HBBI', *one) for one in code), len(code)


class Locked:
    """A server under the filter, started as the unit would start it as far as that goes without systemd."""

    def __init__(self, folder, names, **settings):
        self.folder = folder
        code, count = filter_of(names)
        room = ctypes.create_string_buffer(code)
        program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', count, ctypes.addressof(room)))
        libc = ctypes.CDLL(None)
        self.kept = room, program

        def lock():
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)           # from Linux 6.3 on; before, nothing
            if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, MODE_FILTER, program):
                os._exit(99)

        env = {name: value for name, value in os.environ.items() if not name.startswith(('RIVULET', 'MAX_', 'CARD_', 'SERVICE_', 'PORT', 'ENABLE_'))}
        env.update({'PORT': '0', 'RIVULET_DATA': os.path.join(folder, 'data'), 'CARD_MAPPING_PATH': os.path.join(folder, 'catalogue.csv'), 'HOME': folder, **settings})
        with open(os.path.join(folder, 'errors'), 'ab') as errors:
            self.process = subprocess.Popen([os.path.join(folder, 'rivulet'), 'serve'], env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=errors, preexec_fn=lock)
        select.select([self.process.stdout], [], [], 20)
        line = self.process.stdout.readline().decode()
        self.port = int(line.rsplit(':', 1)[1]) if line.startswith('rivulet ready') else 0

    def post(self, path, files, field='files'):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        connection.request('POST', path, form(files, field), {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}', 'Prefer': 'wait=20'})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def get(self, path):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        connection.request('GET', path)
        return connection.getresponse().read()

    def end(self):
        """Its status; -SIGSYS says that it did what it may not."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdout.close()

    def said(self):
        with open(os.path.join(self.folder, 'errors'), encoding='utf-8', errors='replace') as file:
            return file.read()


def lay_out(folder):
    """All that the server needs, where another user may read it; whether the accurate recogniser is among it."""
    shutil.copy(os.path.join(BUILD, 'rivulet'), folder)
    shutil.copy(os.path.join(SAMPLES, 'catalogue.csv'), folder)
    with open(os.path.join(folder, 'programs.yaml'), 'w', encoding='utf-8') as file:
        file.write(PROGRAM_PIPELINE)
    models = os.environ.get('RIVULET_MODELS') or os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'rivulet')
    if os.path.exists(os.path.join(models, 'libonnxruntime.so')):
        shutil.copytree(models, os.path.join(folder, '.cache', 'rivulet'))
    for path, _, files in os.walk(folder):
        os.chmod(path, 0o777 if path == folder else 0o755)
        for name in files:
            os.chmod(os.path.join(path, name), 0o755 if name == 'rivulet' else 0o644)
    return os.path.exists(os.path.join(folder, '.cache', 'rivulet'))


def within(card, names, quick):
    with tempfile.TemporaryDirectory(prefix='rivulet-unit-') as folder:
        accurate = lay_out(folder)
        engines = ['onnx'] if accurate and quick else ['tesseract'] + ['onnx'] * accurate
        for engine in engines:
            server = Locked(folder, names, RIVULET_ENGINE=engine, RIVULET_PIPELINE='', RIVULET_DATA=os.path.join(folder, engine))
            with open(os.path.join(SAMPLES, '01-plain.jpg'), 'rb') as file:
                status, told = server.post('/process-batch', [image('a.jpg', file.read())]) if server.port else (0, {})
            ended = server.end()
            good = status == 200 and told.get('successful') == 1 and ended == 0 and 'SIGSYS' not in server.said()
            if not card.holds(f'a decklist read by {engine} within the unit\'s filter', good):
                card.note(f'status {status}, end {ended}: {str(told)[:600]} {server.said()[-1500:]}')
        server = Locked(folder, names, RIVULET_PIPELINE=os.path.join(folder, 'programs.yaml'), RIVULET_DATA=os.path.join(folder, 'programs'))
        status, told = server.post('/v1/jobs?pipeline=programs', [image('a.txt', b'word', media='text/plain')]) if server.port else (0, {})
        results = server.get(f'/v1/jobs/{told.get("job_id") or told.get("id")}/results') if server.port else b''
        ended = server.end()
        good = b'WORD' in results and ended == 0 and 'SIGSYS' not in server.said()
        if not card.holds('a program of a pipeline within the unit\'s filter', good):
            card.note(f'status {status}, end {ended}: {str(told)[:600]} {results[:600]} {server.said()[-1500:]}')
        server = Locked(folder, names - {LACKED}, RIVULET_PIPELINE='', RIVULET_DATA=os.path.join(folder, 'lacking'))
        ended = server.end()
        card.row(f'a filter without {LACKED} ends the server', signal.Signals(-ended).name if ended < 0 else ended, bar='SIGSYS', good=ended == -signal.SIGSYS)


def main():
    card = Scorecard('packaging', __doc__)
    options = card.begin()
    if not shutil.which('systemd-analyze'):
        card.note('systemd-analyze is not here (Debian\'s package systemd): neither the exposure nor the filter was looked at')
        card.row('unit looked at', 'no, without systemd-analyze', good=True)
        return card.end()
    card.row('exposure by systemd-analyze security', exposure(), 'of 10', bar=EXPOSURE_MAX)
    if platform.machine() != 'x86_64' or not any(map(os.path.exists, NUMBERS)):
        card.note('the filter is tried on x86_64 only, where linux-libc-dev is installed')
        return card.end()
    names = allowed()
    card.row('system calls that the unit allows', len(names))
    within(card, names, options.quick)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
