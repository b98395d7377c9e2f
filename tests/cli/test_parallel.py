"""The habits of GNU parallel: lines in order, a job log, going on by it, stopping early."""
import os

from runs import Case

HEAD = ['Seq', 'Host', 'Starttime', 'JobRuntime', 'Send', 'Receive', 'Exitval', 'Signal', 'Command']


class Parallel(Case):
    def rows(self, name='job.log'):
        with open(os.path.join(self.folder, name)) as file:
            head, *rows = [line.rstrip('\n').split('\t') for line in file]
        self.assertEqual(head, HEAD)
        return rows

    def refused(self, *arguments):
        status, out, told = self.command('run', *arguments)
        self.assertEqual((status, out), (2, ''), told)
        self.assert_sentence(told)
        return told

    def test_lines_keep_the_order_of_the_files(self):
        names = [self.item('slow', sleep_ms=400), self.item('quick'), self.item('bad', fail='x'), self.item('last')]
        status, lines, told = self.run_all('noop', '--keep-order', '--workers', '2', *names)
        self.assertEqual((status, told, [line['filename'] for line in lines]), (1, '', names))

    def test_a_row_for_each_file(self):
        names = [self.item('a', sleep_ms=100), self.item('b', fail='x')]
        self.run_all('noop', '--joblog', 'job.log', '--workers', '2', *names)
        rows = {row[8]: row for row in self.rows()}
        self.assertEqual({name: (row[0], row[1], row[6], row[7]) for name, row in rows.items()}, {'a': ('1', ':', '0', '0'), 'b': ('2', ':', '1', '0')})
        self.assertGreaterEqual(float(rows['a'][3]), 0.1)
        self.assertGreater(float(rows['a'][2]), 1.7e9)

    def test_going_on_by_the_log(self):
        names = [self.item('a'), self.item('b', fail='x'), self.item('c')]
        self.run_all('noop', '--joblog', 'job.log', *names[:2])
        _, lines, _ = self.run_all('noop', '--joblog', 'job.log', '--resume', *names)
        self.assertEqual([line['filename'] for line in lines], ['c'])
        self.assertEqual([row[0] for row in self.rows()][-1], '3')
        self.item('b')                      # it is mended
        status, lines, _ = self.run_all('noop', '--joblog', 'job.log', '--retry-failed', *names)
        self.assertEqual((status, [line['filename'] for line in lines]), (0, ['b']))
        status, lines, _ = self.run_all('noop', '--joblog', 'job.log', '--resume-failed', *names)
        self.assertEqual((status, lines), (0, []))

    def test_a_log_of_other_files_is_refused(self):
        names = [self.item('a'), self.item('b')]
        self.run_all('noop', '--joblog', 'job.log', '--workers', '1', *names)    # so the rows stand in this order
        self.assertIn('its row 1 is "a"', self.refused('noop', '--joblog', 'job.log', '--resume', 'b', 'a'))
        self.assertIn('need the --joblog', self.refused('noop', '--resume', 'a'))
        self.assertIn('--halt is "now"', self.refused('noop', '--halt', 'now', 'a'))

    def test_stopping_at_the_first_failure(self):
        names = [self.item('bad', fail='x'), self.item('hangs', hang=True), *self.items(20)]
        status, lines, told = self.run_all('noop', '--halt', 'now,fail=1', '--workers', '2', *names)
        self.assertEqual(status, 1)
        self.assertIn('--halt was reached', told)
        self.assertLess(len(lines), 22)

    def test_soon_lets_end_what_runs(self):
        names = [self.item('first'), self.item('slow', sleep_ms=500), *[self.item(f'later {n}', sleep_ms=1000) for n in range(4)]]
        status, lines, told = self.run_all('noop', '--halt', 'soon,success=1', '--workers', '2', *names)
        told_of = [line['filename'] for line in lines]
        self.assertEqual(status, 1)
        self.assertIn('slow', told_of)
        self.assertLess(len(told_of), 6)
        self.assertTrue(all('error' not in line for line in lines))
