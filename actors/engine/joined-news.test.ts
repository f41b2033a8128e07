import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { JobNews } from './engine.messages.ts';
import { type EngineResult, joinMsDefault as gapMs, type Piece } from './engine.ts';
import { joined, joinedNews } from './joined-news.ts';

const numRuns = Number(process.env.FC_RUNS ?? 300);

/** A clock that is stepped: at each instant first the news of that turn, then its end, then timers. */
function desk() {
  const sent: { readonly at: number; readonly news: readonly JobNews[] }[] = [];
  let at = 0;
  let turn: (() => void)[] = [];
  let timers: { readonly at: number; readonly then: () => void }[] = [];
  const tell = joinedNews({
    send: news => sent.push({ at, news }),
    gapMs: () => gapMs,
    now: () => at,
    soon: then => turn.push(then),
    after(ms, then) {
      const timer = { at: at + ms, then };
      timers.push(timer);
      return () => {
        timers = timers.filter(other => other !== timer);
      };
    },
  });
  const endTurn = (): void => {
    const due = turn;
    turn = [];
    for (const then of due) then();
  };
  const step = (to: number): void => {
    endTurn();
    for (; at < to; ) {
      at += 1;
      for (const timer of timers.filter(timer => timer.at <= at)) {
        timers = timers.filter(other => other !== timer);
        timer.then();
      }
    }
  };
  return { sent, tell, step, waits: () => timers.length + turn.length };
}

const text = (said: string, ids: readonly number[] = [1]): Piece => ({ kind: 'text', text: said, ids });
const piece = (id: number, said: Piece): JobNews => ({ id, type: 'piece', piece: said });
const over = (id: number): JobNews => ({ id, type: 'result', result: { text: '' } as EngineResult });

test('a model that takes longer than the gap for a token is never held', () => {
  const { sent, tell, step } = desk();
  for (let n = 0; n < 20; n += 1) {
    step(n * gapMs);
    tell(piece(1, text(`${n}`)));
  }
  step(1000);
  assert.equal(
    sent.map(({ at }) => at),
    Array.from({ length: 20 }, (_, n) => n * gapMs),
  );
});

test('tokens that come quicker go together, the first and the last at once (G26)', () => {
  const { sent, tell, step, waits } = desk();
  for (let n = 0; n < 25; n += 1) {
    step(n);
    tell(piece(1, text(`${n} `, [n])));
  }
  tell(over(1));
  step(25);
  assert.equal(
    sent.map(({ at, news }) => [at, news.length]),
    [
      [0, 1],
      [10, 1],
      [20, 1],
      [24, 2],
    ],
  );
  assert.is(waits(), 0);
});

test('what one job says at once takes along what the others wait with', () => {
  const { sent, tell, step } = desk();
  tell(piece(1, text('a')));
  step(3);
  tell(piece(1, text('b')));
  step(4);
  tell(piece(2, text('c')));
  step(100);
  assert.equal(
    sent.map(({ at, news }) => [at, news.map(({ id }) => id)]),
    [
      [0, [1]],
      [4, [1, 2]],
    ],
  );
});

test('a thought, a text, calls, choices and ends stay apart', () => {
  assert.is(joined({ ...text('a'), kind: 'reasoning' }, text('b')), null);
  assert.is(joined(text('a'), { ...text('b'), choice: 1 }), null);
  assert.is(joined(text('a'), { ...text('b'), isInexact: true }), null);
  assert.is(joined(text('a'), { ...text(''), end: { finishReason: 'stop', toolCalls: [] } }), null);
  const call = (index: number, args: string, id?: string): Piece => ({
    ...text(''),
    call: { index, arguments: args, ...(id === undefined ? {} : { id, name: 'f' }) },
  });
  assert.is(joined(text('a'), call(0, '{')), null);
  assert.is(joined(call(0, '{}'), call(1, '', 'y')), null);
  assert.equal(joined(call(0, '', 'x'), call(0, '{}')), {
    ...text('', [1, 1]),
    call: { index: 0, id: 'x', name: 'f', arguments: '{}' },
  });
});

test('no piece is joined to one that other news of its job stand behind', () => {
  const { sent, tell, step } = desk();
  tell(piece(1, text('a')));
  tell({ id: 1, type: 'toolCall' });
  tell(piece(1, text('b')));
  step(1);
  assert.equal(
    sent.map(({ news }) => news.map(({ type }) => type)),
    [['piece', 'toolCall', 'piece']],
  );
});

