// A proxy that cuts the wire: after every 1 to `most` events of a stream, somewhere within the bytes of the next one; and that loses answers.
// It speaks TCP only. What follows a cut on the same connection is lost with it.
import net from 'node:net';
import { dice } from './fake.js';

export class Cutter {
  /** loseAnswers: the share of additions whose answer is swallowed after the server has given it. */
  constructor({ port, most = 50, seed = 1, loseAnswers = 0 }) {
    Object.assign(this, { port, most, loseAnswers, random: dice(seed), cuts: 0, lost: 0, sockets: new Set(), streaming: new Set() });
    this.server = net.createServer((client) => this.join(client));
  }

  async listen() {
    await new Promise((ready) => this.server.listen(0, '127.0.0.1', ready));
    this.base = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  join(client) {
    const upstream = net.connect(this.port, '127.0.0.1');
    const end = () => {
      client.destroy();
      upstream.destroy();
      this.sockets.delete(client);
      this.streaming.delete(client);
    };
    this.sockets.add(client);
    for (const socket of [client, upstream]) socket.setNoDelay(true).on('error', end).on('close', end);
    let swallow = false;
    client.on('data', (piece) => {
      if (piece.includes('/items') && piece.subarray(0, 5).toString() === 'POST ') swallow = this.random() < this.loseAnswers;
      upstream.write(piece) || (client.pause(), upstream.once('drain', () => client.resume()));
    });
    let left = 1 + Math.floor(this.random() * this.most);
    upstream.on('data', (piece) => {
      if (swallow) {
        this.lost++;
        return end();
      }
      if (piece.includes('text/event-stream')) this.streaming.add(client);
      for (let at = -1; (at = piece.indexOf('\nid: ', at + 1)) >= 0;) {
        if (left-- > 0) continue;
        // The event before this id may come whole, in part or not at all.
        this.cuts++;
        client.write(piece.subarray(0, Math.max(0, at - 40 + Math.floor(this.random() * 80))), end);
        return;
      }
      // A stream that ends by itself leaves its connection open for the next question.
      if (piece.subarray(-5).toString() === '0\r\n\r\n') this.streaming.delete(client);
      client.write(piece) || (upstream.pause(), client.once('drain', () => upstream.resume()));
    });
  }

  /** Connections on which a stream goes on. */
  get streams() {
    return this.streaming.size;
  }

  async close() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((done) => this.server.close(done));
  }
}
