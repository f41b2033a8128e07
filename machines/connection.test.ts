import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { closeCodes } from '../protocol/codes.ts';
import type { Policy } from '../protocol/worker-frames.parts.ts';
import { parseRouterFrame, type RouterFrame, serialiseFrame, type WorkerFrame } from '../protocol/worker-frames.ts';
import { type ConnectionCommand, decide, obey } from './connection.decide.ts';
import { type ConnectionAction, connectionLimits, type KeyVerdict, type TimerName } from './connection.events.ts';
import { restoreConnection, saveConnection } from './connection.snapshot.ts';
import { type Connection, evolve, open, stateOf } from './connection.ts';

const runs = Number(process.env.FC_RUNS ?? 300);
const seeded = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

const key = 'adm_tHeSeCrEtKeY';
const workerId = '5f1a91b5f8e95322ab8c4d912d09d479';
const policy: Policy = {
  model_name: 'Qwen3-8B',
  quantization: 'Q4_K_S',
  context_size: 32_768,
  max_parallelism: 2,
  capabilities: ['chat'],
};

type Capabilities = Extract<WorkerFrame, { type: 'hello' }>['capabilities'];
const engine: Capabilities = { backend: 'llama.cpp', model: 'qwen3-8b', ctx_size: 32_768, total_slots: 4 };
const pending: Capabilities = { backend: 'pending', model: 'pending', ctx_size: 0 };

const hello = (capabilities = engine, more = {}): WorkerFrame => ({
  type: 'hello',
  gpu_key: key,
  capabilities,
  ...more,
});
const hello2 = (capabilities = engine, more = {}): WorkerFrame =>
  hello(capabilities, { protocol_version: 2, instance_id: 'box-1', model_file: 'sha256:1', ...more });
const config = (capabilities = engine): WorkerFrame => ({ type: 'config', capabilities });
const frame = (it: WorkerFrame, at = 1_000): ConnectionCommand => ({ type: 'receiveFrame', at, frame: it });
const broken = (kind: 'json' | 'type' | 'shape' | 'tooLarge'): ConnectionCommand => ({
  type: 'receiveBroken',
  at: 1_000,
  kind,
  message: kind === 'json' ? `Unexpected token in "gpu_key":"${key}"` : '$.capabilities must be object',
});
const judge = (verdict: KeyVerdict): ConnectionCommand => ({ type: 'judgeKey', at: 1_000, verdict });
const pass = (name: TimerName): ConnectionCommand => ({ type: 'passTimer', at: 1_000, name });
const status = (state: 'downloading' | 'loading' | 'ready' | 'draining'): ConnectionCommand =>
  frame({ type: 'status', state, progress: 0.5 });
const drain: ConnectionCommand = { type: 'beginDrain', at: 1_000 };
const silent: ConnectionCommand = { type: 'declareSilent', at: 1_000 };
const lose: ConnectionCommand = { type: 'loseSocket', at: 1_000, code: 1006 };

interface Life {
  readonly connection: Connection;
  /** Of the last command. */
  readonly actions: readonly ConnectionAction[];
  readonly all: readonly ConnectionAction[];
}

/** Opens a connection and gives it commands, holding the invariants after each. */
function live(commands: readonly ConnectionCommand[], wanted = policy, toolsAllowed: readonly string[] = []): Life {
  const opening = {
    type: 'connection.opened',
    at: 0,
    workerId,
    remote: '10.0.0.7',
    policy: wanted,
    toolsAllowed,
    limits: connectionLimits,
  } as const;
  const [connection, actions] = open(opening);
  let life: Life = { connection, actions, all: actions };
  hold(life);
  for (const command of commands) {
    const before = life;
    const { connection, actions } = obey(before.connection, command);
    life = { connection, actions, all: [...before.all, ...actions] };
    if (stateOf(before.connection) === 'closed') assert.equal(actions, [], 'C6');
    hold(life);
  }
  return life;
}

const timerOf: Partial<Record<string, TimerName>> = {
  awaitingHello: 'hello',
  checkingKey: 'key',
  settling: 'settle',
  draining: 'drain',
};

