/**
 * A line to an MCP server that is a child process: one JSON-RPC message a line. The SDK's own transport ends only the
 * child itself; this one ends its group, and bounds what a server can say.
 *
 * What is no message (a server that logs to its output) is skipped, up to a number of times; a line or a flood above the
 * caps ends the server.
 */
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { type JSONRPCMessage, JSONRPCMessageSchema } from '@modelcontextprotocol/sdk/types.js';
import { type Child, type ChildOptions, startChild, tailOf } from '../child-process.ts';

/** An image in base64 fits. */
const lineBytesMax = 16 * 2 ** 20;
/** Without a question of ours in between. */
const unaskedBytesMax = 64 * 2 ** 20;
const unaskedMessagesMax = 20_000;
const strayLinesMax = 1000;
const stderrCharsMax = 2000;
const endMs = 1000;

export class StdioTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly #options: ChildOptions;
  #child: Child | null = null;
  #closed = false;
  #pieces: Buffer[] = [];
  #lineBytes = 0;
  #unaskedBytes = 0;
  #unaskedMessages = 0;
  #strayLines = 0;
  #stderr: () => string = () => '';
  /** Why it ended, when that was not asked for. */
  #reason = '';

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  get pid(): number | null {
    return this.#child?.process.pid ?? null;
  }

  /** What the server wrote for people, and why it ended. */
  get lastWords(): string {
    return [this.#reason, this.#stderr().trim()].filter(text => text !== '').join(': ');
  }

  async start(): Promise<void> {
    const child = startChild(this.#options);
    this.#child = child;
    this.#stderr = tailOf(child.process.stderr, stderrCharsMax);
    child.process.stdout.on('data', (piece: Buffer) => this.#hear(piece));
    void child.exit.then(({ status, error }) => {
      this.#reason ||= error ?? `the server ended with ${status === null ? 'a signal' : `status ${status}`}`;
      void this.#end(0);
    });
    if (child.process.pid === undefined) throw new Error((await child.exit).error ?? 'the server cannot be started');
  }

  async send(message: JSONRPCMessage): Promise<void> {
    if (this.#closed || this.#child === null) throw new Error('the server is not running');
    this.#unaskedBytes = 0;
    this.#unaskedMessages = 0;
    const { stdin } = this.#child.process;
    if (stdin.writableLength > lineBytesMax) return this.#give('the server does not read what it is sent');
    stdin.write(`${JSON.stringify(message)}\n`);
  }

  async close(): Promise<void> {
    await this.#end(endMs);
  }

  #hear(piece: Buffer): void {
    if (this.#closed) return;
    this.#unaskedBytes += piece.length;
    if (this.#unaskedBytes > unaskedBytesMax) return this.#give('the server floods');
    let from = 0;
    for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, from)) {
      this.#pieces.push(piece.subarray(from, at));
      const line = Buffer.concat(this.#pieces).toString('utf8').trim();
      this.#pieces = [];
      this.#lineBytes = 0;
      from = at + 1;
      if (line !== '') this.#read(line);
      if (this.#closed) return;
    }
    if (from === piece.length) return;
    this.#pieces.push(piece.subarray(from));
    this.#lineBytes += piece.length - from;
    if (this.#lineBytes > lineBytesMax) this.#give('the server sent a message that is too large');
  }

  #read(line: string): void {
    this.#unaskedMessages += 1;
    if (this.#unaskedMessages > unaskedMessagesMax) return this.#give('the server floods');
    let message: JSONRPCMessage;
    try {
      message = JSONRPCMessageSchema.parse(JSON.parse(line));
    } catch {
      // Servers that log to their output are common, and harmless while they are brief.
      this.#strayLines += 1;
      if (this.#strayLines > strayLinesMax) this.#give('the server does not speak MCP');
      return;
    }
    this.onmessage?.(message);
  }

  #give(reason: string): void {
    this.#reason ||= reason;
    void this.#end(0);
  }

  async #end(graceMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#pieces = [];
    this.#child?.process.stdin.end();
    await this.#child?.end(graceMs);
    this.onclose?.();
  }
}
