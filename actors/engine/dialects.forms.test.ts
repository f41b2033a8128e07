/**
 * What a grammar forces in a family's own form, its reader reads: any text of the grammar, cut anywhere, is calls whose
 * arguments keep to the schema; and what was written up to a cut is a beginning of the grammar for whoever goes on.
 */
import fc from 'fast-check';
import { getLlama, type LlamaModel } from 'node-llama-cpp';
import { Compile } from 'typebox/schema';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { answerGrammar } from '../../protocol/answer-grammar.ts';
import { textOf } from '../../protocol/gbnf.fake.ts';
import { demoModel } from '../../registry/load.ts';
import { answer } from './answer.ts';
import { writtenSoFar } from './continuation.ts';
import { forms } from './dialects.forms.ts';
import { type Dialect, dialectOf } from './dialects.ts';
import type { EngineJob, GeneratedToolCall, Piece } from './engine.ts';
import { openGuides } from './guide.ts';
import { toolNames, typesOf } from './job-answer.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 20),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};
const test = suite('dialects.forms');

const write = {
  type: 'object',
  properties: {
    path: { type: 'string' },
    mode: { type: 'string', enum: ['new', 'add'] },
    lines: { type: 'integer', minimum: 0, maximum: 99 },
    tags: { type: 'array', items: { enum: ['a', 'b'] }, maxItems: 2 },
    sure: { type: ['boolean', 'null'] },
  },
  required: ['path', 'mode', 'lines'],
  additionalProperties: false,
};
const deep = {
  $defs: {
    node: { type: 'object', properties: { next: { $ref: '#/$defs/node' }, n: { type: 'integer' } }, required: ['n'] },
  },
  type: 'object',
  properties: {
    tree: { $ref: '#/$defs/node' },
    either: { anyOf: [{ type: 'null' }, { type: 'string', maxLength: 3 }] },
  },
  required: ['tree', 'either'],
};
const tool = (name: string, parameters?: object) => ({ type: 'function', function: { name, parameters } });
const schemas: Readonly<Record<string, object>> = { write, deep, now: {} };
const tools = [tool('write', write), tool('deep', deep), tool('now')];

const families = (Object.keys(forms) as (keyof typeof forms)[]).map(
  (name): Dialect => ({ ...dialectOf({ template: null, toolFormat: name }) }),
);

/** What comes out of a text. Characters are the tokens. `so far`: what was given out of it before its end. */
function read(dialect: Dialect, text: string, offered: EngineJob['tools'] = tools) {
  const characters = Array.from(text);
  const pieces: Piece[] = [];
  const said = answer({
    detokenize: tokens => tokens.map(token => characters[token] ?? '').join(''),
    toolsOffered: true,
    typesOf: typesOf(offered ?? []),
    toolNames: toolNames(offered ?? []),
    startsInThought: false,
    stop: [],
    oneCall: false,
    callId: () => 'call',
    now: () => 0,
    onPiece: piece => void pieces.push(piece),
    onToolCall: () => undefined,
    dialect,
  });
  for (const [token] of characters.entries()) said.push(token);
  const soFar = { broken: said.brokenCall, ...joined(pieces) };
  const whole = said.finish('stop');
  return { ...whole, broken: said.brokenCall, soFar };
}

/** The pieces put together as a router does. */
function joined(pieces: readonly Piece[]) {
  const calls: GeneratedToolCall[] = [];
  for (const { call } of pieces) {
    if (call === undefined) continue;
    const { id = '', name = '', arguments: text } = call;
    const known = calls[call.index] ?? { id, name, arguments: '' };
    calls[call.index] = { ...known, arguments: known.arguments + text };
  }
  const said = (kind: Piece['kind']): string => pieces.map(piece => (piece.kind === kind ? piece.text : '')).join('');
  return { text: said('text'), reasoning: said('reasoning'), calls };
}

/** A source of chance that fits on a line. */
const anyChance = fc.integer({ min: 1 }).map(seed => {
  let state = seed;
  return Object.assign(
    () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    },
    { [fc.toStringMethod]: () => `chance of ${seed}` },
  );
});
const forced: EngineJob = { messages: [], tools, toolChoice: 'required' };

function grammarOf(job: EngineJob, dialect: Dialect): string {
  const grammar = answerGrammar(job, 'may', dialect.calls);
  if (!grammar.ok || grammar.text === null) throw new Error('no grammar');
  return grammar.text;
}

const isWhole = ({ name, arguments: json }: GeneratedToolCall): boolean =>
  Compile(schemas[name] ?? {}).Check(JSON.parse(json));

test('forced calls are read as calls, with arguments of the schema, and nothing beside them', () => {
  for (const dialect of families) {
    const grammar = grammarOf(forced, dialect);
    fc.assert(
      fc.property(anyChance, chances => {
        const text = textOf(grammar, chances);
        const { toolCalls, text: shown, broken } = read(dialect, text);
        assert.equal([shown, broken], ['', null], `${dialect.name}: ${text}`);
        assert.ok(toolCalls.length > 0 && toolCalls.every(isWhole), `${dialect.name}: ${text}`);
      }),
      runs,
    );
  }
});

test('an answer in JSON is text without marks in every family', () => {
  const responseFormat = { type: 'json_schema', json_schema: { name: 'w', schema: write } };
  for (const dialect of families) {
    const grammar = grammarOf({ messages: [], responseFormat }, dialect);
    fc.assert(
      fc.property(anyChance, chances => {
        const text = textOf(grammar, chances);
        const { text: shown, toolCalls } = read(dialect, text);
        assert.equal(toolCalls, [], text);
        assert.ok(Compile(write).Check(JSON.parse(shown)), `${dialect.name}: ${text}`);
      }),
      runs,
    );
  }
});

let model: LlamaModel;
let guides: ReturnType<typeof openGuides>;
test.before(async () => {
  const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true });
  model = await llama.loadModel({ modelPath: demoModel().path, gpuLayers: 0 });
  guides = openGuides(llama, model);
});
test.after(async () => {
  await model.dispose();
  await model.llama.dispose();
});

test('cut anywhere, a forced answer goes on within its grammar: from its tokens, and from what was said', async () => {
  const plain = { messages: [], toolChoice: 'required', tools: [tool('look', { ...write, required: ['mode'] })] };
  for (const dialect of families) {
    const { numRuns } = runs;
    await fc.assert(
      fc.asyncProperty(anyChance, fc.nat(), async (chances, at) => {
        // Without its first token a character has no text: plain ones only.
        const text = textOf(grammarOf(plain, dialect), chances).replace(/[^\t\x20-\x7e\n｜▁]/g, 'x');
        const cut = text.slice(0, at % text.length);
        const exact = await guides(plain, false, dialect);
        exact?.hear(model.tokenize(cut, true));
        const { broken, ...said } = read(dialect, cut, plain.tools).soFar;
        assert.is(broken, null, `${dialect.name}: ${cut}`);
        const resume = { ...said, tokens: 1, reasoningTokens: 0, ids: null };
        const written = writtenSoFar(resume, false, dialect);
        const loose = await guides({ ...plain, resume }, false, dialect);
        try {
          loose?.hear(model.tokenize(written, true));
        } catch (error) {
          throw new Error(
            `${dialect.name}: ${JSON.stringify(cut)} (${JSON.stringify(resume)}) became ${JSON.stringify(written)}`,
            { cause: error },
          );
        }
      }),
      { ...runs, numRuns: Math.ceil(numRuns / 2), includeErrorInReport: true },
    );
  }
});

test.run();
