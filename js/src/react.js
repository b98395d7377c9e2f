// useBatch: one batch in a React component.
import { useCallback, useEffect, useMemo, useReducer, useRef } from 'react';
import { Rivulet } from './client.js';
import { summaryOf } from './events.js';

export const EMPTY = Object.freeze({
  status: 'idle',            // idle, uploading, running, completed, cancelled, error
  job: null, uploaded: 0, done: 0, total: 0, items: [], results: [], errors: [], summary: null, problem: null, reconnecting: false,
});

const entry = (state, event, fields) => {
  const items = state.items.slice();
  items[event.item] = { ...items[event.item], index: event.item, name: event.name ?? items[event.item]?.name, ...fields };
  return items;
};

const ended = (state, items) => ({ ...state, items, done: state.done + 1 });
const isOver = (items, item) => ['completed', 'failed', 'skipped'].includes(items[item]?.status);

function progressed(state, event) {
  if (event.state === 'queued') return { ...state, total: event.total };
  if (event.state === 'skipped') {
    const items = state.items.slice();
    let { done } = state;
    for (const [first, last] of event.ranges)
      for (let item = first; item <= last; item++, done++) items[item] = { ...items[item], index: item, status: 'skipped', error: event.reason };
    return { ...state, items, done };
  }
  if (event.item === undefined || isOver(state.items, event.item)) return state;
  const hint = event.state === 'hint' ? { percent: event.percent } : { status: event.state, attempt: event.attempt };
  return { ...state, items: entry(state, event, hint) };
}

/** What is shown after an event: a fold like any other of the log. */
export function fold(state, event) {
  switch (event.type) {
    case 'created': return { ...state, job: event.job, status: state.status === 'idle' ? 'running' : state.status };
    case 'upload': {
      const status = event.sent === event.total && state.status === 'uploading' ? 'running' : state.status;
      const known = state.items[event.item] ? state.items : entry(state, event, { status: 'pending' });
      return { ...state, status, items: known, uploaded: event.sent, total: Math.max(state.total, event.total ?? event.sent) };
    }
    case 'progress': return progressed(state, event);
    case 'result': {
      const next = ended(state, entry(state, event, { status: 'completed', result: event.result }));
      return { ...next, results: [...state.results, { index: event.item, name: event.name, result: event.result }] };
    }
    case 'failed': {
      const next = ended(state, entry(state, event, { status: 'failed', error: event.error }));
      return { ...next, errors: [...state.errors, { index: event.item, name: event.name, error: event.error }] };
    }
    case 'complete':
    case 'cancelled': return { ...state, status: event.status, summary: summaryOf(event), reconnecting: false };
    // The log is another one: what it had told is forgotten, and it follows from its first event.
    case 'gap': return { ...EMPTY, status: 'running', job: state.job, total: state.total, uploaded: state.uploaded };
    default: return state;
  }
}

function reduce(state, action) {
  if (action.op === 'begin') return { ...EMPTY, status: action.status, total: action.total ?? 0 };
  // What an earlier run still has to say is nothing to the present one.
  if (action.op === 'events') return action.events.reduce(fold, state);
  if (action.op === 'problem') return { ...state, status: 'error', problem: action.problem };
  return { ...state, reconnecting: action.lost };
}

/** {status, progress, items, results, errors, summary, problem, job, reconnecting, run, watch, cancel, retry}; see react.d.ts. */
export function useBatch({ client, base, key, pipeline, ...options } = {}) {
  const [state, dispatch] = useReducer(reduce, EMPTY);
  const present = useRef(null);       // the run whose events count: {control, cancel}
  const latest = useRef(options);
  latest.current = options;
  const connected = useRef(() => {});
  const rivulet = useMemo(() => client ?? new Rivulet({ base, key, onConnection: (told) => connected.current(told) }), [client, base, key]);
  connected.current = ({ state: wire }) => present.current && dispatch({ op: 'wire', lost: wire === 'lost' });

  useEffect(() => () => {
    present.current?.control.abort();
    present.current = null;
  }, []);

  const drink = useCallback(async (source, control, status, total) => {
    present.current?.control.abort();
    const mine = present.current = { control };
    dispatch({ op: 'begin', status, total });
    let waiting = [];
    // A fast log gives thousands of events a second; a component is drawn once for all that came in one go.
    const flush = () => {
      if (waiting.length && present.current === mine) dispatch({ op: 'events', events: waiting });
      waiting = [];
    };
    let summary = null;
    try {
      for await (const event of source) {
        if (!waiting.length) setTimeout(flush, 0);
        waiting.push(event);
        if (event.type === 'complete' || event.type === 'cancelled') summary = summaryOf(event);
      }
      flush();
    } catch (problem) {
      flush();
      if (present.current === mine && !control.signal.aborted) dispatch({ op: 'problem', problem });
    }
    return summary;
  }, []);

  const watch = useCallback((job) => {
    const control = new AbortController();
    return drink(rivulet.watch(job, { ...latest.current, signal: control.signal }), control, 'running');
  }, [rivulet, drink]);

  const run = useCallback((files, more = {}) => {
    const control = new AbortController();
    const list = Array.from(files);
    const going = rivulet.run(list, { pipeline, ...latest.current, ...more, signal: control.signal });
    return drink(going, control, 'uploading', list.length);
  }, [rivulet, pipeline, drink]);

  const cancel = useCallback(async () => {
    if (state.job) await rivulet.cancel(state.job);
    else present.current?.control.abort();
  }, [rivulet, state.job]);

  const retry = useCallback(async () => {
    const { id } = await rivulet.retry(state.job);
    return watch(id);
  }, [rivulet, state.job, watch]);

  const progress = state.summary ? 1 : state.total ? state.done / state.total : 0;
  return { ...state, progress, client: rivulet, run, watch, cancel, retry };
}
