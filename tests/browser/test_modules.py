"""The page's own modules under node, without a browser: the fold over the golden logs, the reader of frames, words and values."""
import glob
import os
import shutil
import subprocess
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


@unittest.skipUnless(shutil.which('node'), 'there is no node')
class Modules(unittest.TestCase):
    def test_the_modules_under_node(self):
        files = sorted(glob.glob(os.path.join(HERE, '*.test.mjs')))
        self.assertTrue(files)
        told = subprocess.run(['node', '--test', *files], capture_output=True, text=True, timeout=50, check=False)
        self.assertEqual(told.returncode, 0, told.stdout[-4000:] + told.stderr[-2000:])
