/** A router under test, by its address and keys: sockets that greet it as workers do, and callers. */
import { type Answer, call, chunksOf, type Health, saidIn } from '../callers.ts';
import { waitUntil, within } from '../processes.ts';
import { openRaw, type RawSocket } from '../raw-socket.ts';
import { expect, NotApplicable, pause, shown } from './case.ts';

// biome-ignore lint/suspicious/noExplicitAny: whatever a peer says is looked into by cases.
export type Heard = any;

export interface RouterAddress {
  readonly wsUrl: string;
  readonly httpUrl: string;
  readonly gpuKey: string;
  readonly apiKey: string | null;
}

/** How long something may take that needs no patience. */
export const soonMs = 5000;

export const capabilities = { backend: 'mock', model: 'conformance', ctx_size: 4096, total_slots: 1 };

export interface LineOptions {
  readonly version?: 1 | 2;
  readonly slots?: number;
  /** Goes into the hello, over everything else. */
  readonly hello?: object;
  /** Version 1: whether `config` is sent, as reference workers do. */
  readonly config?: boolean;
}

/** One connection of a worker that we play. */
export class WorkerLine {
  readonly raw: RawSocket;
  readonly version: 1 | 2;
  readonly #taken = new Set<Heard>();

  constructor(raw: RawSocket, version: 1 | 2) {
    this.raw = raw;
    this.version = version;
  }

  say(...frames: (object | string)[]): void {
    for (const frame of frames) this.raw.say(frame);
  }

