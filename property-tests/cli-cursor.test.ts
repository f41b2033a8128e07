/** Cursor as an engine: a stand-in program with its arguments and its documented output (cli/cursor.mjs). */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cursor } from '../actors/cli/cursor.ts';
import { cliEngine } from '../actors/cli/engine.cli.ts';
import { EngineError, type EngineJob } from '../actors/engine/engine.ts';

test('an answer streams, a cancel ends the program, a limit closes the engine for a while, and nothing is left', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-cursor-'));
  const states: string[] = [];
  const engine = cliEngine({
    driver: cursor,
    model: 'm',
    builtins: [],
    contextSize: 1000,
    slots: 1,
    folder: join(folder, 'cli'),
    env: { PATH: process.env.PATH, CURSOR_AGENT_PATH: fileURLToPath(new URL('cli/cursor.mjs', import.meta.url)) },
    onState: state => states.push(state),
    onTrouble: () => undefined,
  });
  const run = async (job: EngineJob, signal = new AbortController().signal) => {
    const pieces: string[] = [];
    const onPiece = ({ text }: { text: string }): void => void pieces.push(text);
    const hooks = { signal, onPiece, onProgress: () => undefined, onToolCall: () => undefined };
    return { ...(await engine.generate(job, hooks)), pieces };
  };
  const code = async (promise: Promise<unknown>): Promise<string> => {
    const error = await promise.catch((thrown: unknown) => thrown);
    return error instanceof EngineError ? error.code : `no error: ${error}`;
  };
  const user = (content: string) => ({ messages: [{ role: 'user', content }] });
  try {
    await engine.load();
    const { text, pieces, finishReason } = await run(user('Hello there'));
    assert.is(text, 'You asked: Hello there');
    assert.equal(pieces, ['You', ' asked: ', 'Hello there']);
    assert.is(finishReason, 'stop');
    const stopped = await run({ ...user('Hello there'), stop: ['asked'] });
    assert.equal([stopped.text, stopped.stopSequence], ['You ', 'asked']);
    assert.is(await code(run({ ...user('Hello'), tools: [{}] })), 'unsupported_parameter');
    assert.is(await code(run(user('hang'), AbortSignal.timeout(300))), 'cancelled');
    assert.is(await code(run(user('limit'))), 'server_overloaded');
    assert.is(engine.state, 'broken');
    assert.is(await code(run(user('Hello'))), 'engine_unavailable');
    await engine.close();
    assert.equal(readdirSync(join(folder, 'cli')), []);
    assert.equal(states, ['ready', 'broken', 'closed']);
  } finally {
    await engine.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
