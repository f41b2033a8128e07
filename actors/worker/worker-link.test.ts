import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { closeCodes } from '../../protocol/codes.ts';
import { backoffMs } from './backoff.ts';
import type { Clock } from './clock.ts';
import type { Socket, SocketEvents } from './socket.ts';
import { type WorkerLink, workerLink } from './worker-link.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 500),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

/** Time that passes only when it is told to. */
function steppedClock(): Clock & { advance(ms: number): void } {
  let now = 1_000_000;
  let timers: { at: number; run: () => void }[] = [];
  return {
    now: () => now,
    after(ms, run) {
      const timer = { at: now + ms, run };
      timers.push(timer);
      return () => {
        timers = timers.filter(other => other !== timer);
      };
    },
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const [next] = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        now = next.at;
        timers = timers.filter(other => other !== next);
        next.run();
      }
      now = end;
    },
  };
}

interface FakeSocket extends Socket {
  readonly events: SocketEvents;
  readonly sent: string[];
  ended: string | null;
  pings: number;
  bufferedBytes: number;
}

function world(random = 0.5, url = 'ws://router/ws') {
  const clock = steppedClock();
  const sockets: FakeSocket[] = [];
  const told: string[] = [];
  const urls: string[] = [];
  const link: WorkerLink = workerLink({
    url,
    dial: (dialled, events) => {
      urls.push(dialled);
      const socket: FakeSocket = {
        events,
        sent: [],
        ended: null,
        pings: 0,
        bufferedBytes: 0,
        send: text => socket.sent.push(text),
        ping: () => {
          socket.pings += 1;
        },
        close: (code, reason) => {
          socket.ended = `close ${code} ${reason}`.trim();
        },
        terminate: () => {
          socket.ended = 'terminate';
        },
      };
      sockets.push(socket);
      return socket;
    },
    clock,
    random: () => random,
    redial: { msMin: 2000, msMax: 60_000 },
    heartbeatMs: 10_000,
    hello: () => ({
      type: 'hello',
      gpu_key: 'key',
      capabilities: { backend: 'pending', model: 'pending', ctx_size: 0 },
      protocol_version: 2,
    }),
    onOpen: (_ack, version) => told.push(`open ${version}`),
    onFrame: frame => told.push(`frame ${frame.type}`),
    onLost: reason => told.push(`lost: ${reason}`),
    onRefused: reason => told.push(`refused: ${reason}`),
    onTrouble: () => undefined,
  });
  const last = (): FakeSocket => {
    const socket = sockets.at(-1);
    if (socket === undefined) throw new Error('nothing was dialled');
    return socket;
  };
  const hear = (frame: unknown): void => {
    last().events.onAlive();
    last().events.onText(JSON.stringify(frame));
  };
  const open = (version: 1 | 2): void => {
    last().events.onOpen();
    hear({ type: 'hello_ack', success: true, gpu_id: 'a', ...(version === 2 ? { protocol_version: 2 } : {}) });
  };
  return { clock, sockets, told, urls, link, last, hear, open };
}

/** How long until the next dial; steps of a millisecond. */
function waitForDial(w: ReturnType<typeof world>): number {
  const before = w.sockets.length;
  for (let ms = 0; ms <= 100_000; ms += 1) {
    w.clock.advance(ms === 0 ? 0 : 1);
    if (w.sockets.length > before) return ms;
  }
  throw new Error('it is not dialled any more');
}

test('the first frame is hello, and the greeting settles the version', () => {
  for (const version of [1, 2] as const) {
    const w = world();
    w.link.start();
    w.last().events.onOpen();
    assert.is(JSON.parse(w.last().sent[0] ?? '').type, 'hello');
    assert.is(w.link.send({ type: 'heartbeat' }), false, 'nothing before the greeting is answered');
    w.open(version);
    assert.equal(w.told, [`open ${version}`]);
    assert.is(w.link.version, version);
    assert.ok(w.link.send({ type: 'heartbeat' }));
  }
});

test('heartbeats come at their interval, the first one after it', () => {
  const w = world();
  w.link.start();
  w.open(1);
  const beats = (): number => w.last().sent.filter(text => text.includes('heartbeat')).length;
  w.clock.advance(9999);
  assert.is(beats(), 0);
  w.hear({ type: 'heartbeat_ack' });
  w.clock.advance(1);
  assert.is(beats(), 1);
  w.hear({ type: 'heartbeat_ack' });
  w.clock.advance(10_000);
  assert.is(beats(), 2);
});

test('a greeting that is not answered within 30 s ends the connection, and the next attempt follows (weakness X4)', () => {
  const w = world();
  w.link.start();
  w.last().events.onOpen();
  w.clock.advance(29_999);
  assert.is(w.last().ended, null);
  w.clock.advance(1);
  assert.is(w.sockets[0]?.ended, 'terminate');
  assert.is(w.sockets.length, 2);
});