function hold({ connection, all }: Life): void {
  const state = stateOf(connection);
  const armed = new Set<TimerName>();
  let offered = false;
  let greeted = false;
  let closes = 0;
  let heard = false;
  for (const { type, params } of all) {
    if (type === 'armTimer') armed.add(params.name);
    if (type === 'disarmTimer') armed.delete(params.name);
    if (type === 'checkKey') heard = true;
    if (type === 'closeWorker') closes += 1;
    if (type === 'withdrawWorker') offered = false;
    if (type === 'sendFrame') {
      assert.ok(heard, 'C3: nothing is sent before the hello');
      assert.ok(parseRouterFrame(serialiseFrame(params.frame)).ok, 'what we send is a valid frame');
      greeted ||= params.frame.type === 'hello_ack' && params.frame.success;
    }
    if (type === 'offerWorker') {
      assert.ok(greeted, 'C3: hello_ack goes before any offer');
      assert.ok(params.offer.slots >= 1 && params.offer.slots <= 1_024, 'S10');
      assert.is.not(params.offer.backend, 'pending', 'C2');
      assert.is.not(params.offer.model, 'pending', 'C2');
      offered = true;
    }
    if (type !== 'checkKey') assert.not.match(JSON.stringify(params), key, 'C4');
  }
  const timer = timerOf[state];
  assert.equal([...armed], timer === undefined ? [] : [timer], `C5 in ${state}`);
  assert.is(offered, state === 'ready', `C1 in ${state}`);
  assert.ok(closes <= 1, 'C6');
  assert.not.match(saveConnection(connection), key, 'C4');
}

const frames = (actions: readonly ConnectionAction[]): RouterFrame[] =>
  actions.flatMap(({ type, params }) => (type === 'sendFrame' ? [params.frame] : []));
const closing = (actions: readonly ConnectionAction[]) =>
  actions.flatMap(({ type, params }) => (type === 'closeWorker' ? [params.code] : []))[0];
const offers = (actions: readonly ConnectionAction[]) =>
  actions.flatMap(({ type, params }) => (type === 'offerWorker' ? [params.offer] : []));

/** How each state is reached, by a worker of version 1 and by one of version 2. */
const ways: Record<string, readonly ConnectionCommand[]> = {
  awaitingHello: [],
  'checkingKey 1': [frame(hello())],
  'checkingKey 2': [frame(hello2())],
  'settling 1': [frame(hello()), judge('right')],
  'ready 1': [frame(hello()), judge('right'), frame(config())],
  'ready 2': [frame(hello2()), judge('right')],
  'waiting 1': [frame(hello(pending)), judge('right')],
  'waiting 2': [frame(hello2(engine, { ready: false })), judge('right')],
  'draining 1': [frame(hello()), judge('right'), frame(config()), drain],
  'draining 2': [frame(hello2()), judge('right'), drain],
  closed: [lose],
};

const inputs: Record<string, ConnectionCommand> = {
  hello: frame(hello()),
  config: frame(config()),
  'config pending': frame(config(pending)),
  heartbeat: frame({ type: 'heartbeat' }),
  'status loading': status('loading'),
  'status ready': status('ready'),
  'status draining': status('draining'),
  'token count': frame({ type: 'token_count', count_id: '1', input_tokens: 5 }),
  token: frame({ type: 'token', job_id: 'j', token: 'x' }),
  'broken json': broken('json'),
  'unknown type': broken('type'),
  'broken shape': broken('shape'),
  'too large': broken('tooLarge'),
  'key right': judge('right'),
  'key wrong': judge('wrong'),
  'key busy': judge('busy'),
  'key unconfigured': judge('unconfigured'),
  'timer hello': pass('hello'),
  'timer key': pass('key'),
  'timer settle': pass('settle'),
  'timer drain': pass('drain'),
  silent,
  drain,
  lost: lose,
};

