"""How a part of the scorecard tells what it measured: a row each, said at once, and the line at the end that the runners add up.

    card = Scorecard('kills', __doc__)            # reads --quick, --seed N and what else the part adds to card.parser
    options = card.begin()
    card.row('results lost', lost, 'of 120,000', bar=0)
    sys.exit(card.end())

A row without a bar informs; one with a bar is a test. docs/TRUST.md is made of these rows by tools/trust.py --write.
"""
import argparse
import os
import sys
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
BUILD = os.path.abspath(os.environ.get('RIVULET_BUILD') or os.path.join(ROOT, 'build'))
for folder in ('lib', 'server'):
    sys.path.insert(0, os.path.join(ROOT, 'tests', folder))


class Scorecard:
    def __init__(self, name, about):
        self.name, self.passed, self.failed, self.began = name, 0, 0, time.monotonic()
        self.parser = argparse.ArgumentParser(description=about.split('\n')[0])
        self.parser.add_argument('--quick', action='store_true', help='the share of every check: seconds instead of minutes')
        self.parser.add_argument('--seed', type=int, default=1, help='where chance begins; the same seed does the same again as far as the machine allows')

    def begin(self, words=None):
        self.options = self.parser.parse_args(words)
        return self.options

    def row(self, what, value, unit='', bar=None, good=None):
        """good: value <= bar unless it is given. Returns whether the bar was held."""
        words = f'{value:,.3g}' if isinstance(value, float) and abs(value) < 100 else f'{value:,.0f}' if isinstance(value, (int, float)) else str(value)
        verdict = ''
        if bar is not None or good is not None:
            good = value <= bar if good is None else good
            verdict = ('' if bar is None else f' (bar {bar})') + (' held' if good else ' MISSED')
            self.passed += good
            self.failed += not good
        print(f'trust: {what} = {words}{" " + unit if unit else ""}{verdict}', flush=True)
        return good is not False

    def holds(self, what, good):
        """A row that says yes or no, and should say yes."""
        return self.row(what, 'yes' if good else 'no', bar='yes', good=good)

    def note(self, text):
        print(f'       {text}', flush=True)

    def end(self):
        """The exit status."""
        self.row('seconds', time.monotonic() - self.began, 's')
        print(f'{self.passed} passed, {self.failed} failed', flush=True)
        return 0 if self.passed and not self.failed else 1
