/**
 * What becomes of sampled tokens: characters, then reasoning, text and tool calls, then stop strings; pieces come out.
 * Pure but for the ids of tool calls, which are given to it.
 *
 * A token is one step: when it yields several pieces, the first carries the ids, so that the text given out never goes
 * beyond what the ids given out say. Tokens that say nothing for a while are given out with an empty piece, as proof that
 * the job advances.
 */
import type { TokenLogprob } from '../../protocol/job-events.ts';
import type { Dialect } from './dialects.ts';
import type { EngineResult, GeneratedToolCall, Piece, ResumePoint } from './engine.ts';
import { type Output, outputParser } from './output-parser.ts';
import { stopStrings } from './stop-strings.ts';
import { tokenText } from './token-text.ts';
import type { TypesOf } from './tool-call-text.ts';

export interface AnswerOptions {
  readonly detokenize: (tokens: number[], last: number[]) => string;
  readonly toolsOffered: boolean;
  readonly typesOf: TypesOf;
  readonly toolNames: ReadonlySet<string>;
  readonly dialect?: Dialect;
  readonly startsInThought: boolean;
  readonly stop: readonly string[];
  /** End after the first call. */
  readonly oneCall: boolean;
  readonly callId: (form: 'json' | 'text') => string;
  readonly now: () => number;
  readonly onPiece: (piece: Piece) => void;
  readonly onToolCall: () => void;
  /** Said before this answer went on elsewhere: not given out again. */
  readonly already?: Pick<ResumePoint, 'text' | 'reasoning' | 'calls'> | undefined;
}

export interface Answer {
  /** Takes tokens that an earlier worker sampled, and gives out what it did not get to say; true as for `push`. */
  restore(tokens: readonly number[]): boolean;
  /** The same from the text alone, as the model wrote it; `tokens` of it were reasoning. */
  restoreText(written: string, reasoningTokens: number): boolean;
  /** Takes the next token; true when the answer is over because of what it said. */
  push(token: number, chance?: TokenLogprob): boolean;
  /** The same of tokens that are one step, and never given out in parts. */
  pushTogether(tokens: readonly number[]): boolean;
  /** The same of tokens whose text is known already, and whole. */
  pushText(tokens: readonly number[], said: string, chance?: TokenLogprob): boolean;
  /** The answer is over: gives out what was held back. `ended` says why, as far as the sampler knows. */
  finish(
    ended: 'stop' | 'length',
  ): Pick<EngineResult, 'finishReason' | 'text' | 'reasoning' | 'toolCalls' | 'stopSequence'>;
  /** What the model wrote as a call and nobody can read: such an answer is over, and no answer. */
  readonly brokenCall: string | null;
  readonly reasoningTokens: number;
  /** A thought is under way. */
  readonly inThought: boolean;
  /** No character and no tag is under way. */
  readonly isWhole: boolean;
}

/** Longest time that tokens may go ungiven. */
const quietMsMax = 250;

