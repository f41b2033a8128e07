import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { jsonObject } from './json-object.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 500),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

test('an object is written as JSON.stringify writes it, however it was laid out (N1)', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(3), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      const { written, closing, end } = jsonObject(0)(`${text} and more`);
      assert.equal([JSON.parse(written), closing, end], [JSON.parse(text), '', text.length]);
      assert.is(written.replaceAll('-0', '0'), JSON.stringify(value).replaceAll('-0', '0'));
    }),
    runs,
  );
});

test('cut anywhere, it grows only, and can be closed (N1, N2)', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), value => {
      const text = JSON.stringify(value, null, 1);
      const read = jsonObject(0);
      let before = '';
      for (let length = 1; length <= text.length; length += 1) {
        const { written, closing } = read(text.slice(0, length));
        assert.ok(written.startsWith(before));
        JSON.parse(written + closing);
        before = written;
      }
    }),
    runs,
  );
});

test('what has no doubt is put right, and what is no JSON is told with its place (N3)', () => {
  const read = (text: string) => jsonObject(0)(text);
  assert.is(read('{"a": True, "b": [None, 1,],}').written, '{"a":true,"b":[null,1]}');
  assert.is(read('{"a": "it\\\'s\\x"}').written, '{"a":"it\'s\\\\x"}');
  assert.is(read("{'a': 'x \"y\" \\'z\\'', 'b': {}}").written, '{"a":"x \\"y\\" \'z\'","b":{}}');
  assert.is(read('{a: 1, $b-c: [2]}').written, '{"a":1,"$b-c":[2]}');
  assert.is(read('{"a": {"b": [1, 2}, "c": 3}').written, '{"a":{"b":[1,2]},"c":3}');
  assert.is(
    read("(city='Paris', days=[1, 2,], deep={'x': None},)").written,
    '{"city":"Paris","days":[1,2],"deep":{"x":null}}',
  );
  assert.is(read('()').written, '{}');
  assert.is(read('{"a": (1)}').brokenAt, 6);
  assert.is(read('{"a": 1, b}').brokenAt, 10);
  assert.is(read('{"a": 1 2}').brokenAt, 8);
});

test('texts between marks hold quotes and backslashes as they are, however they are cut', () => {
  const text = '{path:<|"|>C:\\a "b" <|x<|"|>,deep:{n:3,list:[<|"|>y<|"|>,true]}}';
  const value = { path: 'C:\\a "b" <|x', deep: { n: 3, list: ['y', true] } };
  const read = jsonObject(0, '<|"|>');
  let before = '';
  for (let length = 1; length <= text.length; length += 1) {
    const { written, closing } = read(text.slice(0, length));
    assert.ok(written.startsWith(before));
    JSON.parse(written + closing);
    before = written;
  }
  assert.equal(JSON.parse(before), value);
});

test.run();
