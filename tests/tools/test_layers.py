"""tools/layers.py must catch what it is there for."""
import os
import subprocess
import sys
import tempfile
import unittest

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tools', 'layers.py')


class Layers(unittest.TestCase):
    def look_at(self, files):
        with tempfile.TemporaryDirectory() as src:
            for path, text in files.items():
                os.makedirs(os.path.join(src, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(src, path), 'w') as file:
                    file.write(text)
            done = subprocess.run([sys.executable, TOOL, src], capture_output=True, text=True)
            return done.returncode, done.stdout

    def test_includes_that_go_down_pass(self):
        status, told = self.look_at({'base/a.h': '', 'core/b.h': '#include "base/a.h"\n#include <stdio.h>\n', 'cli/main.c': '#include "core/b.h"\n'})
        self.assertEqual((status, told), (0, '3 passed, 0 failed\n'))

    def test_an_include_that_goes_up_is_told_with_its_line(self):
        status, told = self.look_at({'core/b.h': '', 'base/a.c': '\n#include "core/b.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn('base/a.c:2: base/ must not include from core/', told)
        self.assertTrue(told.endswith('1 passed, 1 failed\n'))

    def test_siblings_do_not_know_each_other(self):
        self.assertEqual(self.look_at({'readers/r.h': '', 'engine/e.c': '#include "readers/r.h"\n'})[0], 1)
        self.assertEqual(self.look_at({'vision/v.h': '', 'server/s.c': '#include "vision/v.h"\n'})[0], 1)

    def test_rooms_inside_a_room(self):
        headers = {'server/own.h': '', 'server/stream/s.h': '#include "server/own.h"\n'}
        self.assertEqual(self.look_at({**headers, 'server/views/v.c': '#include "server/stream/s.h"\n'})[0], 0)
        self.assertEqual(self.look_at({**headers, 'server/service.c': '#include "server/stream/s.h"\n'})[0], 0)
        status, told = self.look_at({'server/views/v.h': '', 'server/stream/s.c': '#include "server/views/v.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn('server/stream/ must not include from server/views/', told)
        self.assertIn('server/attic/ is not in the graph', self.look_at({'server/attic/a.c': '#include "server/own.h"\n', 'server/own.h': ''})[1])

    def test_a_way_round_through_a_neighbour_file_is_no_way_round(self):
        status, told = self.look_at({'core/b.h': '', 'base/a.c': '#include "../core/b.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn('base/ must not include from core/', told)

    def test_a_cycle_of_files_is_told(self):
        status, told = self.look_at({'base/a.h': '#include "base/b.h"\n', 'base/b.h': '#include "base/a.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn('base/a.h -> base/b.h -> base/a.h', told)

    def test_an_unknown_room_is_told(self):
        status, told = self.look_at({'attic/a.c': ''})
        self.assertEqual(status, 1)
        self.assertIn('attic/ is not in the graph', told)

    def test_no_sources_at_all_is_a_failure(self):
        self.assertEqual(self.look_at({})[0], 1)


if __name__ == '__main__':
    unittest.main()