test('a version 2 router is dialled again at once, then with growing waits left to chance (weakness X10)', () => {
  const w = world(0.999);
  w.link.start();
  w.open(2);
  w.last().events.onClosed(1006, '');
  const waits = [waitForDial(w)];
  for (let n = 0; n < 4; n += 1) {
    w.last().events.onClosed(0, 'refused');
    waits.push(waitForDial(w));
  }
  assert.equal(waits, [0, 250, 500, 999, 1998]);
  w.open(2);
  w.last().events.onClosed(1006, '');
  assert.is(waitForDial(w), 0, 'a good connection starts anew');
});

test('a version 1 router gets its pause of 2 s to 60 s', () => {
  const w = world(0);
  w.link.start();
  w.open(1);
  w.last().events.onClosed(1006, '');
  const waits = [waitForDial(w)];
  for (let n = 0; n < 6; n += 1) {
    w.last().events.onClosed(0, 'refused');
    waits.push(waitForDial(w));
  }
  assert.equal(waits, [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
});

test('no wait is longer than the longest, whatever chance says', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<1 | 2>(1, 2),
      fc.nat({ max: 2000 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (v, n, r) => {
        const ms = backoffMs(v, n, { msMin: 2000, msMax: 60_000 }, r);
        assert.ok(ms >= (v === 1 ? 2000 : 0) && ms <= 60_000, String(ms));
      },
    ),
    runs,
  );
});

test('for minutes a router of version 2 is dialled every few seconds, and then now and then', () => {
  const wait = (attempt: number): number => backoffMs(2, attempt, { msMin: 2000, msMax: 60_000 }, 0.999);
  assert.equal([0, 1, 2, 5].map(wait), [0, 250, 500, 3996]);
  assert.is(Math.max(...Array.from({ length: 101 }, (_, attempt) => wait(attempt))), 4995);
  assert.is(wait(101), 59_940);
});

test('reconnectInSeconds is the least wait (weakness X10)', () => {
  const w = world(0);
  w.link.start();
  w.last().events.onOpen();
  w.hear({ type: 'hello_ack', success: false, error: 'restarting', reconnectInSeconds: 30 });
  assert.equal(w.told, []);
  assert.is(waitForDial(w), 30_000);
  w.last().events.onOpen();
  w.hear({ type: 'hello_ack', success: true, protocol_version: 2, reconnectInSeconds: 5 });
  w.last().events.onClosed(1001, '');
  assert.is(waitForDial(w), 5000);
});

test('a wrong key ends the link for ever, however the router says so (G3)', () => {
  const ways: ((w: ReturnType<typeof world>) => void)[] = [
    w => w.hear({ type: 'error', error: 'invalid GPU key', details: 'x' }),
    w => w.hear({ type: 'error', error: 'authentication failed' }),
    w => w.hear({ type: 'hello_ack', success: false, error: 'bad key' }),
    w => w.last().events.onClosed(closeCodes.badKey, 'bad key'),
  ];
  for (const way of ways) {
    const w = world();
    w.link.start();
    w.last().events.onOpen();
    way(w);
    w.last().events.onClosed(1006, '');
    w.clock.advance(1_000_000);
    assert.is(w.sockets.length, 1);
    assert.is(w.link.state, 'stopped');
    assert.is(w.told.filter(text => text.startsWith('refused')).length, 1);
  }
});

test('another error during the greeting is tried again', () => {
  const w = world();
  w.link.start();
  w.last().events.onOpen();
  w.hear({ type: 'error', error: 'too many connections' });
  assert.ok(waitForDial(w) < 1000);
});

test('pings go out, and a router that is silent through three of them is left (weakness X3)', () => {
  const w = world();
  w.link.start();
  w.open(2);
  w.clock.advance(1000);
  assert.is(w.last().pings, 1);
  w.last().events.onAlive();
  w.clock.advance(2000);
  assert.is(w.sockets.length, 1);
  w.clock.advance(1000);
  assert.is(w.sockets[0]?.ended, 'terminate');
  assert.match(w.told.at(-1) ?? '', 'silent');
  assert.is(w.sockets.length, 2, 'dialled again at once');
});

test('what an earlier socket still says is not heard', () => {
  const w = world();
  w.link.start();
  w.open(2);
  const [old] = w.sockets;
  w.last().events.onClosed(1006, '');
  waitForDial(w);
  old?.events.onText('{"type":"heartbeat_ack"}');
  old?.events.onClosed(1006, '');
  assert.equal(
    w.told.filter(text => text.startsWith('frame')),
    [],
  );
  assert.is(w.link.state, 'dialling');
});

test('types that are not known are ignored; a frame that breaks its shape ends a version 2 connection', () => {
  const w = world();
  w.link.start();
  w.open(2);
  w.hear({ type: 'from_the_future', x: 1 });
  assert.is(w.link.state, 'open');
  w.last().events.onText('{"type":"ack","job_id":7}');
  assert.match(w.sockets[0]?.ended ?? '', `close ${closeCodes.badFrame}`);
  assert.match(w.told.at(-1) ?? '', 'lost');
});

test('a version 1 router may send what cannot be read', () => {
  const w = world();
  w.link.start();
  w.open(1);
  w.last().events.onText('not JSON');
  w.last().events.onText('{"type":"ack","job_id":7}');
  assert.is(w.link.state, 'open');
});

test('a job that cannot be read is answered, not dropped', () => {
  const w = world();
  w.link.start();
  w.open(2);
  w.hear({ type: 'job', job_id: 'j1', messages: [], max_tokens: 'many' });
  const { type, job_id, code } = JSON.parse(w.last().sent.at(-1) ?? '');
  assert.equal([type, job_id, code], ['error', 'j1', 'invalid_request']);
  assert.is(w.link.state, 'open');
});

test('a router that does not read is left before memory fills up', () => {
  const w = world();
  w.link.start();
  w.open(2);
  w.last().bufferedBytes = 65 * 2 ** 20;
  assert.is(w.link.send({ type: 'heartbeat' }), false);
  assert.is(w.sockets[0]?.ended, 'terminate');
  assert.match(w.told.at(-1) ?? '', '64 MiB');
});

test('a parked link stays away until it is told otherwise, a stopped one for ever', () => {
  const w = world();
  w.link.start();
  w.open(1);
  w.link.park('loading');
  assert.match(w.last().ended ?? '', 'close 1000');
  w.clock.advance(1_000_000);
  assert.is(w.sockets.length, 1);
  w.link.unpark();
  assert.is(w.sockets.length, 2);
  w.open(1);
  w.link.stop(closeCodes.goingAway, 'bye');
  assert.is(w.last().ended, 'close 1001 bye');
  w.link.unpark();
  w.clock.advance(1_000_000);
  assert.is(w.sockets.length, 2);
});

test('whatever happens, there is at most one live socket, and a link that was not stopped dials again (K1, K2, weakness X9)', () => {
  const step = fc.constantFrom('open1', 'open2', 'close', 'advance', 'garbage', 'silence', 'redial', 'park', 'unpark');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), steps => {
      const w = world();
      const gone = new Set<FakeSocket>();
      w.link.start();
      for (const name of steps) {
        const socket = w.last();
        const live = !gone.has(socket) && socket.ended === null;
        if (name === 'open1' && live && w.link.state === 'dialling') w.open(1);
        if (name === 'open2' && live && w.link.state === 'dialling') w.open(2);
        if (name === 'close' && live) {
          gone.add(socket);
          socket.events.onClosed(1006, '');
        }
        if (name === 'garbage' && live) socket.events.onText('{');
        if (name === 'advance') w.clock.advance(700);
        if (name === 'silence') w.clock.advance(40_000);
        if (name === 'redial') w.link.redial('asked');
        if (name === 'park') w.link.park('asked');
        if (name === 'unpark') w.link.unpark();
        assert.ok(w.sockets.filter(s => !gone.has(s) && s.ended === null).length <= 1, 'K1');
      }
      if (w.link.state === 'parked') return;
      if (w.link.state === 'open') w.link.redial('to see');
      const before = w.sockets.length;
      w.clock.advance(200_000);
      assert.ok(w.sockets.length > before, `K2: stuck in ${w.link.state}`);
    }),
    runs,
  );
});

