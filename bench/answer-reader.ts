/**
 * Reads the answers that arrive on one kept-alive HTTP/1.1 connection, and the server-sent events in them. A full
 * client would cost more per token than the relay it measures. Bodies are chunked or have a length; both are cut
 * anywhere by the network. Everything is a byte string (see script.ts).
 *
 * Tokens may come one an event or many joined in one: only their concatenation counts.
 */
export interface AnswerSink {
  /** Text of the answer, as it came; called for streamed answers only. */
  onText(bytes: string): void;
  /** `body` is the whole body of an answer that was not a stream, else empty. */
  onEnd(end: AnswerEnd): void;
}

export interface AnswerEnd {
  readonly status: number;
  readonly body: string;
  /** A stream is whole when it said so: `finish_reason` and `[DONE]`. */
  readonly finishReason: string | undefined;
  readonly done: boolean;
  /** The first thing in a stream that is no chunk of an answer. */
  readonly oddity: string | undefined;
  readonly keepAlive: boolean;
}

const bodyBytesMax = 16 * 1024 * 1024;
const headBytesMax = 64 * 1024;

export class AnswerReader {
  readonly #sink: AnswerSink;
  #state: 'head' | 'length' | 'chunkSize' | 'chunk' | 'trailer' = 'head';
  #rest = '';
  #bytesLeft = 0;
  #status = 0;
  #streamed = false;
  #keepAlive = true;
  #body = '';
  #finishReason: string | undefined;
  #done = false;
  #oddity: string | undefined;

  constructor(sink: AnswerSink) {
    this.#sink = sink;
  }

  /** Takes what the socket gave. Throws when it is not HTTP/1.1 as above. */
  push(data: Buffer): void {
    const input = this.#rest === '' ? data.toString('latin1') : this.#rest + data.toString('latin1');
    this.#rest = '';
    let at = 0;
    while (at < input.length) {
      if (this.#state === 'length' || this.#state === 'chunk') {
        const end = Math.min(at + this.#bytesLeft, input.length);
        this.#payload(input.slice(at, end));
        this.#bytesLeft -= end - at;
        at = end;
        if (this.#bytesLeft > 0) return;
        if (this.#state === 'length') this.#end();
        else this.#state = 'chunkSize';
        continue;
      }
      const head = this.#state === 'head';
      // The line break that ends a chunk is read with the next size line.
      const from = this.#state === 'chunkSize' && input.startsWith('\r\n', at) ? at + 2 : at;
      const lineEnd = input.indexOf(head ? '\r\n\r\n' : '\r\n', from);
      if (lineEnd < 0) {
        this.#rest = input.slice(at);
        if (this.#rest.length > headBytesMax) throw new Error('the answer has no end of its head or chunk size');
        return;
      }
      const line = input.slice(from, lineEnd);
      at = lineEnd + (head ? 4 : 2);
      if (head) this.#head(line);
      else if (this.#state === 'chunkSize') this.#chunkSize(line);
      else if (line === '') this.#end();
    }
  }

  #head(head: string): void {
    const status = /^HTTP\/1\.1 (\d{3})/.exec(head);
    if (status === null) throw new Error(`not an HTTP/1.1 answer: ${head.slice(0, 80)}`);
    this.#status = Number(status[1]);
    this.#streamed = /\r\ncontent-type: *text\/event-stream/i.test(head);
    this.#keepAlive = !/\r\nconnection: *close/i.test(head);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head);
    if (/\r\ntransfer-encoding: *chunked/i.test(head)) this.#state = 'chunkSize';
    else if (length !== null) {
      this.#state = 'length';
      this.#bytesLeft = Number(length[1]);
      if (this.#bytesLeft === 0) this.#end();
    } else throw new Error('the answer is neither chunked nor has a length');
  }

  #chunkSize(line: string): void {
    this.#bytesLeft = Number.parseInt(line, 16);
    if (!(this.#bytesLeft >= 0)) throw new Error(`not a chunk size: ${line.slice(0, 80)}`);
    this.#state = this.#bytesLeft === 0 ? 'trailer' : 'chunk';
  }

  #payload(piece: string): void {
    const body = this.#body === '' ? piece : this.#body + piece;
    if (body.length > bodyBytesMax) throw new Error(`the answer is longer than ${bodyBytesMax} bytes`);
    this.#body = this.#streamed ? this.#events(body) : body;
  }

  /** Handles the whole events in `text` and returns what is left of it. */
  #events(text: string): string {
    let at = 0;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n', at)) {
      this.#event(text.slice(at, end));
      at = end + 2;
    }
    return at === 0 ? text : text.slice(at);
  }

  #event(event: string): void {
    const content = contentIn(event);
    if (content !== undefined) {
      if (content !== '') this.#sink.onText(content);
      return;
    }
    // Comments keep the connection warm; ids and other fields stand before or after the data.
    const line = event.split('\n').find(each => each.startsWith('data: '));
    if (line === undefined) return;
    const data = line.slice(6);
    if (data === '[DONE]') {
      this.#done = true;
      return;
    }
    const chunk = parsed(data) as { choices?: { finish_reason?: unknown }[] } | undefined;
    const reason = chunk?.choices?.[0]?.finish_reason;
    if (typeof reason === 'string') this.#finishReason = reason;
    else if (chunk?.choices === undefined) this.#oddity ??= data.slice(0, 200);
  }

  #end(): void {
    const end = {
      status: this.#status,
      body: this.#body,
      finishReason: this.#finishReason,
      done: this.#done,
      oddity: this.#oddity,
      keepAlive: this.#keepAlive,
    };
    this.#state = 'head';
    this.#body = '';
    this.#finishReason = undefined;
    this.#done = false;
    this.#oddity = undefined;
    this.#sink.onEnd(end);
  }
}

const contentKey = '"content":"';

/** The text of a chunk, found without parsing it: inside a JSON string the key would have its quotes escaped. */
function contentIn(event: string): string | undefined {
  const key = event.indexOf(contentKey);
  if (key < 0) return undefined;
  const start = key + contentKey.length;
  let escaped = false;
  let at = start;
  for (; at < event.length; at++) {
    const code = event.charCodeAt(at);
    if (code === 0x22) break;
    if (code !== 0x5c) continue;
    escaped = true;
    at++;
  }
  const raw = event.slice(start, at);
  return escaped ? unescaped(raw) : raw;
}

/** Escapes name characters, not bytes, so the text has to be decoded for them and encoded again. */
function unescaped(raw: string): string {
  const text = parsed(`"${Buffer.from(raw, 'latin1').toString('utf8')}"`);
  return typeof text === 'string' ? Buffer.from(text, 'utf8').toString('latin1') : raw;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    // Not JSON: the callers report it as an oddity or as text that differs.
    return undefined;
  }
}
