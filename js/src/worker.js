// The shared worker: a hub, and a port for each page.
import { Hub } from './hub.js';

const hub = new Hub();

self.onconnect = ({ ports: [channel] }) => {
  const port = { post: (message) => channel.postMessage(message) };
  channel.onmessage = ({ data }) => {
    if (data.op === 'page') navigator.locks.request(data.lock, () => hub.leave(port));
    else hub.take(port, data);
  };
  port.post({ op: 'hello' });
};