/** The state that follows; `.` the same one, `!` refused, a number: closed by us with that code. */
const table = `
                 | awaitingHello | checkingKey 1 | checkingKey 2 | settling 1 | ready 1 | ready 2 | waiting 1 | waiting 2 | draining 1 | draining 2 | closed
hello            | checkingKey   | .             | .             | .          | .       | .       | .         | .         | .          | .          | !
config           | 4405          | .             | .             | ready      | .       | .       | ready     | ready     | .          | .          | !
config pending   | 4405          | .             | .             | waiting    | waiting | waiting | .         | .         | .          | .          | !
heartbeat        | 4405          | .             | .             | .          | .       | .       | .         | .         | .          | .          | !
status loading   | 4405          | .             | .             | waiting    | waiting | waiting | .         | .         | .          | .          | !
status ready     | 4405          | .             | .             | .          | .       | .       | .         | ready     | .          | .          | !
status draining  | 4405          | .             | .             | draining   | draining| draining| draining  | draining  | .          | .          | !
token count      | 4405          | .             | .             | .          | .       | .       | .         | .         | .          | .          | !
token            | 4405          | .             | .             | .          | .       | .       | .         | .         | .          | .          | !
broken json      | 4400          | .             | 4400          | .          | .       | 4400    | .         | 4400      | .          | 4400       | !
unknown type     | 4405          | .             | .             | .          | .       | .       | .         | .         | .          | .          | !
broken shape     | 4400          | .             | 4400          | .          | .       | 4400    | .         | 4400      | .          | 4400       | !
too large        | 4413          | 4413          | 4413          | 1009       | 1009    | 1009    | 1009      | 1009      | 1009       | 1009       | !
key right        | !             | settling      | ready         | !          | !       | !       | !         | !         | !          | !          | !
key wrong        | !             | 4401          | 4401          | !          | !       | !       | !         | !         | !          | !          | !
key busy         | !             | 4429          | 4429          | !          | !       | !       | !         | !         | !          | !          | !
key unconfigured | !             | 4401          | 4401          | !          | !       | !       | !         | !         | !          | !          | !
timer hello      | 4408          | !             | !             | !          | !       | !       | !         | !         | !          | !          | !
timer key        | !             | 4429          | 4429          | !          | !       | !       | !         | !         | !          | !          | !
timer settle     | !             | !             | !             | ready      | !       | !       | !         | !         | !          | !          | !
timer drain      | !             | !             | !             | !          | !       | !       | !         | !         | 1001       | 1001       | !
silent           | 4504          | 4504          | 4504          | 4504       | 4504    | 4504    | 4504      | 4504      | 4504       | 4504       | !
drain            | 1001          | 1001          | 1001          | draining   | draining| draining| draining  | draining  | .          | .          | !
lost             | closed        | closed        | closed        | closed     | closed  | closed  | closed    | closed    | closed     | closed     | !
`;

test('every command in every state leads where the table says', () => {
  const [head = [], ...rows] = table
    .trim()
    .split('\n')
    .map(line => line.split('|').map(cell => cell.trim()));
  const columns = table.trim().startsWith('|') ? head.slice(1) : head;
  assert.equal([...columns].sort(), Object.keys(ways).sort(), 'the table has every state');
  assert.equal(rows.map(([name]) => name).sort(), Object.keys(inputs).sort(), 'the table has every command');
  for (const [name = '', ...cells] of rows) {
    const command = inputs[name];
    assert.ok(command, name);
    cells.forEach((cell, index) => {
      const way = ways[columns[index] ?? ''];
      assert.ok(way);
      const before = live(way);
      const where = `${name} in ${columns[index]}`;
      const after = live([...way, command]);
      const decision = decide(before.connection, command);
      assert.is(decision.ok, cell !== '!', where);
      if (cell === '!') assert.is(saveConnection(after.connection), saveConnection(before.connection), where);
      else if (cell === '.') assert.is(stateOf(after.connection), stateOf(before.connection), where);
      else if (/^\d/.test(cell)) {
        assert.is(stateOf(after.connection), 'closed', where);
        assert.is(closing(after.actions), Number(cell), where);
      } else assert.is(stateOf(after.connection), cell, where);
      if (!/^\d/.test(cell)) assert.is(closing(after.actions), undefined, where);
    });
  }
});

