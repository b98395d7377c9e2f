// npm run bench: 100,000 events through a wire that is cut every 1 to 50, and three deaths of the server. Argument: another number of items.
import { storm } from './storm.js';

const items = Number(process.argv[2] ?? 50000);
const { events, cuts, kills, seconds } = await storm({ items, kills: 3, seed: 11 });
console.log(`${events} events, ${cuts} cuts, ${kills} kills: all there, once, in order, in ${seconds.toFixed(1)} s ` +
  `(${(1000 * seconds / cuts).toFixed(1)} ms a cut)`);
