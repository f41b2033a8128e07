/** How a router greets: who gets in, who is refused and in which words, and what it makes of odd first frames. */
import { parseRouterFrame } from '../../protocol/worker-frames.ts';
import { type Case, expect, expectSame, shown } from './case.ts';
import { capabilities, type Heard, type RouterPeer, type WorkerLine } from './router-peer.ts';

type RouterCase = Case<RouterPeer>;

/** Closed, and nothing was said before. */
async function closesWithoutReply(peer: RouterPeer, opcode: number, payload: string | Uint8Array): Promise<number> {
  const line = await peer.dial();
  line.raw.frame(opcode, payload);
  const code = await line.closed(2000);
  expectSame(line.raw.heard, [], `said before the close after ${shown(String(payload))}`);
  return code;
}

const garbage = [
  [1, 'this is not json', 4400],
  [2, Uint8Array.from([0, 255, 1, 254, 2]), 4400],
  [1, 'null', 4400],
  [1, '[]', 4400],
  [1, '{"type":7}', 4400],
  [1, '{"type":"hello","gpu_key":7}', 4400],
  [1, '{"type":"hello","capabilities":[]}', 4400],
  [1, '{"type":"token","job_id":"x","token":"t"}', 4405],
  [1, '{"type":"heartbeat"}', 4405],
  [1, '{"type":"no_such_type"}', 4405],
  [1, '{"type":null}', 4405],
  [1, '{}', 4405],
] as const;

async function refused(line: WorkerLine): Promise<{ frame: Heard; code: number }> {
  const code = await line.closed();
  for (const frame of line.raw.heard)
    expect(frame.type === 'error' || frame.success === false, `a wrong key was answered with ${shown(frame)}`);
  return { frame: line.raw.heard[0], code };
}

async function wrongKeys(peer: RouterPeer, check: (said: { frame: Heard; code: number }) => void): Promise<void> {
  const { apiKey } = peer.address;
  for (const key of ['', `adm_${'x'.repeat(43)}`, 'k'.repeat(10_000), ...(apiKey === null ? [] : [apiKey])]) {
    const line = await peer.dial();
    line.say(peer.hello({ hello: { gpu_key: key } }));
    check(await refused(line));
  }
}

