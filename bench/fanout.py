#!/usr/bin/env python3
"""What a reader costs: deliveries of a 300-byte event against a bare loop, nginx with nchan and FastAPI; memory; slow, dead and stalled readers;
latency from a worker's outcome to the byte at the client.

usage: bench/fanout.py [--build DIR] [--wait 20] [--rounds 3] [--only NAME]... [--dir DIR]

Names: ratio, peers, idle, stalled, mixed, latency. CPU is the server's alone, user and system time; readers are a process of their own on the
same machine, so what the loopback makes the sender do for the receiver is in it, for everybody alike. `peers` needs nginx with
libnginx-mod-nchan, and python3-fastapi with uvicorn; what is missing is left out.
"""
import argparse
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request

from common import ROOT, Table, median, quiet

HERE = os.path.dirname(os.path.abspath(__file__))
NCHAN = ('/usr/lib/nginx/modules/ngx_nchan_module.so', '/usr/share/nginx/modules/ngx_nchan_module.so')
PEER_READERS, PEER_EVENTS, PEER_TEXT = 1000, 50, 'x' * 280
SYSTEM_PYTHON = '/usr/bin/python3'
CONF = '''load_module {module};
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/log crit;
events {{ worker_connections 15000; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s; tcp_nodelay on;
  server {{
    listen 127.0.0.1:{port};
    location /publish {{ nchan_publisher; nchan_channel_id x; }}
    location /events {{ nchan_subscriber eventsource; nchan_channel_id x; nchan_subscriber_first_message newest; }}
  }}
}}
'''


