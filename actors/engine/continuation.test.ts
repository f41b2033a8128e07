/**
 * Answers that go on from where another engine stopped, with the demo model: cut behind any token, what was said before
 * and what is said after make the unbroken answer, in every field of the result.
 *
 * `EVERY_TOKEN=1` cuts behind every single token instead of behind every eleventh.
 */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { demoModel } from '../../registry/load.ts';
import { seedAfter, writtenSoFar } from './continuation.ts';
import { llamaEngine } from './engine.llama.ts';
import type { EngineJob, EngineResult, GeneratedToolCall, Piece, ResumePoint } from './engine.ts';

interface Golden extends EngineJob {
  readonly behaviour: string;
  readonly options?: EngineJob['templateOptions'];
}
const golden: readonly Golden[] = JSON.parse(
  readFileSync(new URL('../../registry/demo-model/golden.json', import.meta.url), 'utf8'),
);

const engine = llamaEngine({
  modelPath: demoModel().path,
  contextSize: 2048,
  slots: 2,
  threads: 1,
  gpuLayers: 0,
  joinMs: 0, // so that an answer may be cut behind each token
  onState: () => undefined,
  onLoading: () => undefined,
  onTrouble: () => undefined,
});
const test = suite('continuation');
test.before(async () => {
  await engine.load();
});
test.after(() => engine.close());

const jobOf = (behaviour: string, more: Partial<EngineJob> = {}): EngineJob => {
  const found = golden.find(one => one.behaviour === behaviour);
  if (found === undefined) throw new Error(`no golden case of ${behaviour}`);
  const { messages, tools, options } = found;
  return { messages, tools, templateOptions: options, temperature: 0, ...more };
};

async function run(job: EngineJob): Promise<{ pieces: Piece[]; result: EngineResult }> {
  const pieces: Piece[] = [];
  const result = await engine.generate(job, {
    signal: AbortSignal.timeout(30_000),
    onProgress: () => undefined,
    onToolCall: () => undefined,
    onPiece: piece => void pieces.push(piece),
  });
  return { pieces, result };
}

const joined = (pieces: readonly Piece[], kind: Piece['kind']): string =>
  pieces.map(piece => (piece.kind === kind ? piece.text : '')).join('');

/** The calls that the pieces tell of, put together as a caller does. */
function callsIn(pieces: readonly Piece[]): GeneratedToolCall[] {
  const calls: GeneratedToolCall[] = [];
  for (const { call } of pieces) {
    if (call === undefined) continue;
    const known = calls[call.index];
    const { id = '', name = '', arguments: text } = call;
    calls[call.index] =
      known === undefined ? { id, name, arguments: text } : { ...known, arguments: known.arguments + text };
  }
  return calls;
}

function pointBehind(pieces: readonly Piece[], exact: boolean): ResumePoint {
  const ids = pieces.flatMap(piece => [...piece.ids]);
  const thought = pieces.filter(({ kind }) => kind === 'reasoning').flatMap(piece => [...piece.ids]);
  return {
    text: joined(pieces, 'text'),
    reasoning: joined(pieces, 'reasoning'),
    tokens: ids.length,
    reasoningTokens: thought.length,
    ids: exact ? ids : null,
    calls: callsIn(pieces),
  };
}

/** Ids of tool calls are made up anew, and prompt tokens may be there already. */
const essence = ({ finishReason, text, reasoning, toolCalls, stopSequence, usage }: EngineResult) => ({
  finishReason,
  text,
  reasoning,
  stopSequence,
  calls: toolCalls.map(({ name, arguments: args }) => [name, args]),
  input: usage.input + usage.cached,
  output: usage.output,
  thought: usage.reasoning,
});

const city = { type: 'object', properties: { city: { type: 'string', maxLength: 12 }, hot: { type: 'boolean' } } };
const asCity = {
  messages: [{ role: 'user', content: 'Which city?' }],
  responseFormat: { type: 'json_schema', json_schema: { name: 'c', schema: { ...city, required: ['city', 'hot'] } } },
};
const brief = { messages: jobOf('thinking').messages, thinkingBudget: 6 };
const forced = { toolChoice: 'required' };

const step = process.env.EVERY_TOKEN === '1' ? 1 : 11;

for (const [what, job] of [
  ['a story', jobOf('story')],
  ['a thought', jobOf('thinking')],
  ['a thought that is ended at its budget', jobOf('thinking', { thinkingBudget: 6 })],
  ['JSON of a schema behind a thought that is ended', jobOf('thinking', { ...asCity, ...brief })],
  ['a tool call being written', jobOf('tool call')],
  ['JSON', jobOf('json')],
  ['JSON of a schema', jobOf('json', asCity)],
  ['JSON of a schema behind a thought', jobOf('thinking', { ...asCity, messages: jobOf('thinking').messages })],
  ['a call that is forced', jobOf('tool call', forced)],
  ['an answer that a stop text ends, cut inside the stop text too', jobOf('count', { stop: [', 3'] })],
  ['an answer that ends at its limit', jobOf('story', { maxTokens: 40 })],
  [
    'an answer with penalties',
    jobOf('story', { maxTokens: 60, repeatPenalty: 2, frequencyPenalty: 3, presencePenalty: 3 }),
  ],
] as const) {
  test(`${what}: cut behind any token and gone on by ids, it is the unbroken one`, async () => {
    const whole = await run(job);
    for (let cut = 0; cut <= whole.pieces.length; cut += whole.pieces.length < 60 ? 1 : step) {
      const before = whole.pieces.slice(0, cut);
      const { pieces, result } = await run({ ...job, resume: pointBehind(before, true) });
      assert.equal(essence(result), essence(whole.result), `cut behind piece ${cut}`);
      for (const kind of ['text', 'reasoning'] as const) {
        assert.is(joined([...before, ...pieces], kind), joined(whole.pieces, kind), `${kind}, cut behind piece ${cut}`);
      }
      assert.equal(callsIn([...before, ...pieces]), result.toolCalls, `calls, cut behind piece ${cut}`);
      assert.equal(
        [...before, ...pieces].flatMap(({ ids }) => [...ids]),
        whole.pieces.flatMap(({ ids }) => [...ids]),
        `ids, cut behind piece ${cut}`,
      );
    }
  });
}

