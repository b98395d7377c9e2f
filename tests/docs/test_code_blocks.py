"""Every block of code in the documents does what it shows: commands against a real server, scripts in a browser, data against its shape."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', folder) for folder in ('server', 'browser', 'lib')] + [HERE]
import proxies  # noqa: E402
from blocks import Block, DATA, KNOWN, PROXIES, ROOT, SCRIPTS, SHELL, blocks_of, documents  # noqa: E402
from browser import PROGRAM as CHROMIUM, Browser  # noqa: E402
from rivulet_server import OURS, PROGRAM, Rivulet, item  # noqa: E402

LOCAL, PUBLIC = 'http://127.0.0.1:8080', 'https://rivulet.example.com'
KEY = 'a-long-random-key-of-alice'
DECK = {'decklist_id': '7c3c', 'metadata': {'player': 'A'}, 'legend': [], 'main_deck': [{'name_en': 'Flame Chompers', 'quantity': 3}],
        'stats': {'total_cards': 1, 'matched_cards': 1, 'accuracy': 100}}
NAMES = ('a.jpg', 'b.jpg', 'c.jpg')
SAMPLES = ('01-plain.jpg',)
REFUSAL = '"type":"about:blank"'
DOCUMENT_S = 40
# What is not run, and why. A line of a block that begins with one of these is left away.
EXEMPT = {
    './demo': 'installs packages; tools/bare.sh runs it',
    './check': 'is what runs this',
    'make': 'builds the program under test',
    'npm': 'the suite js does it',
    'node build.js': 'the suite js does it',
    'tools/setup.sh': 'installs packages',
    'tools/fetch-models.sh': 'downloads',
    'tools/bare.sh': 'needs root and takes minutes',
}
# `rivulet serve` on a port of its own until it is ready, everything else as it stands.
WRAPPER = '''#!/bin/sh
[ "$1" = serve ] || exec {program} "$@"
exec {python} - "$@" <<'END'
import subprocess, sys
process = subprocess.Popen(['{program}', *sys.argv[1:], '--listen', '127.0.0.1:0'], stdout=subprocess.PIPE, text=True)
line = process.stdout.readline()
print(line)
process.terminate()
sys.exit(process.wait() if line.startswith('rivulet ready') else 1)
END
'''
SCENE = '''
globalThis.said = [];
for (const name of ['log', 'error']) {
  const print = console[name];
  console[name] = (...words) => { said.push(words.map((one) => typeof one === 'string' ? one : JSON.stringify(one)).join(' ')); print(...words); };
}
addEventListener('unhandledrejection', (event) => said.push('REJECTED ' + event.reason));
document.body.innerHTML = '<div id="root"></div>';
globalThis.files = ORDERS.map((order, number) => new File([order], NAMES[number], { type: 'image/jpeg' }));
globalThis.Deck = () => null;
'''


def run_node(script, value):
    done = subprocess.run(['node', os.path.join(HERE, script)], input=json.dumps(value), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def frames_of(text):
    for frame in text.strip().split('\n\n'):
        fields = dict(line.split(': ', 1) for line in frame.split('\n'))
        fields['data'] = json.loads(fields['data'])
        yield fields


def values_of(block):
    if block.lang == 'sse':
        return list(frames_of(block.code))
    if block.lang == 'jsonl':
        return [json.loads(line) for line in block.code.splitlines()]
    return [json.loads(block.code)]


def bare(text):
    """Lines without comments and what only makes them look nice."""
    return [' '.join(line.split()) for line in text.splitlines() if line.strip() and not line.strip().startswith('#')]


class CodeBlocks(unittest.TestCase):
    timeout_s = DOCUMENT_S * 2

    @classmethod
    def setUpClass(cls):
        for folder in (HERE, os.path.join(ROOT, 'js')):
            if not os.path.exists(os.path.join(folder, 'node_modules', '.package-lock.json')):
                subprocess.run(['npm', 'ci', '--silent'], cwd=folder, check=True)
        cls.blocks = {path: blocks_of(path) for path in documents()}
        cls.folder = tempfile.mkdtemp(prefix='rivulet-docs-')
        cls.server = Rivulet(MAX_WORKERS=2, ENABLE_PARALLEL='true')
        origin = f'http://127.0.0.1:{cls.server.port}'
        cls.keyed = Rivulet(MAX_WORKERS=1, RIVULET_KEYS='alice ' + KEY, RIVULET_CORS_ORIGINS=origin)
        cls.put_files()

    @classmethod
    def tearDownClass(cls):
        cls.keyed.close()
        cls.server.close()
        shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def put(cls, name, content, mode=0o644):
        path = os.path.join(cls.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, mode), 'wb') as file:
            file.write(content)

    @classmethod
    def put_files(cls):
        cls.orders = [item(result=DECK), item(result=DECK, sleep_ms=20), item(fail='The image is damaged.')]
        for name, order in zip(NAMES, cls.orders):
            cls.put(name, order)
        cls.put('items.jsonl', b'{"n": 1}\n{"n": 2}\n')
        cls.put('key', KEY.encode(), 0o600)
        cls.put('keys', b'alice ' + KEY.encode() + b' jobs=10\n', 0o600)
        cls.put('build/rivulet', WRAPPER.format(program=os.path.abspath(PROGRAM), python=sys.executable).encode(), 0o755)
        os.makedirs(os.path.join(cls.folder, 'shots'))
        for name in SAMPLES:
            shutil.copy(os.path.join(ROOT, 'examples/decklists', name), os.path.join(cls.folder, 'shots'))
        os.symlink(os.path.join(ROOT, 'examples'), os.path.join(cls.folder, 'examples'))
        shutil.copy(os.path.join(ROOT, 'examples/decklists/catalogue.csv'), os.path.join(cls.folder, 'cards.csv'))

    def here(self, code):
        """With the addresses of the servers under test in place of those that the documents name."""
        code = code.replace(LOCAL, f'http://127.0.0.1:{self.server.port}').replace('127.0.0.1:8080', f'127.0.0.1:{self.server.port}')
        return code.replace(PUBLIC, f'http://127.0.0.1:{self.keyed.port}')

    def all(self, langs):
        return [block for blocks in self.blocks.values() for block in blocks if block.lang in langs]

    def check_said(self, block, said):
        for words in block.says:
            self.assertIn(words, said, f'{block} does not say so')
        self.assertEqual(REFUSAL in said, block.refused, f'{block}: {said[-2000:]}')

    def test_each_block_says_what_it_is(self):
        for block in [block for blocks in self.blocks.values() for block in blocks]:
            self.assertIn(block.lang, KNOWN, f'{block}: what cannot be run is called text')

    def run_shell(self, path, blocks):
        """All commands of a document in one shell, so that a name set above is known below; {block: what it printed}."""
        script = 'set -eu\n'
        for number, block in enumerate(blocks):
            lines = [line for line in self.here(block.code).splitlines() if not line.startswith(tuple(EXEMPT))]
            script += f'echo; echo "@@ {number}"\n' + '\n'.join(lines) + '\n'
        env = {name: value for name, value in os.environ.items() if not name.startswith(OURS) or name == 'RIVULET_MODELS'}
        env['RIVULET_SERVER'] = f'http://127.0.0.1:{self.server.port}'
        done = subprocess.run(['bash', '-c', script], cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=DOCUMENT_S, check=False)
        said = done.stdout.decode(errors='replace')
        parts = re.split(r'^@@ \d+\n', said, flags=re.M)[1:]
        self.assertEqual((done.returncode, len(parts)), (0, len(blocks)),
                         f'{blocks[len(parts) - 1] if parts else path}: {done.stderr.decode()[-1500:]}\n{said[-1500:]}')
        return zip(blocks, parts)

    def test_commands(self):
        for path in self.blocks:
            blocks = [block for block in self.blocks[path] if block.lang in SHELL]
            with self.subTest(path):
                for block, said in self.run_shell(path, blocks) if blocks else []:
                    self.check_said(block, said)

    def test_what_is_wrong_is_found(self):
        refused = f'curl -s {LOCAL}/v1/jobs/none\n'
        for code, notes in (('false\n', []), ('no-such-command\n', []), (refused, []), ('true\n', ['<!-- refused -->']),
                            ('echo one\n', ['<!-- says: two -->']), ('echo $UNSET\n', [])):
            block = Block('wrong.md', 1, 'bash', notes)
            block.code = code
            with self.assertRaises(AssertionError, msg=code):
                for one, said in self.run_shell('wrong.md', [block]):
                    self.check_said(one, said)
        document = self.server.get('/openapi.json').json()
        for value in ({'ticket': 'x'}, {'ticket': 'x', 'expires_at': 'then', 'owner': 'y'}):
            self.assertIn('wrong.md', run_node('shapes.mjs', {'document': document, 'samples': [{'what': 'wrong.md', 'schema': 'Ticket', 'value': value}]}))

    def test_data(self):
        document = self.server.get('/openapi.json').json()
        samples = []
        for block in self.all(DATA):
            self.assertTrue(block.shape, f'{block} names no shape')
            samples += [{'what': str(block), 'schema': block.shape, 'value': value} for value in values_of(block)]
        self.assertEqual(run_node('shapes.mjs', {'document': document, 'samples': samples}), '')

    def test_proxies_are_those_that_are_tested(self):
        files = {'nginx': 'nginx.conf', 'haproxy': 'haproxy.cfg', 'caddy': 'Caddyfile'}
        for block in self.all(PROXIES):
            self.assertEqual(bare(block.code), bare(proxies.example(files[block.lang])), str(block))

    def run_in_node(self, block, code):
        path = os.path.join(self.folder, 'block.mjs')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(f'globalThis.names = {json.dumps(NAMES)};\n{code}')
        done = subprocess.run(['node', path], cwd=self.folder, capture_output=True, text=True, timeout=DOCUMENT_S, check=False)
        self.assertEqual(done.returncode, 0, f'{block}: {done.stderr[-1500:]}')
        self.check_said(block, done.stdout)

    def run_in_browser(self, tab, block, code):
        tab.go(f'http://127.0.0.1:{self.server.port}/livez')
        keyed = 'rivulet.example.com' in block.code
        server, headers = (self.keyed, {'Authorization': 'Bearer ' + KEY}) if keyed else (self.server, {})
        job = server.ask('POST', '/v1/jobs?pipeline=noop', json.dumps({'items': [json.loads(order) for order in self.orders[:2]]}).encode(),
                         {'Content-Type': 'application/json', **headers}).json()['id']
        scene = SCENE.replace('ORDERS', json.dumps([order.decode() for order in self.orders])).replace('NAMES', json.dumps(NAMES))
        tab.run(scene + f'globalThis.job = {json.dumps(job)}; globalThis.key = {json.dumps(KEY)}; 0')
        if block.lang == 'js':
            tab.run(f'(async () => {{ if (!/new Rivulet/.test({json.dumps(block.code)})) globalThis.client = new '
                    f'(await import(URL.createObjectURL(new Blob([{json.dumps(self.client)}], {{ type: "text/javascript" }})))).Rivulet({{}}); }})()')
        tab.run(f'import(URL.createObjectURL(new Blob([{json.dumps(code)}], {{ type: "text/javascript" }}))).then(() => 0)')
        if block.lang != 'js':
            tab.until('!!document.querySelector("input[type=file]")')
            tab.run('''{ const chosen = new DataTransfer(); for (const file of files) chosen.items.add(file);
                         const input = document.querySelector('input[type=file]'); input.files = chosen.files;
                         input.dispatchEvent(new Event('change', { bubbles: true })); 0 }''')
        whole = 'said.join("\\n") + "\\n" + document.body.innerText'
        for words in block.says:
            tab.until(f'({whole}).includes({json.dumps(words)}) || said.some((line) => line.startsWith("REJECTED"))')
        said = tab.run(whole)
        self.assertNotIn('REJECTED', said, str(block))
        self.assertEqual(tab.browser.complaints, [], str(block))
        self.check_said(block, said)

    @unittest.skipUnless(CHROMIUM, 'chromium is not here')
    def test_scripts(self):
        blocks = self.all(SCRIPTS)
        made = json.loads(run_node('bundle.mjs', [{'name': str(block), 'lang': block.lang, 'code': self.here(block.code)} for block in blocks] +
                                   [{'name': 'client', 'lang': 'js', 'code': "export { Rivulet } from 'rivulet-client';"}]))
        self.client = made.pop()['code']
        browser = Browser()
        self.addCleanup(browser.close)
        browser.begin()
        tab = browser.tab()
        for block, bundle in zip(blocks, made):
            with self.subTest(str(block)):
                self.assertNotIn('error', bundle, str(block))
                if 'node:' in block.code:
                    self.run_in_node(block, bundle['code'])
                else:
                    self.run_in_browser(tab, block, bundle['code'])
        with self.assertRaises(AssertionError):
            self.run_in_browser(tab, Block('wrong.md', 1, 'js', []), 'throw new Error("as it must");')


if __name__ == '__main__':
    unittest.main()
