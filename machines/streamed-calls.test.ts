/** Calls of a streamed answer, however much of them was told in pieces before they were known as a whole. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ToolCall } from '../protocol/job-events.ts';
import { leftOf } from './streamed-calls.ts';

const call = (json: string): ToolCall => ({ id: 'c', name: 't', arguments: json });

test('what was told and what is left are the whole call, wherever it was cut', () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(40), (json, cut) => {
      const told = json.slice(0, cut);
      const left = leftOf([call(told)], call(json), 0);
      assert.is(told + (left?.text ?? ''), json);
      assert.is(left === null, told === json, 'nothing is said of a call that is out');
      if (left !== null) assert.is(left.begins, false);
    }),
  );
});

test('a call of which nothing was told begins', () => {
  assert.equal(leftOf([call('{}')], call('{"a":1}'), 1), { begins: true, text: '{"a":1}' });
});

test('a call that was told as another one stays as it was told', () => {
  assert.is(leftOf([call('{"b"')], call('{"a":1}'), 0), null);
});

test.run();
