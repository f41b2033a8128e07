/** How the answer of one job is read while it is written: the same for every engine. */

import { randomBytes } from 'node:crypto';
import { isRecord } from '../../protocol/record.ts';
import { type Answer, type AnswerOptions, answer } from './answer.ts';
import { type Dialect, startsInThought } from './dialects.ts';
import { EngineError, type EngineJob, type GenerateHooks } from './engine.ts';

export function jobAnswer(
  job: EngineJob,
  { prompt, dialect }: { readonly prompt: string; readonly dialect: Dialect },
  hooks: Pick<GenerateHooks, 'onPiece' | 'onToolCall'>,
  detokenize: AnswerOptions['detokenize'],
): Answer {
  return answer({
    detokenize,
    toolsOffered: (job.tools?.length ?? 0) > 0,
    typesOf: typesOf(job.tools ?? []),
    toolNames: toolNames(job.tools ?? []),
    dialect,
    startsInThought: startsInThought(prompt, dialect),
    stop: job.stop ?? [],
    oneCall: job.parallelToolCalls === false,
    callId,
    now: Date.now,
    onPiece: hooks.onPiece,
    onToolCall: hooks.onToolCall,
    already: job.resume,
  });
}

/** Whether the thought that is under way has had all the tokens that the job allows, and can be ended here. */
export const thoughtIsSpent = ({ thinkingBudget }: EngineJob, said: Answer): boolean =>
  thinkingBudget !== undefined && said.inThought && said.reasoningTokens >= thinkingBudget && said.isWhole;

/** Whether it may be so when one more token is heard. */
export const thoughtMayBeSpent = ({ thinkingBudget }: EngineJob, said: Answer): boolean =>
  thinkingBudget !== undefined && said.inThought && said.reasoningTokens + 1 >= thinkingBudget;

const excerptCharsMax = 200;

/** Half a call would do something that was not meant, and its marks as text would be no answer. */
export function unreadable(written: string): EngineError {
  const excerpt = JSON.stringify(written.slice(-excerptCharsMax));
  const why = `the model wrote a tool call that cannot be read, up to ${excerpt}; ask again, or offer simpler tools`;
  return new EngineError('malformed_tool_call', why);
}

export const toolNames = (tools: readonly Readonly<Record<string, unknown>>[]): ReadonlySet<string> =>
  new Set(tools.flatMap(({ function: fn }) => (isRecord(fn) && typeof fn.name === 'string' ? [fn.name] : [])));

/** The types that the schemas of a job's tools name for a parameter. */
export function typesOf(tools: readonly Readonly<Record<string, unknown>>[]) {
  return (tool: string, parameter: string): readonly string[] | null => {
    for (const { function: fn } of tools) {
      if (!isRecord(fn) || fn.name !== tool || !isRecord(fn.parameters)) continue;
      const { properties } = fn.parameters;
      const schema = isRecord(properties) ? properties[parameter] : undefined;
      const type = isRecord(schema) ? schema.type : undefined;
      if (typeof type === 'string') return [type];
      if (Array.isArray(type)) return type.filter(item => typeof item === 'string');
    }
    return null;
  };
}

/** Calls written as tags got `xml_` and eight digits in the reference; everybody else writes `call_`. */
const callId = (form: 'json' | 'text'): string =>
  form === 'json' ? `call_${randomBytes(12).toString('hex')}` : `xml_${randomBytes(4).toString('hex')}`;
