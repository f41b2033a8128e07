/**
 * What the model said so far, kept beside the job's machine: text, counts, and the token ids that another worker with the
 * same model file can go on from exactly.
 *
 * O1. `ids` are all tokens of the output, in order, exactly while `modelFile` names the file they belong to. Output
 *     without ids, or from two model files, is continued by its text instead.
 */
import type {
  CallPiece,
  ChoiceEnd,
  JobAssigned,
  JobEvent,
  JobMoved,
  JobResumed,
  OutputAppended,
  ToolCall,
} from '../protocol/job-events.ts';

/** A list that grows at its end: values share the array, and each sees its own `length` of it. */
export interface TokenIds {
  readonly items: number[];
  readonly length: number;
}

export interface Output {
  readonly text: string;
  readonly reasoning: string;
  readonly tokens: number;
  readonly reasoningTokens: number;
  /** The last sequence number of this attempt's frames (version 2); 0 before the first. */
  readonly seq: number;
  /** `tokens` when the attempt began, if it began from nothing: one that goes on counts them itself. */
  readonly tokensBefore: number;
  readonly ids: TokenIds;
  /** O1. */
  readonly modelFile: string | null;
  /** Tool calls that were told of as they were written; the last may not be whole. */
  readonly calls: readonly ToolCall[];
  /** How this choice has ended (`n > 1`). */
  readonly end: ChoiceEnd | null;
  /** May be the beginning of a stop text: said, and in `text` only once that is certain (job.stops.ts). */
  readonly held: string;
  /** The choices after the first, as far as they have begun; everything above is the first one's. */
  readonly others: readonly Choice[];
}

/** What was said of one choice. */
export type Choice = Pick<Output, 'text' | 'reasoning' | 'tokens' | 'reasoningTokens' | 'ids' | 'calls' | 'end'>;

const unbegun = (): Choice => ({
  text: '',
  reasoning: '',
  tokens: 0,
  reasoningTokens: 0,
  ids: { items: [], length: 0 },
  calls: [],
  end: null,
});

export const silence = (): Output => ({ ...unbegun(), seq: 0, tokensBefore: 0, modelFile: null, held: '', others: [] });

/** Whether there is anything that another worker would have to go on from. */
export const hasSaid = ({ text, reasoning, tokens, others }: Output): boolean =>
  tokens > 0 || text !== '' || reasoning !== '' || others.length > 0;

/** The ids that a worker with `modelFile` can go on from; null when it must go on from the text (O1). */
export const idsFor = (output: Output, theirs: string | null, { ids }: Choice = output): number[] | null =>
  output.modelFile !== null && output.modelFile === theirs ? ids.items.slice(0, ids.length) : null;

export function said(output: Output, event: OutputAppended): Output {
  const { choice = 0 } = event;
  const whole = {
    ...output,
    seq: event.seq ?? output.seq,
    held: event.kind === 'text' ? (event.held ?? '') : output.held,
    modelFile: event.ids === undefined && event.text !== '' ? null : output.modelFile,
  };
  if (choice === 0) return { ...whole, ...grown(output, event) };
  const others = Array.from({ length: Math.max(output.others.length, choice) }, (_, index) => {
    const other = output.others[index] ?? unbegun();
    return index === choice - 1 ? grown(other, event) : other;
  });
  return { ...whole, others };
}

function grown(choice: Choice, event: OutputAppended): Choice {
  const reasoning = event.kind === 'reasoning';
  return {
    text: reasoning ? choice.text : choice.text + event.text,
    reasoning: reasoning ? choice.reasoning + event.text : choice.reasoning,
    tokens: choice.tokens + event.tokens,
    reasoningTokens: reasoning ? choice.reasoningTokens + event.tokens : choice.reasoningTokens,
    ids: event.ids === undefined ? choice.ids : joined(choice.ids, event.ids),
    calls: event.call === undefined ? choice.calls : callsWith(choice.calls, event.call),
    end: event.end ?? choice.end,
  };
}

/** The calls with the next piece of one of them; a piece that cannot follow changes nothing. */
export function callsWith(
  calls: readonly ToolCall[],
  { index, id, name, arguments: more }: CallPiece,
): readonly ToolCall[] {
  if (index === calls.length && id !== undefined && name !== undefined)
    return [...calls, { id, name, arguments: more }];
  const last = calls.at(-1);
  if (last === undefined || index !== calls.length - 1 || name !== undefined) return calls;
  return calls.with(index, { ...last, arguments: last.arguments + more });
}

export function outputAfter(output: Output, event: JobEvent): Output {
  switch (event.type) {
    case 'output.appended':
      return said(output, event);
    case 'job.moved':
    case 'job.assigned': {
      const tokensBefore = event.protocol >= 2 ? 0 : output.tokens;
      return { ...output, seq: 0, held: '', tokensBefore, modelFile: fileAfter(output, event) };
    }
    case 'job.resumed':
      return { ...output, seq: event.seq, tokensBefore: 0, modelFile: fileAfter(output, event) };
    // The next answer of the same job begins: what was said so far is part of its conversation (tool-round.ts).
    case 'toolRound.started':
      return silence();
    default:
      return output;
  }
}

const fileAfter = (output: Output, { modelFile }: JobAssigned | JobMoved | JobResumed): string | null =>
  modelFile !== undefined && (!hasSaid(output) || modelFile === output.modelFile) ? modelFile : null;

function joined({ items, length }: TokenIds, ids: readonly number[]): TokenIds {
  // Another value may have grown from the same beginning; then this one goes on with an array of its own.
  const own = items.length === length ? items : items.slice(0, length);
  for (const id of ids) own.push(id);
  return { items: own, length: length + ids.length };
}