  /** The next frame of a type that was not taken yet and is so; others stay. */
  async next(type: string, isSo: (frame: Heard) => boolean = () => true, ms = soonMs): Promise<Heard> {
    let found: Heard;
    await waitUntil(
      () => {
        found = this.raw.heard.find(frame => frame?.type === type && !this.#taken.has(frame) && isSo(frame));
        if (found === undefined && this.raw.closed() !== null)
          throw new Error(`the router closed with ${this.raw.closed()} where a ${type} frame is expected`);
        return found !== undefined;
      },
      ms,
      () => `no ${type} frame came within ${ms} ms; heard ${shown(this.raw.heard.slice(-4))}`,
    );
    this.#taken.add(found);
    return found;
  }

  /** Nothing of that type, not taken yet, comes within `ms`. */
  async none(type: string, ms: number, why: string): Promise<void> {
    await pause(ms);
    const found = this.raw.heard.find(frame => frame?.type === type && !this.#taken.has(frame));
    expect(found === undefined, `${why}: ${shown(found)}`);
  }

  /** Everything that was said so far has been read when this settles: a heartbeat is answered in its turn. */
  async heardOut(): Promise<void> {
    this.say({ type: 'heartbeat' });
    await this.next('heartbeat_ack');
  }

  /** The close code, once the socket has ended. */
  closed(ms = soonMs, what = 'the router did not close the socket'): Promise<number> {
    return within(ms, this.raw.ended, what);
  }

  isOpen(): boolean {
    return this.raw.closed() === null;
  }

  /** A token frame of this version. */
  token(job: Heard, token: string, seq: number, more: object = {}): void {
    const two = this.version === 2 ? { attempt: job.attempt, seq } : {};
    this.say({ type: 'token', job_id: job.job_id, token, ...two, ...more });
  }

  complete(job: Heard, text: string, seq: number, more: object = {}): void {
    const two = this.version === 2 ? { attempt: job.attempt, seq, finish_reason: 'stop' } : {};
    const counts = { duration_ms: 1, input_tokens: 10, output_tokens: 5 };
    this.say({ type: 'complete', job_id: job.job_id, full_response: text, ...counts, ...two, ...more });
  }
}

/** A caller's request on its way. */
export interface Asked {
  readonly answer: Promise<Answer>;
  /** What a streamed answer has said so far. */
  said(): string;
  /** The body so far. */
  body(): string;
  leave(): void;
}

export class RouterPeer {
  readonly address: RouterAddress;
  #raws: RawSocket[] = [];
  #asked: Asked[] = [];

  constructor(address: RouterAddress) {
    this.address = address;
  }

  async dial(path = '', headers = ''): Promise<WorkerLine> {
    const raw = await within(soonMs, openRaw(`${this.address.wsUrl}${path}`, headers), 'the router did not upgrade');
    this.#raws.push(raw);
    return new WorkerLine(raw, 1);
  }

  hello({ version = 1, slots = 1, hello = {} }: LineOptions = {}): object {
    const two = version === 2 ? { protocol_version: 2, instance_id: instanceId(), ready: true } : {};
    const said = { type: 'hello', gpu_key: this.address.gpuKey, capabilities: { ...capabilities, total_slots: slots } };
    return { ...said, ...two, ...hello };
  }

  /** A connection that is greeted, with its `hello_ack`. */
  async greeted(options: LineOptions = {}): Promise<{ line: WorkerLine; ack: Heard }> {
    const { version = 1 } = options;
    const { raw } = await this.dial();
    const line = new WorkerLine(raw, version);
    line.say(this.hello(options));
    const ack = await line.next('hello_ack');
    expect(ack.success === true, `the greeting was refused: ${shown(ack)}`);
    if (version === 2 && ack.protocol_version !== 2)
      throw new NotApplicable('the router speaks version 1 of the protocol');
    return { line, ack };
  }

  /** A worker that may be given jobs now. */
  async worker(options: LineOptions = {}): Promise<WorkerLine> {
    const { line } = await this.greeted(options);
    const { version = 1, slots = 1, config = true } = options;
    if (version === 1 && config) {
      line.say({ type: 'config', capabilities: { ...capabilities, total_slots: slots } });
      await line.next('config_ack');
    }
    return line;
  }

  key(): string {
    const { apiKey } = this.address;
    if (apiKey === null) throw new NotApplicable("a caller's key is needed: --api-key");
    return apiKey;
  }

  /** A chat completion; streamed unless `body` says otherwise. */
  ask(body: object = {}): Asked {
    const authorization = `Bearer ${this.key()}`;
    const leaving = new AbortController();
    let text = '';
    const request = { messages: [{ role: 'user', content: 'hi' }], stream: true, ...body };
    const answered = async (): Promise<Answer> => {
      const response = await fetch(`${this.address.httpUrl}/api/openai/chat/completions`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify(request),
        signal: leaving.signal,
      });
      const decoder = new TextDecoder();
      for await (const piece of response.body ?? []) text += decoder.decode(piece, { stream: true });
      return { status: response.status, headers: response.headers, text, json: jsonOf(text) };
    };
    const answer = answered();
    // Whoever left does not wait for it any more.
    answer.catch(() => undefined);
    const asked = {
      answer,
      said: () => saidIn(text.slice(0, text.lastIndexOf('\n\n') + 2)),
      body: () => text,
      leave: () => leaving.abort(),
    };
    this.#asked.push(asked);
    return asked;
  }

  /** Asks, and hands back the job that the line was given for it. */
  async askFor(line: WorkerLine, body: object = {}): Promise<{ asked: Asked; job: Heard }> {
    const asked = this.ask(body);
    const job = await line.next('job');
    return { asked, job };
  }

  call(path: string, init: RequestInit = {}): Promise<Answer> {
    return call(`${this.address.httpUrl}${path}`, init);
  }

  async health(): Promise<Health> {
    return (await this.call('/health')).json as Health;
  }

  untilHealth(isSo: (now: Health) => boolean, what: string, ms = soonMs): Promise<void> {
    let last: Health | null = null;
    return waitUntil(
      async () => {
        last = await this.health();
        return isSo(last);
      },
      ms,
      () => `${what}: /health says ${shown(last)}`,
    );
  }

  hangUp(): void {
    for (const { leave } of this.#asked) leave();
    for (const raw of this.#raws) raw.close();
    this.#asked = [];
    this.#raws = [];
  }

  /** Hangs up everywhere, and waits until the router holds nothing any more. */
  async reset(): Promise<void> {
    this.hangUp();
    await this.untilHealth(
      ({ workers, active_jobs: active, queued_jobs: queued }) => workers === 0 && active === 0 && queued === 0,
      'the router still holds something',
      10_000,
    );
  }
}

/** The answer that a streamed or whole request came to, as one text. */
export function answerText({ status, text, json }: Answer): string {
  expect(status === 200, `the caller got ${status}: ${text.slice(0, 300)}`);
  return json === undefined ? saidIn(text) : json.choices?.[0]?.message?.content;
}

/** The error in an answer, whole or as a line of a stream; null when there is none. */
export function errorIn({ text, json }: Answer): Heard {
  if (json !== undefined) return json.error ?? null;
  return chunksOf(text).find(chunk => chunk.error !== undefined)?.error ?? null;
}

let instances = 0;
export function instanceId(): string {
  instances += 1;
  return `conformance-${process.pid}-${instances}`;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A stream.
    return undefined;
  }
}
