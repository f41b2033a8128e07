/**
 * A caller: asks once, reads as fast as it likes, may leave, may lose its connection and go on by the id of the last frame
 * that it has whole. It checks every frame against the truth the moment it comes.
 */
import type { Front } from '../../actors/router/front.ts';
import type { CallerPort } from '../../actors/router/ports.ts';
import { messageError, messageStatus } from '../../protocol/anthropic-api.ts';
import { type CodeName, codeOf } from '../../protocol/codes.ts';
import { errorBody } from '../../protocol/openai-api.ts';
import { type Ask, type Family, type Heard, newHeard } from './families.ts';
import type { RouterLife } from './router-node.ts';
import type { Truth } from './truth.ts';

/** How the last connection of a caller ended. */
export type Ending = 'answered' | 'cut by the router' | 'lost' | 'left' | null;

export class CallerNode {
  readonly number: number;
  readonly family: Family;
  readonly ask: Ask;
  readonly truth: Truth;
  readonly askedAt: number;
  readonly heard: Heard = newHeard();
  jobId = '';
  status = 0;
  ending: Ending = null;
  endedAt = 0;
  leftAt = 0;
  /** When the router hears of the last connection that was cut. */
  cutHeardAt = 0;
  slow = false;
  /** The router refused it by itself: no log says so. */
  turned = false;
  resumes = 0;
  /** It asked for the rest of a job whose name it could not have: nothing of its answer had come, not even the head. */
  guessed = false;
  /** What it has of a frame that is not whole. */
  #rest = '';
  /** Bytes of an answer in one piece. */
  body = '';
  /** Bytes of a streamed answer, whole frames only, without keep-alives. */
  readonly frames: string[] = [];
  life: RouterLife | null = null;
  streamId = 0;
  #unread = 0;
  #connection = 0;
  #cut: { readonly part: number; readonly then: () => void } | null = null;
  readonly #wrong: (what: string) => void;
  readonly #clock: { readonly now: number };

  constructor(
    number: number,
    family: Family,
    ask: Ask,
    truth: Truth,
    clock: { readonly now: number },
    wrong: (what: string) => void,
  ) {
    this.number = number;
    this.family = family;
    this.ask = ask;
    this.truth = truth;
    this.#clock = clock;
    this.askedAt = clock.now;
    this.#wrong = what => wrong(`${this.name}: ${what}`);
  }

  get name(): string {
    return `caller ${this.number} (${this.family.name}, ${this.ask.streamed ? 'streamed' : 'blocking'}, ${this.jobId})`;
  }

  get malformed(): boolean {
    return this.ask.malformed;
  }

  get waits(): boolean {
    return this.ending === null;
  }

  /** Its present connection, by number. */
  get connection(): number {
    return this.#connection;
  }

  /** The next bytes reach it only in part, and then its connection is gone, which `then` hears. Counted in characters. */
  cutWithin(part: number, then: () => void): void {
    this.#cut = { part, then };
  }

  /** The port of a new connection; what comes by an earlier one is not heard any more. */
  port(): CallerPort {
    this.#connection += 1;
    const connection = this.#connection;
    const mine = (): boolean => connection === this.#connection && this.ending === null;
    const caller = this;
    const open = (status: number): void => {
      if (this.status !== 0 && this.resumes === 0) this.#wrong('the head of its answer came twice');
      this.status = status;
    };
    return {
      respond: (status, _headers, body) => {
        if (!mine()) return;
        open(status);
        this.#whole(status, body);
        this.#end('answered');
      },
      refuse: (code, message) => {
        if (!mine()) return;
        const { status, body } = this.#refusal(code, message);
        this.turned = true;
        open(status);
        this.#whole(status, body);
        this.#end('answered');
      },
      open: status => void (mine() && open(status)),
      write: text => {
        if (!mine()) return;
        if (this.slow) this.#unread += 1;
        const cut = this.#cut;
        this.#cut = null;
        if (cut === null) return this.#take(text);
        this.#take(text.slice(0, Math.floor(cut.part * (text.length + 1))));
        cut.then();
      },
      end: () => {
        if (!mine()) return;
        if (this.#rest !== '') this.#wrong(`its answer ends in the middle of a frame: ${this.#rest}`);
        this.#end('answered');
      },
      destroy: () => void (mine() && this.#end('cut by the router')),
      get bufferedBytes() {
        return caller.#unread === 0 ? 0 : 2 ** 20;
      },
    };
  }

  #refusal(code: CodeName, message: string): { status: number; body: string } {
    if (this.family.api === 'anthropic.messages')
      return { status: messageStatus(code), body: JSON.stringify(messageError(code, message, 'req')) };
    return { status: codeOf(code).status, body: JSON.stringify(errorBody(code, message)) };
  }

  #whole(status: number, body: string): void {
    // Nothing follows what it has.
    if (status === 204) {
      this.status = 200;
      return;
    }
    this.body = body;
    if (status === 200) {
      try {
        this.family.whole(this.heard, body);
      } catch (error) {
        this.#wrong(`its answer cannot be read (${error}): ${body}`);
      }
      this.#compare();
    } else this.heard.error = this.family.errorOf(body);
  }