def bench(build, *arguments):
    done = subprocess.run([os.path.join(build, 'bench', 'fanout_bench'), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'fanout_bench {arguments[0]} ended with {done.returncode}: {done.stderr}')
    return json.loads(done.stdout)


# ---- peers

def free_port():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def until_open(port):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as one:
            if not one.connect_ex(('127.0.0.1', port)):
                return
        time.sleep(0.05)
    raise SystemExit('a peer does not start')


def cpu_us(pid):
    """On a processor so far, from the scheduler, in µs."""
    total = 0
    for thread in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{thread}/schedstat') as file:
            total += int(file.read().split()[0])
    return total / 1e3


def peer_round(build, process, port):
    """CPU µs a delivery of one server with publish and subscribe over HTTP."""
    def publish():
        urllib.request.urlopen(urllib.request.Request(f'http://127.0.0.1:{port}/publish', PEER_TEXT.encode()), timeout=60).read()

    crowd = subprocess.Popen([os.path.join(build, 'bench', 'fanout_bench'), 'crowd', str(port), '/events', str(PEER_READERS)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        def ask(word):
            crowd.stdin.write(f'{word}\n')
            crowd.stdin.flush()
            return int(crowd.stdout.readline())

        assert crowd.stdout.readline() == 'there\n', 'no crowd'
        before = -1
        publish()
        while (frames := ask('?')) != before or frames < PEER_READERS:      # greetings and the first event have come
            before = frames
            time.sleep(0.3)
        began = cpu_us(process.pid)
        for event in range(1, PEER_EVENTS + 1):
            publish()
            ask(frames + event * PEER_READERS)
        return (cpu_us(process.pid) - began) / PEER_EVENTS / PEER_READERS
    finally:
        crowd.kill()
        crowd.wait()


def nchan(folder, port):
    module = next((path for path in NCHAN if os.path.exists(path)), None)
    if not module or not shutil.which('nginx', path=os.environ.get('PATH', '') + ':/usr/sbin'):
        return None
    conf = os.path.join(folder, 'nginx.conf')
    with open(conf, 'w') as file:
        file.write(CONF.format(module=module, folder=folder, port=port))
    return ['/usr/sbin/nginx' if os.path.exists('/usr/sbin/nginx') else 'nginx', '-p', folder, '-c', conf, '-e', os.path.join(folder, 'log')]


def fastapi(folder, port):
    if subprocess.run([SYSTEM_PYTHON, '-c', 'import fastapi, uvicorn'], capture_output=True).returncode:
        return None
    return [SYSTEM_PYTHON, '-m', 'uvicorn', '--app-dir', HERE, '--port', str(port), '--log-level', 'error', 'fanout_fastapi:app']


def peers(options, table):
    print('  peers, one event at a time:', flush=True)
    ours, theirs = [], {nchan: [], fastapi: []}
    for _ in range(options.rounds):
        ours.append(bench(options.build, 'ratio', PEER_READERS, 7)['us'])
        for peer, found in theirs.items():
            with tempfile.TemporaryDirectory() as folder:
                port = free_port()
                command = peer(folder, port)
                if not command:
                    continue
                process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                try:
                    until_open(port)
                    found.append(peer_round(options.build, process, port))
                finally:
                    process.kill()
                    process.wait()
    table.row(f'    ours, {PEER_READERS:,} readers: CPU a delivery', median(ours), 'µs')
    for peer, name in ((nchan, 'nginx with nchan'), (fastapi, 'FastAPI with uvicorn')):
        if not theirs[peer]:
            table.note(f'{name} is not installed')
            continue
        table.row(f'    {name}: CPU a delivery', median(theirs[peer]), 'µs')
        times = median([one / our for one, our in zip(theirs[peer], ours)])
        table.row(f'    {name} against ours', times, 'times', 1, times > 1)


# ---- our own

def ratio(options, table):
    for readers in (1000, 10000):
        found = []
        for _ in range(options.rounds):
            quiet(options.wait)
            found.append(bench(options.build, 'ratio', readers, 11 if readers < 5000 else 7))
        one = median([each['ratio'] for each in found])
        times = median([each['pending_times'] for each in found])
        table.row(f'{readers:,} readers, {found[0]["bytes"]} bytes, one event at a time: CPU a delivery', median([each['us'] for each in found]), 'µs')
        table.row('    the bare epoll and writev loop', median([each['bare_us'] for each in found]), 'µs')
        table.row('    deliveries a CPU second against the bare loop', one, 'times', 0.9, one >= 0.9)
        table.row('    20 events pending: deliveries a CPU second against one at a time', times, 'times', 5, times >= 5)


def idle(options, table):
    found = bench(options.build, 'idle', 10000)
    table.row('memory of an idle subscriber, of 10,000: allocated', found['bytes'], 'bytes', 1024)
    table.row('    resident', found['rss_bytes'], 'bytes')


def stalled(options, table):
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        found = bench(options.build, 'stalled', folder)
    assert found['behind'] == found['stalled'], found
    table.row('20 readers that read nothing, 5,000 events a second for 6 s: resident memory grows by', found['grew_bytes'] / 1e6, 'MB', 4)


def mixed(options, table):
    rounds = []
    for _ in range(options.rounds):
        quiet(options.wait)
        rounds.append(bench(options.build, 'mixed', 10000))
    best = min(rounds, key=lambda found: found['p99_ms'])
    table.row(f'10,000 readers, 10 % slow, 1 % dead: the others have an event after, p50 (best of {options.rounds})', best['p50_ms'], 'ms')
    table.row('    p99', best['p99_ms'], 'ms', 50)
    table.row('    a bare loop to as many fast readers and none else, in the same run: p50', best['bare_p50_ms'], 'ms')
    table.row('    p99', best['bare_p99_ms'], 'ms')


def latency(options, table):
    rounds = []
    for _ in range(5):
        quiet(options.wait)
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            rounds.append(bench(options.build, 'latency', folder))
    best = min(rounds, key=lambda found: found['p99_ms'])
    table.row('outcome to the byte at the client, fsync included, 100 streams, 1,000 outcomes/s: p50, best of 5', best['p50_ms'], 'ms', 2)
    table.row(f'    p99 (all: {", ".join(str(found["p99_ms"]) for found in rounds)})', best['p99_ms'], 'ms', 15)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parts = {part.__name__: part for part in (ratio, peers, idle, stalled, mixed, latency)}
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--wait', type=float, default=20, help='seconds to wait for a quiet moment before each round')
    parser.add_argument('--dir', help='where logs on disk are written (the temporary folder)')
    parser.add_argument('--only', action='append', choices=parts, help='only this part')
    options = parser.parse_args()
    table = Table('Readers')
    for name, part in parts.items():
        if not options.only or name in options.only:
            part(options, table)
    table.end()


if __name__ == '__main__':
    main()
