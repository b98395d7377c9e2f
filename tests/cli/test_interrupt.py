"""Ctrl-C once finishes what runs and starts nothing more, twice stops at once; and nothing outlives the program."""
import os
import pty
import signal
import subprocess
import unittest

from runs import PROGRAM, Case, lives, until


class Interrupt(Case):
    def five(self, **orders):
        """Two that run, three that wait."""
        run = self.start('noop', '--data', 'data', '--workers', '2', *self.items(2, **orders), *[self.item(f'later-{i}') for i in range(3)])
        self.wait_started(0, 1)
        return run

    def once(self, number):
        run = self.five(sleep_ms=500)
        run.signal(number)
        status, lines, told = run.end()
        self.assertEqual((status, sorted(line['filename'] for line in lines)), (1, ['item-0', 'item-1']))
        self.assertIn('finishing 2 running items', told)
        self.assertIn('3 of 5 items not done', told)
        self.assert_clean(run)
        self.assertEqual(self.starts(), {0: 1, 1: 1})

    def test_once_finishes_what_runs_and_starts_nothing_more(self):
        self.once(signal.SIGINT)
        status, lines, _ = self.run_all('noop', '--data', 'data', '--workers', '2', 'item-0', 'item-1', 'later-0', 'later-1', 'later-2')
        self.assertEqual((status, len(lines)), (0, 5))      # and the same command goes on
        self.assertEqual(self.starts(), dict.fromkeys(range(5), 1))

    def test_so_does_being_told_to_end(self):
        self.once(signal.SIGTERM)

    def test_twice_stops_at_once(self):
        run = self.five(hang=True)
        workers = run.workers()
        self.assertEqual(len(workers), 2)
        run.signal(signal.SIGINT)
        self.assertIn('finishing 2 running items', run.complaint())
        run.signal(signal.SIGINT)
        status, lines, told = run.end()
        self.assertEqual((status, lines), (1, []))
        self.assertIn('5 of 5 items not done', told)
        self.assertEqual([pid for pid in workers if lives(pid)], [])

    def test_without_data_it_cleans_up_too(self):
        run = self.start('noop', '--workers', '1', self.item('quick'), self.item('stuck', hang=True))
        run.line()
        run.signal(signal.SIGINT)
        run.complaint()
        run.signal(signal.SIGINT)
        status, _, told = run.end()
        self.assertEqual(status, 1)
        self.assertNotIn('goes on', told)
        self.assert_clean(run)

    def test_when_nothing_runs_once_is_enough(self):
        run = self.start('noop', '--workers', '1', self.item('again', retry='later'), env=self.env(RIVULET_PIPELINE=self.write('slow.json',
                         '{"name":"slow","legs":[{"stages":["noop"],"attempts":2,"backoff_ms":[50000,60000]}]}')))
        until(lambda: run.workers())
        run.signal(signal.SIGINT)
        self.assertEqual(run.end()[0], 1)
        self.assert_clean(run)

    def test_ctrl_c_at_a_terminal_spares_the_workers(self):
        """The terminal sends the signal to the whole group; the workers must finish what they have."""
        names = self.items(2, sleep_ms=500) + [self.item('later')]
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.folder)
            os.execvpe(PROGRAM, [PROGRAM, 'run', 'noop', '--data', 'data', '--workers', '2', *names], self.env(TERM='xterm'))
        self.addCleanup(os.close, terminal)
        self.wait_started(0, 1)
        os.write(terminal, b'\x03')
        shown = b''
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:         # the other side is closed
                break
            if not piece:
                break
            shown += piece
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 1)
        self.assertEqual(shown.count(b'"result":{"bytes"'), 2)
        self.assertNotIn(b'error', shown)


class Death(Case):
    def test_workers_die_with_the_program(self):
        run = self.start('noop', '--workers', '2', *self.items(2, hang=True))
        workers = until(lambda: len(run.workers()) == 2 and run.workers())
        run.signal(signal.SIGKILL)
        self.assertEqual(run.end()[0], -signal.SIGKILL)
        until(lambda: not any(lives(pid) for pid in workers))

    def test_an_interrupt_while_workers_load(self):
        """Whenever it comes, the program ends by itself and takes its directory with it."""
        for wait_ms in range(0, 60, 4):
            run = self.start('noop', self.item('stuck', hang=True))
            try:
                run.process.wait(wait_ms / 1000)
            except subprocess.TimeoutExpired:
                pass
            run.signal(signal.SIGINT)
            until(lambda: run.process.poll() is not None or run.signal(signal.SIGINT))
            self.assertIn(run.process.returncode, (1, -signal.SIGINT))
            self.assert_clean(run)


if __name__ == '__main__':
    unittest.main()
