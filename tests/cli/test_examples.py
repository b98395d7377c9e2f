"""The example pipelines do what they say: run whole, on data of the project's own, with no service beyond this machine."""
import hashlib
import http.server
import json
import os
import subprocess
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, '..', '..')
BUILD = os.environ.get('RIVULET_BUILD', os.path.join(ROOT, 'build'))
RIVULET = os.path.join(BUILD, 'rivulet')
EXAMPLES = os.path.join(ROOT, 'examples')


def run(pipeline, *arguments, **environment):
    ended = subprocess.run([RIVULET, 'run', pipeline, '--keep-order', *arguments], capture_output=True, text=True, timeout=50, check=False,
                           env=dict(os.environ, **environment))
    return ended, [json.loads(line) for line in ended.stdout.splitlines()]


def normalise(path):
    with tempfile.NamedTemporaryFile('w', suffix='.yaml', encoding='utf-8') as file:
        file.write(f'pipeline: normalise\nstages:\n  - jq: !file {os.path.abspath(EXAMPLES)}/profiles/normalise.jq\n')
        file.flush()
        _, lines = run(file.name, '--values', path)
    return [line.get('result', {'failed': line.get('error')}) for line in lines]


class Server(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments):
        super().__init__(*arguments, directory=os.path.join(EXAMPLES, 'rows'))

    def log_message(self, *_):
        pass


class Vendor(http.server.BaseHTTPRequestHandler):
    """As much of OpenAI's API as the examples use: files, batches, and chat, which finds everything good."""
    protocol_version = 'HTTP/1.1'
    uploads, polls, asked = [], 0, 0

    def log_message(self, *_):
        pass

    def answer(self, value):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        if self.path == '/files':
            Vendor.uploads.append((self.headers['Authorization'], body))
            self.answer({'id': 'file-1'})
        elif self.path == '/batches':
            self.answer({'id': 'batch-1', 'status': 'validating', 'asked': json.loads(body)} if json.loads(body)['input_file_id'] == 'file-1' else {})
        else:
            Vendor.asked += 1
            told = json.dumps({'mood': 'good', 'sure': 0.5 + Vendor.asked / 100, 'about': ['boots']})
            self.answer({'choices': [{'message': {'content': told}, 'finish_reason': 'stop'}], 'usage': {'prompt_tokens': 9, 'completion_tokens': 3}})

    def do_GET(self):
        if self.path == '/batches/batch-1':
            Vendor.polls += 1
            self.answer({'id': 'batch-1', 'status': 'completed' if Vendor.polls > 1 else 'in_progress', 'output_file_id': 'file-2', 'error_file_id': None,
                         'request_counts': {'total': 4, 'completed': 4}})
        else:
            rows = [{'custom_id': f'r{number}', 'response': {'status_code': 200, 'body': {
                'choices': [{'message': {'content': f'answer {number}'}}], 'usage': {'total_tokens': 10}}}} for number in (3, 1, 4, 2)]
            self.answer(b''.join(json.dumps(row).encode() + b'\n' for row in rows))


class Examples(unittest.TestCase):
    def test_profiles_of_both_platforms_come_to_one_shape(self):
        have = normalise(os.path.join(HERE, 'normalise.in.jsonl'))
        with open(os.path.join(HERE, 'normalise.out.jsonl'), encoding='utf-8') as file:
            want = [json.loads(line) for line in file]
        self.assertEqual(len(have), len(want))
        for number, pair in enumerate(zip(have, want), 1):
            self.assertEqual(*pair, f'line {number}')

    def test_what_is_normal_stays_as_it_is(self):
        with tempfile.NamedTemporaryFile('w', suffix='.jsonl', encoding='utf-8') as file:
            profiles = [value for value in normalise(os.path.join(HERE, 'normalise.in.jsonl')) if value.get('account_id')]
            file.write(''.join(json.dumps({'value': profile}) + '\n' for profile in profiles))
            file.flush()
            self.assertEqual(normalise(file.name), profiles)

    def serve(self, handler):
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{server.server_address[1]}'

    def test_reviews_get_their_moods(self):
        ended, lines = run(os.path.join(EXAMPLES, 'reviews.yaml'), '--values', os.path.join(EXAMPLES, 'rows', 'reviews.jsonl'), LLM_URL=self.serve(Vendor))
        self.assertEqual([line.get('result', {}).get('mood') for line in lines], 4 * ['good'], ended.stderr + ended.stdout)
        self.assertIn('boots came a day early', lines[0]['result']['text'])

    def test_a_batch_of_questions_comes_back_in_the_order_of_the_inputs(self):
        with open(os.path.join(EXAMPLES, 'openai-batch.yaml'), encoding='utf-8') as file:
            text = file.read().replace('every: 10s..5m', 'every: 50ms..100ms')
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', encoding='utf-8') as file:
            file.write(text)
            file.flush()
            ended, lines = run(file.name, '--values', os.path.join(EXAMPLES, 'rows', 'reviews.jsonl'), OPENAI_URL=self.serve(Vendor), OPENAI_API_KEY='k-1')
        self.assertEqual(len(lines), 1, ended.stderr)
        self.assertEqual(lines[0].get('result'), [{'id': f'r{number}', 'answer': f'answer {number}', 'tokens': 10} for number in range(1, 5)], lines[0])
        key, form = Vendor.uploads[0]
        self.assertEqual(key, 'Bearer k-1')
        self.assertIn(b'name="purpose"', form)
        self.assertIn(b'"custom_id":"r1"', form)

    def test_a_program_is_run_for_each_file(self):
        paths = [os.path.join(EXAMPLES, 'rows', name) for name in ('cities.csv', 'pt.json', 'no.json')]
        _, lines = run(os.path.join(EXAMPLES, 'checksums.yaml'), *paths)
        for path, line in zip(paths, lines, strict=True):
            with open(path, 'rb') as file:
                self.assertEqual(line.get('result'), {'file': os.path.basename(path), 'sha256': hashlib.sha256(file.read()).hexdigest()}, line)

    def test_scans_are_read_by_tesseract(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'tesseract')
            with open(path, 'w', encoding='utf-8') as file:
                file.write('#!/bin/sh\necho "$@" "$OMP_THREAD_LIMIT"\necho\ncat\n')
            os.chmod(path, 0o755)
            page = os.path.join(folder, 'page.png')
            with open(page, 'wb') as file:
                file.write(b'\x89PNG\r\n\x1a\nas if\n')
            _, lines = run(os.path.join(EXAMPLES, 'scans.yaml'), page, '--params', '{"language":"deu"}', PATH=folder + ':' + os.environ['PATH'])
        self.assertEqual(lines[0].get('result', {}).get('file'), 'page.png', lines[0])
        self.assertEqual(lines[0]['result']['lines'][0], 'stdin stdout -l deu --psm 6 1')
        self.assertEqual(lines[0]['result']['lines'][-1], 'as if')

    def test_rows_of_a_csv_file_go_through_http(self):
        ended, lines = run(os.path.join(EXAMPLES, 'rows.yaml'), os.path.join(EXAMPLES, 'rows', 'cities.csv'),
                           COUNTRIES_URL=self.serve(Server))
        self.assertEqual(len(lines), 1, ended.stderr)
        self.assertEqual(lines[0].get('result'), {'number': 3, 'countries': [{'country': 'Norway', 'currency': 'NOK'}] +
                                                  2 * [{'country': 'Portugal', 'currency': 'EUR'}]}, lines[0])


if __name__ == '__main__':
    unittest.main()
