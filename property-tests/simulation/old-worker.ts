/**
 * A worker of version 1 as the reference has it: it greets, says `config`, runs jobs, and when the connection breaks it
 * cancels them all and dials again after a pause.
 */
import type { Dial, Socket } from '../../actors/worker/socket.ts';
import type { SimEngine } from './engine.ts';
import type { SimNode } from './node.ts';

export interface OldWorkerParts {
  readonly node: SimNode;
  readonly dial: Dial;
  readonly engine: SimEngine;
  readonly slots: number;
  readonly gpuKey: string;
}

const redialMs = 2000;
const dialMsMax = 10_000;
const heartbeatMs = 10_000;
const readMsMax = 60_000;

export class OldWorker {
  readonly #parts: OldWorkerParts;
  readonly #jobs = new Map<string, AbortController>();
  #socket: Socket | null = null;
  #heardAt = 0;

  constructor(parts: OldWorkerParts) {
    this.#parts = parts;
  }

  start(): void {
    void this.#parts.engine.load().then(() => this.#connect());
  }

  #connect(): void {
    const { node, dial, slots, gpuKey } = this.#parts;
    let over = false;
    let greeted = false;
    const end = (): void => {
      if (over) return;
      over = true;
      this.#socket = null;
      for (const [jobId, abort] of this.#jobs) {
        this.#jobs.delete(jobId);
        abort.abort();
      }
      node.after(redialMs, () => this.#connect());
    };
    const lose = (): void => {
      if (over) return;
      socket.terminate();
      end();
    };
    const capabilities = { backend: 'llama.cpp', model: 'm', ctx_size: 4096, total_slots: slots };
    const socket: Socket = dial('ws://router/ws', {
      onOpen: () => {
        this.#socket = socket;
        socket.send(JSON.stringify({ type: 'hello', gpu_key: gpuKey, capabilities }));
      },
      onText: text => {
        if (over) return;
        const frame = JSON.parse(text);
        if (frame.type === 'hello_ack') {
          greeted = true;
          socket.send(JSON.stringify({ type: 'config', capabilities }));
        } else if (frame.type === 'job') this.#run(frame);
        else if (frame.type === 'cancel') this.#jobs.get(frame.job_id)?.abort();
      },
      onAlive: () => {
        this.#heardAt = node.now();
      },
      onClosed: end,
    });
    node.after(dialMsMax, () => greeted || lose());
    const beat = (): void => {
      if (over) return;
      if (greeted && node.now() - this.#heardAt > readMsMax) return lose();
      if (greeted) {
        socket.send('{"type":"heartbeat"}');
        socket.ping();
      }
      node.after(heartbeatMs, beat);
    };
    node.after(heartbeatMs, beat);
  }

  #run(frame: {
    job_id: string;
    messages: Record<string, unknown>[];
    tools?: Record<string, unknown>[];
    max_tokens?: number;
  }): void {
    const { job_id } = frame;
    if (this.#jobs.has(job_id)) return;
    const abort = new AbortController();
    this.#jobs.set(job_id, abort);
    const say = (what: object): void => {
      if (this.#jobs.get(job_id) === abort) this.#socket?.send(JSON.stringify(what));
    };
    const hooks = {
      signal: abort.signal,
      onProgress: () => undefined,
      onToolCall: () => undefined,
      onPiece: ({ kind, text }: { kind: string; text: string }) =>
        say({ type: 'token', job_id, token: text, ...(kind === 'reasoning' ? { reasoning: true } : {}) }),
    };
    this.#parts.engine
      .generate({ messages: frame.messages, tools: frame.tools, maxTokens: frame.max_tokens }, hooks)
      .then(
        ({ text, reasoning, usage, toolCalls }) => {
          say({
            type: 'complete',
            job_id,
            full_response: text,
            ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
            duration_ms: 5,
            cache_tokens: usage.cached,
            input_tokens: usage.input,
            output_tokens: usage.output,
            ...(toolCalls.length === 0
              ? {}
              : {
                  tool_calls: toolCalls.map(({ id, name, arguments: args }) => ({
                    id,
                    type: 'function',
                    function: { name, arguments: args },
                  })),
                }),
          });
          if (this.#jobs.get(job_id) === abort) this.#jobs.delete(job_id);
        },
        () => {
          // After `cancel` it says nothing; a failure of its own it tells.
          if (!abort.signal.aborted) say({ type: 'error', job_id, error: 'the engine failed' });
          if (this.#jobs.get(job_id) === abort) this.#jobs.delete(job_id);
        },
      );
  }
}