test('an event that cannot follow is a bug and throws', () => {
  const { connection } = live([]);
  assert.throws(() => evolve(connection, { type: 'key.accepted', at: 1 }), /cannot take key.accepted/);
  assert.throws(() => evolve(live([lose]).connection, { type: 'connection.closed', at: 1, code: 1000 }), /closed/);
});

test('MW1: a worker that sends only hello, no config and no heartbeat, is offered after the settling time', () => {
  const way = [frame(hello({ backend: 'mock', model: 'mock', ctx_size: 4_096, total_slots: 3 }), 500), judge('right')];
  const settling = live(way, { ...policy, model_name: 'mock' });
  assert.equal(frames(settling.actions), [
    { type: 'hello_ack', success: true, gpu_id: workerId, policy: { ...policy, model_name: 'mock' } },
  ]);
  assert.equal(
    settling.actions.filter(({ type }) => type === 'armTimer'),
    [{ type: 'armTimer', params: { name: 'settle', at: 1_100 } }],
  );
  const { actions } = live([...way, pass('settle')], { ...policy, model_name: 'mock' });
  assert.equal(offers(actions), [{ slots: 3, model: 'mock', backend: 'mock', contextSize: 4_096, protocol: 1 }]);
});

test('a reference worker that sends config at once is offered at config, with the slots of config', () => {
  const { actions } = live([frame(hello()), judge('right'), frame(config({ ...engine, total_slots: 7 }))]);
  assert.equal(frames(actions), [{ type: 'config_ack', success: true }]);
  assert.is(offers(actions)[0]?.slots, 7);
});

test('a config without slots keeps those of the hello', () => {
  const { actions } = live([frame(hello()), judge('right'), frame(config({ ...engine, total_slots: 0 }))]);
  assert.is(offers(actions)[0]?.slots, 4);
});

test('a config that comes before the verdict on the key is obeyed after it', () => {
  const { actions, connection } = live([frame(hello()), frame(config({ ...engine, total_slots: 9 })), judge('right')]);
  assert.equal(
    frames(actions).map(({ type }) => type),
    ['hello_ack', 'config_ack'],
  );
  assert.is(offers(actions)[0]?.slots, 9);
  assert.is(connection.state.context.held, null);
});

test('a config while ready offers the worker again, without a gap in between', () => {
  const { actions } = live([...(ways['ready 2'] ?? []), frame(config({ ...engine, total_slots: 2 }))]);
  assert.equal(
    actions.map(({ type }) => type),
    ['sendFrame', 'offerWorker'],
  );
  assert.equal(offers(actions)[0], {
    slots: 2,
    model: 'qwen3-8b',
    backend: 'llama.cpp',
    contextSize: 32_768,
    protocol: 2,
    workerInstance: 'box-1',
    modelFile: 'sha256:1',
  });
});

test('version 2 is answered in kind, and gets jobs without settling', () => {
  const { actions, connection } = live(ways['ready 2'] ?? []);
  assert.equal(frames(actions), [
    { type: 'hello_ack', success: true, gpu_id: workerId, policy, protocol_version: 2, ack_interval_ms: 100 },
  ]);
  assert.is(stateOf(connection), 'ready');
  const newer = live([frame(hello2(engine, { protocol_version: 7 })), judge('right')]);
  assert.match(serialiseFrame(frames(newer.actions)[0] ?? { type: 'drain' }), '"protocol_version":2');
});

test('version 1 is told nothing of version 2, even if it sends its fields', () => {
  const way = [frame(hello(engine, { instance_id: 'x', ready: false })), judge('right')];
  const { actions, connection } = live(way);
  assert.not.match(JSON.stringify(frames(actions)), 'protocol_version');
  assert.is(stateOf(connection), 'settling');
  assert.is(connection.state.context.instance, null);
  assert.equal(frames(live([...way, drain]).actions), [], 'there is no drain in version 1');
});

test('N6, H11: a discovery connection gets its policy and never a job', () => {
  for (const shape of [pending, { ...engine, backend: 'pending' }, { ...engine, model: 'pending' }]) {
    const { all, connection } = live([
      frame(hello(shape)),
      judge('right'),
      pass('settle'),
      status('ready'),
      frame({ type: 'heartbeat' }),
    ]);
    assert.is(stateOf(connection), 'waiting');
    assert.equal(offers(all), []);
    assert.not.match(JSON.stringify(all), 'another model');
    assert.equal(
      frames(all).map(({ type }) => type),
      ['hello_ack', 'heartbeat_ack'],
    );
  }
});

