"""The command line against a server: submit, watch, jobs, show, results, cancel, retry, delete, prune."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from rivulet_server import PROGRAM, Rivulet


class Remote(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='rivulet-remote-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.server = Rivulet(MAX_WORKERS=2)
        self.addCleanup(self.server.close)
        self.began = []
        self.addCleanup(self.end_all)

    def end_all(self):
        for process in self.began:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def item(self, name, **orders):
        path = os.path.join(self.folder, name)
        with open(path, 'w') as file:
            json.dump({'noop': orders}, file)
        return path

    def start(self, *arguments, **more):
        env = {**os.environ, 'RIVULET_SERVER': f'http://127.0.0.1:{self.server.port}', 'TERM': 'dumb'}
        process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **more)
        self.began.append(process)
        return process

    def command(self, *arguments, status=0, text=None):
        process = self.start(*arguments, stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL)
        out, told = process.communicate(text, timeout=60)
        self.assertEqual(process.returncode, status, told)
        self.told = told
        return out

    def lines(self, *arguments, **more):
        return [json.loads(line) for line in self.command(*arguments, **more).splitlines()]

    def submit(self, *names, **more):
        return self.command('submit', 'noop', *names, **more).strip()

    def test_a_batch_there_and_back(self):
        names = [self.item('slow', sleep_ms=300), self.item('quick'), self.item('bad', fail='no luck')]
        lines = self.lines('submit', 'noop', '--watch', '--keep-order', '--joblog', os.path.join(self.folder, 'log'), *names, status=1)
        self.assertEqual([(line['index'], line['filename']) for line in lines], [(0, 'slow'), (1, 'quick'), (2, 'bad')])
        self.assertEqual(lines[2]['error'], 'no luck')
        with open(os.path.join(self.folder, 'log')) as file:
            rows = [line.rstrip('\n').split('\t') for line in file][1:]
        self.assertEqual({row[8]: row[6] for row in rows}, {names[0]: '0', names[1]: '0', names[2]: '1'})

    def test_results_come_as_they_end(self):
        first, stuck = self.item('first'), self.item('stuck', sleep_ms=2000)
        process = self.start('submit', 'noop', '--watch', first, stuck)
        line = json.loads(process.stdout.readline())
        self.assertEqual(line['filename'], 'first')
        self.assertIsNone(process.poll())
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0)

    def test_looking_at_a_job(self):
        job = self.submit(self.item('a'), self.item('bad', fail='no luck'))
        self.lines('watch', job, status=1)
        shown = self.command('show', job)
        self.assertIn(job, shown)
        self.assertIn('1 done, 1 failed', shown)
        self.assertIn('1 bad: no luck', shown)
        self.assertEqual(json.loads(self.command('show', '--json', job))['batches_failed'], 1)
        self.assertEqual([line['index'] for line in self.lines('results', '--order', 'input', job)], [0, 1])
        listed = self.command('jobs')
        self.assertIn(job, listed)
        self.assertEqual([one['id'] for one in self.lines('jobs', '--json', '--state', 'completed')], [job])
        self.assertEqual(self.lines('jobs', '--json', '--state', 'cancelled'), [])

    def test_cancel_retry_delete(self):
        job = self.submit(self.item('hangs', hang=True), self.item('later', hang=True))
        self.assertEqual(self.command('cancel', job), f'{job} cancelled\n')
        self.assertEqual(self.command('cancel', job), f'{job} cancelled\n')
        failing = self.submit(self.item('good'), self.item('bad', fail='x'))
        self.lines('watch', failing, status=1)
        again = self.command('retry', failing).strip()
        self.assertNotEqual(again, failing)
        lines = self.lines('watch', again, status=1)
        self.assertEqual([line['filename'] for line in lines], ['bad'])
        self.assertEqual(self.command('delete', job), f'{job} deleted\n')
        self.command('show', job, status=2)
        self.assertIn('There is no job', self.told)

    def test_prune(self):
        job = self.submit(self.item('a'))
        self.lines('watch', job)
        self.assertEqual(self.command('jobs', 'prune'), '')
        time.sleep(1.1)                 # completed_at is compared by whole seconds
        self.assertEqual(self.command('jobs', 'prune', '--older-than', '0s', '--dry-run'), job + '\n')
        self.assertEqual(self.command('jobs', 'prune', '--older-than', '0s'), job + '\n')
        self.assertNotIn(job, self.command('jobs'))

    def test_values_on_standard_input(self):
        text = ''.join(json.dumps({'noop': {'fail': 'odd'} if n % 2 else {}}) + '\n' for n in range(100))
        lines = self.lines('submit', 'noop', '--watch', '--values', '-', status=1, text=text)
        self.assertEqual(sorted(line['index'] for line in lines), list(range(100)))
        self.assertEqual(sum('error' in line for line in lines), 50)

    def test_values_with_parameters(self):
        job = self.command('submit', 'noop', '--params', '{"a":1}', '--values', '-', text='1\n"two"\n').strip()
        self.assertEqual(len(self.lines('watch', job)), 2)
        self.command('submit', 'noop', '--params', '[]', '--values', '-', text='1\n', status=2)
        self.assertIn('must be a JSON object', self.told)

    def test_watching_outlives_the_server(self):
        job = self.submit(*[self.item(f'item {n}', sleep_ms=100) for n in range(30)])
        process = self.start('watch', job)
        seen = [json.loads(process.stdout.readline())['index'] for _ in range(3)]
        self.server.kill()
        self.server.env['PORT'] = str(self.server.port)
        self.server.start()
        out, told = process.stdout.read(), process.stderr.read()      # communicate() would leave what readline() has read ahead
        self.assertEqual(process.wait(), 0, told)
        seen += [json.loads(line)['index'] for line in out.splitlines()]
        self.assertEqual(sorted(seen), list(range(30)))

    def test_halt_cancels(self):
        job = self.submit(self.item('bad', fail='x'), *[self.item(f'hangs {n}', hang=True) for n in range(3)])
        self.lines('watch', '--halt', 'now,fail=1', job, status=1)
        self.assertEqual(self.server.document(job)['status'], 'cancelled')

    def test_leaving_leaves_the_job(self):
        job = self.submit(self.item('quick'), self.item('slow', sleep_ms=1500))
        process = self.start('watch', job)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=10)
        self.assertEqual(process.returncode, 1)
        self.assertIn(f'rivulet watch {job}', told)
        self.server.wait_for(job, 'completed')

    def test_mistakes_are_one_sentence(self):
        for words, part in ((('watch',), 'name a job'), (('show', 'no such'), 'is no id of a job'), (('show', '0' * 32), 'There is no job'),
                            (('submit', 'noop', 'missing'), 'cannot be read'), (('submit', 'nothing', self.item('a')), 'nothing'),
                            (('jobs', '--limit', 'x'), 'whole number'), (('jobs', '--server', 'localhost'), 'must begin with http'),
                            (('watch', '--halt', 'x', '0' * 32), '--halt is "x"'), (('results', '--order', 'x', '0' * 32), '--order is "x"'),
                            (('cancel', '--key-file', '/missing', '0' * 32), 'key file')):
            with self.subTest(words):
                self.command(*words, status=2)
                self.assertRegex(self.told, r'\Arivulet[^\n]*: [^\n]+\n\Z')
                self.assertIn(part, self.told)


class Manual(unittest.TestCase):
    def run_it(self, *words):
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True)
        return done.returncode, done.stdout

    def test_every_command_has_help_and_a_page(self):
        _, overview = self.run_it('--help')
        names = [line.split()[1] for line in overview.splitlines() if line.startswith('  rivulet ')]
        self.assertGreater(len(names), 12)
        for name in set(names) - {'man', 'completion'}:
            status, text = self.run_it(name, '--help')
            self.assertEqual((status, text.startswith(f'rivulet {name}')), (0, True), name)
            status, page = self.run_it('man', name)
            self.assertEqual(status, 0)
            for part in ('.TH', '.SH NAME', '.SH SYNOPSIS', '.SH OPTIONS', '.SH EXIT STATUS'):
                self.assertIn(part, page)

    def test_pages_are_roff(self):
        if not shutil.which('man'):
            self.skipTest('no man here')
        for name in ('submit', 'serve', 'run'):
            _, page = self.run_it('man', name)
            done = subprocess.run(['man', '--warnings', '-l', '-'], input=page, capture_output=True, text=True, env={**os.environ, 'MANWIDTH': '100'})
            self.assertEqual((done.returncode, done.stderr), (0, ''))
            self.assertIn('--', done.stdout)

    def test_completions_know_the_flags(self):
        for shell in ('bash', 'zsh', 'fish'):
            status, text = self.run_it('completion', shell)
            self.assertEqual(status, 0)
            self.assertIn('keep-order', text)
        script = self.run_it('completion', 'bash')[1] + '\nCOMP_WORDS=(rivulet watch --jo); COMP_CWORD=2; _rivulet; echo "${COMPREPLY[@]}"\n'
        done = subprocess.run(['bash', '-c', script], capture_output=True, text=True)
        self.assertEqual(done.stdout.strip(), '--joblog')