  #take(text: string): void {
    const all = this.#rest + text;
    const blocks = all.split('\n\n');
    this.#rest = blocks.pop() ?? '';
    for (const block of blocks) this.#frame(block);
    this.#compare();
  }

  #frame(block: string): void {
    if (block === '' || block.startsWith(':')) return;
    const { heard } = this;
    if (heard.ends > 0) this.#wrong(`something came after the end: ${block}`);
    let [name, data, id] = ['', '', null as string | null];
    for (const line of block.split('\n')) {
      if (line.startsWith('data: ')) data = line.slice(6);
      else if (line.startsWith('event: ')) name = line.slice(7);
      else if (line.startsWith('id: ')) id = line.slice(4);
    }
    if (id === null && name === 'ping') return;
    if (id !== null) {
      if (id === heard.lastId) this.#wrong(`the frame ${id} came twice`);
      heard.lastId = id;
    }
    this.frames.push(`${block}\n\n`);
    try {
      this.family.event(heard, name, data);
    } catch (error) {
      this.#wrong(`a frame cannot be read (${error}): ${block}`);
    }
  }

  /** Nothing lost, repeated or invented so far. */
  #compare(): void {
    const { heard, truth } = this;
    if (heard.nonsense !== null) this.#wrong(heard.nonsense);
    if (!truth.text.startsWith(heard.text)) this.#wrong(`got ${show(heard.text)} of ${show(truth.text)}`);
    if (!truth.reasoning.startsWith(heard.reasoning))
      this.#wrong(`got the thought ${show(heard.reasoning)} of ${show(truth.reasoning)}`);
  }

  #end(how: Ending): void {
    this.ending = how;
    this.endedAt = this.#clock.now;
    this.#unread = 0;
  }

  get live(): boolean {
    return this.life !== null && !this.life.node.dead;
  }

  /** Its router is told that the connection is gone, when it runs. */
  #close(): void {
    const { life, streamId } = this;
    if (life === null) return;
    life.node.clock.after(0, life.node, () => life.front.callerClosed(streamId));
  }

  leave(): boolean {
    if (!this.waits) return false;
    this.leftAt = this.#clock.now;
    this.#end('left');
    this.#close();
    return true;
  }

  /** The connection is gone, with what it had of a frame. */
  lose(): void {
    if (!this.waits) return;
    this.#connection += 1;
    this.#cut = null;
    this.#rest = '';
    this.#unread = 0;
    this.life = null;
  }

  giveUp(): void {
    if (this.waits) this.#end('lost');
  }

  /** Takes what waits for it. */
  drain(slowly: boolean): void {
    this.slow = slowly;
    this.#unread = 0;
    const { life, streamId } = this;
    if (life !== null && this.waits) life.node.clock.after(0, life.node, () => life.front.callerDrained(streamId));
  }

  /** Whether it has the whole right answer. */
  get satisfied(): boolean {
    return this.ending === 'answered' && this.status === 200 && this.heard.error === null;
  }

  frontOf(): Front | null {
    return this.life?.front ?? null;
  }
}

export const show = (text: string): string => JSON.stringify(text.length > 200 ? `…${text.slice(-200)}` : text);
