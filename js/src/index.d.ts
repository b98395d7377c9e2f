/** What a server answers a refused request with (RFC 9457). */
export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  instance?: string;
  [member: string]: unknown;
}

export class RivuletError extends Error {
  /** Of the HTTP answer; 0 when there was none. */
  status: number;
  problem: Problem | null;
  /** Milliseconds that the server asked to wait; 0 when it did not. */
  retryAfter: number;
  /** The problem's sentence for people. */
  readonly detail: string;
  /** Another try may well succeed. */
  readonly passing: boolean;
}

/** pending, processing, completed, failed, skipped */
export type Counts = [number, number, number, number, number];

interface Told {
  /** Of a durable event; null for hints, gaps and what the client itself tells. */
  id: string | null;
  job: string;
}
interface Logged extends Told {
  at: string;
}
interface OfItem extends Logged {
  item: number;
  name: string;
  attempt: number;
  counts: Counts;
}

export interface CreatedEvent extends Told { type: 'created' }
export interface UploadEvent extends Told {
  type: 'upload';
  item: number;
  name: string;
  bytes: number;
  sent: number;
  /** Null while the number of files is not known. */
  total: number | null;
}
export interface QueuedEvent extends Logged { type: 'progress'; state: 'queued'; total: number }
export interface ItemProgressEvent extends OfItem {
  type: 'progress';
  state: 'processing' | 'stepped' | 'waiting' | 'retrying' | 'record';
  leg?: number;
  why?: 'first' | 'retry' | 'due' | 'restart';
  record?: number;
  /** Of a record: what came of it. */
  value?: unknown;
  score?: number;
  error?: string;
  error_type?: string;
  stage?: string;
  dropped?: boolean;
  due_at?: string;
}
export interface HintEvent extends Told { type: 'progress'; state: 'hint'; at: string; item: number; percent: number; status: string }
export interface SkippedEvent extends Logged { type: 'progress'; state: 'skipped'; ranges: [number, number][]; reason: string }
export interface CancellingEvent extends Logged { type: 'progress'; state: 'cancelling' }
export interface ResultEvent<Result = unknown> extends OfItem {
  type: 'result';
  result: Result;
  score?: number;
  /** A large result: it was fetched from here, unless `inline` was false. */
  result_url?: string;
  bytes?: number;
  media_type?: string;
}
export interface FailedEvent extends OfItem { type: 'failed'; error: string; error_type: string; stage: string | null }
export interface EndEvent extends Logged {
  type: 'complete' | 'cancelled';
  status: 'completed' | 'error' | 'cancelled';
  counts: Counts;
  summary: Record<string, { count: number; sum: number; min: number; max: number; mean: number }>;
  seconds: number | null;
  error?: string;
}
/** The log was restored or its history is gone: forget what you had, it follows from its first event. */
export interface GapEvent extends Told { type: 'gap'; reason: string }

export type JobEvent<Result = unknown> =
  | QueuedEvent | ItemProgressEvent | HintEvent | SkippedEvent | CancellingEvent | ResultEvent<Result> | FailedEvent | EndEvent | GapEvent;
export type RunEvent<Result = unknown> = CreatedEvent | UploadEvent | JobEvent<Result>;

export interface Summary {
  job: string;
  status: 'completed' | 'error' | 'cancelled';
  total: number;
  successful: number;
  failed: number;
  skipped: number;
  seconds: number | null;
  stats: EndEvent['summary'];
  average_accuracy: number | null;
  processing_time_seconds: number | null;
}

export interface Callbacks<Result = unknown> {
  onEvent?(event: RunEvent<Result>): void;
  onCreated?(job: string): void;
  onUpload?(sent: number, total: number | null, filename: string, event: UploadEvent): void;
  /** An item was started: it is the `current`-th of `total`. */
  onProgress?(current: number, total: number, filename: string, event: ItemProgressEvent): void;
  onResult?(index: number, filename: string, result: Result, event: ResultEvent<Result>): void;
  /** An item failed, or was skipped. */
  onError?(index: number, filename: string | null, error: string, event: FailedEvent | SkippedEvent): void;
  onComplete?(summary: Summary, event: EndEvent): void;
  onGap?(event: GapEvent): void;
}

export interface BackoffOptions {
  /** Milliseconds of the first wait's bound; what the server says (`retry:`) when it is not given. */
  base?: number;
  /** The longest wait, 30,000 by default. A Retry-After goes on top. */
  max?: number;
  /** Milliseconds without a sign of the server until its last error is thrown; 600,000 by default. */
  patience?: number;
}

export interface RivuletOptions {
  /** The server's address; that of the page by default. */
  base?: string | URL;
  /** Sent as `Authorization: Bearer`; a function is asked before each request. */
  key?: string | null | (() => string | null | Promise<string | null>);
  fetch?: typeof fetch;
  /** Milliseconds without a byte after which a stream is opened anew; 45,000 by default, 0 for never. */
  silence?: number;
  backoff?: BackoffOptions;
  /** One connection for all pages of this browser; see shared(). */
  shared?: boolean;
  /** Where the shared worker's script lies, when it is not beside this module. */
  workerUrl?: string | URL;
  onConnection?(told: { state: 'open' } | { state: 'lost'; error: RivuletError; wait: number }): void;
}

