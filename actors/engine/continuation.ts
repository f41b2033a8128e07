/**
 * Where an answer goes on that another worker began: which tokens stand behind the prompt, and what they mean.
 *
 * From ids it goes on exactly. From text, the text is put behind the prompt as the model would have written it; the cut
 * may fall inside a word, so that the model may go on differently, but nothing is said twice.
 */
import { type CallForm, callIndex, commonForm } from '../../protocol/call-form.ts';
import { common } from './dialects.table.ts';
import type { Dialect } from './dialects.ts';
import type { GeneratedToolCall, ResumePoint } from './engine.ts';

/** What the model had written, as far as the text tells: its thought comes first, in its tags, unless the prompt opened it. */
export function writtenSoFar(resume: ResumePoint, startsInThought: boolean, dialect: Dialect = common): string {
  if (dialect.name === 'harmony') return inChannels(resume, startsInThought, dialect);
  const { text: said, reasoning, calls = [] } = resume;
  const [open, close] = dialect.thought;
  const text = said + (calls.length === 0 ? '' : callsText(calls, said !== '', formToGoOnIn(resume, dialect)));
  if (reasoning === '') return startsInThought && text !== '' ? `\n${close}\n\n${text}` : text;
  const opened = startsInThought ? reasoning : `${open}\n${reasoning}`;
  // A thought that no text follows may be unfinished: it goes on.
  return text === '' ? opened : `${opened}\n${close}\n\n${text}`;
}

/**
 * In which form the calls of an answer stand. A call that was cut is JSON, which tags cannot say, and some forms stand at
 * the beginning of an answer only.
 */
export function formToGoOnIn({ calls = [], text, ids }: ResumePoint, { calls: own }: Dialect): CallForm {
  const isOwn = own.parameters === null && !(own.isFirst && text !== '');
  return ids !== null || calls.length === 0 || isOwn ? own : { ...commonForm, thought: own.thought };
}

/** The last call may go on. */
function callsText(calls: readonly GeneratedToolCall[], followsText: boolean, form: CallForm): string {
  const written = calls.map(({ name, arguments: json }, index) => {
    const [before, behind] = form.around(name);
    return before.replace(callIndex, String(index)) + json + (index < calls.length - 1 ? behind : '');
  });
  return `${followsText ? '\n' : ''}${form.open}${written.join(form.between)}`;
}

function inChannels({ text, reasoning, calls = [] }: ResumePoint, startsInThought: boolean, dialect: Dialect): string {
  const [open, close] = dialect.thought;
  const [callText] = calls.slice(-1).map(({ name, arguments: json }) => dialect.calls.around(name)[0] + json);
  const rest = [...(text === '' ? [] : [`<|channel|>final<|message|>${text}`]), ...(callText ? [callText] : [])];
  const next = `${close}${dialect.calls.afterThought}`;
  const thought = `${startsInThought ? '' : open}${reasoning}`;
  if (rest.length === 0) return reasoning === '' ? '' : thought;
  return `${reasoning === '' && !startsInThought ? '' : `${thought}${next}`}${rest.join(next)}`;
}

/**
 * The seed of what follows `tokens` tokens. A sampler's state cannot be carried over; with the first seed it would repeat
 * the choices that it began with.
 */
export const seedAfter = (seed: number | undefined, tokens: number): number | undefined =>
  seed === undefined || seed < 0 ? seed : (seed + Math.imul(tokens, 0x9e3779b1)) >>> 0;
