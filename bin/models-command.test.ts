import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { contextText, listModels } from './models-command.ts';

function run(...args: string[]) {
  let out = '';
  let err = '';
  const code = listModels(args, {}, { out: { write: text => (out += text) }, err: { write: text => (err += text) } });
  return { code, out, err };
}

test('CL6: the header, a line for each name in order, and how to use it', () => {
  const { code, out } = run();
  const lines = out.split('\n');
  assert.is(code, 0);
  assert.is(lines[0], 'auxot model registry (v1.0.0, 687 entries)');
  assert.is(lines[1], '');
  assert.match(lines[2] ?? '', /^ {2}Kimi-K2\.5 {42}MoE {2}1026B {2}ctx 256K {4}min \d+GB {2}\[BF16, Q3_K_S, /);
  assert.is(lines.filter(line => /^ {2}\S.* ctx /.test(line)).length, 106);
  assert.match(out, '\nUsage: AUXOT_MODEL=<model-name>\n       AUXOT_QUANTIZATION=<quant>  (optional');
});

test('CL6: how a context is written', () => {
  const cases = [
    [262_144, '256K'],
    [1_048_576, '1.0M'],
    [1_000_000, '1M'],
    [40_960, '40K'],
    [10_485_760, '10.5M'],
    [196_608, '192K'],
    [5000, '5K'],
  ] as const;
  for (const [tokens, text] of cases) assert.is(contextText(tokens), text);
});

test('filters go together, and more slots need more', () => {
  const ids = (...args: string[]): string[] => {
    const { out, code } = run('--json', ...args);
    assert.is(code, 0);
    return JSON.parse(out).models.map(({ id }: { id: string }) => id);
  };
  const few = ids('--fits', '16', '--capability', 'vision,tools', '--family', 'dense');
  assert.ok(few.length > 0);
  const fewer = ids('--fits', '16GB', '--capability=vision,tools', '--family=dense', '--ctx', '32k', '--parallel', '2');
  assert.ok(fewer.length < few.length && fewer.every(id => few.includes(id)));
  assert.equal(ids('coder', 'next', 'q6'), ['qwen3-coder-next-q6-k']);
});

test('one model is shown with all that is known of it', () => {
  const { out, code } = run('--show', 'qwen3-8b:bf16');
  assert.is(code, 0);
  for (const text of ['qwen3-8b-bf16 (also qwen3-8b-f16)', 'unsloth/Qwen3-8B-GGUF', 'apache-2.0', 'hermes', 'Q4_K_S'])
    assert.match(out, text);
  const miss = run('--show', 'Qwen3-8C');
  assert.is(miss.code, 1);
  assert.match(miss.err, 'Qwen3-8B');
});

test('nothing found is 1 with a hint, nonsense is a usage error', () => {
  const nothing = run('qwen3-8c');
  assert.equal([nothing.code, nothing.out], [1, '']);
  assert.match(nothing.err, 'Qwen3-8B');
  for (const args of [
    ['--fits', 'much'],
    ['--ctx', '0'],
    ['--capability', 'visio'],
    ['--familly', 'x'],
  ])
    assert.throws(
      () => run(...args),
      (error: Error) => error.name === 'UsageError',
      args.join(' '),
    );
  assert.throws(() => run('--capability', 'visio'), 'Did you mean vision?');
  assert.match(run('--help').out, '--fits GB');
});

test.run();
