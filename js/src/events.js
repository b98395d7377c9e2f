// Frames become events, events become callbacks.

/** What a user gets of a frame: the fields of its data, with `type` and `id`. */
export function eventOf(frame) {
  const data = JSON.parse(frame.data);
  // A result that lies behind an address brings a media type, under the name that is ours here.
  if ('type' in data) data.media_type = data.type;
  data.type = frame.event;
  data.id = frame.id;
  return data;
}

/** The end of a job in one object, with the names that clients of the plain endpoints know beside our own. */
export function summaryOf(event) {
  const [, , successful, failed, skipped] = event.counts;
  return {
    job: event.job, status: event.status, total: successful + failed + skipped, successful, failed, skipped,
    seconds: event.seconds, stats: event.summary ?? {},
    average_accuracy: event.summary?.accuracy?.mean ?? null, processing_time_seconds: event.seconds,
  };
}

const indexes = (ranges) => ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, at) => first + at));

// Calls the callbacks among the options, each with what its name promises and the whole event behind.
export class Teller {
  /** @param names names by index, as far as they are known */
  constructor(callbacks = {}, { total = null, names = [] } = {}) {
    Object.assign(this, { callbacks, total, names });
  }

  take(event) {
    this.callbacks.onEvent?.(event);
    this[event.type]?.(event);
  }

  created(event) {
    this.callbacks.onCreated?.(event.job);
  }

  upload(event) {
    this.callbacks.onUpload?.(event.sent, event.total, event.name, event);
  }

  progress(event) {
    if (event.state === 'queued') this.total = event.total;
    if (event.state === 'processing' && event.attempt === 1) {
      const total = this.total ?? event.counts.reduce((sum, count) => sum + count, 0);
      this.callbacks.onProgress?.(event.item + 1, total, event.name, event);
    }
    if (event.state === 'skipped')
      for (const item of indexes(event.ranges)) this.callbacks.onError?.(item, this.names[item] ?? null, event.reason, event);
  }

  result(event) {
    this.callbacks.onResult?.(event.item, event.name, event.result, event);
  }

  failed(event) {
    this.callbacks.onError?.(event.item, event.name, event.error, event);
  }

  complete(event) {
    this.callbacks.onComplete?.(summaryOf(event), event);
  }

  cancelled(event) {
    this.complete(event);
  }

  gap(event) {
    this.callbacks.onGap?.(event);
  }
}
