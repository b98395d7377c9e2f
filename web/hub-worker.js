// The hub in a SharedWorker: one for all tabs of a browser. A tab that goes says that it wants nothing; one that dies lets go of its lock,
// where there are locks.

import { Hub } from './hub.js';

const hub = new Hub();

addEventListener('connect', (event) => {
  const port = event.ports[0];
  const tab = hub.join((message) => port.postMessage(message));
  port.onmessage = ({ data }) => {
    if (data.type === 'want') hub.want(tab, data.jobs);
    else if (data.type === 'again') hub.again();
    else if (data.type === 'hello') navigator.locks?.request(data.lock, () => hub.leave(tab));
  };
});
