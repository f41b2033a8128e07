/**
 * Where an answer goes on that another worker began: which tokens stand behind the prompt, and what they mean.
 *
 * From ids it goes on exactly. From text, the text is put behind the prompt as the model would have written it; the cut
 * may fall inside a word, so that the model may go on differently, but nothing is said twice.
 */
import { common, type Dialect } from './dialects.ts';
import type { GeneratedToolCall, ResumePoint } from './engine.ts';

/** What the model had written, as far as the text tells: its thought comes first, in its tags, unless the prompt opened it. */
export function writtenSoFar(resume: ResumePoint, startsInThought: boolean, dialect: Dialect = common): string {
  const { text: said, reasoning, calls = [] } = resume;
  if (dialect.name === 'harmony') return inChannels(resume);
  const [open, close] = dialect.thought;
  const text = said + calls.map((call, index) => callText(call, index < calls.length - 1)).join('');
  if (reasoning === '') return startsInThought && text !== '' ? `\n${close}\n\n${text}` : text;
  const opened = startsInThought ? reasoning : `${open}\n${reasoning}`;
  // A thought that no text follows may be unfinished: it goes on.
  return text === '' ? opened : `${opened}\n${close}\n\n${text}`;
}

/** In the form that every reader of answers knows; the last call may go on. */
function callText({ name, arguments: json }: GeneratedToolCall, whole: boolean): string {
  return `\n<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": ${json}${whole ? '}\n</tool_call>' : ''}`;
}

function inChannels({ text, reasoning, calls = [] }: ResumePoint): string {
  const parts = [
    ...(reasoning === '' ? [] : [`<|channel|>analysis<|message|>${reasoning}`]),
    ...(text === '' ? [] : [`<|channel|>final<|message|>${text}`]),
    ...calls.map(
      ({ name, arguments: json }) =>
        `<|channel|>commentary to=functions.${name} <|constrain|>json<|message|>${json === '' ? '{' : json}`,
    ),
  ];
  return parts.join('<|end|><|start|>assistant');
}

/**
 * The seed of what follows `tokens` tokens. A sampler's state cannot be carried over; with the first seed it would repeat
 * the choices that it began with.
 */
export const seedAfter = (seed: number | undefined, tokens: number): number | undefined =>
  seed === undefined || seed < 0 ? seed : (seed + Math.imul(tokens, 0x9e3779b1)) >>> 0;
