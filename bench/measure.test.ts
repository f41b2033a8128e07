import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { measure } from './measure.ts';
import { failuresOf, tableOf } from './report.ts';
import type { Load } from './round.ts';
import type { Scenario } from './scenarios.ts';
import { startBareRelay } from './target.ts';

const small: Load = {
  connections: 4,
  rampMs: 0,
  warmMs: 50,
  windowMs: 300,
  tokens: 20,
  everyMs: 0,
  streamed: true,
  repeat: true,
  holdAfter: 0,
};

const measured = async (scenario: Scenario) => {
  const sides = await measure(scenario, [startBareRelay], '/v1/chat/completions', () => undefined);
  assert.is(sides.length, 1);
  const [side] = sides;
  const round = side?.rounds[0];
  if (side === undefined || round === undefined) throw new Error('no round was measured');
  assert.is(failuresOf(side), 0, round.examples.join());
  return { side, round, table: tableOf({ scenario, sides }) };
};

test('a small run of each kind against the bare relay: every answer is right, and the figures fit each other', async () => {
  const [relay, blocking, paced, held] = await Promise.all([
    measured({ name: 'relay', title: 'small', load: small, workerConnections: 1, rounds: 2 }),
    measured({
      name: 'blocking',
      title: 'small',
      load: { ...small, streamed: false, tokens: 1 },
      workerConnections: 2,
      rounds: 1,
    }),
    measured({
      name: 'paced',
      title: 'small',
      load: { ...small, everyMs: 20, repeat: false, tokens: 30 },
      workerConnections: 1,
      rounds: 1,
    }),
    measured({
      name: 'held',
      title: 'small',
      load: { ...small, connections: 30, repeat: false, holdAfter: 1 },
      workerConnections: 3,
      rounds: 1,
    }),
  ]);
  assert.is(relay.side.rounds.length, 2);
  assert.ok(relay.round.tokens > 0 && relay.round.answers >= relay.round.requests);
  assert.ok(relay.side.rssPeakBytes >= relay.side.rssIdleBytes);
  assert.match(relay.table, /\| tokens\/s \| [\d,]+ \|/);
  // Requests end in the window that began before it, and the other way round, at most once a connection.
  assert.ok(Math.abs(blocking.round.tokens - blocking.round.requests) <= small.connections);
  const pacedTokens = (small.connections * paced.round.windowMs) / 20;
  assert.ok(Math.abs(paced.round.tokens - pacedTokens) < pacedTokens * 0.5, `${paced.round.tokens} of ${pacedTokens}`);
  assert.is(paced.round.answers, small.connections);
  assert.is(held.round.tokens, 0, 'a held stream is silent');
  assert.is(held.round.answers, 30);
  assert.ok(held.side.rssHeldBytes > 0);
  assert.type(held.round.releasedMs, 'number');
});

test.run();
