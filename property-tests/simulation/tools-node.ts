/** A tools worker of the simulated cluster: the real one (link, calls, journal) with tools that only count. */
import type { Diagnostics } from '../../actors/config/diagnostics.ts';
import type { RemoteMcp } from '../../actors/tools/mcp/remote-mcp.ts';
import { type Tool, ToolError } from '../../actors/tools/tool.ts';
import { openToolSet } from '../../actors/tools/tool-set.ts';
import { type ToolsWorker, toolsWorker } from '../../actors/tools/tools-worker.ts';
import type { Dial } from '../../actors/worker/socket.ts';
import type { VirtualClock } from './clock.ts';
import { SimNode } from './node.ts';
import type { Random } from './random.ts';
import { gpuKey } from './router-node.ts';
import { resultOf, simulatedTools, type ToolBook } from './tool-truth.ts';

export interface ToolsParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly book: ToolBook;
  readonly dialFrom: (node: SimNode) => Dial;
  readonly diagnostics: (who: string) => Diagnostics;
  readonly wrong: (what: string) => void;
}

const slots = 3;
const noMcp: RemoteMcp = {
  toolFor: () => {
    throw new ToolError('not_allowed', 'the simulation has no MCP servers');
  },
  inspect: async () => [],
  describe: async () => [],
};

export class ToolsNode {
  readonly name: string;
  readonly #parts: ToolsParts;
  /** How long a call takes. */
  callMs = 0;
  readonly usualCallMs: number;
  /** So many of the next results are no results. */
  nonsense = 0;
  node: SimNode;
  worker: ToolsWorker | null = null;
  boots = 0;

  constructor(name: string, parts: ToolsParts) {
    this.name = name;
    this.#parts = parts;
    this.usualCallMs = parts.random.between(1, 900);
    this.callMs = this.usualCallMs;
    this.node = new SimNode(name, parts.clock);
    this.node.die();
  }

  start(): void {
    this.boots += 1;
    const node = new SimNode(`${this.name}.${this.boots}`, this.#parts.clock);
    this.node = node;
    this.#parts.clock.after(0, node, () => this.#boot(node));
  }

  #boot(node: SimNode): void {
    const { random, dialFrom, diagnostics, wrong } = this.#parts;
    const worker = toolsWorker({
      routerUrl: 'ws://router/ws',
      toolsKey: gpuKey,
      instanceId: node.name,
      heartbeatMs: 30_000,
      redial: { msMin: 500, msMax: 5000 },
      slots,
      queueMax: 4,
      callMsMax: 60_000,
      drainMsMax: 4000,
      tools: openToolSet(
        simulatedTools.map(name => this.#tool(node, name)),
        [],
        null,
      ),
      credentials: { of: () => ({}), shell: {} },
      remoteMcp: noMcp,
      dial: this.#lying(dialFrom(node)),
      clock: { now: () => node.now(), after: (ms, run) => node.after(ms, run) },
      random: () => random.next(),
      diagnostics: diagnostics(node.name),
    });
    this.worker = worker;
    void worker.ended.then(({ exitCode, message }) => {
      if (exitCode !== 0) wrong(`the tools worker ${this.name} ended: ${message}`);
    });
    worker.start();
  }

  #tool(node: SimNode, name: string): Tool {
    const { book, random } = this.#parts;
    return {
      name,
      description: name,
      parameters: { type: 'object', properties: { key: { type: 'string' } } },
      idempotent: name === 'peek',
      run: ({ args, threadId, signal }) =>
        new Promise((resolve, reject) => {
          const key = String(args.key);
          // What it does to the world is done when it begins.
          book.ran(threadId ?? 'nobody', key, name, node.name);
          const disarm = node.after(this.callMs * (0.5 + random.next()), () => resolve({ result: resultOf(key) }));
          signal.addEventListener('abort', () => {
            disarm();
            reject(signal.reason);
          });
        }),
    };
  }

  /** A worker that is broken in its head: its line says things that no `tool_result` can say. */
  #lying(dial: Dial): Dial {
    return (url, events) => {
      const socket = dial(url, events);
      return {
        ping: () => socket.ping(),
        close: (code, reason) => socket.close(code, reason),
        terminate: () => socket.terminate(),
        get bufferedBytes() {
          return socket.bufferedBytes;
        },
        send: text => {
          const lies = this.nonsense > 0 && text.startsWith('{"type":"tool_result"');
          if (lies) this.nonsense -= 1;
          socket.send(lies ? text.replace(/"result":.*$/, '"result":"nonsense","image_parts":"none"}') : text);
        },
      };
    };
  }

  /** SIGTERM: what runs may finish. */
  stop(over: () => void): void {
    const { node, worker } = this;
    void worker?.stop();
    void worker?.ended.then(() => this.node === node && !node.dead && over());
  }

  kill(): boolean {
    if (this.node.dead) return false;
    this.node.die();
    this.worker = null;
    return true;
  }

  get busy(): boolean {
    const health = this.worker?.health();
    return (health?.running ?? 0) + (health?.waiting ?? 0) > 0;
  }
}
