"""Text that wants to be a script, wherever somebody else's words reach the page: names of files and items, errors, results, parameters, names of
pipelines, addresses. It is shown as it is, builds no node more than plain words do, asks nobody for anything, opens no dialog, breaks no policy."""
import json
import re
import socket
import unittest
from urllib.parse import quote

import browser as driver
from rivulet_server import Rivulet, image

# TARGET is an address that listens and must never be asked.
PAYLOADS = [
    '<script>alert(1)</script>', '"><script src=//TARGET/a.js></script>', "'><script>alert(1)</script>", '<ScRiPt >alert(1)</sCrIpT>', '<scr<script>ipt>alert(1)</script>',
    '</script><script>alert(1)</script>', '<!--<script>alert(1)//-->', ']]><script>alert(1)</script>', '<img src=x onerror=alert(1)>', '<img src="http://TARGET/i.png">',
    '<img/src=`x`onerror=alert`1`>', '<svg onload=alert(1)>', '<svg><script>alert(1)</script></svg>', '<svg><animate onbegin=alert(1) attributeName=x dur=1s>',
    '<math><mtext></p><img src onerror=alert(1)>', '<math href="javascript:alert(1)">x</math>', '<iframe src="javascript:alert(1)"></iframe>',
    '<iframe srcdoc="<script>parent.alert(1)</script>">', '<object data="http://TARGET/o">', '<embed src="http://TARGET/e">', '<link rel=stylesheet href="http://TARGET/s.css">',
    '<style>@import "http://TARGET/s"; *{display:none}</style>', '<base href="http://TARGET/">', '<meta http-equiv=refresh content="0;url=http://TARGET/">',
    '<form action="http://TARGET/"><button autofocus onfocus=alert(1)>x</button></form>', '<details open ontoggle=alert(1)>x</details>', '<body onload=alert(1)>',
    '<input autofocus onfocus=alert(1)>', '<video><source onerror=alert(1)></video>', '<audio src=x onerror=alert(1)>', '<template><script>alert(1)</script></template>',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">', '" onmouseover="alert(1)" x="', "' autofocus onfocus='alert(1)", '` onmouseover=alert(1) `', '" style="position:fixed;inset:0',
    'javascript:alert(1)', ' java&Tab;script:alert(1)', 'data:text/html,<script>alert(1)</script>', 'http://TARGET/plain', '${alert(1)}', '{{constructor.constructor("alert(1)")()}}',
    '<%= alert(1) %>', '#{alert(1)}', '__proto__', 'constructor', '&lt;script&gt;alert(1)&lt;/script&gt;', '&#60;img src=x onerror=alert(1)&#62;', '&quot;&gt;&amp;&nbsp;',
    '\uff1cscript\uff1ealert(1)\uff1c/script\uff1e', '\u02b9\u02ba<\u2028script>alert(1)</script>', '+ADw-script+AD4-alert(1)+ADw-/script+AD4-', '\ufeff<script>alert(1)</script>',
    '\u202egpj.exe', '\u2067\u202ealert\u2069\u2069(1)', 'a\u200b\u200d\u00adb', 'Z\u0351\u0343' * 20, '\u0430\u0440\u0440\u04cf\u0435', '\U0001f469\u200d\U0001f4bb' * 9, '%3Cscript%3Ealert(1)%3C/script%3E',
    '\\u003cscript\\u003ealert(1)\\u003c/script\\u003e', '\\x3cscript>', "');alert(1);//", '<a href="javascript:alert(1)" ping="http://TARGET/">x</a>',
    '<x' + 'x' * 200 + '>', 'W' * 230,
]
PLAIN = 'word'        # the page shows at most 200 cards at first, three a payload
# What stands in the page beside words: each element with its attributes' names, and what it points at. A button that has copied something keeps what it said before,
# as soon as the clipboard has taken it.
SHAPE = '''[...document.querySelectorAll("body, body *, head > *")].map((node) => node.localName + "[" + [...node.attributes].filter((one) => one.name !== "data-label").map((one) =>
  ["href", "src", "class", "id", "role", "type"].includes(one.name) ? one.name + "=" + one.value : one.name).sort() + "]")'''


