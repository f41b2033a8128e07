/** Workers of the simulated cluster: the real GPU worker (version 2) on a simulated engine, and a scripted old one. */
import type { Diagnostics } from '../../actors/config/diagnostics.ts';
import { type GpuWorker, gpuWorker } from '../../actors/worker/gpu-worker.ts';
import type { Dial } from '../../actors/worker/socket.ts';
import type { VirtualClock } from './clock.ts';
import { type Pace, SimEngine } from './engine.ts';
import { SimNode } from './node.ts';
import { OldWorker } from './old-worker.ts';
import type { Random } from './random.ts';
import { gpuKey } from './router-node.ts';

export interface WorkerParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly slots: number;
  readonly version: 1 | 2;
  /** Which model file it has: workers with equal ones carry tokens on exactly. */
  readonly modelFile: string;
  readonly dialFrom: (node: SimNode, version: 1 | 2) => Dial;
  readonly diagnostics: (who: string) => Diagnostics;
  /** It ended although nobody stopped it. */
  readonly endedByItself: (worker: WorkerNode, message: string) => void;
  readonly wrong: (what: string) => void;
}

export class WorkerNode {
  readonly name: string;
  readonly parts: WorkerParts;
  readonly pace: Pace;
  /** When nothing slows it. */
  readonly usualTokenMs: number;
  node: SimNode;
  engine: SimEngine | null = null;
  #program: GpuWorker | null = null;
  #stopping = false;
  boots = 0;

  constructor(name: string, parts: WorkerParts) {
    this.name = name;
    this.parts = parts;
    this.pace = { tokenMs: parts.random.between(5, 60), promptMs: parts.random.between(5, 200), failWith: null };
    this.usualTokenMs = this.pace.tokenMs;
    this.node = new SimNode(name, parts.clock);
    this.node.die();
  }

  start(): void {
    this.boots += 1;
    const node = new SimNode(`${this.name}.${this.boots}`, this.parts.clock);
    this.node = node;
    this.parts.clock.after(0, node, () => this.#boot(node));
  }

  #boot(node: SimNode): void {
    const { slots, version, modelFile, dialFrom, diagnostics, random, endedByItself, wrong } = this.parts;
    const tooMany = (active: number): void =>
      wrong(`the worker ${node.name} has ${slots} slots and runs ${active} jobs`);
    const dial = dialFrom(node, version);
    const info = {
      model: 'm',
      backend: 'llama.cpp',
      contextSize: 4096,
      slots,
      vramGb: 0,
      parameters: '',
      modelFile,
      threads: 1,
      gpu: '',
      features: ['embeddings' as const],
    };
    if (version === 1) {
      this.engine = new SimEngine(node, info, this.pace, () => undefined, tooMany, wrong);
      new OldWorker({ node, dial, engine: this.engine, slots, gpuKey }).start();
      return;
    }
    const worker = gpuWorker({
      routerUrl: 'ws://router/ws',
      gpuKey,
      instanceId: node.name,
      modelPath: 'm.gguf',
      threads: null,
      gpuLayers: null,
      heartbeatMs: 30_000,
      redial: { msMin: 2000, msMax: 60_000 },
      jobMsMax: 300_000,
      openEngine: (options, { onState }) => {
        this.engine = new SimEngine(node, { ...info, slots: options.slots }, this.pace, onState, tooMany, wrong);
        return this.engine;
      },
      dial,
      clock: { now: () => node.now(), after: (ms, run) => node.after(ms, run) },
      random: () => random.next(),
      diagnostics: diagnostics(node.name),
    });
    this.#program = worker;
    this.#stopping = false;
    void worker.ended.then(({ message }) => this.#stopping || endedByItself(this, message));
    worker.start();
  }

  /** Tells it to leave. False: it is an old one, which does not know how, or it has been told. */
  stop(over: () => void): boolean {
    const { node } = this;
    const program = this.#program;
    if (node.dead || program === null || this.#stopping) return false;
    this.#stopping = true;
    this.parts.clock.after(0, node, () => void program.stop().then(over));
    return true;
  }

  kill(): boolean {
    if (this.node.dead) return false;
    this.node.die();
    this.engine = null;
    this.#program = null;
    return true;
  }
}
