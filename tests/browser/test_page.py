"""The page in a real browser over a real server: what goes in, what comes out as it comes, and what happens when the wire breaks, the
page is loaded again, the tab is one of two, the screen is small, the colours are dark, or there is nothing but a keyboard."""
import json
import os
import shutil
import tempfile
import unittest

import browser as driver
from rivulet_server import Rivulet, item

SHOTS = os.environ.get('RIVULET_SHOTS')         # a folder for screenshots to look at
DECK = {'metadata': {'player': '<b>Mo</b>', 'deck_name': '双闸齐开', 'legend_name_en': 'Warden'}, 'legend': [],
        'main_deck': [{'name_cn': '银鳞鲑', 'name_en': 'Silverscale', 'quantity': 3, 'match_type': 'exact_full', 'match_score': 100},
                      {'name_cn': '石桥', 'name_en': 'Stone Bridge', 'quantity': 1, 'match_type': 'fuzzy_full', 'match_score': 71.4}],
        'battlefields': [], 'runes': [], 'side_deck': [], 'unmatched': [{'name_cn': '琥珀蜻蜓', 'quantity': 2}],
        'stats': {'total_cards': 6, 'matched_cards': 4, 'accuracy': 66.7}}
HOSTILE = ['<img src=x onerror=alert(1)>', '"><script>alert(1)</script>', "javascript:alert('1')", '${alert(1)}', '&lt;b&gt;', '</textarea><svg onload=alert(1)>',
           '\u202etxt.exe', '<style>*{display:none}</style>']

# Text that is seen, with less contrast than it should have: [[text, colours, ratio]…].
CONTRAST = '''(() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n.slice(0, 3), 1] : n; };
  const light = ([r, g, b]) => { const c = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                                 return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const back = (node) => { const layers = [];
    for (let at = node; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]); };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || node.closest('.unseen, option, button:disabled')) continue;
    const paper = back(node), style = getComputedStyle(node), ink = over(parse(style.color), paper);
    const [high, low] = [light(ink), light(paper)].sort((a, b) => b - a), ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) bad.push([walk.currentNode.data.trim().slice(0, 30), style.color, ratio.toFixed(2)]);
  }
  return bad;
})()'''
WIDER = '''[...document.querySelectorAll("body *")].filter((node) => node.checkVisibility() && !node.closest(".unseen, .skip, .chart, .scroll, pre") &&
           node.getBoundingClientRect().right > innerWidth + 0.5).map((node) => node.tagName + "." + node.className + "#" + node.id)'''


def value(**orders):
    return {'noop': orders}