export function answer(options: AnswerOptions): Answer {
  const characters = tokenText(options.detokenize);
  const parser = outputParser(options);
  const stops = stopStrings(options.stop);
  const toolCalls: GeneratedToolCall[] = [];
  let text = '';
  let reasoning = '';
  let reasoningTokens = 0;
  let ids: number[] = [];
  let chances: TokenLogprob[] = [];
  let lastPieceAt = options.now();
  let stopped: string | null = null;
  let over = false;
  let brokenCall: string | null = null;

  const { already = { text: '', reasoning: '' } } = options;
  const callsAlready = already.calls ?? [];
  /** The call that is being written. */
  let writing: GeneratedToolCall | null = null;

  const give = (kind: Piece['kind'], whole: string): void => {
    const said = whole.slice(Math.max(0, already[kind].length - (kind === 'text' ? text : reasoning).length));
    if (kind === 'text') text += whole;
    else reasoning += whole;
    if (said === '' && ids.length === 0) return;
    const told = kind === 'text' && said !== '' && chances.length > 0 ? { logprobs: chances } : {};
    if (kind === 'reasoning' || said !== '') chances = [];
    const piece = { kind, text: said, ids, ...told };
    ids = [];
    lastPieceAt = options.now();
    options.onPiece(piece);
  };

  /** Nothing of a call that was told of before it moved is told again. */
  const giveCall = (more: string, begins: boolean): void => {
    if (writing === null) return;
    const index = toolCalls.length;
    const { id, name } = writing;
    const before = callsAlready[index];
    const said = more.slice(Math.max(0, (before?.arguments.length ?? 0) - writing.arguments.length));
    writing = { ...writing, arguments: writing.arguments + more };
    const isNew = begins && before === undefined;
    if (!isNew && said === '') return;
    const call = isNew ? { index, id, name, arguments: said } : { index, arguments: said };
    const piece = { kind: 'text', text: '', ids, call } as const;
    ids = [];
    lastPieceAt = options.now();
    options.onPiece(piece);
  };

  /** Text that could have begun a stop string, but a call follows it. */
  const giveHeld = (): void => {
    const rest = stops.flush();
    if (rest.text !== '') give('text', rest.text);
    if (rest.stopped === null) return;
    stopped = rest.stopped;
    over = true;
  };

  const take = (outputs: readonly Output[]): void => {
    for (const output of outputs) {
      if (over) return;
      switch (output.kind) {
        case 'reasoning':
          give('reasoning', output.text);
          break;
        case 'text': {
          const certain = stops.push(output.text);
          if (certain.text !== '') give('text', certain.text);
          if (certain.stopped !== null) {
            stopped = certain.stopped;
            over = true;
          }
          break;
        }
        case 'callBegun':
          options.onToolCall();
          break;
        case 'callOpened': {
          giveHeld();
          if (over) return;
          const id = callsAlready[toolCalls.length]?.id ?? options.callId(output.form);
          writing = { id, name: output.name, arguments: '' };
          giveCall('', true);
          break;
        }
        case 'callArguments':
          giveCall(output.text, false);
          break;
        case 'call':
          if (writing !== null) toolCalls.push(writing);
          writing = null;
          over = options.oneCall;
          break;
        case 'callBroken':
          writing = null;
          brokenCall = output.text;
          over = true;
          break;
      }
    }
  };

  const hearText = (said: string, tokens: number): void => {
    const thoughtBefore = parser.inThought;
    if (said !== '') take(parser.push(said));
    if (thoughtBefore || parser.inThought) reasoningTokens += tokens;
  };

  const hear = (token: number): void => hearText(characters.push(token), 1);

  const proveAdvance = (): void => {
    if (ids.length > 0 && options.now() - lastPieceAt > quietMsMax) give(parser.inThought ? 'reasoning' : 'text', '');
  };

  return {
    restore(tokens) {
      for (const token of tokens) {
        if (over) break;
        hear(token);
      }
      return over;
    },
    restoreText(written, tokens) {
      take(parser.push(written));
      reasoningTokens = tokens;
      return over;
    },
    push(token, chance) {
      ids.push(token);
      if (chance !== undefined) chances.push(chance);
      hear(token);
      proveAdvance();
      return over;
    },
    pushTogether(tokens) {
      ids.push(...tokens);
      for (const token of tokens) hear(token);
      return over;
    },
    pushText(tokens, said, chance) {
      ids.push(...tokens);
      if (chance !== undefined) chances.push(chance);
      hearText(said, tokens.length);
      proveAdvance();
      return over;
    },
    finish(ended) {
      if (!over) {
        take(parser.push(characters.flush()));
        take(parser.finish(ended === 'length'));
      }
      if (!over) {
        const rest = stops.flush();
        if (rest.text !== '') give('text', rest.text);
        stopped = rest.stopped;
      }
      if (ids.length > 0) give('text', '');
      const natural = toolCalls.length > 0 ? 'tool_calls' : 'stop';
      return {
        finishReason: ended === 'length' && stopped === null ? 'length' : natural,
        text,
        reasoning,
        toolCalls,
        ...(stopped === null ? {} : { stopSequence: stopped }),
      };
    },
    get brokenCall() {
      return brokenCall;
    },
    get reasoningTokens() {
      return reasoningTokens;
    },
    get isWhole() {
      return characters.isWhole && parser.isWhole;
    },
    get inThought() {
      return !over && parser.inThought;
    },
  };
}
