"""The runners of the tests must tell of everything that can go wrong in a test."""
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')


def tool(path):
    spec = importlib.util.spec_from_file_location('tool', os.path.join(ROOT, path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Check(unittest.TestCase):
    """tools/suite.py, which tools/check.py and tools/trust.py stand on."""

    def run_suite(self, command, seconds_max=20):
        with tempfile.NamedTemporaryFile() as log:
            return tool('tools/suite.py').run(command, seconds_max, log.name)[1:]

    def test_the_line_is_believed(self):
        self.assertEqual(self.run_suite('echo hello; echo "3 passed, 0 failed"'), (3, 0, ''))
        self.assertEqual(self.run_suite('echo "3 passed, 2 failed"; exit 1'), (3, 2, ''))

    def test_no_line_is_a_failure(self):
        self.assertEqual(self.run_suite('echo hello')[1], 1)
        self.assertEqual(self.run_suite('echo "3 passed, 0 failed"; echo more')[:2], (0, 1))

    def test_a_death_after_the_line_is_a_failure(self):
        self.assertEqual(self.run_suite('echo "3 passed, 0 failed"; kill -SEGV $$')[:2], (3, 1))

    def test_nothing_run_is_a_failure(self):
        self.assertEqual(self.run_suite('echo "0 passed, 0 failed"')[:2], (0, 1))

    def test_a_suite_that_hangs_is_ended_and_is_a_failure(self):
        passed, failed, note = self.run_suite('sleep 100', 0.3)
        self.assertEqual((passed, failed), (0, 1))
        self.assertIn('took longer', note)


class Run(unittest.TestCase):
    """tests/run.py on a file made for it."""

    def run_file(self, body, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'test_it.py')
            with open(path, 'w') as file:
                file.write('import os, sys, time, unittest\nclass It(unittest.TestCase):\n' + body)
            done = subprocess.run([sys.executable, os.path.join(ROOT, 'tests', 'run.py'), *arguments, path],
                                  capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()[-1], done.stdout

    def test_what_passes_and_fails_is_counted(self):
        status, last, told = self.run_file(' def test_a(self): pass\n def test_b(self): self.assertEqual(1, 2)\n')
        self.assertEqual((status, last), (1, '1 passed, 1 failed'))
        self.assertIn('1 != 2', told)

    def test_a_test_that_hangs_fails_alone(self):
        status, last, told = self.run_file(' def test_a(self): time.sleep(100)\n def test_b(self): pass\n', '--timeout', '0.3')
        self.assertEqual((status, last), (1, '1 passed, 1 failed'))
        self.assertIn('took longer than 0.3 s', told)

    def test_what_only_measures_is_told_and_does_not_count(self):
        with tempfile.NamedTemporaryFile('w', suffix='.txt') as measures:
            measures.write('# a list\ntest_it.It.test_b    a second\n')
            measures.flush()
            slow = ' def test_a(self): pass\n def test_b(self): self.assertLess(2, 1)\n'
            status, last, told = self.run_file(slow, '--measures', measures.name)
            self.assertEqual((status, last), (0, '1 passed, 0 failed'))
            self.assertIn('slow test_it.It.test_b', told)
            self.assertIn('2 not less than 1', told)
            status, last, _ = self.run_file(slow.replace('test_a', 'test_c') + ' def test_d(self): self.fail()\n', '--measures', measures.name)
            self.assertEqual((status, last), (1, '1 passed, 1 failed'))
            status, last, told = self.run_file(slow.replace('test_b', 'test_c'), '--measures', measures.name)
            self.assertEqual((status, last), (1, '1 passed, 2 failed'))      # it fails, and the list names what is not there
            self.assertIn('there is no such test', told)

    def test_patience_makes_every_limit_longer(self):
        status, last, _ = self.run_file(' def test_a(self): time.sleep(0.5)\n', '--timeout', '0.3', '--patience', '20')
        self.assertEqual((status, last), (0, '1 passed, 0 failed'))

    def test_a_file_that_dies_is_a_failure(self):
        status, last, told = self.run_file(' def test_a(self): pass\n def test_b(self): os._exit(0)\n')
        self.assertEqual((status, last), (1, '1 passed, 1 failed'))
        self.assertIn('test_b', told)

    def test_a_fixture_that_fails_is_a_failure(self):
        status, last, _ = self.run_file(' @classmethod\n def setUpClass(cls): raise ValueError\n def test_a(self): pass\n')
        self.assertEqual((status, last), (1, '0 passed, 1 failed'))

    def test_a_file_that_cannot_be_read_is_a_failure(self):
        status, last, _ = self.run_file(' def test_a(self: pass\n')
        self.assertEqual((status, last.endswith('0 passed, 1 failed')), (1, True))

    def test_nothing_run_is_a_failure(self):
        self.assertEqual(self.run_file(' x = 1\n')[0], 1)

    def test_files_run_together_but_those_that_run_alone(self):
        meets = """import os, time, unittest
class It(unittest.TestCase):
 def test_it(self):
  os.mkdir(__file__ + '.begun')
  while not os.path.exists(os.path.join(os.path.dirname(__file__), '{other}.begun')):
   time.sleep(0.01)
  os.mkdir(__file__ + '.ended')
"""
        alone = """import os, unittest
ALONE = 'it looks whether the others have ended'
class It(unittest.TestCase):
 def test_it(self):
  self.assertEqual(sum(name.endswith('.ended') for name in os.listdir(os.path.dirname(__file__))), 2)
"""
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ('test_alone.py', 'test_b.py', 'test_c.py')]
            for path, text in zip(paths, (alone, meets.format(other='test_c.py'), meets.format(other='test_b.py'))):
                with open(path, 'w') as file:
                    file.write(text)
            done = subprocess.run([sys.executable, os.path.join(ROOT, 'tests', 'run.py'), '--jobs', '2', '--timeout', '10', *paths], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, '3 passed, 0 failed\n'))


class Style(unittest.TestCase):
    def look_at(self, name, text):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, name)
            with open(path, 'w') as file:
                file.write(text)
            return tool('tools/style.py').look_at(path, name)

    def test_a_banned_function_is_told(self):
        self.assertEqual(len(self.look_at('a.c', 'int f(void)\n{\n    return atoi("1");\n}\n')[0]), 1)

    def test_words_are_not_calls(self):
        self.assertEqual(self.look_at('a.c', '/* system(x) */ // gets(\nint x = my_system(1), y = a.gets(2), z = "atoi(3)"[0];\n'), ([], []))

    def test_a_header_is_read_once(self):
        self.assertEqual(len(self.look_at('a.h', 'int f(void);\n')[0]), 1)

    def test_a_long_function_is_a_warning(self):
        self.assertEqual(len(self.look_at('a.c', 'int f(void)\n{\n' + '    x();\n' * 71 + '}\n')[1]), 1)


if __name__ == '__main__':
    unittest.main()
