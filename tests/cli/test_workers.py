"""A worker that dies, crashes or hangs costs its one item, and nothing else notices."""
import os
import signal
import unittest

from runs import DONE, FAILED, RETRY, Case, only_root_may_look, until


class Killed(Case):
    def kill_workers(self, run, count=1):
        for pid in run.workers()[:count]:
            os.kill(pid, signal.SIGKILL)

    def test_the_item_of_a_killed_worker_is_tried_again(self):
        names = [self.item('long', sleep_ms=400), *self.items(5)]
        run = self.start('noop', '--data', 'data', '--workers', '1', *names)
        self.wait_started(0)
        self.kill_workers(run)
        status, lines, _ = run.end()
        self.assertEqual((status, sorted(line['index'] for line in lines)), (0, list(range(6))))
        self.assertEqual(self.starts(), {0: 2, **{number: 1 for number in range(1, 6)}})
        self.assertEqual(self.log(f'SELECT item FROM event WHERE kind = {RETRY}'), [(0,)])

    def test_the_neighbour_is_not_touched(self):
        names = self.items(2, sleep_ms=500) + [self.item('later')]
        run = self.start('noop', '--data', 'data', '--workers', '2', *names)
        self.wait_started(0, 1)
        self.kill_workers(run)
        status, lines, _ = run.end()
        self.assertEqual((status, len(lines)), (0, 3))
        self.assertEqual(sorted(self.starts().values()), [1, 1, 2])
        self.assertEqual(self.starts()[2], 1)

    def test_an_item_whose_worker_is_killed_each_time_fails_alone(self):
        run = self.start('noop', '--data', 'data', '--workers', '1', self.item('victim', hang=True), *self.items(3),
                         env=self.env(RIVULET_PIPELINE=self.write('two.json', '{"name":"two","legs":[{"stages":["noop"],"attempts":2,"backoff_ms":[1,2]}]}')))
        for attempt in (1, 2):
            until(lambda: self.starts().get(0) == attempt)
            self.kill_workers(run)
        status, lines, _ = run.end()
        self.assertEqual(status, 1)
        failed = [line for line in lines if 'error' in line]
        self.assertEqual([(line['index'], line['error_type']) for line in failed], [(0, 'crash')])
        self.assertIn('SIGKILL', failed[0]['error'])
        self.assertEqual(sorted(line['index'] for line in lines), [0, 1, 2, 3])

    @only_root_may_look
    def test_idle_workers_are_replaced(self):
        """Killed while the only item waits for its next attempt, or between items: no item pays for it."""
        run = self.start('noop', '--data', 'data', '--workers', '3', self.item('long', sleep_ms=500), *self.items(4))
        for _ in range(4):
            run.line()
        self.wait_started(0)
        first = set(run.workers())
        busy = self.busy(first)
        for pid in first - {busy}:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(run.workers()) - first) == 2)
        status, lines, _ = run.end()
        self.assertEqual((status, [line['index'] for line in lines]), (0, [0]))
        self.assertEqual(set(self.starts().values()), {1})

    def busy(self, pids):
        """The worker that holds the item: the only one that has the item's file open."""
        def holds(pid):
            folder = f'/proc/{pid}/fd'
            return any(os.readlink(os.path.join(folder, fd)) == os.path.join(self.folder, 'long') for fd in os.listdir(folder))
        found = [pid for pid in pids if holds(pid)]
        self.assertEqual(len(found), 1)
        return found[0]


class Misbehaving(Case):
    def one_among_others(self, **orders):
        """The line of an item with these orders among five good ones; two attempts, a second each."""
        names = [*self.items(3), self.item('odd', **orders), *[self.item(f'more-{number}') for number in range(2)]]
        status, lines, told = self.run_all('noop', '--data', 'data', '--workers', '2', *names, env=self.quick())
        self.assertEqual((status, told, len(lines)), (1, '', 6))
        self.assertEqual([line['index'] for line in lines if 'error' in line], [3])
        self.assertEqual({item: count for item, count in self.starts().items() if item != 3}, {0: 1, 1: 1, 2: 1, 4: 1, 5: 1})
        self.assertEqual(self.log(f'SELECT count(*) FROM event WHERE kind IN ({DONE}, {FAILED})'), [(6,)])
        return [line for line in lines if 'error' in line][0]

    def test_a_crash_fails_after_the_configured_attempts(self):
        line = self.one_among_others(crash=True)
        self.assertEqual((line['error_type'], self.starts()[3]), ('crash', 2))
        self.assertIn('signal', line['error'])

    def test_a_worker_that_leaves_by_itself(self):
        line = self.one_among_others(exit=3)
        self.assertEqual((line['error_type'], self.starts()[3]), ('crash', 2))
        self.assertIn('status 3', line['error'])

    def test_a_worker_that_never_comes_back(self):
        line = self.one_among_others(hang=True)
        self.assertEqual((line['error_type'], self.starts()[3]), ('timeout', 2))

    def test_an_item_that_asks_for_another_try_gets_the_configured_number(self):
        line = self.one_among_others(retry='not yet')
        self.assertEqual((line['error'], self.starts()[3]), ('not yet', 2))

    def test_an_item_that_fails_for_good_is_not_tried_again(self):
        line = self.one_among_others(fail='never')
        self.assertEqual((line['error'], self.starts()[3]), ('never', 1))

    def test_many_crashes_side_by_side(self):
        bad = [self.item(f'bad-{number}', crash=True) for number in range(10)]
        status, lines, _ = self.run_all('noop', '--workers', '3', *bad, *self.items(20), env=self.quick())
        self.assertEqual((status, len(lines)), (1, 30))
        self.assertEqual(sorted(line['index'] for line in lines if 'error' in line), list(range(10)))


if __name__ == '__main__':
    unittest.main()
