"""The program is built so that a mistake in it is hard to use: what the linker and the compiler were asked for is in the file."""
import os
import re
import subprocess
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
PROGRAM = os.path.join(os.environ.get('RIVULET_BUILD', os.path.join(ROOT, 'build')), 'rivulet')


def readelf(*what):
    return subprocess.run(['readelf', '-W', *what, PROGRAM], capture_output=True, text=True, check=True, env={**os.environ, 'LC_ALL': 'C'}).stdout


class Hardening(unittest.TestCase):
    def setUp(self):
        self.symbols = readelf('--dyn-syms')
        if '__asan_' in self.symbols or '__tsan_' in self.symbols:
            self.skipTest('a sanitized build')

    def test_it_lies_anywhere_in_memory(self):
        self.assertRegex(readelf('-h'), r'Type:\s+DYN')
        self.assertIn('PIE', readelf('-d'))

    def test_tables_are_read_only_once_it_runs(self):
        self.assertIn('GNU_RELRO', readelf('-l'))
        self.assertRegex(readelf('-d'), r'FLAGS.*NOW')

    def test_nothing_that_is_written_can_be_run(self):
        segments = re.findall(r'^\s+(LOAD|GNU_STACK)\s+(?:0x\w+\s+){5}([RWE ]{3})', readelf('-l'), re.MULTILINE)
        self.assertGreater(len(segments), 3)
        for name, flags in segments:
            self.assertFalse('W' in flags and 'E' in flags, (name, flags))

    def test_it_takes_no_library_from_a_folder_of_its_own(self):
        self.assertNotRegex(readelf('-d'), r'\((RPATH|RUNPATH)\)')

    def test_the_stack_is_guarded_and_copies_are_counted(self):
        self.assertIn('__stack_chk_fail', self.symbols)
        self.assertGreater(len(set(re.findall(r'__\w+_chk\b', self.symbols))), 5)

    def test_large_frames_are_walked_page_by_page(self):
        """-fstack-clash-protection leaves no name in the file, only a touch of each page of the stack right behind its making."""
        if os.uname().machine != 'x86_64':
            self.skipTest('knows the code of x86_64 only')
        code = subprocess.run(['objdump', '-d', '--no-show-raw-insn', PROGRAM], capture_output=True, text=True, check=True).stdout
        self.assertRegex(code, r'sub\w?\s+\$0x1000,%rsp\n.*\t(or|mov)\w?\s+\$0x0,(0x0)?\(%rsp\)')

    def test_it_has_what_locks_its_workers(self):
        self.assertIn('seccomp_load', self.symbols)


if __name__ == '__main__':
    unittest.main()