@unittest.skipUnless(driver.PROGRAM, 'there is no chromium')
class Page(unittest.TestCase):
    timeout_s = int(os.environ.get('T', 60))

    @classmethod
    def setUpClass(cls):
        cls.browser = driver.Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.serve()
        self.browser.begin()
        self.folder = tempfile.mkdtemp(prefix='rivulet-files-')
        self.addCleanup(shutil.rmtree, self.folder)
        self.tab = self.browser.tab()

    def serve(self, **settings):
        self.server = Rivulet(RIVULET_HEARTBEAT_S=1, **settings)
        self.addCleanup(self.server.close)
        self.address = f'http://127.0.0.1:{self.server.port}/'

    def tearDown(self):
        self.browser.end()
        complaints, self.browser.complaints = self.browser.complaints, []
        self.assertEqual(complaints, [])        # no exception, and nothing that the policy forbids

    def files(self, *contents, names=None):
        paths = []
        for number, content in enumerate(contents):
            paths.append(os.path.join(self.folder, names[number] if names else f'{number}.jpg'))
            with open(paths[-1], 'wb') as file:
                file.write(content)
        return paths

    def submit(self, *items, pipeline='noop'):
        lines = '\n'.join(json.dumps(one) for one in items)
        answer = self.server.ask('POST', f'/v1/jobs?pipeline={pipeline}', lines.encode(), {'Content-Type': 'application/x-ndjson'})
        self.assertEqual(answer.status, 202, answer.raw)
        answer.body()
        return answer.header('Location').rsplit('/', 1)[1]

    def open(self, job='', tab=None):
        tab = tab or self.tab
        tab.go(self.address + (f'jobs/{job}' if job else ''))
        tab.until('!document.getElementById("job").hidden || document.getElementById("pipeline").options.length')
        return tab

    def job(self, tab=None):
        """The id in the address, once there is one."""
        return (tab or self.tab).until('location.pathname.startsWith("/jobs/") && location.pathname.slice(6)')

    def ended(self, tab=None):
        (tab or self.tab).until('!document.getElementById("summary").hidden')

    def cards(self, tab=None):
        return (tab or self.tab).run('[...document.querySelectorAll(".card")].map((card) => Number(card.dataset.index))')

    def words(self):
        """All that the page says of the job, but for what only the tab that sent the files can show."""
        return self.tab.text('#job').replace('\nThe image', '').replace('Copied', 'Copy text')

    def shot(self, name, **options):
        if SHOTS:
            self.tab.run('document.getAnimations().forEach((one) => one.finish())')
            self.tab.shoot(os.path.join(SHOTS, name + '.png'), **options)

    # ---- from files to cards ----

    def test_the_first_card_is_there_before_the_second_item_ends_and_a_reload_restores_all(self):
        tab = self.open()
        tab.pick(self.files(item(result=DECK, accuracy=66.7), item(sleep_ms=2500, result=DECK, accuracy=70), item(fail='no deck in <i>it</i>')))
        tab.until('document.querySelectorAll(".card").length === 1')
        document = self.server.document(self.job())
        self.assertEqual((document['batches_completed'], document['status']), (1, 'running'))
        card = tab.text('.card')
        for text in ('双闸齐开', 'Warden', '3×', '银鳞鲑', 'Silverscale', '琥珀蜻蜓', '<b>Mo</b>', '4 of 6 cards known', 'unsure 71 %', 'not found'):
            self.assertIn(text, card)
        tab.click('.card .copy')                # usable while the others run
        tab.until_text('.card .copy', 'Copied')
        self.shot('running')
        self.ended()
        self.assertEqual(self.cards(), [1, 0])
        self.assertIn('Failed: 2.jpg - no deck in <i>it</i>', tab.text('#failed'))
        self.assertEqual(tab.text('#count'), '3 / 3 · 1 failed')
        self.assertIn('68.35 %', tab.text('#summary'))
        before = self.words()
        tab.reload()
        tab.until('!document.getElementById("summary").hidden && document.getElementById("job-title").textContent === "decklists"')
        self.assertEqual(self.words(), before)
        other = self.open(self.job(), self.browser.tab())       # the link, in another tab
        self.ended(other)
        self.assertEqual(self.cards(other), [1, 0])

    def test_results_come_while_the_rest_still_goes_up(self):
        tab = self.open()
        tab.call('Network.enable')
        tab.call('Network.emulateNetworkConditions', offline=False, latency=0, downloadThroughput=-1, uploadThroughput=500_000)
        tab.pick(self.files(item(result=DECK), *[bytes([65 + n]) * 150_000 for n in range(10)]))
        tab.until('document.querySelectorAll(".card").length > 0')
        self.assertIn('Sending: ', tab.text('#sending'))
        self.assertEqual(self.server.document(self.job())['status'], 'running')
        tab.call('Network.emulateNetworkConditions', offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
        self.ended()
        self.assertEqual(tab.text('#count'), '11 / 11')
        self.assertFalse(tab.run('!document.getElementById("sending").hidden'))

    def test_values_are_written_and_a_line_that_is_none_is_told(self):
        tab = self.open()
        tab.run('const p = document.getElementById("pipeline"); p.value = "noop"; p.dispatchEvent(new Event("change"))')
        tab.run('document.getElementById("typed").open = true; document.getElementById("values").value = \'{"a": 1}\\nnot\'')
        tab.click('#values-form button')
        tab.until_text('#problem', 'Line 2 is not JSON: not')
        tab.run('document.getElementById("values").value = \'[{"a": 1}, "two", 3]\'')
        tab.click('#values-form button')
        self.job()
        self.ended()
        self.assertEqual(sorted(self.cards()), [0, 1, 2])
        self.assertEqual(sorted(tab.run('[...document.querySelectorAll(".card pre")].map((pre) => pre.textContent)')), ['"two"', '3', '{\n  "a": 1\n}'])

    def test_files_are_dropped_and_values_are_pasted(self):
        tab = self.open()
        tab.run('''{ const given = new DataTransfer(); given.items.add(new File([\'{"noop": {"result": "dropped"}}\'], "a.jpg", {type: "image/jpeg"}));
                   document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true})) }''')
        first = self.job()
        self.ended()
        self.assertIn('dropped', tab.text('.card'))
        tab.click('#back')
        tab.until('document.getElementById("home").hidden === false')
        tab.run('const p = document.getElementById("pipeline"); p.value = "noop"; p.dispatchEvent(new Event("change"))')
        tab.run('''{ const given = new DataTransfer(); given.setData("text", "[1, 2]");
                   document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: given, bubbles: true})) }''')
        tab.until_text('#values-count', '2 items')
        tab.run('''{ const given = new DataTransfer(); given.items.add(new File(["1\\n2\\n3\\n"], "a.jsonl"));
                   document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true})) }''')
        tab.until(f'location.pathname.startsWith("/jobs/") && location.pathname !== "/jobs/{first}"')
        self.ended()
        self.assertEqual(tab.text('#count'), '3 / 3')

    def test_hostile_names_and_results_stay_text(self):
        result = {'metadata': {'deck_name': HOSTILE[0], 'player': HOSTILE[1]}, 'main_deck': [{'name_en': text, 'quantity': HOSTILE[0]} for text in HOSTILE],
                  'unmatched': [{'name_cn': HOSTILE[1], 'quantity': 1}], 'stats': {'total_cards': HOSTILE[0], 'accuracy': HOSTILE[1]}}
        name = HOSTILE[0].replace('/', '_') + '.jpg'
        tab = self.open()
        tab.pick(self.files(item(fail=HOSTILE[5] + HOSTILE[1]), item(result=HOSTILE), names=[name, '"><b>.jpg']))
        first = self.job()
        self.ended()
        self.assertIn(f'Failed: {name} - {HOSTILE[5]}{HOSTILE[1]}', tab.text('#failed'))
        self.open(self.submit(value(result=result), value(result=result['main_deck'])))
        self.ended()
        self.assertIn(HOSTILE[1], tab.text('.card.deck'))
        for job in (first, self.job()):
            self.open(job)
            self.ended()
            self.assertEqual(tab.run('document.querySelectorAll("#job script, #job svg, #job style, #job [onerror], #job [onload], #cards img, #failed img").length'), 0)
        self.assertEqual(json.loads(tab.run('document.querySelector("#cards .card:not(.deck) pre").textContent')), result['main_deck'])

    def test_every_job_has_an_address_and_a_strict_policy(self):
        for path in ('/jobs/' + '0' * 32, '/'):
            answer = self.server.get(path, Accept='text/html')
            policy = answer.header('Content-Security-Policy')
            self.assertEqual((answer.status, answer.header('Content-Type')), (200, 'text/html; charset=utf-8'))
            self.assertIn("default-src 'none'; script-src 'self'; style-src 'self';", policy)
            self.assertNotIn('unsafe', policy)
            page = answer.body().decode()
            self.assertNotRegex(page, r'(?i)<script(?![^>]* src="/assets/)|<style|\sstyle=|\son\w+=|(src|href)="(https?:)?//')

    # ---- when the wire breaks ----

    def test_a_server_that_dies_and_comes_back_is_found_again(self):
        tab = self.open()
        tab.pick(self.files(*[item(sleep_ms=300, result=DECK) for _ in range(8)]))
        tab.until('document.querySelectorAll(".card").length >= 2 && document.getElementById("sending").hidden')
        self.server.kill()
        tab.until_text('#notice', 'The server is not there')
        self.server.env['PORT'] = str(self.server.port)
        self.server.start()
        tab.until_text('#notice', 'Connected again')
        self.ended()
        self.assertEqual(sorted(self.cards()), list(range(8)))
        self.assertEqual(tab.text('#count'), '8 / 8')

    def test_a_minute_without_news_is_told_and_taken_back(self):
        tab = self.tab
        tab.call('Page.addScriptToEvaluateOnNewDocument',
                 source='const real = performance.now.bind(performance); window.skew = 0; performance.now = () => real() + window.skew')
        self.open(self.submit(value(result=1), value(sleep_ms=3000)))
        tab.until('document.querySelectorAll(".card").length > 0')
        self.assertTrue(tab.run('document.getElementById("stall").hidden'))
        tab.run('window.skew = 61000')
        tab.until_text('#stall', 'No news for 1 min')
        self.ended()
        self.assertTrue(tab.run('document.getElementById("stall").hidden'))

    def test_tabs_share_one_connection(self):
        jobs = [self.submit(value(result=n), *[value(sleep_ms=200)] * 500) for n in range(2)]
        tabs = [self.open(jobs[0]), self.open(jobs[1], self.browser.tab()), self.open(jobs[0], self.browser.tab()), self.open('', self.browser.tab())]
        for tab in tabs[:3]:
            tab.until('document.querySelectorAll(".card").length > 1')
        tabs[3].until('document.querySelectorAll("#jobs li[data-status=running]").length === 2')
        for job in jobs:
            self.server.ask('POST', f'/v1/jobs/{job}/cancel').body()
        for tab in tabs[:3]:
            self.ended(tab)
        self.assertEqual(tabs[0].text('#count'), tabs[2].text('#count'))
        tabs[3].until('document.querySelectorAll("#jobs li[data-status=cancelled]").length === 2')
        # No tab has asked for events by itself: the one worker that they share did.
        asked = [tab.run('performance.getEntriesByType("resource").filter((one) => one.name.includes("/events")).length') for tab in tabs]
        self.assertEqual(asked, [0, 0, 0, 0])
        self.assertEqual(len(self.browser.workers()), 1)
        for tab in tabs[:3]:                # a tab that is closed does not end what the others read
            tab.close()
        job = self.submit(value(result=1), value(sleep_ms=200))
        self.open(job, tabs[3])
        self.ended(tabs[3])

    def test_without_shared_workers_each_tab_reads_for_itself(self):
        self.tab.call('Page.addScriptToEvaluateOnNewDocument', source='delete window.SharedWorker')
        self.open(self.submit(value(result=1), value(sleep_ms=300)))
        self.ended()
        self.assertEqual(self.cards(), [1, 0])
        self.assertEqual(self.browser.workers(), [])

    # ---- control ----

    def test_cancel_asks_and_then_nothing_more_starts(self):
        tab = self.open(self.submit(*[value(sleep_ms=300)] * 30))
        tab.until('document.querySelectorAll(".card").length > 0')
        tab.click('#cancel')
        tab.until('document.getElementById("sure").open')
        tab.click('#sure button[value=no]')
        tab.until('!document.getElementById("sure").open')
        self.assertEqual(self.server.document(self.job())['status'], 'running')
        tab.click('#cancel')
        tab.click('#sure button[value=yes]')
        self.ended()
        self.assertIn('Cancelled', tab.text('#status'))
        self.assertRegex(tab.text('#count'), r'^30 / 30 · \d+ not started$')
        self.assertGreater(len(self.cards()), 0)
        self.assertTrue(tab.run('document.getElementById("cancel").hidden'))

    def test_retry_of_one_and_of_all_are_new_jobs(self):
        job = self.submit(value(fail='once'), value(result=1), value(fail='twice'))
        tab = self.open(job)
        self.ended()
        self.shot('errors')
        tab.until('document.querySelectorAll("#failed button").length === 2')
        tab.click('#failed li[data-index="2"] button')
        tab.until('document.querySelector("#failed a.retried") !== null')
        tab.click('#failed a.retried')
        one = tab.until(f'location.pathname !== "/jobs/{job}" && location.pathname.slice(6)')
        self.ended()
        self.assertEqual(tab.text('#count'), '1 / 1 · 1 failed')
        tab.until_text('#about', 'retry of')
        tab.click('#about a')
        self.assertEqual(self.job(), job)
        self.ended()
        tab.click('#retry-all')
        tab.until('document.querySelector("#retry-all + a.retried") !== null')
        tab.click('#retry-all + a.retried')
        tab.until(f'!["/jobs/{job}", "/jobs/{one}"].includes(location.pathname)')
        self.ended()
        self.assertEqual(tab.text('#count'), '2 / 2 · 2 failed')

    def test_the_list_shows_jobs_and_moves_with_those_that_run(self):
        old = self.submit(value(result=1))
        self.server.wait_for(old, 'completed')
        new = self.submit(*[value(sleep_ms=250)] * 30)
        tab = self.open()
        tab.until('document.querySelectorAll("#jobs li").length === 2')
        self.assertEqual(tab.run('[...document.querySelectorAll("#jobs a")].map((a) => a.dataset.job)'), [new, old])
        tab.until('/^[1-9]\\d* \\/ 30$/.test(document.querySelector("#jobs li[data-status=running] .number")?.textContent)')
        self.server.ask('POST', f'/v1/jobs/{new}/cancel').body()
        tab.until('document.querySelector("#jobs li").dataset.status === "cancelled"')
        tab.run('const s = document.getElementById("jobs-state"); s.value = "error"; s.dispatchEvent(new Event("change"))')
        tab.until('!document.getElementById("jobs-none").hidden')
        self.open('0' * 32)
        tab.until_text('#job-title', 'No such job')

    def test_a_key_is_asked_for_and_never_stays_in_the_page(self):
        self.serve(RIVULET_KEYS='ada the-key-of-ada-that-is-long-enough')
        tab = self.open_locked()
        tab.run('document.getElementById("key").value = "wrong-key-wrong-key-wrong"')
        tab.click('#sign-in-form button')
        tab.until('!document.getElementById("sign-in-problem").hidden')
        self.shot('sign-in')
        tab.run('document.getElementById("key").value = "the-key-of-ada-that-is-long-enough"')
        tab.click('#sign-in-form button')
        tab.until('!document.getElementById("home").hidden && document.getElementById("pipeline").options.length')
        self.assertEqual(tab.run('document.getElementById("key").value + JSON.stringify(localStorage) + document.cookie').count('key-of-ada'), 0)
        tab.pick(self.files(item(result=DECK)))
        self.job()
        self.ended()
        self.assertEqual(self.cards(), [0])
        tab.click('#sign-out')
        tab.until('!document.getElementById("sign-in").hidden')

    def open_locked(self):
        self.tab.go(self.address)
        self.tab.until('!document.getElementById("sign-in").hidden')
        return self.tab

    # ---- for everybody ----

    def test_nothing_but_a_keyboard(self):
        tab = self.open()
        tab.press('Tab')
        self.assertEqual(tab.run('document.activeElement.className'), 'skip')
        tab.press('Enter')
        self.assertEqual(tab.focused(), 'main')
        tab.press('n')
        self.assertEqual(tab.focused(), 'files')
        self.assertEqual(tab.run('getComputedStyle(document.getElementById("drop")).outlineStyle'), 'solid')
        tab.run('const p = document.getElementById("pipeline"); p.value = "noop"; p.dispatchEvent(new Event("change"))')
        tab.press('Tab')
        tab.press('Enter')
        tab.until('document.getElementById("typed").open')
        tab.press('Tab')
        self.assertEqual(tab.focused(), 'values')
        tab.call('Input.insertText', text='[{"noop": {"result": {"deck": 1}}}, {"noop": {"sleep_ms": 900, "fail": "no"}}, 3]')
        tab.press('Enter', modifiers=2)
        self.job()
        tab.until('document.activeElement.id === "job-title"')
        tab.until('document.querySelectorAll(".card").length === 2')
        tab.press('j')
        tab.press('j')
        self.assertEqual(tab.run('document.activeElement.dataset.index'), '0')
        tab.press('k')
        self.assertEqual(tab.run('document.activeElement.dataset.index'), '2')
        self.assertEqual(tab.run('getComputedStyle(document.activeElement).outlineStyle'), 'solid')
        tab.press('c')
        tab.until_text('.card:focus .copy', 'Copied')
        tab.press('?')
        tab.until('document.getElementById("keys").open')
        tab.press('Escape')
        tab.until('!document.getElementById("keys").open')
        self.ended()
        tab.until('document.getElementById("said").textContent.includes("2 completed, 1 failed")')
        tab.run('document.getElementById("chart").focus()')
        tab.press('ArrowDown')
        tab.press('ArrowDown')
        self.assertRegex(tab.text('#chart-line'), 'item.*failed, queued .*, ran ')
        tab.press('r')
        tab.until('document.activeElement.className === "retried"')
        tab.press('Enter')
        tab.until('document.getElementById("count").textContent === "1 / 1 · 1 failed"')
        tab.press('g')
        tab.until('document.querySelectorAll("#jobs a").length === 2')
        unseen = tab.run('''[...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter((node) => node.checkVisibility() &&
                            (node.tabIndex < 0 || !(node.getAttribute("aria-label") || node.labels?.length || node.textContent.trim()))).map((n) => n.outerHTML)''')
        self.assertEqual(unseen, [])

    def test_landmarks_and_the_progress_bar_speak(self):
        tab = self.open(self.submit(value(result=1), value(fail='no')))
        self.ended()
        self.assertEqual(tab.run('["main", "nav", "header"].map((tag) => document.querySelectorAll("body > " + tag + ", header > " + tag).length)'), [1, 1, 1])
        self.assertEqual(tab.run('[...document.querySelectorAll("h1")].filter((node) => node.checkVisibility()).length'), 1)
        bar = tab.run('Object.fromEntries([...document.getElementById("bar").attributes].map((a) => [a.name, a.value]))')
        self.assertEqual((bar['role'], bar['aria-valuenow'], bar['aria-valuemax'], bar['aria-valuetext']), ('progressbar', '2', '2', '2 of 2 ended, 1 failed'))
        self.assertRegex(tab.run('document.getElementById("canvas").getAttribute("aria-label")'), '^2 items over .*: 1 done, 1 failed')
        tab.run('document.getElementById("chart-table").open = true')
        tab.until('document.querySelectorAll("#chart-table tbody tr").length === 2')

    def test_a_tab_behind_another_says_all_without_a_frame(self):
        tab = self.tab
        tab.call('Page.addScriptToEvaluateOnNewDocument',
                 source='Object.defineProperty(Document.prototype, "hidden", { get: () => true }); window.requestAnimationFrame = () => 1')
        self.open(self.submit(value(result=1), value(fail='no')))
        self.ended()
        self.assertEqual(tab.text('#count'), '2 / 2 · 1 failed')
        self.assertRegex(tab.run('document.getElementById("canvas").getAttribute("aria-label")'), '^2 items over .*: 1 done, 1 failed')

    def test_a_phone_scrolls_one_way_only(self):
        tab = self.tab
        tab.size(360, 740, mobile=True)
        long = 'x' * 120
        job = self.submit(value(result=DECK), value(result={long: long}), value(fail=long), value(sleep_ms=700))
        self.open(job)
        tab.until('document.querySelectorAll(".card").length >= 2')
        for _ in range(2):
            self.assertEqual(tab.run(WIDER), [])
            self.assertLessEqual(tab.run('document.documentElement.scrollWidth'), 360)
            self.ended()
        tab.run('document.getElementById("chart-table").open = true')
        self.shot('phone', clip=(360, 2200))
        self.open()
        tab.until('document.querySelectorAll("#jobs li").length === 1')
        tab.run('const p = document.getElementById("pipeline"); p.value = "noop"; p.dispatchEvent(new Event("change")); document.getElementById("typed").open = true')
        self.assertEqual(tab.run(WIDER), [])
        self.assertLessEqual(tab.run('document.documentElement.scrollWidth'), 360)
        self.shot('phone-home', clip=(360, 1000))

    def test_both_themes_can_be_read(self):
        tab = self.tab
        job = self.submit(value(result=DECK, accuracy=50), value(result={'a': 1}), value(fail='no'), value(sleep_ms=900))
        for theme in ('light', 'dark'):
            tab.scheme(theme)
            self.open(job)
            tab.until('document.querySelectorAll(".card").length >= 2')
            self.assertEqual(tab.run(CONTRAST), [], theme)
            self.ended()
            self.assertEqual(tab.run(CONTRAST), [], theme)
            self.shot(theme)
            self.open()
            tab.until('document.querySelectorAll("#jobs li").length === 1')
            self.assertEqual(tab.run(CONTRAST), [], theme)
            self.shot('home-' + theme)
        back = tab.run('getComputedStyle(document.body).backgroundColor')
        tab.press('t')                          # light, on a system that is dark
        self.assertNotEqual(tab.run('getComputedStyle(document.body).backgroundColor'), back)
        tab.reload()
        tab.until('document.getElementById("theme")?.textContent === "○ Light"')
        self.assertEqual(tab.run(CONTRAST), [])

    def test_thousands_of_items_stay_fluid(self):
        job = self.submit(*[value(result=n) if n % 50 else value(fail='no') for n in range(1500)])
        tab = self.open(job)
        self.ended()
        self.assertEqual(tab.text('#count'), '1 500 / 1 500 · 30 failed')
        self.assertEqual(len(self.cards()), 200)
        self.assertLess(tab.run('document.querySelectorAll("*").length'), 6000)
        self.assertEqual(tab.text('#cards-more'), 'Show 200 more of 1 270')
        tab.click('#cards-more')
        tab.until('document.querySelectorAll(".card").length === 400')
        slowest = tab.run('''new Promise((done) => { const chart = document.getElementById("chart"); let last = performance.now(), worst = 0, at = 0;
            requestAnimationFrame(function draw(now) { worst = Math.max(worst, performance.now() - last); last = performance.now();
              if (at++ === 30) { done(worst); return; } chart.scrollTop = at * 900; requestAnimationFrame(draw); }); })''')
        self.assertLess(slowest, 250)
        self.shot('many', clip=(1185, 1400))
