// A real `rivulet serve` with workers that do what each item orders (src/stage/noop.c), on a free port, killed and started at will.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
export const PROGRAM = path.join(process.env.RIVULET_BUILD ?? path.join(root, 'build'), 'rivulet');
const PIPELINE = { name: 'noop', legs: [{ stages: ['noop'], timeout_s: 5, attempts: 2, backoff_ms: [10, 20] }] };
const OURS = /^(RIVULET|MAX_|CARD_MAPPING|ENABLE_|SERVICE_|PORT|USE_GPU|DEBUG)/;

export const isThere = existsSync(PROGRAM);
export const order = (orders) => JSON.stringify({ noop: orders });

export class Rivulet {
  constructor(settings = {}) {
    this.top = mkdtempSync(path.join(os.tmpdir(), 'rivulet-js-'));
    const pipeline = path.join(this.top, 'pipeline.json');
    writeFileSync(pipeline, JSON.stringify(PIPELINE));
    this.env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OURS.test(name)));
    Object.assign(this.env, { RIVULET_PIPELINE: pipeline, PORT: '0', RIVULET_DATA: path.join(this.top, 'data'), ENABLE_PARALLEL: 'true' }, settings);
    this.child = null;
  }

  /** Started again it has the port that it had. */
  async start() {
    this.child = spawn(PROGRAM, ['serve'], { env: this.env, stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: this.child.stdout })) {
      const found = /^rivulet ready on (http:\/\/127\.0\.0\.1:(\d+))/.exec(line);
      if (!found) throw new Error(`the server did not start: ${line}`);
      [, this.base, this.port] = [null, found[1], Number(found[2])];
      this.env.PORT = String(this.port);
      return this;
    }
    throw new Error('the server did not start');
  }

  async end(signal) {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill(signal);
    await ended;
  }

  async restart() {
    await this.end('SIGKILL');
    await this.start();
  }

  async close() {
    await this.end('SIGTERM');
    rmSync(this.top, { recursive: true, force: true });
  }

  /** A job by the plain face, whose stream is left at once; its id. */
  async batch(contents) {
    const form = new FormData();
    contents.forEach((content, at) => form.append('files', new Blob([content], { type: 'image/jpeg' }), `${at}.jpg`));
    const control = new AbortController();
    const answer = await fetch(this.base + '/process-batch-fast', { method: 'POST', body: form, signal: control.signal });
    const job = answer.headers.get('X-Job-Id');
    if (!job) throw new Error(await answer.text());
    control.abort();
    return job;
  }

  /** The log as one unbroken stream tells it: frames as texts. */
  async log(job) {
    const text = await (await fetch(`${this.base}/v1/jobs/${job}/events`)).text();
    return text.split('\n\n').filter((frame) => frame.startsWith('event: '));
  }
}
