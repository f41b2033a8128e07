/** Loads that go wrong, with a process that has no model in it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { llamaEngine } from './engine.llama.ts';
import { EngineError, type EngineOptions, memoryChoiceDefault } from './engine.ts';

interface Told {
  readonly chosen: string[];
  readonly troubles: string[];
  readonly error: EngineError;
  readonly tookMs: number;
}

async function load(modelPath: string, more: Partial<EngineOptions> = {}): Promise<Told> {
  const chosen: string[] = [];
  const troubles: string[] = [];
  const startedAt = performance.now();
  const engine = llamaEngine({
    modelPath,
    contextSize: null,
    slots: 1,
    threads: 1,
    gpuLayers: 0,
    ...more,
    onState: () => undefined,
    onLoading: () => undefined,
    onChosen: message => chosen.push(message),
    onTrouble: message => troubles.push(message),
    program: new URL('./engine.process.fake.ts', import.meta.url),
    loadMsMax: 3000,
  });
  try {
    await engine.load();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return { chosen, troubles, error, tookMs: performance.now() - startedAt };
  } finally {
    await engine.close();
    assert.is(engine.pid, null);
  }
  throw new Error('it was loaded');
}

test('a process that is killed while it loads is followed by one that takes less', async () => {
  const { chosen, troubles, error } = await load('killed once');
  assert.equal(chosen, ['1000 bytes', '500 bytes']);
  assert.is(troubles.length, 1);
  assert.match(troubles[0] ?? '', 'SIGKILL');
  assert.is(error.message, 'got this far');
});

test('all that a model is to be loaded with reaches the process', async () => {
  const options: Required<EngineOptions> = {
    modelPath: 'says its options',
    contextSize: 1024,
    slots: 3,
    threads: 2,
    gpuLayers: 5,
    embeddings: 'also',
    toolFormat: 'minimax',
    joinMs: 0,
    memory: { ...memoryChoiceDefault, cacheType: 'q8_0' },
  };
  const { error } = await load('says its options', options);
  assert.equal(JSON.parse(error.message), options);
});

test('three such loads are enough', async () => {
  const { chosen, error } = await load('killed always');
  assert.equal(chosen, ['1000 bytes', '500 bytes', '250 bytes']);
  assert.match(error.message, /ended unexpectedly \(signal SIGKILL\) while it loaded/);
});

test('one that ends before it knew what it needs has not failed for want of memory', async () => {
  const { chosen, troubles, error } = await load('dies early');
  assert.equal([chosen, troubles], [[], []]);
  assert.is(error.code, 'model_load_failed');
});

test('a load without progress ends, and says so (G27)', async () => {
  const { error, tookMs } = await load('silent');
  assert.match(error.message, 'no progress for 3 s');
  assert.ok(tookMs < 10_000, `${tookMs}`);
});

test.run();
