// Compiled, never run: a user's code against the types.
import { Rivulet, RivuletError } from 'rivulet-client';
import { useBatch } from 'rivulet-client/react';

interface Deck { main_deck: { quantity: number }[] }

export async function all(files: FileList, signal: AbortSignal): Promise<number> {
  const client = new Rivulet({ base: 'http://127.0.0.1:8080', key: async () => 'secret' });
  let cards = 0;
  for await (const event of client.run<Deck>(files, { pipeline: 'decklists', signal, onAbort: 'leave' })) {
    if (event.type === 'upload') cards += event.sent;
    else if (event.type === 'result') cards += event.result.main_deck[0]?.quantity ?? 0;
    else if (event.type === 'progress' && event.state === 'skipped') cards += event.ranges[0][1];
    else if (event.type === 'failed') console.log(event.error_type);
    // @ts-expect-error: there is no such event
    else if (event.type === 'error') cards++;
  }
  const summary = await client.run([{ name: 'a', data: 'text' }, new Blob([])], { onResult: (index, name, result, event) => { cards += index + name.length + event.counts[2]; } }).done();
  const job = await client.submit([{ a: 1 }, 2], { pipeline: 'noop', inFlight: 4 });
  for await (const event of client.shared().watch<Deck>(job.id, { after: 'end' })) if (event.type === 'gap') cards = 0;
  for await (const { index, error } of client.results(job.id, { order: 'score', follow: true })) cards += index + (error ?? '').length;
  try {
    await client.delete(job.id);
  } catch (error) {
    if (error instanceof RivuletError) cards += error.status + error.detail.length;
  }
  return cards + (summary?.successful ?? 0);
}

export function Component(): string {
  const { run, cancel, results, progress, status, problem } = useBatch<Deck>({ base: '/api', pipeline: 'decklists' });
  void run([]).then((summary) => summary?.failed);
  void cancel();
  // @ts-expect-error: the results are decks
  results[0].result.nothing;
  return `${status} ${progress * 100} ${problem?.message}`;
}
