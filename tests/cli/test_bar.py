"""The progress bar: for people at a terminal only, never wider than that, never in the way of a line of output."""
import fcntl
import os
import pty
import re
import struct
import termios
import threading
import unittest

from runs import Case

COLOUR = re.compile(r'\x1b\[\d*m')


class Terminal:
    """A terminal of so many columns, and all that was written to it."""

    def __init__(self, columns=80):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        self.written = b''
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while True:
            try:
                piece = os.read(self.ours, 65536)
            except OSError:
                return
            if not piece:
                return
            self.written += piece

    def close(self):
        """What was written, once everybody has closed it."""
        os.close(self.theirs)
        self.thread.join()
        os.close(self.ours)
        return self.written.decode().replace('\r\n', '\n')


class Bar(Case):
    def shown(self, *names, columns=80, **env):
        """(status, lines on standard output, what the terminal saw)"""
        terminal = Terminal(columns)
        run = self.start('noop', '--workers', '1', *names, stderr=terminal.theirs, env=self.env(**{'TERM': 'xterm', **env}))
        status, lines, _ = run.end()
        return status, lines, terminal.close()

    def drawings(self, text):
        """Each drawing of the bar, without colours."""
        return [COLOUR.sub('', part) for part in text.rstrip('\n').split('\r\x1b[K') if part]

    def test_it_shows_counts_rate_and_time_left(self):
        names = self.items(4, sleep_ms=150) + [self.item('bad', fail='x')]
        status, lines, text = self.shown(*names)
        drawn = self.drawings(text)
        self.assertEqual((status, len(lines)), (1, 5))
        self.assertRegex(drawn[0], r'^\[.*\] 0/5  ETA \?$')
        self.assertTrue(any(re.search(r'\] 2/5  \d+(\.\d+)?/s  ETA \d+s$', one) for one in drawn), drawn)
        self.assertRegex(drawn[-1], r'^\[█+\] 5/5  1 failed  \d+(\.\d+)?/s  done in \d+s$')
        self.assertTrue(text.endswith('\n'))
        ended = [int(re.search(r'(\d+)/5', one).group(1)) for one in drawn]
        self.assertEqual(ended, sorted(ended))

    def test_time_left_is_about_right(self):
        _, _, text = self.shown(*self.items(10, sleep_ms=200))
        told = [(int(done), int(left)) for done, left in re.findall(r' (\d+)/10  [\d.]+/s  ETA (\d+)s', text)]
        self.assertTrue([left for done, left in told if 4 <= done <= 6 and 1 <= left <= 3], told)

    def test_nothing_where_there_is_no_terminal(self):
        self.assertEqual(self.run_all('noop', *self.items(2), env=self.env(TERM='xterm'))[2], '')

    def test_nothing_on_a_terminal_that_cannot_move_its_cursor(self):
        self.assertEqual(self.shown(*self.items(2), TERM='dumb')[2], '')
        self.assertEqual(self.shown(*self.items(2), TERM=None)[2], '')

    def test_no_color_takes_the_colours_only(self):
        coloured, plain = self.shown(*self.items(2))[2], self.shown(*self.items(2), NO_COLOR='1')[2]
        self.assertTrue(COLOUR.search(coloured))
        self.assertFalse(COLOUR.search(plain))
        self.assertIn(' 2/2', plain)
        self.assertTrue(COLOUR.search(self.shown(*self.items(2), NO_COLOR='')[2]), 'an empty NO_COLOR asks for nothing')

    def test_it_is_never_wider_than_the_terminal(self):
        for columns in (60, 40, 20, 8, 1):
            text = self.shown(*self.items(3), columns=columns)[2]
            self.assertLessEqual(max([len(one) for one in self.drawings(text)], default=0), columns)
            self.assertNotIn('\x1b[A', text)

    def test_lines_and_bar_on_one_terminal_do_not_mix(self):
        terminal = Terminal()
        run = self.start('noop', '--workers', '2', *self.items(6, sleep_ms=60), stdout=terminal.theirs, stderr=terminal.theirs,
                         env=self.env(TERM='xterm'))
        run.process.wait()
        text = terminal.close()
        whole = re.findall(r'(?:(?<=\r\x1b\[K)|(?<=\n))(\{"index":\d,"filename":"item-\d","result":\{"bytes":\d+\}\})\n', text)
        self.assertEqual(len(whole), 6, text)
        self.assertRegex(self.drawings(text)[-1], r' 6/6 .* done in')

    def test_a_resumed_run_counts_what_was_done_but_not_in_its_rate(self):
        names = self.items(2)
        self.start('noop', '--data', 'data', *names).end()
        text = self.shown('--data', 'data', '--workers', '2', *names)[2]
        self.assertRegex(self.drawings(text)[-1], r' 2/2  done in 0s$')


if __name__ == '__main__':
    unittest.main()
