"""Simple JavaScript clients run against the server under node: a fetch, a split at empty lines, the first line is the event and the second
its data. They know nothing of ids, comments or heartbeats, and must not stumble over them.

With SEED_DOCUMENT=PATH the client printed in that document is taken out of it and run too, unchanged.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from rivulet_server import Rivulet, item

NODE = shutil.which('node')
DOCUMENT = os.environ.get('SEED_DOCUMENT')

CLIENT = '''
async function sendAll(files, told) {
  const form = new FormData();
  for (const file of files) form.append('files', file);
  const response = await fetch('http://localhost:8080/api/process-batch-stream', { method: 'POST', body: form });
  const reader = response.body.getReader();
  const text = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += text.decode(value, { stream: true });
    const blocks = rest.split('\\n\\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const [first, second] = block.split('\\n');
      told(first.replace('event: ', ''), JSON.parse(second.replace('data: ', '')));
    }
  }
}
const known = ['progress', 'result', 'error', 'complete'];
sendAll(imageFiles, (event, data) => { if (known.includes(event)) note(event, data); });
'''

# What a browser and the page around the client bring: files, a server at the address that the client names, callbacks that write
# down what they were given.
WORLD = '''
const { File: NodeFile } = require('node:buffer');
const note = (event, data) => process.stdout.write(JSON.stringify([event, data]) + '\\n');
globalThis.File ??= NodeFile;
const realFetch = globalThis.fetch;
globalThis.fetch = (url, options) => realFetch(String(url).replace('http://localhost:8080', process.env.SERVER), options);
const imageFiles = JSON.parse(process.env.FILES).map(([name, type, content]) => new File([content], name, { type }));
const updateProgressBar = (current, total) => note('progress', { current, total });
const displayDecklistInUI = (decklist) => note('result', decklist);
const showErrorNotification = (error) => note('error', error);
const showCompletionMessage = (summary) => note('complete', summary);
console.log = console.error = () => {};
process.on('unhandledRejection', (why) => { process.stderr.write(String(why && why.stack || why)); process.exit(3); });
'''


def printed_client(path):
    """The fenced block that defines the client and uses it."""
    with open(path, encoding='utf-8', errors='replace') as file:
        blocks = re.findall(r'```(?:javascript|js)\n(.*?)```', file.read(), re.S)
    return next(block for block in blocks if 'processBatchWithProgress' in block and 'getReader' in block)


@unittest.skipUnless(NODE, 'node is not installed')
class SimpleClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(RIVULET_HEARTBEAT_S=1)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def told(self, client, files):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'client.cjs')
            with open(path, 'w', encoding='utf-8') as file:
                file.write(WORLD + client)
            env = dict(os.environ, SERVER=f'http://127.0.0.1:{self.server.port}',
                       FILES=json.dumps([[name, media, content.decode()] for name, media, content in files]))
            run = subprocess.run([NODE, path], env=env, capture_output=True, timeout=40, check=False)
        self.assertEqual((run.returncode, run.stderr), (0, b''))
        return [json.loads(line) for line in run.stdout.splitlines()]

    def check(self, client):
        events = self.told(client, [('易.jpg', 'image/jpeg', item(accuracy=90)), ('1.jpg', 'image/jpeg', item(fail='no')),
                                    ('2.jpg', 'image/jpeg', item(sleep_ms=2500)), ('3.txt', 'text/plain', b'x'),
                                    ('4.jpg', 'image/jpeg', item(pad=200000))])
        self.assertEqual([event for event, _ in events if event != 'progress'], ['result', 'error', 'result', 'error', 'result', 'complete'])
        self.assertEqual([data['current'] for event, data in events if event == 'progress'], [1, 1, 2, 2, 3, 3, 4, 5, 5])
        errors = [data for event, data in events if event == 'error']
        self.assertEqual([(error['filename'], error['index']) for error in errors], [('1.jpg', 1), ('3.txt', 3)])
        summary = events[-1][1]
        self.assertEqual((summary['total'], summary['successful'], summary['failed'], summary['average_accuracy']), (5, 3, 2, 90))

    def test_a_simple_client_hears_everything_also_over_a_silence(self):
        self.check(CLIENT)

    @unittest.skipUnless(DOCUMENT, 'SEED_DOCUMENT names no document')
    def test_the_printed_client_runs_unchanged(self):
        self.check(printed_client(DOCUMENT))
