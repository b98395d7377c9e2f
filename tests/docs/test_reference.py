"""The documents leave nothing out and invent nothing: every route stands in API_REFERENCE.md, every setting in SETUP.md."""
import os
import re
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'server'))
from rivulet_server import ROOT, Rivulet  # noqa: E402

PREFIXED = re.compile(r'^/api(/v1)?(/|$)')


def read(*path):
    with open(os.path.join(ROOT, *path), encoding='utf-8') as file:
        return file.read()


class Reference(unittest.TestCase):
    def test_the_page_of_the_api_stands_alone(self):
        server = Rivulet()
        self.addCleanup(server.close)
        answer = server.get('/docs')
        self.assertEqual(answer.header('Content-Security-Policy').split('; ')[:2], ["default-src 'none'", "style-src 'self'"])
        page = answer.body().decode()
        ids = re.findall(r' id="([^"]*)"', page)
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(set(re.findall(r' href="#([^"]*)"', page)) - set(ids), set(), 'links that lead nowhere')
        document = server.get('/openapi.json').json()
        self.assertLessEqual({f'shape-{name}' for name in document['components']['schemas']}, set(ids))
        self.assertNotIn('style=', page)
        self.assertNotIn('<script', page)
        for path in re.findall(r' href="(/[^"]*)"', page):
            self.assertEqual(server.get(path).status, 200, path)

    def test_every_route_and_none_else(self):
        server = Rivulet()
        self.addCleanup(server.close)
        paths = server.get('/openapi.json').json()['paths']
        routes = {f'{method.upper()} {path}' for path, methods in paths.items() for method in methods if not PREFIXED.match(path)}
        told = re.findall(r'^### `(\w+ /[^`]*)`$', read('docs', 'API_REFERENCE.md'), re.M)
        self.assertEqual(sorted(told), sorted(routes))
        self.assertGreater(len(routes), 30)

    def test_every_setting_and_none_else(self):
        table = re.search(r'table\[\] = \{(.*?)\n\};', read('src', 'config', 'settings.c'), re.S).group(1)
        settings = set()
        for flag, env in re.findall(r'^    \{(NULL|"[^"]+"), \{([^}]*)\}', table, re.M):
            settings |= set(re.findall(r'"([^"]+)"', env)) | ({'--' + flag.strip('"')} if flag != 'NULL' else set())
        self.assertGreater(len(settings), 20)
        part = read('docs', 'SETUP.md').partition('## Settings')[2]
        told = set(re.findall(r'`(--[a-z-]+|[A-Z]+(?:_[A-Z]+)*)[^`]*`', '\n'.join(line.partition('| ')[2].partition(' |')[0]
                                                                               for line in part.splitlines() if line.startswith('| `'))))
        self.assertEqual(sorted(settings - told), [], 'are not told')
        self.assertEqual(sorted(told - settings - {'--listen'}), [], 'are told and do not exist')


if __name__ == '__main__':
    unittest.main()
