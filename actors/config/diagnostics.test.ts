import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LogLevel, maskUrl, openDiagnostics, silentDiagnostics } from './diagnostics.ts';

function world(level: LogLevel, isTTY = false) {
  const texts = { out: '', err: '' };
  const sink = (name: 'out' | 'err') => ({
    isTTY,
    write: (text: string) => {
      texts[name] += text;
    },
  });
  return { texts, diagnostics: openDiagnostics({ level, out: sink('out'), err: sink('err') }) };
}

const records = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as Record<string, unknown>);

test('INFO and DEBUG go to stdout, WARN and ERROR to stderr, each once', () => {
  const { texts, diagnostics } = world('debug');
  for (const level of ['debug', 'info', 'warn', 'error'] as const) diagnostics[level](level, { n: 1 });
  const seen = (text: string) => records(text).map(({ level, msg, n }) => [level, msg, n]);
  assert.equal(seen(texts.out), [
    ['DEBUG', 'debug', 1],
    ['INFO', 'info', 1],
  ]);
  assert.equal(seen(texts.err), [
    ['WARN', 'warn', 1],
    ['ERROR', 'error', 1],
  ]);
});

test('a record has time, level, msg and its fields, and no more', () => {
  const { texts, diagnostics } = world('info');
  diagnostics.child({ jobId: 'j' }).info('went well', { slots: 2 });
  const [record = {}] = records(texts.out);
  assert.equal(Object.keys(record).sort(), ['jobId', 'level', 'msg', 'slots', 'time']);
  assert.match(String(record.time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test('what is below the level is left out', () => {
  const { texts, diagnostics } = world('warn');
  diagnostics.info('no');
  diagnostics.child({}).debug('no');
  diagnostics.warn('yes');
  assert.is(texts.out, '');
  assert.is(records(texts.err).length, 1);
});

test('an error becomes its message with the causes behind it', () => {
  const { texts, diagnostics } = world('info');
  diagnostics.error('stopped', { error: new Error('cannot listen', { cause: new Error('EADDRINUSE') }) });
  assert.is(records(texts.err)[0]?.error, 'cannot listen: EADDRINUSE');
});

test('a terminal gets the record indented', () => {
  const { texts, diagnostics } = world('info', true);
  diagnostics.info('hello');
  assert.match(texts.out, /^\{\n {2}"level": "INFO",\n/);
  assert.is((JSON.parse(texts.out) as { msg: string }).msg, 'hello');
});

test('silence is silent', () => {
  silentDiagnostics.child({}).error('nobody hears');
});

test('CF9: credentials in addresses are hidden', () => {
  assert.is(maskUrl('redis://user:secret@db:6379/2'), 'redis://***:***@db:6379/2');
  assert.is(maskUrl('rediss://:s%40cret@db'), 'rediss://:***@db');
  assert.is(maskUrl('redis://db:6379'), 'redis://db:6379');
  assert.not.match(maskUrl('https://x/?token=abc&a=1'), /abc/);
  assert.is(maskUrl('user:secret at db'), '(not a URL)');
});

test.run();
