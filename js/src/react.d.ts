import type { Callbacks, Item, Rivulet, RivuletError, RunOptions, StreamOptions, Summary } from './index.js';

export interface BatchItem<Result = unknown> {
  index: number;
  name?: string;
  status?: 'pending' | 'processing' | 'stepped' | 'waiting' | 'retrying' | 'record' | 'completed' | 'failed' | 'skipped';
  attempt?: number;
  percent?: number;
  result?: Result;
  error?: string;
}

export interface Batch<Result = unknown> {
  status: 'idle' | 'uploading' | 'running' | 'completed' | 'cancelled' | 'error';
  job: string | null;
  uploaded: number;
  done: number;
  total: number;
  /** From 0 to 1. */
  progress: number;
  /** By index; a place may be empty while its item is not known. */
  items: BatchItem<Result>[];
  /** As they came. */
  results: { index: number; name: string; result: Result }[];
  errors: { index: number; name: string; error: string }[];
  summary: Summary | null;
  /** Why it could not be run or watched to its end. */
  problem: RivuletError | Error | null;
  /** The connection is lost and being mended. A client that was given tells that to its own `onConnection` instead. */
  reconnecting: boolean;
  client: Rivulet;
  run(files: Iterable<Item> | FileList, options?: RunOptions<Result>): Promise<Summary | null>;
  /** Show a job that is there already. */
  watch(job: string): Promise<Summary | null>;
  cancel(): Promise<void>;
  /** A new job of what failed, shown in place of this one. */
  retry(): Promise<Summary | null>;
}

export interface BatchOptions<Result = unknown> extends Callbacks<Result>, StreamOptions {
  client?: Rivulet;
  base?: string;
  key?: string;
  pipeline?: string;
  params?: Record<string, unknown>;
  onAbort?: 'cancel' | 'leave';
}

/** One batch in a component. When the component goes the batch is aborted (`onAbort`). */
export function useBatch<Result = unknown>(options?: BatchOptions<Result>): Batch<Result>;
