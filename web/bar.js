// A bar of a job's counts: done, failed, not started, under way. The shares are lengths; the pattern of each tells it without colour.

import { COMPLETED, FAILED, PROCESSING, SKIPPED, known } from './fold.js';
import { make } from './dom.js';

const PARTS = [['done', COMPLETED], ['bad', FAILED], ['left-out', SKIPPED], ['busy', PROCESSING]];

export function drawBar(node, job) {
  if (!node.children.length) node.append(...PARTS.map(([kind]) => make('i', { class: kind })));
  const total = Math.max(job.total ?? known(job), 1);
  PARTS.forEach(([, at], number) => {
    const width = `${(100 * job.counts[at]) / total}%`;
    if (node.children[number].style.width !== width) node.children[number].style.width = width;
  });
}
