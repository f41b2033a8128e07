/** Cases of spec/workers §5.5 by their numbers, and what it is weak in (T20). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ToolError } from '../tool.ts';
import { codeExecutor } from './code-executor.ts';

const tool = codeExecutor({ threads: 1 });
test.after(() => tool.close());

interface Result {
  readonly output?: string;
  readonly return_value?: unknown;
  readonly error?: string;
  readonly note?: string;
  readonly duration_ms: number;
}

async function ran(code: unknown, more: object = {}, signal = new AbortController().signal): Promise<Result> {
  const args = { code, ...more };
  const { result } = await tool.run({ args, threadId: null, credentials: {}, signal, deadlineAt: Date.now() + 30_000 });
  return result as Result;
}
const valueOfScript = async (code: string): Promise<unknown> => (await ran(code)).return_value;

test('1: the value of the last expression is returned, whatever it is', async () => {
  for (const [code, value] of [
    ['1 + 2', 3],
    ['"a" + "b"', 'ab'],
    ['[1, { a: [true, null] }]', [1, { a: [true, null] }]],
    ['const x = 5; x', 5],
    ['undefined', undefined],
    ['null', undefined],
    ['10n ** 20n', '100000000000000000000n'],
    ['NaN', 'NaN'],
    ['(function named() {})', '[function named]'],
    ['new Map([[1, 2]])', [[1, 2]]],
    ['await Promise.resolve(7)', 7],
    ['Promise.resolve(8)', 8],
    ['if (true) { 9 }', 9],
  ] as const)
    assert.equal(await valueOfScript(code), value, code);
});

test('2, 9: what is printed comes in lines, with the words for warnings and errors; objects can be read', async () => {
  const { output } = await ran(
    'console.log("a", 1, { b: [2] }); console.warn("w"); console.error("e"); console.debug("d")',
  );
  assert.is(output, 'a 1 {\n  "b": [\n    2\n  ]\n}\n[warn] w\n[error] e\n[debug] d');
});

test('3, T20: an exception is an error of the result, and what was printed before is there', async () => {
  const { error, output, return_value: value } = await ran('console.log("before"); nope()');
  assert.match(error ?? '', "'nope' is not defined");
  assert.match(error ?? '', 'script.js:1');
  assert.is(output, 'before');
  assert.is(value, undefined);
});

test('4: an endless loop ends in time, with what it printed', async () => {
  const startedAt = Date.now();
  const { error, output } = await ran('console.log("on and on"); while (true);', { timeout_seconds: 1 });
  assert.ok(Date.now() - startedAt < 3000);
  assert.match(error ?? '', 'too long');
  assert.is(output, 'on and on');
});

test('5: code that is empty or no text fails the call', async () => {
  for (const code of ['', '  \n', 7, undefined, 'x'.repeat(600_000)]) {
    try {
      await ran(code);
      assert.unreachable();
    } catch (error) {
      assert.instance(error, ToolError);
      assert.is((error as ToolError).code, 'invalid_arguments');
    }
  }
});

test('6: nothing of the host is there', async () => {
  for (const name of [
    'fetch',
    'XMLHttpRequest',
    'require',
    'process',
    '__dirname',
    '__filename',
    'module',
    'WebAssembly',
    'print',
  ])
    assert.is(await valueOfScript(`typeof ${name}`), 'undefined', name);
});

test('7, 8, 10: base64, Buffer, encoders and random values', async () => {
  for (const [code, value] of [
    ['btoa("hello world")', 'aGVsbG8gd29ybGQ='],
    ['atob("aGVsbG8gd29ybGQ=")', 'hello world'],
    ['try { atob("*") } catch (e) { e.name }', 'TypeError'],
    ['Buffer.from("hello").toString("base64")', 'aGVsbG8='],
    ['Buffer.from("hello").toString("hex")', '68656c6c6f'],
    ['Buffer.from("hello").length', 5],
    ['Buffer.from("aGVsbG8=", "base64").toString()', 'hello'],
    ['Buffer.from([200, 201]).toJSON()', { type: 'Buffer', data: [200, 201] }],
    ['Buffer.concat([Buffer.from("a"), Buffer.alloc(2, 98)]).toString()', 'abb'],
    ['Buffer.isBuffer(Buffer.alloc(1)) && !Buffer.isBuffer([])', true],
    ['new TextDecoder().decode(new TextEncoder().encode("grün 💡"))', 'grün 💡'],
    ['Buffer.from("💡").toString("hex")', 'f09f92a1'],
    ['crypto.randomUUID().length', 36],
    ['crypto.randomUUID() === crypto.randomUUID()', false],
    ['/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID())', true],
    ['crypto.getRandomValues(new Uint8Array(64)).some(b => b > 0)', true],
  ] as const)
    assert.equal(await valueOfScript(code), value, code);
});

test('T20: timers fire, in their order, and end with the script', async () => {
  const { output, return_value: value } = await ran(`
    let late = false;
    setTimeout(() => { late = true; console.log('late'); }, 60);
    setTimeout(() => console.log('soon'), 20);
    const ticks = [];
    const every = setInterval(() => { if (ticks.push(1) === 3) clearInterval(every); }, 5);
    clearTimeout(setTimeout(() => console.log('never'), 1));
    await new Promise(done => {
      const look = setInterval(() => { if (late && ticks.length === 3) { clearInterval(look); done(); } }, 5);
    });
    await new Promise(done => setTimeout(done, 30));
    ticks.length`);
  assert.is(output, 'soon\nlate');
  assert.is(value, 3);
});

test('a cancelled script ends, and the next one runs', async () => {
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 300);
  try {
    await ran('while (true);', { timeout_seconds: 30 }, abort.signal);
    assert.unreachable();
  } catch (error) {
    assert.is((error as ToolError).code, 'cancelled');
  }
  assert.is(await valueOfScript('1'), 1);
});

test.run();
