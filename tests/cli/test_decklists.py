"""`rivulet run decklists` on real pictures, and on files that want to break it."""
import glob
import os
import sys
import unittest

from runs import ROOT, Case

sys.path.insert(0, os.path.join(ROOT, 'tools', 'samples'))
import hostile  # noqa: E402

SAMPLES = os.path.realpath(os.path.join(ROOT, 'examples', 'decklists'))
CATALOGUE = os.path.join(SAMPLES, 'catalogue.csv')


class Decklists(Case):
    timeout_s = 180

    def read(self, *paths, workers=2):
        """(status, {filename: line}, what was said); each file exactly once."""
        status, lines, told = self.run_all('decklists', '--catalogue', CATALOGUE, '--workers', str(workers), *paths)
        self.assertEqual(sorted(line['index'] for line in lines), list(range(len(paths))))
        return status, {line['filename']: line for line in lines}, told

    def test_a_picture_and_a_text_become_decklists(self):
        text = sorted(glob.glob(os.path.join(SAMPLES, 'text', '*.txt')))[0]
        status, lines, _ = self.read(os.path.join(SAMPLES, '01-plain.jpg'), text)
        self.assertEqual(status, 0)
        for line in lines.values():
            self.assertTrue(line['decklist']['main_deck'])
            self.assertIn('stats', line['decklist'])

    def test_hostile_files_get_an_error_each_and_nothing_else(self):
        """Good pictures stand before, between and behind them; each line is as it is without them."""
        rows = [row for row in hostile.write(self.folder) if not row['filename'].startswith(('notes', 'text'))]     # run takes texts too
        names = [row['filename'] for row in rows]
        good = [os.path.join(SAMPLES, name) for name in ('10-half-size.jpg', '03-webp.webp')]
        status, lines, _ = self.read(good[0], *names[:8], good[1], *names[8:])
        self.assertEqual(status, 1)
        for row in rows:
            with self.subTest(row['filename']):
                line = lines[row['filename']]
                self.assertEqual('error' in line, row['error_type'] is not None, line)
                if row['error_type']:
                    self.assertRegex(line['error_type'], row['error_type'])
                    self.assertRegex(line['error'], row['message'])
                    self.assertNotIn('decklist', line)
        for name in good:
            self.assertIn('decklist', lines[os.path.basename(name)])


if __name__ == '__main__':
    unittest.main()