test('joined or not, each job says the same in the same order, and no piece waits longer than the gap (N1, N2)', () => {
  const said = fc.record({
    id: fc.integer({ min: 1, max: 3 }),
    afterMs: fc.integer({ min: 0, max: 14 }),
    kind: fc.constantFrom<Piece['kind']>('text', 'text', 'text', 'reasoning'),
    call: fc.constantFrom('none', 'none', 'none', 'begins', 'goes on', 'shows'),
    likely: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(said, { maxLength: 60 }), all => {
      const { sent, tell, step, waits } = desk();
      const told: { readonly at: number; readonly id: number; readonly token: number }[] = [];
      const wanted = new Map<number, string[]>();
      const calls = new Map<number, number>();
      let at = 0;
      for (const [token, { id, afterMs, kind, call, likely }] of all.entries()) {
        at += afterMs;
        if (afterMs > 0) step(at); // otherwise in the same turn
        if (call === 'shows') {
          wanted.set(id, [...(wanted.get(id) ?? []), 'toolCall:']);
          tell({ id, type: 'toolCall' });
          continue;
        }
        const index = (calls.get(id) ?? 0) + (call === 'begins' ? 1 : 0);
        calls.set(id, index);
        const one: Piece =
          call === 'none'
            ? {
                kind,
                text: `<${token}>`,
                ids: [token],
                ...(likely ? { logprobs: [{ token: `${token}`, logprob: 0, bytes: null, top: [] } as never] } : {}),
              }
            : {
                kind: 'text',
                text: '',
                ids: [token],
                call: { index, arguments: `${token}`, ...(call === 'begins' ? { id: `c${index}`, name: 'f' } : {}) },
              };
        told.push({ at, id, token });
        wanted.set(id, [...(wanted.get(id) ?? []), ...essence(one)]);
        tell(piece(id, one));
      }
      step(at + gapMs);
      assert.is(waits(), 0);
      const heard = new Map<number, string[]>();
      for (const { news } of sent)
        for (const item of news)
          heard.set(item.id, [
            ...(heard.get(item.id) ?? []),
            ...(item.type === 'piece' ? essence(item.piece) : [`${item.type}:`]),
          ]);
      for (const [id, marks] of wanted) assert.is(tidy(heard.get(id) ?? []), tidy(marks));
      for (const { at: toldAt, id, token } of told) {
        const when = sent.find(({ news }) =>
          news.some(item => item.id === id && item.type === 'piece' && item.piece.ids.includes(token)),
        );
        assert.ok(when !== undefined && when.at - toldAt <= gapMs, `token ${token} of ${toldAt} came at ${when?.at}`);
      }
    }),
    { numRuns, seed: Number(process.env.FC_SEED ?? Date.now()) },
  );
});

/** What a piece says, in marks that do not know where one piece ends and the next begins. */
const essence = ({ kind, text: said, ids, logprobs, call }: Piece): string[] => [
  call === undefined ? `${kind}:${said}` : `call ${call.index} ${call.id ?? ''}:${call.arguments}`,
  `ids:${ids.join(',')}`,
  ...(logprobs === undefined ? [] : [`logprobs:${logprobs.map(({ token }) => token).join(',')}`]),
];

/** Of each sort of mark what was said, joined: `a` and `b` are `ab`; a call's first piece keeps its id. */
function tidy(marks: readonly string[]): string {
  const parts: string[] = [];
  const ids: string[] = [];
  const likely: string[] = [];
  let last = '';
  for (const mark of marks) {
    const cut = mark.indexOf(':');
    const [sort, value] = [mark.slice(0, cut), mark.slice(cut + 1)];
    if (sort === 'ids') ids.push(value);
    else if (sort === 'logprobs') likely.push(value);
    else {
      const isMore = (sort === last && sort !== 'toolCall') || (sort.endsWith(' ') && last.startsWith(sort));
      parts.push(isMore ? value : `|${sort}:${value}`);
      if (!isMore) last = sort;
    }
  }
  return JSON.stringify([parts.join(''), ids.join(','), likely.join(',')]);
}

test.run();
