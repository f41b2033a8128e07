import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseFlags, suggest, UsageError, unknownCommand } from './flags.ts';

const specs = { 'gpu-key': 'value', model: 'value', debug: 'optional', quiet: 'switch', help: 'switch' } as const;
const parse = (...args: string[]) => parseFlags('auxot-worker', args, specs, { restMax: 1 });
const problem = (...args: string[]): string => {
  try {
    parse(...args);
  } catch (error) {
    assert.instance(error, UsageError);
    return (error as UsageError).message;
  }
  return '';
};

test('a value follows or is joined by =, with one dash or two, and the last one counts', () => {
  for (const args of [
    ['--gpu-key', 'k'],
    ['--gpu-key=k'],
    ['-gpu-key', 'k'],
    ['-gpu-key=k'],
    ['--gpu-key=a', '--gpu-key', 'k'],
  ])
    assert.is(parse(...args).value('gpu-key'), 'k', args.join(' '));
  assert.is(parse('--model=').value('model'), '');
  assert.is(parse('--model=a=b').value('model'), 'a=b');
  assert.is(parse('--model', '-').value('model'), '-');
  assert.is(parse().value('model'), undefined);
});

test('a switch is present or not; an optional value is a number or left out', () => {
  assert.is(parse('--quiet').has('quiet'), true);
  assert.is(parse().has('quiet'), false);
  assert.is(parse('--debug', '2', 'name').value('debug'), '2');
  const flags = parse('--debug', 'name');
  assert.is(flags.has('debug'), true);
  assert.is(flags.value('debug'), undefined);
  assert.equal(flags.rest, ['name']);
  assert.is(parse('-h').has('help'), true);
});

test('what follows -- is no flag', () => {
  assert.equal(parse('--', '--quiet').rest, ['--quiet']);
});

test('mistakes are told, with the nearest known word', () => {
  assert.is(problem('--gpu-kye', 'x'), 'auxot-worker: unknown flag "--gpu-kye". Did you mean --gpu-key?');
  assert.is(problem('--zzzzz'), 'auxot-worker: unknown flag "--zzzzz". Try auxot-worker --help.');
  assert.match(problem('--constructor'), /unknown flag/);
  assert.match(problem('-v'), /unknown flag/);
  assert.match(problem('--quiet=yes'), /--quiet takes no value/);
  assert.match(problem('--model'), /--model needs a value/);
  assert.match(problem('--model', '--quiet'), /--model needs a value/);
  assert.match(problem('one', 'two'), /unexpected argument "two"/);
  assert.is(
    unknownCommand('auxot-router', 'setpu', ['setup', 'models']).message,
    'auxot-router: unknown command "setpu". Did you mean setup?',
  );
  assert.match(unknownCommand('auxot-router', 'frobnicate', ['setup']).message, /Try auxot-router help\./);
  assert.match(unknownCommand('auxot-worker', 'doctor', ['doctor']).message, /doctor comes first: auxot-worker doctor/);
});

test('a suggestion is near, or the beginning of a word', () => {
  assert.is(suggest('modles', ['models', 'setup']), 'models');
  assert.is(suggest('vers', ['version', 'help']), 'version');
  assert.is(suggest('', ['up']), null);
  assert.is(suggest('jb', ['up', 'jobs']), null);
});

test('whatever the arguments, the answer is flags or a UsageError', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom('--', '-', '--model', '--debug', '--=', '-=x', '--quiet', '=', '---'),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), args => {
      problem(...args);
    }),
    {
      numRuns: Number(process.env.FC_RUNS ?? 1000),
      ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
    },
  );
});

test.run();