test('of several routers the one that was lost is tried once more, at once, and then the next ones', () => {
  const w = world(0, 'ws://a/ws,ws://b/ws,ws://c/ws');
  w.link.start();
  w.open(2);
  w.last().events.onClosed(1006, '');
  for (let dials = 0; dials < 3; dials += 1) {
    w.clock.advance(0);
    w.last().events.onClosed(0, 'refused');
  }
  assert.equal(w.urls, ['ws://a/ws', 'ws://a/ws', 'ws://b/ws', 'ws://c/ws'], 'all of them without a pause');
  w.link.stop(1000, '');
});

test('a router that goes away is not dialled again before the others', () => {
  const w = world(0, 'ws://a/ws,ws://b/ws');
  w.link.start();
  w.open(2);
  w.last().events.onClosed(1001, 'shutting down');
  w.clock.advance(0);
  assert.equal(w.urls, ['ws://a/ws', 'ws://b/ws']);
  w.open(2);
  w.link.redial('drained');
  w.clock.advance(0);
  assert.is(w.urls.at(-1), 'ws://a/ws');
  w.link.stop(1000, '');
});

test('T17: a router that takes the worker and drops it at once is dialled again later and later', () => {
  const w = world();
  w.link.start();
  const waits: number[] = [];
  for (let n = 0; n < 6; n++) {
    w.open(2);
    w.last().events.onClosed(1006, '');
    waits.push(waitForDial(w));
  }
  assert.equal(waits, [0, 125, 250, 500, 1000, 2000]);
  w.open(2);
  w.clock.advance(1500);
  w.last().events.onClosed(1006, '');
  assert.is(waitForDial(w), 0, 'one that lived for a while was good');
});

test('a broken tool job is answered, and the connection stays', () => {
  const w = world();
  w.link.start();
  w.open(2);
  w.hear({ type: 'tool_job', job_id: 'j', tool_name: 7 });
  assert.is(w.link.state, 'open');
  const answer = JSON.parse(w.last().sent.at(-1) ?? '');
  assert.equal([answer.type, answer.job_id, answer.code], ['tool_result', 'j', 'invalid_arguments']);
});

test.run();
