// The fold of the page: the logs of tests/golden give the states that their documents say, replays change nothing, a gap begins anew.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { COMPLETED, FAILED, RESULTS_KEPT, ended, fold, fresh, fromDocument, isSkipped, known, pace, stretches } from '../../web/fold.js';
import { FrameReader } from '../../web/sse.js';
import { readValues } from '../../web/values.js';
import { deckText, isDeck } from '../../web/deck.js';
import * as words from '../../web/words.js';

const golden = fileURLToPath(new URL('../golden/', import.meta.url));
const names = readdirSync(golden).filter((name) => name.endsWith('.job.sse.txt')).map((name) => name.slice(0, -'.job.sse.txt'.length));
const textOf = (name) => readFileSync(`${golden}${name}.job.sse.txt`, 'utf8');
const framesIn = (text) => new FrameReader().take(text).map((frame) => ({ ...frame, data: JSON.parse(frame.data) }));
const foldAll = (frames, job = fresh('x')) => {
  frames.forEach((frame) => fold(job, frame));
  return job;
};

for (const name of names)
  test(`the log ${name} gives what its document says`, () => {
    const document = JSON.parse(readFileSync(`${golden}${name}.job.json`, 'utf8'));
    const job = foldAll(framesIn(textOf(name)));
    const { counts, status } = fromDocument(document);
    if (!known(job)) return;                          // nothing was told of it yet
    assert.deepEqual(job.counts, counts);
    assert.equal(job.status, status);
    assert.equal(job.done.length, counts[COMPLETED]);
    assert.equal(job.failed.length, counts[FAILED]);
    if (document.completed_at) assert.equal(job.end.seconds, document.seconds);
  });

test('there are logs to fold', () => assert.ok(names.length >= 8));

test('a replay changes nothing, from wherever it begins', () => {
  for (const name of names) {
    const frames = framesIn(textOf(name)), whole = foldAll(frames);
    for (let at = 0; at < frames.length; at++) {
      const job = foldAll(frames.slice(0, at + 1));
      for (const frame of frames.slice(0, at + 1)) if (frame.id) assert.equal(fold(job, frame), false);
      assert.deepEqual(foldAll(frames, job), whole);
    }
  }
});

test('a gap forgets, and the log that follows is the state', () => {
  const other = foldAll(framesIn(textOf('cancel')));
  fold(other, { event: 'gap', data: { job: 'x', reason: 'restored' } });
  assert.equal(other.seq, 0);
  assert.equal(other.items.size, 0);
  assert.equal(other.end, null);
  foldAll(framesIn(textOf('batch')), other);
  assert.deepEqual({ ...other, gaps: 0 }, foldAll(framesIn(textOf('batch'))));
});

test('what the cancelled job did not start is skipped', () => {
  const job = foldAll(framesIn(textOf('cancel')));
  assert.equal(job.status, 'cancelled');
  assert.deepEqual([0, 1, 2, 5].map((index) => isSkipped(job, index)), [true, false, true, true]);
  assert.equal(ended(job), 6);
});

test('a hint is seen until the item moves on', () => {
  const job = foldAll(framesIn(textOf('batch')).slice(0, 2));
  fold(job, { event: 'progress', data: { job: 'x', item: 0, state: 'hint', percent: 20, status: 'ocr' } });
  assert.equal(job.items.get(0).percent, 20);
  foldAll(framesIn(textOf('batch')), job);
  assert.equal(job.items.get(0).percent, undefined);
});

test('ids with a job in front are places too', () => {
  const frames = framesIn(textOf('batch')).map((frame) => ({ ...frame, id: frame.id && `bbbb@${frame.id}` }));
  const job = foldAll(frames);
  assert.equal(job.cursor, '1790000000-13');
  assert.deepEqual(job, foldAll(framesIn(textOf('batch'))));
});

test('old results are let go of, and found again', () => {
  const job = fresh('big');
  for (let item = 0; item < RESULTS_KEPT + 5; item++)
    fold(job, { event: 'result', id: `1-${item + 1}`, data: { at: '2026-01-01T00:00:00Z', item, name: 'n', attempt: 1, counts: [0, 0, item + 1, 0, 0], result: { item } } });
  assert.equal(job.items.get(0).result, undefined);
  assert.equal(job.items.get(0).result_url, '/v1/jobs/big/items/0/result');
  assert.deepEqual(job.items.get(RESULTS_KEPT + 4).result, { item: RESULTS_KEPT + 4 });
});

test('the pace: from the latest ends, slower while nothing comes', () => {
  const job = fresh('p');
  job.total = 20;
  for (let item = 0; item < 10; item++)
    fold(job, { event: 'result', id: `1-${item + 1}`, data: { at: new Date(1000 * item).toISOString(), item, counts: [10 - item, 1, item + 1, 0, 0], result: 1 } });
  job.counts = [10, 0, 10, 0, 0];
  assert.deepEqual(pace(job, 9000), { rate: 1, left: 10 });
  assert.ok(pace(job, 60000).rate < 0.2);
  assert.equal(pace(fresh('q'), 0), null);
});

test('stretches of a life: queued, running, before a retry, running', () => {
  const job = foldAll(framesIn(textOf('retry')));
  const kinds = stretches(job, job.items.get(0), job.at).map(([kind]) => kind);
  assert.deepEqual(kinds, ['queued', 'processing', 'retrying', 'processing']);
  assert.ok(stretches(job, undefined, job.at).every(([kind]) => kind === 'queued'));
});

test('frames come whole, however the wire cuts them', () => {
  const text = `retry: 1000\n\n: still here\n\n${textOf('names')}`, whole = new FrameReader().take(text);
  for (const size of [1, 2, 7, 64]) {
    const reader = new FrameReader(), frames = [];
    for (let at = 0; at < text.length; at += size) frames.push(...reader.take(text.slice(at, at + size)));
    assert.deepEqual(frames, whole);
  }
});

test('values: an array, one, lines, and a line that is none', () => {
  assert.deepEqual(readValues('[1, {"a": 2}]'), { lines: ['1', '{"a":2}'] });
  assert.deepEqual(readValues('{"a": 2}'), { lines: ['{"a":2}'] });
  assert.deepEqual(readValues('{"items": [1, 2]}'), { lines: ['1', '2'] });
  assert.deepEqual(readValues('{"a":1}\n\n{"a":2}\n'), { lines: ['{"a":1}', '{"a":2}'] });
  assert.match(readValues('{"a":1}\nno').problem, /^Line 2 is not JSON/);
  assert.deepEqual(readValues('  '), { lines: [] });
});

test('a decklist as text', () => {
  const deck = { metadata: { deck_name: 'D', player: 'Mo' }, legend: [], main_deck: [{ quantity: 3, name_en: 'Silverscale', name_cn: '银鳞鲑' }],
                 battlefields: [], runes: [], side_deck: [], unmatched: [{ quantity: 2, name_cn: '琥珀蜻蜓' }] };
  assert.ok(isDeck(deck) && !isDeck({ metadata: {} }) && !isDeck(null) && !isDeck([1]));
  assert.equal(deckText(deck), 'Deck: D\nPlayer: Mo\n\nMain deck:\n3 Silverscale\n\n# Not in the catalogue\n# 2 琥珀蜻蜓\n');
});

test('numbers as people say them', () => {
  assert.equal(words.seconds(0.02), '20 ms');
  assert.equal(words.seconds(59.7), '60 s');
  assert.equal(words.seconds(61), '1 min 1 s');
  assert.equal(words.rate(0.5), '30 / min');
  assert.equal(words.left(42), 'about 40 s left');
  assert.equal(words.count(12345), '12 345');
});