test('a call cut in its middle goes on by text: its pieces are one call, under its first id', async () => {
  const job = jobOf('tool call');
  const whole = await run(job);
  let inside = 0;
  for (let cut = 1; cut < whole.pieces.length; cut += 3) {
    const before = whole.pieces.slice(0, cut);
    const resume = pointBehind(before, false);
    if (resume.calls?.length === 0) continue;
    inside += 1;
    const { pieces, result } = await run({ ...job, resume });
    const [call] = callsIn([...before, ...pieces]);
    assert.equal(result.toolCalls[0], call, `cut behind piece ${cut}`);
    assert.is(call?.id, resume.calls?.[0]?.id);
    JSON.parse(call?.arguments ?? '');
  }
  assert.ok(inside > 2, `${inside} cuts inside a call`);
});

test('a story cut between words goes on by text, and nothing is said twice', async () => {
  const job = jobOf('story');
  const whole = await run(job);
  let exact = 0;
  let cuts = 0;
  for (let cut = 5; cut < whole.pieces.length; cut += 17) {
    const before = whole.pieces.slice(0, cut);
    if (whole.pieces[cut]?.text.startsWith(' ') !== true) continue;
    const { pieces, result } = await run({ ...job, resume: pointBehind(before, false) });
    assert.is(joined([...before, ...pieces], 'text'), result.text);
    assert.ok(result.usage.output >= cut);
    cuts += 1;
    if (result.text === whole.result.text) exact += 1;
  }
  assert.ok(cuts > 3 && exact === cuts, `${exact} of ${cuts}`);
});

test('a thought goes on by text, open or done', async () => {
  const job = jobOf('thinking');
  const whole = await run(job);
  const spoken = whole.pieces.findIndex(({ kind, text }) => kind === 'text' && text !== '');
  for (const cut of [spoken - 4, spoken + 2]) {
    const before = whole.pieces.slice(0, cut);
    const { pieces, result } = await run({ ...job, resume: pointBehind(before, false) });
    assert.is(joined([...before, ...pieces], 'reasoning'), result.reasoning);
    assert.is(joined([...before, ...pieces], 'text'), result.text);
    assert.is(result.text, whole.result.text);
  }
});

test('JSON of a schema goes on by text, in the middle of its grammar', async () => {
  const job = jobOf('json', asCity);
  const whole = await run(job);
  for (let cut = 1; cut < whole.pieces.length; cut += 3) {
    const before = whole.pieces.slice(0, cut);
    const { pieces, result } = await run({ ...job, resume: pointBehind(before, false) });
    assert.is(joined([...before, ...pieces], 'text'), result.text);
    assert.equal(Object.keys(JSON.parse(result.text)), ['city', 'hot']);
  }
});

test('several choices, cut behind any piece and gone on by ids, are the unbroken ones', async () => {
  const job = jobOf('greeting', { choices: 3, logprobs: true, topLogprobs: 1 });
  const whole = await run(job);
  const of = (pieces: readonly Piece[], choice: number) => pieces.filter(piece => (piece.choice ?? 0) === choice);
  assert.is(whole.pieces.filter(({ end }) => end !== undefined).length, 3);
  for (let cut = 0; cut <= whole.pieces.length; cut += 7) {
    const before = whole.pieces.slice(0, cut);
    const [first, ...others] = [0, 1, 2].flatMap(choice => {
      const said = of(before, choice);
      return said.length === 0 ? [] : [{ ...pointBehind(said, true), ended: said.at(-1)?.end !== undefined }];
    });
    const { pieces } = await run(first === undefined ? job : { ...job, resume: { ...first, others } });
    for (const choice of [0, 1, 2]) {
      const both = of([...before, ...pieces], choice);
      assert.is(joined(both, 'text'), joined(of(whole.pieces, choice), 'text'), `choice ${choice} cut at ${cut}`);
      assert.is(both.filter(({ end }) => end !== undefined).length, 1);
      const tokens = both.flatMap(({ logprobs = [] }) => logprobs.map(({ token }) => token));
      assert.is(tokens.join(''), joined(both, 'text'));
    }
  }
});

test('what was written is told from what was said', () => {
  const point = { tokens: 1, reasoningTokens: 0, ids: null };
  assert.is(writtenSoFar({ ...point, text: 'a', reasoning: '' }, false), 'a');
  assert.is(writtenSoFar({ ...point, text: 'a', reasoning: 'b' }, false), '<think>\nb\n</think>\n\na');
  assert.is(writtenSoFar({ ...point, text: '', reasoning: 'b' }, false), '<think>\nb');
  assert.is(writtenSoFar({ ...point, text: 'a', reasoning: 'b' }, true), 'b\n</think>\n\na');
  assert.is(writtenSoFar({ ...point, text: 'a', reasoning: '' }, true), '\n</think>\n\na');
});

test('the seed of what follows depends on how much came before, and on nothing else', () => {
  assert.is(seedAfter(7, 0), 7);
  assert.is(seedAfter(7, 40), seedAfter(7, 40));
  assert.is.not(seedAfter(7, 40), seedAfter(7, 41));
  assert.is(seedAfter(undefined, 40), undefined);
  assert.is(seedAfter(-1, 40), -1);
});

test.run();
