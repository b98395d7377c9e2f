"""A page that has seen more of a job than the backup that its server comes back with: it forgets that, and shows what the restored log says, to the end."""
import json
import os
import shutil
import subprocess
import unittest

import browser as driver
from rivulet_server import PROGRAM, Rivulet

ORDERS = [{'sleep_ms': 8000, 'fail': 'slow'}, {'sleep_ms': 1000, 'fail': 'quick'}] + [{'sleep_ms': 100, 'result': n} for n in range(4)]
SHOWN = '''({cards: [...document.querySelectorAll(".card")].map((card) => card.innerText), failed: [...document.querySelectorAll("#failed li p")].map((p) => p.innerText),
  count: document.getElementById("count").textContent, status: document.getElementById("status").textContent, summary: document.getElementById("summary").innerText})'''


@unittest.skipUnless(driver.PROGRAM, 'there is no chromium')
class Restored(unittest.TestCase):
    timeout_s = 60

    def test_a_page_begins_anew_with_the_restored_log(self):
        browser = driver.Browser()
        self.addCleanup(browser.close)
        browser.begin()
        tab = browser.tab()
        server = Rivulet(RIVULET_HEARTBEAT_S=1, MAX_WORKERS=2)
        self.addCleanup(server.close)
        port, earlier = server.port, os.path.join(server.top, 'earlier')
        tab.go(f'http://127.0.0.1:{port}/')         # so that the page comes quickly when there is a job
        job = server.ask('POST', '/v1/jobs?pipeline=noop&in_flight=2', '\n'.join(json.dumps({'noop': order}) for order in ORDERS).encode(),
                         {'Content-Type': 'application/x-ndjson'}).json()['id']
        subprocess.run([PROGRAM, 'backup', '--data', server.dir, earlier], check=True, capture_output=True, timeout=30)
        tab.go(f'http://127.0.0.1:{port}/jobs/{job}')
        tab.until('document.querySelectorAll(".card").length >= 2 && document.querySelectorAll("#failed li").length >= 1')
        before = tab.run(SHOWN)
        self.assertEqual(before['summary'], '', 'it has ended already')
        server.kill()
        shutil.rmtree(server.dir)
        os.rename(earlier, server.dir)
        server.env.update(MAX_WORKERS='1', PORT='0')
        server.start()                              # where the page does not look: all is there at once when it asks
        server.wait_for(job, 'completed')
        server.stop()
        server.env['PORT'] = str(port)
        server.start()
        second = browser.tab()                      # from the beginning, over the connection that the first one shares
        second.go(f'http://127.0.0.1:{port}/jobs/{job}')
        for one in (second, tab):
            one.until('!document.getElementById("summary").hidden')
        told = second.run(SHOWN)
        self.assertEqual(len(told['cards']), 4)
        self.assertEqual(len(told['failed']), 2)
        self.assertNotEqual(before['failed'], told['failed'][:1], 'both logs began alike: nothing was tried')
        self.assertEqual(tab.run(SHOWN), told)
        tab.reload()
        tab.until('!document.getElementById("summary").hidden')
        self.assertEqual(tab.run(SHOWN), told)
        self.assertEqual([one for one in browser.complaints], [])


if __name__ == '__main__':
    unittest.main()
