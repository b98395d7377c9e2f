// In a real browser, against the real server.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Rivulet } from '../src/index.js';
import { Browser, PROGRAM } from './browser.js';
import { Cutter } from './cutter.js';
import { Rivulet as Server, isThere, order, PROGRAM as SERVER } from './rivulet.js';
import { frameEvent } from './storm.js';

// Items of the long log, two events each: `npm run bench:browser` asks for 100,000 events.
const ITEMS = Number(process.env.RIVULET_BROWSER_ITEMS ?? 1500);
const options = { timeout: Math.max(60000, ITEMS * 10), skip: !PROGRAM ? 'there is no chromium' : !isThere && `there is no ${SERVER}` };
const root = fileURLToPath(new URL('..', import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript' };
const BLANK = '<!doctype html><meta charset="utf-8"><title>test</title>';

let browser, files, origin;

before(async () => {
  if (options.skip) return;
  execFileSync(process.execPath, [path.join(root, 'build.js'), '--example']);
  files = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://h');
    const name = path.join(root, 'dist', path.normalize(pathname));
    response.setHeader('Content-Type', TYPES[path.extname(name)] ?? 'text/html');
    try {
      response.end(pathname === '/' ? BLANK : readFileSync(name));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((ready) => files.listen(0, '127.0.0.1', ready));
  origin = `http://127.0.0.1:${files.address().port}`;
  browser = new Browser();
});

after(async () => {
  await browser?.close();
  files?.closeAllConnections();
  files?.close();
});

async function withServer(use, cutting) {
  const server = await new Server({ MAX_WORKERS: '4' }).start();
  const cutter = await new Cutter({ port: server.port, ...cutting }).listen();
  try {
    await use(server, cutter, new Rivulet({ base: server.base }));
  } finally {
    await cutter.close();
    await server.close();
  }
}

// What a test's page does: read a job to its end, all events kept in `events`.
const reader = (base, more = '') => `(async () => {
  const { Rivulet } = await import('/rivulet-client.js');
  globalThis.client = new Rivulet({ base: ${JSON.stringify(base)}, backoff: { base: 2, max: 100 }, workerUrl: '/worker.js' ${more} });
  globalThis.read = async (job) => {
    const events = [];
    for await (const event of client.watch(job)) events.push(event), globalThis.count = events.length;
    return events;
  };
})()`;
const values = (count) => Array.from({ length: count }, (_, item) => ({ item }));
const logOf = async (server, id) => (await server.log(id)).map(frameEvent);

test('a page reads a log through cuts and a server that is killed', options, async () => {
  await withServer(async (server, cutter, client) => {
    const page = await browser.page(origin);
    await page.run(reader(cutter.base));
    const { id } = await client.submit(values(ITEMS), { pipeline: 'noop' });
    const reading = page.run(`read('${id}')`);
    await page.until(`globalThis.count > ${ITEMS * 0.8}`);
    await server.restart();
    const events = await reading;
    assert.deepEqual(events, await logOf(server, id));
    assert.ok(cutter.cuts > ITEMS / 25, `${cutter.cuts} cuts`);
    console.log(`${events.length} events, ${cutter.cuts} cuts, the server killed once: all there, once, in order`);
    await page.close();
  }, { most: 50, seed: 8 });
});

for (const [how, hide] of [['a shared worker', ''], ['one of the pages, for want of a shared worker', 'delete globalThis.SharedWorker;']])
  test(`two pages share the connection of ${how}`, options, async () => {
    await withServer(async (server, cutter, client) => {
      const pages = [await browser.page(origin), await browser.page(origin)];
      for (const page of pages) await page.run(`${hide}${reader(cutter.base, ', shared: true')}`);
      const ids = [];
      for (let job = 0; job < 3; job++) ids.push((await client.submit(values(300), { pipeline: 'noop' })).id);
      const headers = { 'Content-Type': 'application/jsonl' };
      const post = async (path, body) => (await client.wire.call('POST', path, { body, headers: body && headers })).json;
      const slow = (await post('/v1/jobs?pipeline=noop&open=1')).id;
      const readings = pages.flatMap((page) => ids.map((id) => page.run(`read('${id}')`)));
      const last = pages.map((page) => page.run(`read('${slow}')`));
      last[0].catch(() => {});
      const logs = await Promise.all(ids.map((id) => logOf(server, id)));
      for (const [at, events] of (await Promise.all(readings)).entries()) assert.deepEqual(events, logs[at % 3]);
      // One job is open still: so is one stream, for both pages.
      while (cutter.streams !== 1) await new Promise((wake) => setTimeout(wake, 10));
      // The page that leads goes: the other one takes over, or nothing happens.
      await pages[0].close();
      await post(`/v1/jobs/${slow}/items`, values(50).map((value) => JSON.stringify(value)).join('\n'));
      await post(`/v1/jobs/${slow}/seal`);
      assert.deepEqual(await last[1], await logOf(server, slow));
      await pages[1].close();
    }, { most: 50, seed: 9 });
  });

test('the example: files picked, results shown, the failed one tried again', options, async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'rivulet-files-'));
  try {
    await withServer(async (server, cutter) => {
      const names = [{ result: 'first' }, { fail: 'this one fails' }, { result: '<b>third</b>' }].map((orders, at) => {
        const name = path.join(folder, `${at}.json`);
        writeFileSync(name, order(orders));
        return name;
      });
      const page = await browser.page(`${origin}/example/index.html?pipeline=noop&base=${encodeURIComponent(cutter.base)}`);
      const status = 'document.querySelector("[role=status]")?.textContent';
      await page.until(`${status}?.startsWith("idle")`);
      await page.pick('input', names);
      await page.until(`${status}.startsWith("completed")`);
      assert.equal(await page.run(status), 'completed: 3 of 3, 3 uploaded');
      const lines = await page.run('[...document.querySelectorAll("li")].map((line) => line.textContent)');
      assert.deepEqual(lines.map((line) => line.trim()),
        ['0.json completed "first"', '1.json failed this one fails', '2.json completed "<b>third</b>"']);
      await page.run('document.querySelectorAll("button")[1].click()');
      await page.until(`${status} === "error: 1 of 1, 0 uploaded"`);
      assert.deepEqual(browser.complaints, []);
      await page.close();
    }, { most: 5, seed: 10 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
