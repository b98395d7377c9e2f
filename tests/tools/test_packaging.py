"""The package asks for what the set-up installs, and the units name what the package brings."""
import os
import re
import unittest

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))


def read(*path):
    with open(os.path.join(ROOT, *path), encoding='utf-8') as file:
        return file.read()


class Packaging(unittest.TestCase):
    def test_every_library_of_the_set_up_is_a_build_dependency(self):
        wanted = set(re.findall(r'\blib[\w.+-]+-dev\b', read('tools', 'setup.sh').split('if [ "$for_what" = check ]')[0])) - {'libc6-dev'}
        named = set(re.findall(r'\blib[\w.+-]+-dev\b', read('packaging', 'debian', 'control')))
        self.assertGreater(len(wanted), 10)
        self.assertEqual(wanted, named)

    def test_versions_agree(self):
        version = re.search(r"version: '([^']+)'", read('meson.build')).group(1)
        self.assertTrue(read('packaging', 'debian', 'changelog').startswith(f'rivulet ({version})'))

    def test_settings_of_the_package_are_settings(self):
        known = read('src', 'config', 'settings.c')
        for name in re.findall(r'^#?([A-Z_]+)=', read('packaging', 'rivulet.env'), re.M):
            self.assertIn(f'"{name}"', known)


if __name__ == '__main__':
    unittest.main()
