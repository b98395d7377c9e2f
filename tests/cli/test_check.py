"""`rivulet check`: all mistakes of a pipeline file at once, and the examples without any."""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, '..', 'docs'))
from blocks import PIPELINES, blocks_of, documents  # noqa: E402

ROOT = os.path.join(HERE, '..', '..')
BUILD = os.environ.get('RIVULET_BUILD', os.path.join(ROOT, 'build'))
RIVULET = os.path.join(BUILD, 'rivulet')
EXAMPLES = sorted(glob.glob(os.path.join(ROOT, 'examples', '*.yaml')))
PLACE = re.compile(r'^(\S+):(\d+):(\d+): (.+)$', re.M)


def rivulet(*arguments, **options):
    return subprocess.run([RIVULET, *arguments], capture_output=True, text=True, timeout=30, check=False, **options)


class Check(unittest.TestCase):
    def test_every_example_is_good(self):
        self.assertGreaterEqual(len(EXAMPLES), 7)
        ended = rivulet('check', *EXAMPLES)
        self.assertEqual((ended.returncode, ended.stderr), (0, ''))
        for path in EXAMPLES:
            self.assertIn(path + ': ', ended.stdout)

    def test_what_ships_is_short(self):
        for name in ('decklists', 'profiles'):
            with open(os.path.join(ROOT, 'examples', name + '.yaml'), encoding='utf-8') as file:
                self.assertLessEqual(len(file.readlines()), 45)

    def test_ten_mistakes_are_told_in_one_run_each_in_its_line(self):
        path = os.path.join(HERE, 'ten_mistakes.yaml')
        ended = rivulet('check', path)
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(ended.stdout, '')
        told = [(int(line), sentence) for _, line, _, sentence in PLACE.findall(ended.stderr)]
        expected = [
            (4, 'The default is no integer'), (5, 'did you mean "in_flight"?'), (6, '"deadline" must be a time such as'), (12, 'nosuch/0 is not defined'),
            (14, '"get": '), (16, 'no stage kind "llmm", did you mean "llm"?'), (18, '"exec" cannot stand between split and gather'),
            (19, 'YAML takes {'), (21, '"timeout" must be a time such as'), (24, 'secrets come from the environment'),
        ]
        self.assertEqual([line for line, _ in told], [line for line, _ in expected], ended.stderr)
        for (_, have), (_, want) in zip(told, expected):
            self.assertIn(want, have)
        self.assertIn('10 mistakes in', ended.stderr)

    def test_what_is_found_late_has_its_place_too(self):
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as file:
            file.write('pipeline: p\nstages:\n  - jq: .a\n  - firestore: { project: x, job: one }\n')
            file.flush()
            ended = rivulet('check', file.name)
        self.assertEqual(ended.returncode, 1)
        self.assertEqual([(line, column) for _, line, column, _ in PLACE.findall(ended.stderr)], [('4', '5')], ended.stderr)
        self.assertIn('COLLECTION/DOCUMENT', ended.stderr)

    def test_a_caret_stands_under_the_place(self):
        ended = rivulet('check', os.path.join(HERE, 'ten_mistakes.yaml'))
        lines = ended.stderr.split('\n')
        at = next(i for i, line in enumerate(lines) if 'in_fligth' in line)
        self.assertEqual(lines[at + 1:at + 3], ['    in_fligth: 4', '    ^'])
        at = next(i for i, line in enumerate(lines) if 'nosuch/0' in line)
        self.assertEqual(lines[at + 2].index('^'), lines[at + 1].index('nosuch'))

    def test_mistakes_of_a_file_that_is_taken_in_are_told_in_that_file(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, 'p.yaml'), 'w', encoding='utf-8') as file:
                file.write('pipeline: p\nstages:\n  - jq: !file x.jq\n  - jq: !file y.jq\n')
            with open(os.path.join(folder, 'x.jq'), 'w', encoding='utf-8') as file:
                file.write('# a comment\n.a |\n  wrong(1)\n')
            ended = rivulet('check', 'p.yaml', cwd=folder)
        self.assertEqual(ended.returncode, 1)
        self.assertIn('x.jq:3:3: jq: wrong/1 is not defined', ended.stderr)
        self.assertIn('p.yaml:4:', ended.stderr)
        self.assertIn('"y.jq" cannot be read', ended.stderr)

    def test_canonical_text_goes_in_again(self):
        ended = rivulet('check', '--json', *EXAMPLES)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'p.json')
            for line in ended.stdout.splitlines():
                self.assertIn('legs', json.loads(line))
                with open(path, 'w', encoding='utf-8') as file:
                    file.write(line)
                again = rivulet('check', '--json', path)
                self.assertEqual((again.returncode, again.stdout), (0, line + '\n'), again.stderr)

    def test_no_secret_is_in_a_canonical_text(self):
        environment = dict(os.environ, OPENAI_API_KEY='sk-very-secret', BRIGHTDATA_API_KEY='bd-very-secret')
        ended = rivulet('check', '--json', *EXAMPLES, env=environment)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertNotIn('very-secret', ended.stdout + ended.stderr)
        self.assertIn('{"$env":"OPENAI_API_KEY"}', ended.stdout)

    def test_pipelines_in_the_documents_are_good(self):
        pipelines = [block for path in documents() for block in blocks_of(path) if block.lang in PIPELINES]
        self.assertTrue(pipelines)
        with tempfile.TemporaryDirectory() as folder:
            for block in pipelines:
                with open(os.path.join(folder, 'p.yaml'), 'w', encoding='utf-8') as file:
                    file.write(block.code)
                ended = rivulet('check', 'p.yaml', cwd=folder)
                self.assertEqual(ended.returncode, 0, f'{block}: {ended.stderr}')

    def test_the_book_has_all_keys(self):
        tables = rivulet('check', '--keys').stdout
        with open(os.path.join(ROOT, 'docs', 'PIPELINES.md'), encoding='utf-8') as file:
            self.assertIn(tables.strip(), file.read(), 'docs/PIPELINES.md: put the output of `rivulet check --keys` in')


if __name__ == '__main__':
    unittest.main()