test('a version 2 worker that loads its model on the one connection gets jobs when it has it', () => {
  const way = [frame(hello2(pending, { ready: false })), judge('right'), status('downloading'), status('loading')];
  const loading = live(way);
  assert.is(stateOf(loading.connection), 'waiting');
  assert.equal(loading.connection.status, { state: 'loading', progress: 0.5 });
  assert.is(stateOf(live([...way, frame(config())]).connection), 'ready');
  assert.is(stateOf(live([...way, status('ready')]).connection), 'waiting', 'its model is still unknown');
  assert.is(stateOf(live([...way, frame(config()), status('loading'), status('ready')]).connection), 'ready');
});

test('a count of tokens is reported, but not from a stranger', () => {
  const count = (input_tokens?: number) =>
    frame({ type: 'token_count', count_id: '7', ...(input_tokens === undefined ? {} : { input_tokens }) });
  const { connection } = live(ways['ready 2'] ?? []);
  assert.equal(obey(connection, count(5)).actions, [{ type: 'reportCount', params: { countId: '7', tokens: 5 } }]);
  assert.equal(obey(connection, count()).actions, [{ type: 'reportCount', params: { countId: '7', tokens: null } }]);
  assert.is(obey(connection, count(5)).connection.state, connection.state);
  const stranger = live(ways['checkingKey 2'] ?? []).connection;
  assert.ok(obey(stranger, count(5)).actions.every(({ type }) => type !== 'reportCount'));
});

test('progress runs no machine', () => {
  const { connection } = live([...(ways['waiting 2'] ?? []), status('loading')]);
  for (const command of [status('loading'), frame({ type: 'heartbeat' })]) {
    assert.is(obey(connection, command).connection.state, connection.state);
  }
});

test('H12, SEC6-8: a wrong key is answered so that a reference worker stops, then closed with 4401', () => {
  for (const gpu_key of [key, '', 'rtr_other']) {
    const { actions } = live([frame({ type: 'hello', gpu_key, capabilities: engine }), judge('wrong')]);
    assert.equal(frames(actions), [{ type: 'hello_ack', success: false, error: 'invalid GPU key' }]);
    assert.is(closing(actions), closeCodes.badKey);
  }
});

test('a router too busy to check keys does not make workers exit', () => {
  for (const command of [judge('busy'), pass('key')]) {
    const { actions } = live([frame(hello()), command]);
    assert.equal(
      frames(actions).map(({ type }) => type),
      ['error'],
      'an error is tried again, success:false ends a worker',
    );
    assert.is(closing(actions), closeCodes.tooManyConnections);
  }
});

test('a tools worker is told which setting is missing', () => {
  const asTools = frame({
    type: 'hello',
    gpu_key: key,
    worker_type: 'tools',
    capabilities: { backend: '', model: '', ctx_size: 0 },
  });
  assert.equal(
    live([asTools]).actions.filter(({ type }) => type === 'checkKey'),
    [{ type: 'checkKey', params: { role: 'tools', key } }],
  );
  assert.match(JSON.stringify(frames(live([asTools, judge('unconfigured')]).actions)), 'AUXOT_TOOLS_KEY_HASH');
  assert.match(JSON.stringify(frames(live([asTools, judge('wrong')]).actions)), 'authentication failed');
  const { actions, connection } = live([asTools, judge('right')]);
  assert.equal(offers(actions), [], 'it gets no jobs');
  assert.is(stateOf(connection), 'serving');
  assert.equal(actions.filter(({ type }) => type === 'offerTools').length, 1);
});

test('N17, S1: no hello in time, or one too large, closes without a reply', () => {
  const opened = live([]);
  assert.equal(opened.actions, [{ type: 'armTimer', params: { name: 'hello', at: connectionLimits.helloMs } }]);
  for (const [command, code] of [
    [pass('hello'), closeCodes.helloTimeout],
    [broken('tooLarge'), closeCodes.helloTooLarge],
  ] as const) {
    const { actions } = live([command]);
    assert.equal(frames(actions), []);
    assert.is(closing(actions), code);
  }
});