class Scripts(unittest.TestCase):
    timeout_s = 120

    @classmethod
    def setUpClass(cls):
        if not driver.PROGRAM:
            raise unittest.SkipTest('there is no chromium')
        cls.browser = driver.Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.server = Rivulet(RIVULET_HEARTBEAT_S=1, MAX_BATCH_SIZE=200, MAX_WORKERS=2)
        cls.addClassCleanup(cls.server.close)
        cls.address = f'http://127.0.0.1:{cls.server.port}/'
        cls.target = socket.create_server(('127.0.0.1', 0))
        cls.addClassCleanup(cls.target.close)
        cls.payloads = [text.replace('TARGET', f'127.0.0.1:{cls.target.getsockname()[1]}') for text in PAYLOADS]

    def setUp(self):
        self.browser.begin()
        self.tab = self.browser.tab()
        self.tab.call('Network.enable')
        self.browser.dialogs, self.browser.requests, self.browser.complaints = [], [], []

    def tearDown(self):
        self.tab.run('document.title')          # all that was on its way is heard
        self.browser.end()
        self.assertEqual(self.browser.dialogs, [])
        self.assertEqual(self.browser.complaints, [])
        self.assertGreater(len(self.browser.requests), 3)
        self.assertEqual([url for url in self.browser.requests if not url.startswith((self.address, 'blob:' + self.address, 'data:image/svg'))], [])
        self.target.setblocking(False)
        self.assertRaises(BlockingIOError, self.target.accept)

    def submit(self, texts):
        """Each text as a name, an error and three kinds of result."""
        items = []
        for text in texts:
            short = text.encode()[:120].decode(errors='ignore')
            deck = {'metadata': {'deck_name': text, 'player': text, 'event': text, 'date': text, 'placement': text, 'legend_name': text, 'legend_name_en': text},
                    'legend': [{'name_cn': text, 'name_en': text, 'quantity': text, 'match_type': text}], 'main_deck': [{'name_en': text, 'card_number': text, 'match_score': text}],
                    'unmatched': [{'name_cn': text}], 'stats': {'total_cards': text, 'matched_cards': text, 'accuracy': text}}
            orders = [{'fail': text or ' '}, {'result': text}, {'result': {text: [text]}}, {'result': deck}]
            items += [{'name': text, 'key': short, 'type': short, 'value': {'noop': order}} for order in orders]
        body = json.dumps({'pipeline': 'noop', 'items': items, 'params': {text: text for text in texts}}).encode()
        answer = self.server.ask('POST', '/v1/jobs', body, {'Content-Type': 'application/json', 'Prefer': 'wait=30'})
        told = answer.json()
        self.assertEqual(answer.status, 200, told)
        return told['id']

    def show(self, job):
        """The page of a job with all that can be opened in it open; (its shape, all its words)."""
        self.tab.go(self.address + 'jobs/' + job)
        self.tab.until('!document.getElementById("summary").hidden')
        self.tab.run('document.getElementById("chart-table").open = true; document.getElementById("order").value = "input";'
                     'document.getElementById("order").dispatchEvent(new Event("change"))')
        self.tab.until(f'document.getElementById("failed-more").click(), document.querySelectorAll("#failed li").length === {len(PAYLOADS)} && '
                       'document.querySelector("#chart-table td") !== null && !document.querySelector("#now bdi")')      # all events are there
        self.tab.run('document.getElementById("chart").focus()')
        for _ in range(3):
            self.tab.press('ArrowDown')
        self.tab.run('[...document.querySelectorAll(".card .copy, .card .quiet")].slice(0, 8).forEach((button) => button.click())')
        self.tab.until('![...document.querySelectorAll("button")].some((button) => button.textContent === "Copied")')
        return re.sub('[0-9a-f]{32}| still', '', '\n'.join(self.tab.run(SHAPE))).split('\n'), self.tab.run('document.body.textContent')

    def failed(self, part):
        """That part of the lines of what failed, in the order of the items."""
        return self.tab.run('[...document.querySelectorAll("#failed li")].sort((a, b) => a.dataset.index - b.dataset.index)'
                            f'.map((line) => line.querySelector({json.dumps(part)}).textContent)')

    def test_whatever_is_named_or_answered_is_text_and_nothing_else(self):
        plain, _ = self.show(self.submit([PLAIN] * len(PAYLOADS)))
        job = self.submit(self.payloads)
        shape, words = self.show(job)
        self.assertEqual(self.failed('b'), self.payloads)
        lines = self.failed('p')
        kinds = {of: self.tab.run(f'[...document.querySelectorAll({json.dumps(of)})].map((node) => node.textContent)')
                 for of in ('.card h3', '.card pre', '.card .cn', '.card .en', '.card .facts')}
        for number, text in enumerate(self.payloads):
            with self.subTest(text=text[:40]):
                self.assertIn(text, words)
                self.assertEqual(kinds['.card h3'][number * 3:number * 3 + 3], [text] * 3)
                self.assertEqual(json.loads(kinds['.card pre'][number * 2]), text)
                self.assertEqual(json.loads(kinds['.card pre'][number * 2 + 1]), {text: [text]})
                self.assertIn(text, kinds['.card .cn'])
                self.assertIn(text, kinds['.card .en'])
                self.assertIn(f'Failed: {text} - {text}', lines[number])
                self.assertTrue(any(text in facts for facts in kinds['.card .facts']))
        self.assertEqual(shape, plain)

    def test_names_of_files_and_pipelines_lines_and_addresses(self):
        server = self.server
        sent = [image(text, fail='no') for text in self.payloads if '\u2028' not in text]
        job = server.post('/v1/jobs?pipeline=decklists', sent, Prefer='wait=30').json()['id']
        self.tab.go(self.address + 'jobs/' + job)
        self.tab.until('!document.getElementById("summary").hidden')
        self.tab.until(f'document.getElementById("failed-more").click(), document.querySelectorAll("#failed li").length === {len(sent)}')
        self.assertEqual(self.failed('b'), [name for name, _, _ in sent])
        self.tab.run(f'localStorage.setItem("pipeline", {json.dumps(self.payloads[8])})')
        # What the composer says of a line that is none, and of a pipeline that is not there.
        self.tab.go(self.address)
        self.tab.until('document.getElementById("pipeline").options.length')
        self.tab.run('{ const p = document.getElementById("pipeline"); p.value = "noop"; p.dispatchEvent(new Event("change")) }')
        before = self.tab.run('document.querySelectorAll("body *").length')
        for text in self.payloads[:12] + ['{"a": ' + self.payloads[0]]:
            self.tab.run(f'document.getElementById("values").value = {json.dumps("{" + text)}')
            self.tab.click('#values-form button')
            self.tab.until_text('#problem', ('Line 1 is not JSON: {' + text)[:60])
        self.tab.run(f'{{ const o = document.getElementById("pipeline").options[0]; o.value = o.textContent = {json.dumps(self.payloads[8])}; o.parentNode.value = o.value; '
                     'document.getElementById("values").value = "1" }')
        self.tab.click('#values-form button')
        self.tab.until_text('#problem', f'There is no pipeline "{self.payloads[8]}"')
        self.assertEqual(self.tab.run('document.querySelectorAll("body *").length'), before)
        # Addresses that are no job's.
        for text in self.payloads[:6] + ['..%2f..', 'javascript:alert(1)']:
            self.tab.go(self.address + 'jobs/' + quote(text, safe=''))
            self.assertEqual(self.tab.run('document.querySelectorAll("body script, body img[onerror], body svg, iframe").length'), 0)

    def test_a_name_that_turns_the_direction_turns_nothing_but_itself(self):
        again = {'name': 'b\u2067\u2069\u202etxt', 'value': {'noop': {'sleep_ms': 1000, 'retry': 'again'}}}       # many, so that one rests however late the page comes
        items = [{'name': 'a\u202egpj.exe', 'value': {'noop': {'fail': 'no \u202edeck'}}}, *[again] * 10]
        answer = self.server.ask('POST', '/v1/jobs?in_flight=2', json.dumps({'pipeline': 'noop', 'items': items}).encode(), {'Content-Type': 'application/json'})
        job = answer.json()['id']
        self.tab.go(self.address + 'jobs/' + job)
        self.tab.until('document.querySelector("#failed b") !== null')
        order = '''((of, text) => { const walk = document.createTreeWalker(document.querySelector(of), NodeFilter.SHOW_TEXT);
          while (walk.nextNode()) { const at = walk.currentNode.data.indexOf(text); if (at < 0) continue;
            return [...text].map((_, n) => { const range = document.createRange(); range.setStart(walk.currentNode, at + n); range.setEnd(walk.currentNode, at + n + 1);
                                             return range.getBoundingClientRect().left; }); } })'''
        for of, text in (('#failed p', 'Failed'), ('#failed p', ' - '), ('#failed p', '(in '), ('#now', '(to be tried'), ('#now', 'Now:')):
            with self.subTest(of=of, text=text):
                places = self.tab.until(f'{order}({json.dumps(of)}, {json.dumps(text)})')
                self.assertEqual(places, sorted(places))
        self.server.ask('POST', f'/v1/jobs/{job}/cancel').body()


if __name__ == '__main__':
    unittest.main()
