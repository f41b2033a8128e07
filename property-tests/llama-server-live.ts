/**
 * Plays the demo model's golden answers through a real llama-server, alone and with a cut at several tokens, and says what
 * differs: `node --import tsx property-tests/llama-server-live.ts /path/to/llama-server`. docs/llama-server.md has what was seen.
 */
import { readFileSync } from 'node:fs';
import { serverEngine } from '../actors/engine/engine.server.ts';
import type { EngineJob, EngineResult, ResumePoint } from '../actors/engine/engine.ts';
import { demoModel } from '../registry/load.ts';

interface Golden {
  readonly messages: EngineJob['messages'];
  readonly tools?: EngineJob['tools'];
  readonly options?: EngineJob['templateOptions'];
  readonly expected_text?: string;
  readonly expected_tool_call?: unknown;
  readonly reasoning?: string;
  readonly completion_tokens: number;
  readonly prompt_tokens: number;
}

const golden: readonly Golden[] = JSON.parse(
  readFileSync(new URL('../registry/demo-model/golden.json', import.meta.url), 'utf8'),
);
const [path = 'llama-server'] = process.argv.slice(2);
const slots = 4;
/** Greater: fewer cuts. */
const cutsEvery = Number(process.env.CUTS_EVERY ?? 7);

const engine = serverEngine({
  server: { kind: 'program', path, projectorPath: null },
  modelPath: demoModel().path,
  contextSize: 2048,
  slots,
  threads: 1,
  gpuLayers: 0,
  joinMs: 0, // so that an answer may be cut behind each token
  onState: () => undefined,
  onLoading: () => undefined,
  onTrouble: message => console.log('trouble:', message),
  onLog: () => undefined,
});

interface Said {
  readonly result: EngineResult;
  readonly point: ResumePoint;
}

interface Cut {
  readonly result: null;
  readonly point: ResumePoint;
}

/** `cutAfter`: the job is cancelled when so many tokens are known. */
async function ask(job: EngineJob, cutAfter = Number.POSITIVE_INFINITY): Promise<Said | Cut> {
  const ids = [...(job.resume?.ids ?? [])];
  let text = job.resume?.text ?? '';
  let reasoning = job.resume?.reasoning ?? '';
  const calls = (job.resume?.calls ?? []).map(call => ({ ...call }));
  const abort = new AbortController();
  const point = (): ResumePoint => ({ text, reasoning, tokens: ids.length, reasoningTokens: 0, ids, calls });
  try {
    const result = await engine.generate(job, {
      signal: abort.signal,
      onProgress: () => undefined,
      onToolCall: () => undefined,
      onPiece: piece => {
        if (abort.signal.aborted) return;
        if (piece.isInexact === true) console.log('an answer has lost its tokens');
        ids.push(...piece.ids);
        if (piece.kind === 'text') text += piece.text;
        else reasoning += piece.text;
        if (piece.call !== undefined) {
          const { index, id = '', name = '', arguments: more } = piece.call;
          const call = calls[index];
          if (call === undefined) calls.push({ id, name, arguments: more });
          else calls[index] = { ...call, arguments: call.arguments + more };
        }
        if (ids.length >= cutAfter) abort.abort();
      },
    });
    return { result, point: point() };
  } catch (error) {
    if (abort.signal.aborted) return { result: null, point: point() };
    throw error;
  }
}

const jobOf = ({ messages, tools, options }: Golden): EngineJob => ({
  messages,
  tools,
  templateOptions: options,
  temperature: 0,
});

function difference(want: Golden, said: Said): string | null {
  const { result, point } = said;
  const calls = want.expected_tool_call === undefined ? [] : [want.expected_tool_call].flat();
  const made = result.toolCalls.map(call => ({ name: call.name, arguments: JSON.parse(call.arguments) }));
  const pairs: [string, unknown, unknown][] = [
    ['text', result.text, want.expected_text ?? ''],
    ['reasoning', result.reasoning, want.reasoning ?? ''],
    ['said', point.text, want.expected_text ?? ''],
    ['calls', JSON.stringify(made), JSON.stringify(calls)],
    ['output tokens', result.usage.output, want.completion_tokens],
    ['prompt tokens', result.usage.input + result.usage.cached, want.prompt_tokens],
    ['known tokens', point.ids?.length, want.completion_tokens - 1],
  ];
  const [first] = pairs.filter(([, is, should]) => is !== should);
  return first === undefined ? null : `${first[0]}: ${JSON.stringify(first[1])}, not ${JSON.stringify(first[2])}`;
}