test('SEC18-20: garbage, and a valid frame of another type, as the first frame close without a reply', () => {
  for (const command of [
    broken('json'),
    broken('shape'),
    broken('type'),
    frame({ type: 'token', job_id: 'j', token: 'x' }),
  ]) {
    const { actions } = live([command]);
    assert.equal(frames(actions), []);
    assert.ok([closeCodes.badFrame, closeCodes.notHello].some(code => code === closing(actions)));
  }
});

test('S10: slots are capped, never below one, and default to the policy', () => {
  const slots = (total: number, wanted = policy): number | undefined =>
    offers(live([frame(hello2({ ...engine, total_slots: total })), judge('right')], wanted).actions)[0]?.slots;
  assert.is(slots(1e9), 1_024);
  assert.is(slots(-5), 2);
  assert.is(slots(0), 2);
  assert.is(slots(0, { ...policy, max_parallelism: 0 }), 1);
});

test('N14: a tools worker is told what it may run, and others are not', () => {
  const ack = (workerType: 'tools' | undefined, allowed: readonly string[]) => {
    const tools = { worker_type: workerType, tools_capabilities: { tools: ['look'] } };
    const greeting = workerType === undefined ? hello(engine) : hello(engine, tools);
    const [first] = frames(live([frame(greeting), judge('right')], policy, allowed).actions);
    return first?.type === 'hello_ack' ? first.tools_policy : 'no hello_ack';
  };
  assert.equal(ack('tools', ['look', 'web_*']), { allowed_tools: ['look', 'web_*'], mcp_servers: [] });
  assert.is(ack('tools', []), undefined, 'without a list everything may be called');
  assert.is(ack(undefined, ['look']), undefined);
});

test('S9: a worker with another model serves under its own name, and people are told', () => {
  const { actions } = live([frame(hello2({ ...engine, model: 'llama-3-70b' })), judge('right')]);
  assert.is(offers(actions)[0]?.model, 'llama-3-70b');
  assert.match(JSON.stringify(actions), 'another model');
  for (const model of ['qwen3-8b', '/models/Qwen3-8B-Q4_K_S.gguf', 'Qwen3-8B']) {
    assert.not.match(
      JSON.stringify(live([frame(hello2({ ...engine, model })), judge('right')]).actions),
      'another model',
    );
  }
});

test('R10: a CLI worker gets a CLI policy, and `pending` is never sent back as a model', () => {
  const ack = (capabilities: Capabilities, wanted: Policy): Policy | undefined => {
    const [first] = frames(live([frame(hello(capabilities)), judge('right')], wanted).actions);
    return first?.type === 'hello_ack' ? first.policy : undefined;
  };
  const claude = ack({ backend: 'cli/claude', model: 'opus', ctx_size: 1 }, policy);
  assert.is(claude?.worker_type, 'cli');
  assert.is(claude?.cli_type, 'claude');
  assert.is(claude?.model_name, 'opus');
  assert.is(ack(pending, { ...policy, worker_type: 'cli', model_name: '' })?.model_name, '');
  assert.equal(ack(engine, policy), policy);
});

test('R15: every close that we ask for has a code and a reason that fits a close frame', () => {
  for (const way of Object.values(ways)) {
    for (const command of Object.values(inputs)) {
      for (const { type, params } of live([...way, command]).actions) {
        if (type !== 'closeWorker') continue;
        assert.ok(params.code === 1000 || params.code === 1001 || params.code === 1009 || params.code >= 4000);
        assert.ok(params.reason.length > 0 && Buffer.byteLength(params.reason) <= 123);
      }
    }
  }
});

test('a drain tells a version 2 worker, withdraws it, and ends in time', () => {
  const { actions } = live(ways['draining 2'] ?? []);
  assert.equal(frames(actions), [{ type: 'drain' }]);
  assert.ok(actions.some(({ type }) => type === 'withdrawWorker'));
  assert.equal(
    actions.filter(({ type }) => type === 'armTimer'),
    [{ type: 'armTimer', params: { name: 'drain', at: 1_000 + connectionLimits.drainMs } }],
  );
});

