/** A copy of the program in which bugs are tried, and the suites that are asked there. */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Mutation, patched } from './mutation.ts';

/** What a suite says of the copy: `found` when it failed, with its first words on that. */
export interface Verdict {
  readonly found: boolean;
  readonly told: string;
  /** Tests that failed, by name. */
  readonly failed: readonly string[];
  readonly seconds: number;
}

export interface ScratchOptions {
  readonly simulationSeconds: number;
}

/** What is run there needs these; `node_modules` is shared. */
const copied = ['actors', 'bin', 'machines', 'property-tests', 'protocol', 'registry', 'docs', 'scripts'];
const files = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'biome.json', 'README.md'];
/** As `npm test` gives a file, and the simulation beyond its own time. */
const testMsMax = 180_000;
const simulationExtraMs = 90_000;
const outputCharsMax = 1_000_000;
/** A patch that makes no program is no bug that a test has found. */
const noProgram = /SyntaxError|TransformError|Transform failed|ReferenceError: \w+ is not defined/;

export class Scratch {
  readonly #folder: string;
  readonly #options: ScratchOptions;
  #child: ChildProcess | null = null;
  /** The file that is broken now, as it was. */
  #whole: { readonly path: string; readonly text: string } | null = null;

  constructor(root: string, options: ScratchOptions) {
    this.#options = options;
    this.#folder = fs.mkdtempSync(join(tmpdir(), 'auxot-mutations-'));
    for (const name of [...copied, ...files].filter(each => fs.existsSync(join(root, each))))
      fs.cpSync(join(root, name), join(this.#folder, name), { recursive: true });
    fs.symlinkSync(fs.realpathSync(join(root, 'node_modules')), join(this.#folder, 'node_modules'));
  }

  /** The copy has this bug and no other. */
  break(mutation: Mutation): void {
    const path = join(this.#folder, mutation.file);
    const text = patched(this.#folder, mutation);
    this.#whole = { path, text: fs.readFileSync(path, 'utf8') };
    fs.writeFileSync(path, text);
  }

  mend(): void {
    if (this.#whole !== null) fs.writeFileSync(this.#whole.path, this.#whole.text);
    this.#whole = null;
  }

  /** @throws when what was broken is not the behaviour but the program. */
  async ask(suite: string): Promise<Verdict> {
    const simulates = suite === 'simulation';
    const { simulationSeconds } = this.#options;
    const argv = simulates
      ? ['property-tests/simulation/simulate.ts', '--from', '1', '--seconds', simulationSeconds, '--shrink-seconds', 0]
      : [suite];
    const startedAt = Date.now();
    const limitMs = simulates ? simulationSeconds * 1000 + simulationExtraMs : testMsMax;
    const { code, output, late } = await this.#run(argv.map(String), limitMs);
    const seconds = (Date.now() - startedAt) / 1000;
    if (noProgram.test(output)) throw new Error(`the patch makes no program:\n${output.slice(-2000)}`);
    if (late) return { found: true, told: `${suite} did not end in ${limitMs / 1000} s`, failed: [suite], seconds };
    const failed = [...output.matchAll(/^ *FAIL +(".*")/gm)].map(([, name = '']) => name);
    return { found: code !== 0, told: code === 0 ? '' : firstWords(output), failed, seconds };
  }

  close(): void {
    this.#end();
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  #run(argv: readonly string[], limitMs: number): Promise<{ code: number; output: string; late: boolean }> {
    const child = spawn(process.execPath, ['--import', 'tsx', ...argv], {
      cwd: this.#folder,
      env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child = child;
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-outputCharsMax);
      });
    let late = false;
    const limit = setTimeout(() => {
      late = true;
      this.#end();
    }, limitMs);
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      // Not `close`: what it started and left behind may hold its output open.
      child.once('exit', code => {
        clearTimeout(limit);
        setTimeout(() => {
          this.#end();
          resolve({ code: code ?? 128, output, late });
        }, 50);
      });
    });
  }

  /** With all that it started. */
  #end(): void {
    const { pid } = this.#child ?? {};
    this.#child = null;
    try {
      if (pid !== undefined) process.kill(-pid, 'SIGKILL');
    } catch {
      // They are gone already, as they should be.
    }
  }
}

/** The line that says what went wrong: of the simulation its finding, of a test file the first test that failed. */
function firstWords(output: string): string {
  const lines = output.split('\n').map(line => line.trim());
  const line = lines.find(each => /^(?:seed \d+ .*\): |FAIL )/.test(each)) ?? lines.find(each => /Error/.test(each));
  return (line ?? lines.findLast(each => each !== '') ?? '').slice(0, 300);
}