const tell = (what: string, wrong: readonly string[], all: number, startedAt: number): void => {
  console.log(
    `${what}: ${all - wrong.length} of ${all} as they should be, ${Math.round(performance.now() - startedAt)} ms`,
  );
  for (const one of wrong.slice(0, 5)) console.log('  ', one);
};

console.log(await engine.load());
try {
  let startedAt = performance.now();
  const alone: string[] = [];
  for (const want of golden) {
    const said = await ask(jobOf(want));
    const differs = said.result !== null ? difference(want, said) : 'it was cut';
    if (differs !== null) alone.push(`${JSON.stringify(want.messages.at(-1))}: ${differs}`);
  }
  tell('one at a time', alone, golden.length, startedAt);

  startedAt = performance.now();
  const together: string[] = [];
  const waiting = [...golden];
  const work = async (): Promise<void> => {
    for (let want = waiting.shift(); want !== undefined; want = waiting.shift()) {
      const said = await ask(jobOf(want));
      const differs = said.result !== null ? difference(want, said) : 'it was cut';
      if (differs !== null) together.push(`${JSON.stringify(want.messages.at(-1))}: ${differs}`);
    }
  };
  await Promise.all(Array.from({ length: slots * 2 }, work));
  tell(`${slots * 2} at once on ${slots} slots`, together, golden.length, startedAt);

  startedAt = performance.now();
  const cut: string[] = [];
  let cuts = 0;
  for (const want of golden) {
    for (let at = 1; at < want.completion_tokens - 1; at += cutsEvery) {
      const begun = await ask(jobOf(want), at);
      if (begun.result !== null) continue;
      cuts += 1;
      const whole = await ask({ ...jobOf(want), resume: begun.point });
      const differs = whole.result !== null ? difference(want, whole) : 'it was cut';
      if (differs !== null) cut.push(`${JSON.stringify(want.messages.at(-1))} at ${at}: ${differs}`);
    }
  }
  tell('cut and gone on with from tokens', cut, cuts, startedAt);

  startedAt = performance.now();
  const formed: string[] = [];
  const forms = [
    { type: 'json_object' },
    {
      type: 'json_schema',
      json_schema: { schema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] } },
    },
  ];
  let form = 0;
  for (const responseFormat of forms) {
    const messages = [{ role: 'user', content: 'Give me a JSON object.' }];
    const job: EngineJob = { messages, temperature: 0, reasoningEffort: 'none', responseFormat, maxTokens: 60 };
    const unbroken = await ask(job);
    if (unbroken.result === null) continue;
    for (let at = 1; at < unbroken.result.usage.output - 1; at += 3) {
      const begun = await ask(job, at);
      const gone: Said | Cut = begun.result !== null ? begun : await ask({ ...job, resume: begun.point });
      form += 1;
      const text = gone.result?.text ?? null;
      if (text !== unbroken.result.text) formed.push(`at ${at}: ${text}, not ${unbroken.result.text}`);
    }
    console.log('  ', JSON.stringify(unbroken.result.text));
  }
  tell('of a given form, cut and gone on with', formed, form, startedAt);

  startedAt = performance.now();
  const thoughts = golden.filter(({ reasoning = '' }) => reasoning !== '');
  const ended: string[] = [];
  for (const want of thoughts) {
    const said = await ask({ ...jobOf(want), thinkingBudget: 6 });
    const { reasoning = '', text = '' } = said.result ?? {};
    if (text === '' || reasoning === '' || reasoning === want.reasoning || !want.reasoning?.startsWith(reasoning))
      ended.push(`${JSON.stringify(want.messages.at(-1))}: ${JSON.stringify([reasoning, text])}`);
  }
  tell('thoughts ended behind six tokens', ended, thoughts.length, startedAt);
} finally {
  await engine.close();
}