export const routerGreeting: readonly RouterCase[] = [
  {
    id: 'router/greeting/version-1',
    says: 'A hello of version 1 gets hello_ack with success, an id of 32 hex digits, a policy, and no field of version 2.',
    of: '§3, §4.1; spec 4.3, M10',
    async run(peer) {
      const { ack } = await peer.greeted();
      expect(/^[0-9a-f]{32}$/.test(ack.gpu_id), `gpu_id is ${shown(ack.gpu_id)}`);
      expect(typeof ack.policy?.model_name === 'string', `policy is ${shown(ack.policy)}`);
      for (const field of ['context_size', 'max_parallelism'])
        expect(Number.isInteger(ack.policy[field]), `policy.${field} is ${shown(ack.policy[field])}`);
      for (const field of ['protocol_version', 'ack_interval_ms', 'jobs'])
        expect(!(field in ack), `${field} is of version 2, and version 1 is spoken`);
    },
  },
  {
    id: 'router/greeting/version-2',
    says: 'A hello of version 2 gets hello_ack with protocol_version 2 and the interval of acknowledgements.',
    of: '§3, §4.1',
    async run(peer) {
      const { ack } = await peer.greeted({ version: 2 });
      expect(ack.ack_interval_ms > 0, `ack_interval_ms is ${shown(ack.ack_interval_ms)}`);
      expect(parseRouterFrame(JSON.stringify(ack)).ok, `hello_ack does not fit its shape: ${shown(ack)}`);
    },
  },
  {
    id: 'router/greeting/newer-version',
    says: 'A worker that speaks a newer version is answered with the newest that the router speaks, and no other.',
    of: '§3.2',
    async run(peer) {
      const { ack } = await peer.greeted({ hello: { protocol_version: 9, instance_id: 'newer', ready: true } });
      expect([undefined, 1, 2].includes(ack.protocol_version), `protocol_version is ${shown(ack.protocol_version)}`);
    },
  },
  {
    id: 'router/greeting/ids',
    says: 'Each connection has an id of its own, also of the same worker.',
    of: '§4.1',
    async run(peer) {
      const ids = [(await peer.greeted()).ack.gpu_id, (await peer.greeted()).ack.gpu_id];
      expect(ids[0] !== ids[1], `both connections are ${ids[0]}`);
    },
  },
  {
    id: 'router/greeting/wrong-key',
    says: 'A wrong key, no key and a caller’s key are refused: never success, and the socket is closed.',
    of: '§5; spec SEC6–SEC8, AU9',
    run: peer => wrongKeys(peer, () => undefined),
  },
  {
    id: 'router/greeting/wrong-key-code',
    says: 'That refusal is hello_ack with success false, which stops reference workers, and close code 4401.',
    of: '§5',
    weakness: 'H12, R15',
    run: peer =>
      wrongKeys(peer, ({ frame, code }) => {
        expect(frame?.type === 'hello_ack' && frame.success === false, `the refusal is ${shown(frame)}`);
        expect(typeof frame.error === 'string' && frame.error !== '', `no reason is given: ${shown(frame)}`);
        expectSame(code, 4401, 'the close code');
      }),
  },
  {
    id: 'router/greeting/tools-key',
    says: 'A tools worker with a wrong key gets error and is closed.',
    of: '§5; spec 3.2, X2',
    async run(peer) {
      const line = await peer.dial();
      const tools = { worker_type: 'tools', gpu_key: 'tls_wrong', tools_capabilities: { tools: null } };
      line.say(peer.hello({ hello: { ...tools, capabilities: { backend: '', model: '', ctx_size: 0 } } }));
      const { frame } = await refused(line);
      expect(frame?.type === 'error' && frame.error !== '', `the refusal is ${shown(frame)}`);
    },
  },
  {
    id: 'router/greeting/agent',
    says: 'The hello of an agent worker counts as one without a key.',
    of: '§4.3; spec 3.2',
    async run(peer) {
      const line = await peer.dial();
      line.say({ type: 'hello', worker_type: 'agent', agent_key: 'wrk_x', metadata: {} });
      await refused(line);
    },
  },
  {
    id: 'router/greeting/garbage',
    says: 'Anything but a hello as the first frame closes the socket within 2 s, and nothing is said before.',
    of: '§9; spec SEC18–SEC20, AU10',
    async run(peer) {
      for (const [opcode, payload] of garbage) await closesWithoutReply(peer, opcode, payload);
    },
  },
  {
    id: 'router/greeting/garbage-code',
    says: 'Of such frames, broken ones close with 4400 and those of another type with 4405.',
    of: '§5, §6, §9',
    weakness: 'R15',
    async run(peer) {
      for (const [opcode, payload, code] of garbage)
        expectSame(await closesWithoutReply(peer, opcode, payload), code, `close code after ${shown(String(payload))}`);
    },
  },
  {
    id: 'router/greeting/two-values',
    says: 'Two JSON values in one message are a broken frame, whatever they are.',
    of: '§1, §9; spec 3.1',
    async run(peer) {
      const hello = JSON.stringify(peer.hello());
      await closesWithoutReply(peer, 1, hello + hello);
    },
  },
  {
    id: 'router/greeting/silence',
    says: 'A connection that says nothing is closed with 4408 within 12 s.',
    of: '§6; spec N17',
    weakness: 'S1',
    beside: true,
    async run(peer) {
      const line = await peer.dial();
      expectSame(await line.closed(12_000), 4408, 'the close code');
      expectSame(line.raw.heard, [], 'said to a stranger');
    },
  },
  {
    id: 'router/greeting/too-much',
    says: 'More than 1 MiB before the key is checked closes with 4413, in one message or in drops.',
    of: '§1, §5; spec N17',
    weakness: 'S1',
    async run(peer) {
      const big = await peer.dial();
      big.say(peer.hello({ hello: { padding: 'x'.repeat(2 ** 21) } }));
      expectSame(await big.closed(), 4413, 'the close code of one message');
      const dripping = await peer.dial();
      for (let n = 0; n < 70; n += 1) dripping.raw.frame(n === 0 ? 1 : 0, 'x'.repeat(16_384), { fin: false });
      expectSame(await dripping.closed(), 4413, 'the close code of drops');
    },
  },
  {
    id: 'router/greeting/pieces',
    says: 'A hello in binary frames, in pieces with a ping between, with a newline behind, is a hello.',
    of: '§1; spec N21',
    async run(peer) {
      const line = await peer.dial();
      const message = Buffer.from(`${JSON.stringify(peer.hello())}\n`);
      line.raw.frame(2, message.subarray(0, 10), { fin: false });
      line.raw.frame(9, 'between');
      line.raw.frame(0, message.subarray(10));
      expectSame((await line.next('hello_ack')).success, true, 'success');
    },
  },
  {
    id: 'router/greeting/nulls',
    says: 'Null stands for a zero value or an absent field, and unknown fields are ignored.',
    of: '§2; spec N22',
    async run(peer) {
      const nulls = { protocol_version: null, worker_type: null, tools_capabilities: null, jobs: null, ready: null };
      const odd = { vram_gb: null, parameters: null, model_capabilities: null, no_such_field: { a: [1] } };
      await peer.greeted({ hello: { ...nulls, no_such_field: 1, capabilities: { ...capabilities, ...odd } } });
    },
  },
  {
    id: 'router/greeting/whole-numbers',
    says: 'A whole number counts as one however it is spelled, a fraction in its place does not.',
    of: '§2',
    weakness: 'D15',
    async run(peer) {
      const line = await peer.dial();
      line.say(JSON.stringify(peer.hello()).replace(/"ctx_size":\d+/, '"ctx_size":4.096e3,"total_slots":1.0'));
      expectSame((await line.next('hello_ack')).success, true, 'success');
      const fraction = await peer.dial();
      fraction.say(JSON.stringify(peer.hello()).replace(/"ctx_size":\d+/, '"ctx_size":12.5'));
      expectSame(await fraction.closed(), 4400, 'the close code of a fraction');
    },
  },
  {
    id: 'router/greeting/config',
    says: 'config is answered with config_ack, also when it comes in one breath with the hello, and then after hello_ack.',
    of: '§6, R5; spec 4.3',
    async run(peer) {
      const line = await peer.dial();
      line.say(peer.hello(), { type: 'config', capabilities });
      expectSame((await line.next('config_ack')).success, true, 'success');
      const types = line.raw.heard.map(({ type }: Heard) => type);
      expectSame(types.slice(0, 2), ['hello_ack', 'config_ack'], 'the first two frames');
    },
  },
  {
    id: 'router/greeting/config-of-a-stranger',
    says: 'The config of a worker whose key is wrong is forgotten.',
    of: 'R5',
    async run(peer) {
      const line = await peer.dial();
      line.say(peer.hello({ hello: { gpu_key: 'adm_wrong' } }), { type: 'config', capabilities });
      await refused(line);
    },
  },
  {
    id: 'router/greeting/second-hello',
    says: 'A second hello is ignored.',
    of: '§9; spec 4.1',
    async run(peer) {
      const line = await peer.worker();
      line.say(peer.hello());
      await line.heardOut();
      expect(line.isOpen(), 'the connection was closed');
      await line.none('hello_ack', 50, 'it was answered');
    },
  },
  {
    id: 'router/greeting/heartbeat',
    says: 'A heartbeat is answered, and a ping with its own payload.',
    of: '§4.1, §8; spec 4.3',
    async run(peer) {
      const line = await peer.worker();
      await line.heardOut();
      line.raw.frame(9, 'is somebody there');
      await line.heardOut();
      expect(line.raw.pongs.includes('is somebody there'), `the pongs are ${shown(line.raw.pongs)}`);
    },
  },
  {
    id: 'router/greeting/compression',
    says: 'No compression and no sub-protocol is agreed on, even if offered; a query behind the path is tolerated.',
    of: '§1; spec 3.1',
    async run(peer) {
      const line = await peer.dial(
        '?debug=1',
        'sec-websocket-extensions: permessage-deflate\r\norigin: http://a.example\r\n',
      );
      expect(!/sec-websocket-(extensions|protocol):/.test(line.raw.head()), `agreed on: ${line.raw.head()}`);
      line.say(peer.hello());
      expectSame((await line.next('hello_ack')).success, true, 'success');
    },
  },
  {
    id: 'router/greeting/path',
    says: 'There is a WebSocket at /ws and nowhere else, and at /ws nothing but a WebSocket.',
    of: '§1; spec RT14, 3.1',
    async run(peer) {
      expectSame((await peer.call('/ws')).status, 400, 'the status of GET /ws without an upgrade');
      for (const path of ['/gpu', '/'])
        await peer.dial(path).then(
          () => expect(false, `/ws${path} was upgraded`),
          (error: Error) => expect(/ 404 /.test(error.message), `/ws${path}: ${error.message.slice(0, 200)}`),
        );
    },
  },
];
