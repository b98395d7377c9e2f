"""The page in a real browser, driven over its debugging pipe: files in, cards out, a wire that breaks, a page that is loaded again."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from rivulet_server import Rivulet, item

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')


class Browser:
    def __init__(self):
        self.home = tempfile.mkdtemp(prefix='rivulet-browser-')
        to_browser, self.out = os.pipe()
        self.inn, from_browser = os.pipe()

        def wire():
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)
        flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--remote-debugging-pipe',
                 '--window-size=1200,900', f'--user-data-dir={self.home}', 'about:blank']
        # 3 and 4 may be the very ends that we hold: the child's copies are made from duplicates above them.
        to_browser, from_browser = (self.high(fd) for fd in (to_browser, from_browser))
        self.process = subprocess.Popen([BROWSER, *flags], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=wire, close_fds=False, start_new_session=True)
        os.close(to_browser)
        os.close(from_browser)
        self.rest, self.number, self.session, self.complaints = b'', 0, None, []
        target = next(one for one in self.call('Target.getTargets')['targetInfos'] if one['type'] == 'page')
        self.session = self.call('Target.attachToTarget', targetId=target['targetId'], flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'DOM', 'Log'):
            self.call(domain + '.enable')

    @staticmethod
    def high(fd):
        import fcntl
        copy = fcntl.fcntl(fd, fcntl.F_DUPFD, 20)
        os.close(fd)
        return copy

    def call(self, method, **params):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.out, json.dumps(message).encode() + b'\0')
        while True:
            told = self.message()
            if told.get('id') == self.number:
                if 'error' in told:
                    raise AssertionError(f'{method}: {told["error"]}')
                return told['result']
            if told.get('method') in ('Runtime.exceptionThrown', 'Log.entryAdded'):
                self.complaints.append(told['params'])

    def message(self):
        while b'\0' not in self.rest:
            piece = os.read(self.inn, 65536)
            if not piece:
                raise AssertionError('the browser has ended')
            self.rest += piece
        message, self.rest = self.rest.split(b'\0', 1)
        return json.loads(message)

    def go(self, url):
        self.call('Page.navigate', url=url)
        self.until('document.readyState === "complete" && document.getElementById("limits")?.textContent')

    def run(self, script):
        told = self.call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in told:
            raise AssertionError(f'{script}: {told["exceptionDetails"]}')
        return told['result'].get('value')

    def until(self, script):
        """Until it is true; the test's own deadline ends a wait that is in vain."""
        while not (answer := self.run(script)):
            time.sleep(0.02)
        return answer

    def pick(self, paths):
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector='#files')['nodeId']
        self.call('DOM.setFileInputFiles', nodeId=node, files=paths)

    def close(self):
        os.close(self.out)
        self.process.kill()
        self.process.wait()
        os.close(self.inn)
        shutil.rmtree(self.home, ignore_errors=True)


DECK = {'metadata': {'player': '<b>Mo</b>', 'deck_name': '双闸齐开', 'legend_name': '守闸人', 'legend_name_en': 'Warden'},
        'legend': [{'name_cn': '守闸人', 'name_en': 'Warden', 'quantity': 1}],
        'main_deck': [{'name_cn': '银鳞鲑', 'name_en': 'Silverscale', 'quantity': 3}], 'battlefields': [], 'runes': [], 'side_deck': [],
        'unmatched': [{'name_cn': '琥珀蜻蜓', 'quantity': 2}], 'stats': {'total_cards': 6, 'matched_cards': 4, 'accuracy': 66.7}}


@unittest.skipUnless(BROWSER, 'there is no chromium')
class Page(unittest.TestCase):
    timeout_s = 120

    def setUp(self):
        self.server = Rivulet(RIVULET_HEARTBEAT_S=1)
        self.addCleanup(self.server.close)
        self.browser = Browser()
        self.addCleanup(self.browser.close)
        self.folder = tempfile.mkdtemp(prefix='rivulet-files-')
        self.addCleanup(shutil.rmtree, self.folder)
        self.address = f'http://127.0.0.1:{self.server.port}/'

    def files(self, *contents):
        paths = []
        for number, content in enumerate(contents):
            paths.append(os.path.join(self.folder, f'{number}.jpg'))
            with open(paths[-1], 'wb') as file:
                file.write(content)
        return paths

    def shown(self):
        return self.browser.run('[...document.querySelectorAll(".deck")].map(d => d.querySelector("footer").textContent)')

    def test_cards_come_as_they_are_read_and_errors_are_listed(self):
        browser = self.browser
        browser.go(self.address)
        browser.pick(self.files(item(result=DECK), item(fail='no deck in <i>it</i>'), item(sleep_ms=1500, result=DECK)))
        browser.until('document.querySelectorAll(".deck").length === 1')
        self.assertEqual(browser.run('document.getElementById("count").textContent.slice(-4)'), ' / 3')
        self.assertTrue(browser.run('document.getElementById("files").disabled'))
        browser.until('document.getElementById("state").textContent === "Done"')
        self.assertEqual(self.shown(), ['0.jpg', '2.jpg'])
        card = browser.run('document.querySelector(".deck").innerText')
        for text in ('双闸齐开', '守闸人', 'Warden', '3×', '银鳞鲑', 'Silverscale', '琥珀蜻蜓', '<b>Mo</b>', '4 / 6 cards'):
            self.assertIn(text, card)
        self.assertEqual(browser.run('document.querySelector("#failed").textContent'), '1.jpg: no deck in <i>it</i>')
        self.assertIn('2 read · 1 not', browser.run('document.getElementById("now").textContent'))
        self.assertFalse(browser.run('document.getElementById("files").disabled'))
        self.assertEqual(browser.complaints, [])
        browser.call('Page.reload')
        browser.until('document.getElementById("state")?.textContent === "Done"')
        self.assertEqual(self.shown(), ['0.jpg', '2.jpg'])

    def test_a_server_that_dies_and_comes_back_is_found_again(self):
        browser = self.browser
        browser.go(self.address)
        browser.pick(self.files(*[item(sleep_ms=250, result=DECK) for _ in range(6)]))
        browser.until('document.querySelectorAll(".deck").length === 2')
        self.server.kill()
        browser.until('document.getElementById("state").textContent.startsWith("The connection was lost")')
        self.server.env['PORT'] = str(self.server.port)
        self.server.start()
        browser.until('document.getElementById("state").textContent === "Done"')
        self.assertEqual(self.shown(), [f'{number}.jpg' for number in range(6)])

    def test_a_refusal_is_told(self):
        browser = self.browser
        browser.go(self.address)
        browser.pick(self.files(*[item() for _ in range(11)]))
        browser.until('!document.getElementById("problem").hidden')
        self.assertEqual(browser.run('document.getElementById("problem").textContent'), 'Maximum 10 images per batch (received 11)')

    def test_nothing_is_wider_than_a_phone(self):
        browser = self.browser
        browser.call('Emulation.setDeviceMetricsOverride', width=360, height=740, deviceScaleFactor=2, mobile=True)
        browser.go(self.address)
        browser.pick(self.files(item(result=DECK), item(fail='x' * 200)))
        browser.until('document.getElementById("state").textContent === "Done"')
        self.assertLessEqual(browser.run('document.documentElement.scrollWidth'), 360)