test('a flood of broken frames from an old peer is told a few times only', () => {
  const { connection, all } = live([...(ways['ready 1'] ?? []), ...Array.from({ length: 500 }, () => broken('json'))]);
  assert.is(connection.broken, 500);
  assert.ok(all.filter(({ type }) => type === 'note').length < 20);
});

test("a peer's words are kept at bounded length", () => {
  const long = 'x'.repeat(100_000);
  const way = [
    frame(hello2({ ...engine, model: long, backend: long }, { instance_id: long, model_file: long })),
    judge('right'),
  ];
  const { connection } = live([...way, frame({ type: 'status', state: 'loading', message: long })]);
  assert.ok(saveConnection(connection).length < 4_000);
  assert.ok((connection.status?.message?.length ?? 0) <= 256);
});

const anyText = fc.constantFrom('', 'pending', 'llama.cpp', 'mock', 'cli/claude', 'qwen3-8b');
const anyCapabilities = fc.record({
  backend: anyText,
  model: anyText,
  ctx_size: fc.integer({ min: -1, max: 200_000 }),
  total_slots: fc.integer({ min: -2, max: 3_000 }),
});
const anyHello = fc.record(
  {
    type: fc.constant('hello' as const),
    gpu_key: fc.constant(key),
    capabilities: anyCapabilities,
    worker_type: fc.constantFrom('tools', 'gpu', ''),
    protocol_version: fc.integer({ min: 0, max: 3 }),
    instance_id: fc.constantFrom('', 'box-1'),
    ready: fc.boolean(),
  },
  { requiredKeys: ['type', 'gpu_key', 'capabilities'] },
);
const anyCommand: fc.Arbitrary<ConnectionCommand> = fc.oneof(
  { weight: 3, arbitrary: anyHello.map(it => frame(it)) },
  { weight: 3, arbitrary: anyCapabilities.map(it => frame(config(it))) },
  {
    weight: 3,
    arbitrary: fc.constantFrom<KeyVerdict>('right', 'right', 'right', 'wrong', 'busy', 'unconfigured').map(judge),
  },
  { weight: 6, arbitrary: fc.constantFrom(...Object.values(inputs).filter(it => it !== lose && it !== silent)) },
  { weight: 1, arbitrary: fc.constantFrom(lose, silent) },
);
/** Most random commands close a connection at once: start it well. */
const anyLife = fc
  .tuple(fc.constantFrom(...Object.values(ways)), fc.array(anyCommand, { maxLength: 20 }))
  .map(([way, more]) => [...way, ...more]);

test('no sequence of commands breaks an invariant', () => {
  fc.assert(
    fc.property(anyLife, commands => {
      live(commands);
    }),
    { numRuns: runs, ...seeded },
  );
});

test('a connection restored from its snapshot, at any cut, goes on as the one that wrote it', () => {
  const silently = (actions: readonly ConnectionAction[]) => actions.filter(({ type }) => type !== 'note');
  fc.assert(
    fc.property(anyLife, fc.nat(30), (commands, cut) => {
      const before = live(commands.slice(0, cut)).connection;
      let one = before;
      let other = restoreConnection(saveConnection(before));
      assert.is(saveConnection(other), saveConnection(one));
      for (const command of commands.slice(cut)) {
        const [a, b] = [obey(one, command), obey(other, command)];
        assert.equal(silently(b.actions), silently(a.actions));
        assert.equal(b.refusal, a.refusal);
        assert.is(saveConnection(b.connection), saveConnection(a.connection));
        [one, other] = [a.connection, b.connection];
      }
    }),
    { numRuns: runs, ...seeded },
  );
});

test('a snapshot of another version or state is refused by name', () => {
  assert.throws(() => restoreConnection('{"version":9,"value":"ready","context":{}}'), /version 9/);
  assert.throws(() => restoreConnection('{"version":1,"value":"gone","context":{}}'), /gone/);
});

test.run();
