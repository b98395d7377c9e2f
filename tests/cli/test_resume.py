"""`run --data`: the same command goes on where it was killed, and does nothing twice."""
import os
import random
import signal
import sqlite3
import subprocess
import unittest

from runs import DONE, STARTED, Case, until


class Resume(Case):
    def again(self, *names, workers=2, **more):
        return self.start('noop', '--data', 'data', '--workers', str(workers), *names, **more)

    def test_killed_at_random_moments_every_item_is_done_once(self):
        """What was shown before a kill is done and stays done; in the end every item is there exactly once."""
        count = 240                 # 3.6 s of work; the kills leave 3.5 s at most
        names = self.items(count, sleep_ms=30)
        chance = random.Random(20)
        shown = set()
        for kill in range(10):
            run = self.again(*names)
            try:
                run.process.wait(chance.uniform(0.01, 0.35))
            except subprocess.TimeoutExpired:
                pass
            run.signal(signal.SIGKILL)
            out, _ = run.process.communicate()
            whole = out[:out.rfind(b'\n') + 1].count(b'\n')
            done = {item for item, in self.log(f'SELECT item FROM event WHERE kind = {DONE}')}
            now = {item for item in range(count) if b'"filename":"item-%d"' % item in out}
            self.assertGreaterEqual(len(done), whole, f'after kill {kill}')
            self.assertLessEqual(now, done, f'shown but not durable, after kill {kill}')
            shown |= now
        self.assertLess(len(shown), count, 'the kills came too late to show anything')
        status, lines, told = self.again(*names).end()
        self.assertEqual((status, told), (0, ''))
        self.assertEqual(sorted(line['index'] for line in lines), list(range(count)))
        self.assertEqual(self.log('SELECT count(DISTINCT job) FROM event'), [(1,)])
        self.check_log(count)

    def check_log(self, count):
        """Each item done once, started first once, never started again once it was done; no gap in the numbers."""
        rows = self.log('SELECT seq, kind, item, body FROM event ORDER BY pos')
        self.assertEqual([row[0] for row in rows], list(range(1, len(rows) + 1)))
        done, first = [], []
        for _, kind, item, body in rows:
            if kind == DONE:
                done.append(item)
            if kind == STARTED:
                self.assertNotIn(item, done, 'started again after it was done')
                if '"why":"first"' in body:
                    first.append(item)
        self.assertEqual((sorted(done), sorted(first)), (list(range(count)), list(range(count))))

    def test_a_finished_command_is_told_again_without_work(self):
        names = [*self.items(5), self.item('bad', fail='no luck')]
        status, lines, _ = self.again(*names).end()
        self.assertEqual(status, 1)
        began = self.starts()
        self.assertEqual(self.again(*names).end(), (1, lines, ''))
        self.assertEqual(self.starts(), began)

    def test_a_changed_file_makes_a_new_job(self):
        names = self.items(3)
        self.again(*names).end()
        self.item('item-1', fail='changed')
        status, lines, _ = self.again(*names).end()
        self.assertEqual((status, {line['index']: line.get('error') for line in lines}), (1, {0: None, 1: 'changed', 2: None}))
        self.assertEqual(self.log('SELECT count(*) FROM job'), [(2,)])

    def test_so_do_another_order_pipeline_and_engine(self):
        names = self.items(2)
        commands = [
            (names, {}), (names[::-1], {}), (names[:1], {}), (names, {'env': self.quick()}), (names, {'env': self.env(RIVULET_ENGINE='tesseract')})]
        for _ in range(2):          # the second time nothing is new
            for files, more in commands:
                self.again(*files, **more).end()
            self.assertEqual(self.log('SELECT count(*) FROM job'), [(len(commands),)])

    def test_two_processes_do_not_share_a_directory(self):
        first = self.again(self.item('stuck', hang=True))
        self.wait_started(0)
        status, lines, told = self.again(self.item('other')).end()
        self.assertEqual((status, lines), (2, []))
        self.assert_sentence(told, 'data', 'in use by another process')
        first.signal(signal.SIGKILL)
        first.end()
        self.assertEqual(self.again('other').end()[0], 0)      # a lock does not outlive its process

    def test_an_unfinished_job_goes_on_beside_another_command(self):
        """What an earlier command left in the directory is finished too, but its lines are not this command's."""
        first = self.again('--', *self.items(2, sleep_ms=300), workers=1)
        self.wait_started(0)
        first.signal(signal.SIGKILL)
        first.end()
        status, lines, _ = self.again(self.item('mine')).end()
        self.assertEqual((status, [line['filename'] for line in lines]), (0, ['mine']))
        status, lines, _ = self.again('--', 'item-0', 'item-1', workers=1).end()
        self.assertEqual((status, sorted(line['filename'] for line in lines)), (0, ['item-0', 'item-1']))

    def test_a_job_whose_intake_was_cut_off_is_not_taken_up(self):
        """The log as a kill in the middle of the intake leaves it: created and filled, never sealed."""
        names = self.items(3)
        self.again(*names).end()
        base = sqlite3.connect(os.path.join(self.folder, 'data', 'log.db'))
        base.executescript('DELETE FROM event WHERE kind > 2; DELETE FROM place; DELETE FROM cell; UPDATE mark SET flushed_pos = 0;'
                           'UPDATE job SET state = 0, ended_at = NULL, fold = NULL;')
        base.close()
        status, lines, _ = self.again(*names).end()
        self.assertEqual((status, sorted(line['index'] for line in lines)), (0, [0, 1, 2]))
        self.assertEqual(self.log('SELECT count(*) FROM job'), [(2,)])
        status, lines, _ = self.again(*names).end()
        self.assertEqual((status, len(lines), self.starts()), (0, 3, {0: 1, 1: 1, 2: 1}))

    def test_a_worker_and_the_program_killed_in_turn(self):
        names = self.items(30, sleep_ms=20)
        for _ in range(3):
            run = self.again(*names)
            before = len(self.log(f'SELECT item FROM event WHERE kind = {DONE}'))
            until(lambda: len(self.log(f'SELECT item FROM event WHERE kind = {DONE}')) > before + 3)
            for pid in run.workers()[:1]:
                os.kill(pid, signal.SIGKILL)
            run.line()
            run.signal(signal.SIGKILL)
            run.process.communicate()
        status, lines, _ = self.again(*names).end()
        self.assertEqual((status, sorted(line['index'] for line in lines)), (0, list(range(30))))
        self.check_log(30)


if __name__ == '__main__':
    unittest.main()
