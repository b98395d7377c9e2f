"""A headless browser for tests, driven over its debugging pipe: tabs, scripts, keys, screenshots, and what it complained of."""
import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'server'))

PROGRAM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
KEYS = {'Enter': ('\r', 13), 'Tab': (None, 9), 'Escape': (None, 27), 'ArrowDown': (None, 40), 'ArrowUp': (None, 38), ' ': (' ', 32)}


def high(fd):
    """A copy of the descriptor above those that the browser expects its own at."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD, 20)
    os.close(fd)
    return copy


class Browser:
    def __init__(self, *flags):
        self.home = tempfile.mkdtemp(prefix='rivulet-browser-')
        to_browser, self.out = os.pipe()
        self.inn, from_browser = os.pipe()

        def wire():
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)
        words = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--remote-debugging-pipe',
                 '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
                 '--hide-scrollbars', '--window-size=1200,900', f'--user-data-dir={self.home}', *flags, 'about:blank']
        to_browser, from_browser = high(to_browser), high(from_browser)
        self.process = subprocess.Popen([PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=wire, close_fds=False, start_new_session=True)
        os.close(to_browser)
        os.close(from_browser)
        self.rest, self.number, self.complaints, self.context = b'', 0, [], None
        self.dialogs, self.requests = [], []    # what was opened, and each address asked for by tabs with Network.enable

    def begin(self):
        """A browser as if it were new: nothing stored, no worker of an earlier test."""
        self.context = self.send('Target.createBrowserContext')['browserContextId']

    def end(self):
        self.send('Target.disposeBrowserContext', browserContextId=self.context)

    def send(self, method, session=None, **params):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': params}
        if session:
            message['sessionId'] = session
        os.write(self.out, json.dumps(message).encode() + b'\0')
        while True:
            told = self.message()
            if told.get('id') == self.number:
                if 'error' in told:
                    raise AssertionError(f'{method}: {told["error"]}')
                return told['result']
            self.hear(told)

    def hear(self, told):
        if told.get('method') == 'Runtime.exceptionThrown':
            self.complaints.append(told['params']['exceptionDetails'])
        # That a server is away, or says no, is no fault of the page.
        elif told.get('method') == 'Log.entryAdded' and told['params']['entry']['source'] != 'network' and \
                told['params']['entry']['level'] != 'verbose':
            self.complaints.append(told['params']['entry'])
        elif told.get('method') == 'Network.requestWillBeSent':
            self.requests.append(told['params']['request']['url'])
        elif told.get('method') == 'Page.javascriptDialogOpening':
            self.dialogs.append(told['params'])
            self.number += 1
            answer = {'id': self.number, 'method': 'Page.handleJavaScriptDialog', 'params': {'accept': True}, 'sessionId': told['sessionId']}
            os.write(self.out, json.dumps(answer).encode() + b'\0')

    def message(self):
        while b'\0' not in self.rest:
            piece = os.read(self.inn, 1 << 20)
            if not piece:
                raise AssertionError('the browser has ended')
            self.rest += piece
        message, self.rest = self.rest.split(b'\0', 1)
        return json.loads(message)

    def workers(self):
        targets = self.send('Target.getTargets')['targetInfos']
        return [one for one in targets if one['type'] == 'shared_worker' and one.get('browserContextId') == self.context]

    def tab(self):
        return Tab(self, self.send('Target.createTarget', url='about:blank', browserContextId=self.context)['targetId'])

    def close(self):
        os.close(self.out)
        self.process.kill()
        self.process.wait()
        os.close(self.inn)
        shutil.rmtree(self.home, ignore_errors=True)


class Tab:
    def __init__(self, browser, target):
        self.browser, self.target = browser, target
        self.session = browser.send('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'DOM', 'Log'):
            self.call(domain + '.enable')

    def call(self, method, **params):
        return self.browser.send(method, self.session, **params)

    def close(self):
        self.browser.send('Target.closeTarget', targetId=self.target)

    def go(self, url):
        self.run('window.left = true')
        self.call('Page.navigate', url=url)
        self.until('!window.left && document.readyState === "complete"')

    def reload(self):
        self.run('window.left = true')
        self.call('Page.reload')
        self.until('!window.left && document.readyState === "complete"')

    def run(self, script):
        told = self.call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in told:
            raise AssertionError(f'{script}: {told["exceptionDetails"]}')
        return told['result'].get('value')

    def until(self, script):
        """Until it is true; the test's own deadline ends a wait that is in vain."""
        while True:
            try:
                if answer := self.run(script):
                    return answer
            except AssertionError:          # between two documents
                pass
            time.sleep(0.02)

    def text(self, selector):
        return self.run(f'document.querySelector({json.dumps(selector)})?.innerText ?? null')

    def until_text(self, selector, part):
        self.until(f'document.querySelector({json.dumps(selector)})?.textContent.includes({json.dumps(part)})')

    def pick(self, paths, selector='#files'):
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.call('DOM.setFileInputFiles', nodeId=node, files=paths)

    def click(self, selector):
        self.run(f'document.querySelector({json.dumps(selector)}).click()')

    def press(self, key, modifiers=0):
        text, code = KEYS.get(key, (key, ord(key[0].upper())))
        event = {'key': key, 'windowsVirtualKeyCode': code, 'modifiers': modifiers}
        self.call('Input.dispatchKeyEvent', type='keyDown', **event, **({'text': text} if text else {}))
        self.call('Input.dispatchKeyEvent', type='keyUp', **event)

    def focused(self):
        return self.run('document.activeElement?.id || document.activeElement?.getAttribute("href") || document.activeElement?.className')

    def size(self, width, height, mobile=False):
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=2 if mobile else 1, mobile=mobile)

    def scheme(self, name):
        self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': name}])

    def shoot(self, path, clip=None):
        more = {'clip': {'x': 0, 'y': 0, 'width': clip[0], 'height': clip[1], 'scale': 1}} if clip else {}
        shot = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=True, **more)
        with open(path, 'wb') as file:
            file.write(base64.b64decode(shot['data']))
