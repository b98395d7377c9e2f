"""The example pipelines do what they say: run whole, on data of the project's own, with no service beyond this machine."""
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

    def test_rows_of_a_csv_file_go_through_http(self):
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ended, lines = run(os.path.join(EXAMPLES, 'rows.yaml'), os.path.join(EXAMPLES, 'rows', 'cities.csv'),
                           COUNTRIES_URL=f'http://127.0.0.1:{server.server_address[1]}')
        self.assertEqual(len(lines), 1, ended.stderr)
        self.assertEqual(lines[0].get('result'), {'number': 3, 'countries': [{'country': 'Norway', 'currency': 'NOK'}] +
                                                  2 * [{'country': 'Portugal', 'currency': 'EUR'}]}, lines[0])


if __name__ == '__main__':
    unittest.main()
