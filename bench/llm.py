#!/usr/bin/env python3
"""The stage llm against a real model behind an OpenAI-compatible API: does every answer fit its schema, are refusals obeyed, does the usage add up?

Usage: bench/llm.py --base http://127.0.0.1:8080/v1 [--count 60] [--faults URL] [--every N] [--model NAME]

The calls go through a counting proxy of this program. --faults: an address that takes [{"code":429,"after":1}…] and refuses the next calls so; without it
the proxy refuses every N-th call itself. The model's key is looked for in OPENAI_API_KEY.
"""
import argparse
import http.client
import http.server
import json
import os
import sys
import threading
import time
import urllib.parse

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
sys.path[:0] = [os.path.join(ROOT, 'tests', 'server'), os.path.join(ROOT, 'bench')]
from common import Table, median  # noqa: E402
from rivulet_server import Rivulet  # noqa: E402

TOPICS, CITIES = ('coffee', 'hiking', 'bread', 'cycling'), ('Oslo', 'Porto', 'Lima')
SCHEMA = {'type': 'object', 'required': ['score', 'topic', 'city'], 'additionalProperties': False,
          'properties': {'score': {'type': 'integer'}, 'topic': {'type': 'string'}, 'city': {'type': 'string'}}}
PROMPT = '"Want: \\(.want)\\nBio: \\(.bio)\\nJSON:"'
AFTER_S = 1


class Proxy:
    """Hands calls on and counts what came back."""

    def __init__(self, base, every):
        self.url, self.every, self.calls, self.refused_at, self.starts = urllib.parse.urlsplit(base), every, 0, [], []
        self.tokens, self.answered, self.took, self.lock = [0, 0], 0, [], threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_POST(self):
                outer.serve(self)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.base = f'http://127.0.0.1:{self.server.server_address[1]}{self.url.path}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, request):
        body = request.rfile.read(int(request.headers.get('Content-Length', 0)))
        began = time.monotonic()
        with self.lock:
            self.calls += 1
            self.starts.append(began)
            refuse = self.every and self.calls % self.every == 0
        status, headers, content = (429, {'Retry-After': str(AFTER_S)}, b'{}') if refuse else self.hand_on(request, body)
        with self.lock:
            if status == 429:
                self.refused_at.append(time.monotonic())
            if status == 200:
                usage = json.loads(content)['usage']
                self.tokens = [self.tokens[0] + usage['prompt_tokens'], self.tokens[1] + usage['completion_tokens']]
                self.answered += 1
                self.took.append(time.monotonic() - began)
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header('Content-Length', str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def hand_on(self, request, body):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=120)
        headers = {name: request.headers[name] for name in ('Content-Type', 'Authorization') if request.headers[name]}
        connection.request('POST', request.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name: value for name, value in answer.getheaders() if name.lower() in ('content-type', 'retry-after')}, content

    def calls_in_pauses(self):
        """Calls that began while everybody had been told to wait, a moment for those on their way left away."""
        return sum(any(at + 0.1 < start < at + AFTER_S - 0.05 for at in self.refused_at) for start in self.starts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--base', required=True)
    parser.add_argument('--count', type=int, default=60)
    parser.add_argument('--faults')
    parser.add_argument('--every', type=int, default=9)
    parser.add_argument('--model', default='a-model')
    options = parser.parse_args()
    table = Table(f'{options.count} profiles through the stage llm')
    proxy = Proxy(options.base, 0 if options.faults else options.every)
    if options.faults:
        url = urllib.parse.urlsplit(options.faults)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        connection.request('POST', url.path, json.dumps([{'code': 429, 'after': AFTER_S}] * 4))
        connection.getresponse().read()
    stage = {'stage': 'llm', 'with': {'api': 'openai', 'base': proxy.base, 'model': options.model, 'key': {'$env': 'OPENAI_API_KEY'}, 'prompt': PROMPT,
                                      'schema': SCHEMA}, 'concurrency': 4}
    pipeline = {'name': 'rate', 'in_flight': 100, 'legs': [{'stages': [stage], 'timeout_s': 300, 'attempts': 3, 'backoff_ms': [100, 1000]}]}
    server = Rivulet(pipeline, RIVULET_NET_ALLOW='127.0.0.1', OPENAI_API_KEY=os.environ.get('OPENAI_API_KEY', 'none'))
    items = []
    for number in range(options.count):
        topic, city, want = TOPICS[number % 4], CITIES[number % 3], (TOPICS[number // 4 % 4], CITIES[number // 3 % 3])
        items.append({'want': ', '.join(want), 'bio': f'{topic} creator in {city}'})
    began = time.monotonic()
    answer = server.ask('POST', '/v1/jobs?pipeline=rate', json.dumps({'items': items}).encode(), {'Content-Type': 'application/json'})
    document = server.wait_for(answer.json()['id'], 'completed', 'error', 'cancelled')
    seconds, fit = time.monotonic() - began, 0
    for number in range(document['counts'][2]):
        found = server.get(f'/v1/jobs/{document["id"]}/items/{number}/result').json()
        fit += set(found) == {'score', 'topic', 'city'} and isinstance(found['score'], int)
    usage = document['usage']
    table.row('completed', document['counts'][2], '', options.count, document['counts'][2] == options.count)
    table.row('answers that fit the schema', fit, '', options.count, fit == options.count)
    table.row('calls refused with 429', len(proxy.refused_at))
    table.row('calls that began in the second after one', proxy.calls_in_pauses(), '', 0)
    table.row('answers paid', usage['llm_calls'], '', proxy.answered, usage['llm_calls'] == proxy.answered)
    table.row('tokens in', usage['tokens_in'], '', proxy.tokens[0], usage['tokens_in'] == proxy.tokens[0])
    table.row('tokens out', usage['tokens_out'], '', proxy.tokens[1], usage['tokens_out'] == proxy.tokens[1])
    table.row('a call of the model, median', median(proxy.took) * 1e3, 'ms')
    table.row('all of it', seconds, 's')
    server.close()
    table.end()


if __name__ == '__main__':
    main()
