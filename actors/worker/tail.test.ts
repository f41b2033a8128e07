import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { TokenFrame } from '../../protocol/worker-frames.ts';
import { openTail } from './tail.ts';

const frame = (seq: number, token = 'x'): TokenFrame => ({ type: 'token', job_id: 'j', token, seq, ids: [seq] });
const seqs = (frames: readonly TokenFrame[] | null) => frames?.map(({ seq }) => seq) ?? null;

test('what is not acknowledged can be sent again, in order', () => {
  const tail = openTail();
  for (const seq of [1, 2, 3, 4]) tail.push(frame(seq));
  tail.acknowledge(2);
  assert.equal(seqs(tail.after(2)), [3, 4]);
  assert.equal(seqs(tail.after(3)), [4]);
  tail.acknowledge(9);
  assert.equal(seqs(tail.after(4)), []);
  assert.is(tail.bytes, 0);
});

test('a gap before the oldest frame that is kept cannot be filled', () => {
  const tail = openTail();
  tail.push(frame(1));
  tail.push(frame(2));
  tail.acknowledge(1);
  assert.is(tail.after(0), null);
});

test('past its cap the tail forgets the oldest, and says so', () => {
  const tail = openTail(1000);
  for (let seq = 1; seq <= 100; seq += 1) tail.push(frame(seq, 'word'));
  assert.ok(tail.bytes <= 1000);
  assert.is(tail.after(10), null);
  assert.equal(seqs(tail.after(99)), [100]);
});

test.run();