export type Item = File | Blob | { name?: string; type?: string; data: BlobPart };
type Series<T> = Iterable<T> | AsyncIterable<T>;

export interface JobOptions {
  pipeline?: string;
  params?: Record<string, unknown>;
  /** One item after the other. */
  ordered?: boolean;
  /** Items worked on at a time. */
  inFlight?: number;
  /** The Idempotency-Key; one of its own by default. */
  key?: string;
  signal?: AbortSignal;
}
export interface StreamOptions {
  /** Fetch large results before their event is given; true by default. */
  inline?: boolean;
  shared?: boolean;
}
export interface RunOptions<Result = unknown> extends JobOptions, StreamOptions, Callbacks<Result> {
  /** What becomes of the job when the signal aborts or the loop is left: `cancel` (default), or `leave`: what is up is worked on. */
  onAbort?: 'cancel' | 'leave';
}
export interface WatchOptions<Result = unknown> extends StreamOptions, Callbacks<Result> {
  /** The id of the last event that you have, its number, or "end"; nothing for all. */
  after?: string | number | null;
  signal?: AbortSignal;
}

export interface Run<Result = unknown> extends AsyncIterable<RunEvent<Result>> {
  /** Once the job is made. */
  readonly id: string | null;
  /** Once it has ended. */
  readonly summary: Summary | null;
  /** Goes through all events, for those who only want callbacks. Null when the log ended without its last event. */
  done(): Promise<Summary | null>;
  cancel(): Promise<void>;
}

export interface JobDocument {
  id: string;
  pipeline: string;
  status: 'pending' | 'running' | 'completed' | 'cancelled' | 'error';
  seq: number;
  retry_of?: string | null;
  total_batches: number;
  batches_pending: number;
  batches_processing: number;
  batches_completed: number;
  batches_failed: number;
  batches_skipped: number;
  overall_progress: number;
  created_at: string;
  started_at: string | null;
  completed_at: string | null;
  error: string | null;
  /** Sums of what was used, by name. */
  usage?: Record<string, number>;
  records?: { completed: number; failed: number; dropped: number };
  /** The best by score, the best first. */
  top?: { item: number; record?: number; score: number }[];
  top_revision?: number;
  hits?: number;
  deadline_at?: string;
  [member: string]: unknown;
}
export interface ItemDocument<Result = unknown> {
  item: number;
  name: string;
  state: string;
  attempt: number;
  result?: Result;
  error?: string;
  [member: string]: unknown;
}
/** {index, filename, and the result under the pipeline's key}, or {index, filename, error, error_type}. */
export interface ResultLine {
  index: number;
  filename: string;
  error?: string;
  error_type?: string;
  [key: string]: unknown;
}
export interface Pipeline { name: string; result_key: string; [member: string]: unknown }

export class Rivulet {
  constructor(options?: RivuletOptions);
  /** A client like this one whose streams share one connection with all others of this browser. */
  shared(): Rivulet;
  /** Upload files into a job of their own and get its events while they still upload. */
  run<Result = unknown>(files: Series<Item> | FileList, options?: RunOptions<Result>): Run<Result>;
  /** A job of JSON values, an item each, or of a text or Blob of JSON Lines. */
  submit(items: Series<unknown> | string | Blob, options?: JobOptions): Promise<JobDocument>;
  /** The events of a job to its last. Aborting only ends the watching. */
  watch<Result = unknown>(job: string, options?: WatchOptions<Result>): AsyncGenerator<JobEvent<Result>, void, void>;
  job(id: string, options?: { signal?: AbortSignal }): Promise<JobDocument>;
  jobs(options?: { state?: string; pipeline?: string; limit?: number; signal?: AbortSignal }): AsyncGenerator<JobDocument, void, void>;
  items<Result = unknown>(id: string, options?: { state?: string; limit?: number; after?: number; signal?: AbortSignal }):
    AsyncGenerator<ItemDocument<Result>, void, void>;
  item<Result = unknown>(id: string, number: number, options?: { signal?: AbortSignal }): Promise<ItemDocument<Result>>;
  result<Result = unknown>(id: string, number: number, options?: { signal?: AbortSignal }): Promise<Result>;
  results(id: string, options?: { order?: 'completion' | 'input' | 'score'; follow?: boolean; signal?: AbortSignal }):
    AsyncGenerator<ResultLine, void, void>;
  cancel(id: string, options?: { signal?: AbortSignal }): Promise<JobDocument>;
  /** A new job of what failed. */
  retry(id: string, options?: { signal?: AbortSignal }): Promise<JobDocument>;
  delete(id: string, options?: { signal?: AbortSignal }): Promise<void>;
  pipelines(options?: { signal?: AbortSignal }): Promise<Pipeline[]>;
}
