/**
 * The programs that are broken: routers and workers, each started again when it has gone. One that goes without having
 * been made to is remembered as a finding.
 */
import { fileURLToPath } from 'node:url';
import { gpuKey, type Program, runProgram, runScript, startRouter, waitUntil, within } from '../processes.ts';
import type { Link } from './link.ts';

const scriptedWorker = fileURLToPath(new URL('./scripted-worker.process.ts', import.meta.url));

export abstract class Restarted {
  readonly name: string;
  /** Something is being done to it: nothing else is, meanwhile. */
  busy = false;
  /** All that it said before this life. */
  said = '';
  protected program: Program | null = null;
  protected ending = false;
  readonly #found: (what: string) => void;

  constructor(name: string, found: (what: string) => void) {
    this.name = name;
    this.#found = found;
  }

  protected abstract run(): Promise<Program>;

  async start(): Promise<void> {
    if (this.ending) return;
    const program = await this.run();
    this.program = program;
    void program.ended.then(({ status, signal }) => {
      this.said += program.output();
      if (this.program === program && !this.ending) this.#found(`${this.name} ended by itself (${status ?? signal})`);
    });
  }

  async kill(): Promise<void> {
    const { program } = this;
    this.program = null;
    program?.kill('SIGKILL');
    await program?.ended;
  }

  /** Asks it to stop, and waits as long as it may take. */
  async end(msMax: number): Promise<void> {
    const { program } = this;
    if (program === null) return;
    this.program = null;
    program.kill('SIGTERM');
    await this.#leave(program, msMax);
  }

  /** The same, when it has been asked already. */
  async leaves(msMax: number): Promise<void> {
    const { program } = this;
    if (program === null) return;
    this.program = null;
    await this.#leave(program, msMax);
  }

  async #leave(program: Program, msMax: number): Promise<void> {
    try {
      const { status } = await within(msMax, program.ended, `${this.name} does not stop`);
      if (status !== 0) this.#found(`${this.name} was asked to stop, and its status is ${status}`);
    } catch (error) {
      this.#found(String(error));
      program.kill('SIGKILL');
    }
  }

  freeze(): void {
    this.program?.kill('SIGSTOP');
  }

  thaw(): void {
    this.program?.kill('SIGCONT');
  }

  async finish(): Promise<void> {
    this.ending = true;
    await this.kill();
  }

  output(): string {
    return this.said + (this.program?.output() ?? '');
  }
}

export class ChaosRouter extends Restarted {
  readonly port: number;
  /** Between it and its Redis; null with an embedded store. */
  readonly store: Link | null;
  readonly #dataDir: string;
  readonly #env: Record<string, string>;

  constructor(
    name: string,
    port: number,
    store: Link | null,
    dataDir: string,
    env: Record<string, string>,
    found: (what: string) => void,
  ) {
    super(name, found);
    this.port = port;
    this.store = store;
    this.#dataDir = dataDir;
    this.#env = env;
  }

  protected run(): Promise<Program> {
    const redis: Record<string, string> =
      this.store === null ? {} : { AUXOT_REDIS_URL: `redis://127.0.0.1:${this.store.port}` };
    return startRouter({ ...this.#env, ...redis, AUXOT_PORT: String(this.port) }, this.#dataDir);
  }
}

export class ChaosWorker extends Restarted {
  /** One to each router. */
  readonly links: readonly Link[];
  /** Between words; null: the demo model. */
  readonly #wordMs: number | null;
  readonly #cwd: string;

  constructor(name: string, links: readonly Link[], wordMs: number | null, cwd: string, found: (what: string) => void) {
    super(name, found);
    this.links = links;
    this.#wordMs = wordMs;
    this.#cwd = cwd;
  }

  protected async run(): Promise<Program> {
    const urls = this.links.map(({ port }) => `ws://127.0.0.1:${port}/ws`).join(',');
    if (this.#wordMs !== null) return runScript(scriptedWorker, [urls, String(this.#wordMs)], {}, this.#cwd);
    const args = ['--router-url', urls, '--model-path', 'demo'];
    return runProgram('worker', args, { AUXOT_GPU_KEY: gpuKey }, this.#cwd);
  }

  /** Until it says that it is connected. */
  async untilConnected(): Promise<void> {
    await waitUntil(
      () => this.links.some(({ connections }) => connections > 0),
      30_000,
      () => `${this.name} does not connect:\n${this.output()}`,
    );
  }
}
