/**
 * Tool rounds among killed programs: a router with the embedded store, a tools worker with a shell tool that appends a line
 * to a file, and two GPU workers, each killed by SIGKILL at random while callers wait.
 *
 * What must be: no line twice; where the tools worker was not killed while a job ran, a line for each of its calls, and
 * its model was told each result; where it was, nobody is told a result without a line.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { hashKey } from '../../actors/keys/keys.ts';
import { apiKey, freePort, type Program, runProgram, runScript, waitUntil } from '../processes.ts';
import { type Random, seededRandom } from '../simulation/random.ts';
import { ChaosRouter, Restarted } from './programs.ts';

export interface ToolsChaosOptions {
  readonly seed: number;
  readonly ms: number;
  readonly callers: number;
  /** From a sign that calls run to the next kill, at most. */
  readonly everyMs: number;
  readonly stop: AbortSignal;
}

export interface ToolsOutcome {
  readonly kills: Readonly<Record<string, number>>;
  /** Requests, by how they ended. */
  readonly ended: Readonly<Record<string, number>>;
  /** Lines that the tool wrote. */
  readonly ran: number;
  /** What models were told of their calls. */
  readonly told: Readonly<Record<string, number>>;
  /** Requests whose tools worker lived all the time, and who got all of their results. */
  readonly whole: number;
  readonly found: readonly string[];
  readonly evidence: string | null;
}

const toolsKey = `tls_${'T'.repeat(43)}`;
const toolsModel = fileURLToPath(new URL('./tools-model.process.ts', import.meta.url));
const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
const answerMsMax = 60_000;
/** Nothing has run for so long: something is killed all the same. */
const idleMsMax = 12_000;

class ToolsProgram extends Restarted {
  readonly killedAt: number[] = [];
  readonly #url: string;
  readonly #cwd: string;

  constructor(url: string, cwd: string, found: (what: string) => void) {
    super('tools worker', found);
    this.#url = url;
    this.#cwd = cwd;
  }

  protected async run(): Promise<Program> {
    const env = { AUXOT_TOOLS_KEY: toolsKey, AUXOT_RECONNECT_DELAY: '200ms' };
    return runProgram('tools', ['--router-url', this.#url], env, this.#cwd);
  }

  override async kill(): Promise<void> {
    this.killedAt.push(Date.now());
    await super.kill();
  }
}

class ModelProgram extends Restarted {
  readonly #url: string;
  readonly #cwd: string;

  constructor(name: string, url: string, cwd: string, found: (what: string) => void) {
    super(name, found);
    this.#url = url;
    this.#cwd = cwd;
  }

  protected async run(): Promise<Program> {
    return runScript(toolsModel, [this.#url], {}, this.#cwd);
  }
}

export async function runToolsChaos({ seed, ms, callers, everyMs, stop }: ToolsChaosOptions): Promise<ToolsOutcome> {
  const random = seededRandom(seed);
  const found: string[] = [];
  const note = (what: string): void => void (stop.aborted || found.push(`${new Date().toISOString()} ${what}`));
  const [kills, ended, told]: Record<string, number>[] = [{}, {}, {}];
  const count = (sums: Record<string, number> = {}, name: string): void => {
    sums[name] = (sums[name] ?? 0) + 1;
  };
  const folder = mkdtempSync(join(tmpdir(), 'auxot-chaos-tools-'));
  const lines = join(folder, 'lines');
  writeFileSync(lines, '');
  writeTool(folder, lines);
  const port = await freePort();
  const [http, ws] = [`http://127.0.0.1:${port}`, `ws://127.0.0.1:${port}/ws`];
  const routerEnv = {
    AUXOT_TOOLS_KEY_HASH: await hashKey(toolsKey),
    AUXOT_ALLOWED_TOOLS: 'note',
    AUXOT_REDIAL_GRACE: '10s',
    AUXOT_JOB_TIMEOUT: '50s',
  };
  const router = new ChaosRouter('router', port, null, join(folder, 'data'), routerEnv, note);
  mkdirSync(join(folder, 'data'));
  const tools = new ToolsProgram(ws, folder, note);
  const models = ['model 1', 'model 2'].map(name => new ModelProgram(name, ws, folder, note));
  const programs = [router, tools, ...models];
  let whole = 0;
  let over = false;

  const ready = async (): Promise<boolean> => {
    const { tools: list = [] } = await get(`${http}/api/tools/v1/tools`);
    const { workers = 0 } = await get(`${http}/health`);
    return list.length > 0 && workers > 0;
  };

  const ask = async (id: string, rounds: number): Promise<void> => {
    const askedAt = Date.now();
    const body = JSON.stringify({ model: 'm', background: true, input: `${id} ${rounds}` });
    let asked: Answer = {};
    while (asked.id === undefined) {
      // Nobody knows whether a request that was cut off is a job now, so it is another one from here on.
      if (over || stop.aborted) return;
      const answer = await fetch(`${http}/v1/responses`, { method: 'POST', headers, body }).catch(() => null);
      if (answer === null) return void (await sleep(200));
      asked = (await answer.json().catch(() => ({}))) as Answer; // our own router's words
      if (asked.id !== undefined) break;
      count(ended, `refused ${answer.status}`);
      await sleep(300);
      return;
    }
    let answer: Answer = {};
    while (!['completed', 'failed', 'cancelled', 'incomplete'].includes(answer.status ?? '')) {
      if (Date.now() - askedAt > answerMsMax)
        return note(`${id} (${asked.id}) has no end after ${answerMsMax} ms: ${JSON.stringify(answer)}`);
      if (stop.aborted) return;
      await sleep(100);
      answer = await get(`${http}/v1/responses/${asked.id}`);
    }
    const untouched = !tools.killedAt.some(at => at >= askedAt - 1000);
    const text = (answer.output ?? []).flatMap(({ content = [] }) => content.map(part => part.text)).join('');
    count(ended, answer.status === 'completed' ? 'completed' : `${answer.status} ${answer.error?.code}`);
    if (answer.status !== 'completed') return;
    const words = text
      .slice(text.indexOf(`${id}:`) + id.length + 1)
      .trim()
      .split(' ');
    if (words.includes('untold')) return; // no tools worker was there when it was asked
    for (const word of words) count(told, word);
    if (words.length !== 2 * rounds) note(`${id} (${asked.id}) says ${JSON.stringify(text)}`);
    const expected = Array.from({ length: rounds }, (_, n) => `Round ${n}. \n\n`).join('');
    if (!text.startsWith(`${expected}${id}:`)) note(`${id} (${asked.id}) says ${JSON.stringify(text)}`);
    const keys = words.map((_, n) => `${id}.${Math.floor(n / 2)}.${n % 2}`);
    const ran = countsIn(lines);
    for (const [n, word] of words.entries()) {
      const times = ran.get(keys[n] ?? '') ?? 0;
      if (word === 'ok' && times !== 1) note(`${keys[n]} of ${asked.id} has a result and ran ${times} times`);
      if (word !== 'ok' && word !== 'outcome_unknown' && word !== 'unknown_tool' && word !== 'timeout')
        note(`the model is told ${word} of ${keys[n]} of ${asked.id}`);
      if (untouched && word !== 'ok') note(`${keys[n]} of ${asked.id}: the tools worker lived, and it is ${word}`);
    }
    if (untouched && words.every(word => word === 'ok')) whole += 1;
  };

  /** Each time when something runs again: on a slow machine nothing would get done otherwise. */
  const breakThings = async (): Promise<void> => {
    const until = Date.now() + ms;
    for (const target of turns(random, router, tools, models)) {
      if (Date.now() > until || stop.aborted) return;
      const before = countsIn(lines).size;
      const goOnAt = Date.now() + idleMsMax;
      while (Date.now() < goOnAt && !(countsIn(lines).size > before && (await ready()))) await sleep(50);
      await sleep(everyMs * random.next());
      count(kills, target.name.replace(/ \d$/, ''));
      await target.kill();
      await target.start();
    }
  };

  try {
    await Promise.all(programs.map(program => program.start()));
    await waitUntil(ready, 60_000, () => `nothing began:\n${programs.map(each => each.output()).join('\n')}`);
    let asked = 0;
    const asking = Array.from({ length: callers }, async () => {
      while (!over && !stop.aborted) {
        asked += 1;
        await ask(`q${seed}-${asked}`, 1 + random.below(2));
      }
    });
    const breaking = breakThings().finally(() => {
      over = true;
    });
    await Promise.all([breaking, ...asking]);
    await sleep(1500); // a tool that was begun for a job that is gone may still write
    for (const [key, times] of countsIn(lines)) if (times > 1) note(`${key} ran ${times} times`);
  } catch (error) {
    note(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    await Promise.all(programs.map(program => program.finish()));
  }
  const ran = [...countsIn(lines).values()].reduce((sum, times) => sum + times, 0);
  for (const program of programs) writeFileSync(join(folder, `${program.name}.log`), program.output());
  if (found.length === 0) rmSync(folder, { recursive: true, force: true });
  else writeFileSync(join(folder, 'found.txt'), `${found.join('\n')}\n`);
  return {
    kills: kills ?? {},
    ended: ended ?? {},
    told: told ?? {},
    ran,
    whole,
    found,
    evidence: found.length === 0 ? null : folder,
  };
}

/** What is looked at of our own router's answers. */
interface Answer {
  readonly id?: string;
  readonly status?: string;
  readonly error?: { readonly code: string } | null;
  readonly output?: readonly { readonly content?: readonly { readonly text: string }[] }[];
  readonly tools?: readonly unknown[];
  readonly workers?: number;
}

async function get(url: string): Promise<Answer> {
  try {
    const answer = await fetch(url, { headers, signal: AbortSignal.timeout(5000) });
    return answer.ok ? ((await answer.json()) as Answer) : {};
  } catch {
    return {}; // it is being killed, or starts
  }
}

/** Everybody's turn comes; the tools worker's seldom, so that most jobs can show that each of their calls ran once. */
function* turns(
  random: Random,
  router: Restarted,
  tools: Restarted,
  models: readonly Restarted[],
): Iterable<Restarted> {
  for (;;) {
    const left = [router, ...models, tools, router];
    while (left.length > 0) yield* left.splice(random.below(left.length), 1);
  }
}

export function toolsTold({ kills, ended, told, ran, whole, found, evidence }: ToolsOutcome): string[] {
  const row = (name: string, sums: Readonly<Record<string, number>>): string => {
    const words = Object.entries(sums).map(([word, times]) => `${word} ${times}`);
    return `${name.padEnd(11)}${words.sort().join(', ')}`;
  };
  return [
    row('killed', kills),
    row('requests', ended),
    row('told', told),
    `calls      ${ran} ran; ${whole} requests whose tools worker lived got all of their results`,
    ...found.map(what => `found: ${what}`),
    ...(evidence === null ? [] : [`what the programs said is in ${evidence}`]),
  ];
}

/** The side effect comes first, and the answer some time after it. */
function writeTool(folder: string, lines: string): void {
  mkdirSync(join(folder, 'tools'));
  const path = join(folder, 'tools', 'note.sh');
  const script = [
    '#!/bin/sh',
    'read -r json',
    `key=$(printf '%s' "$json" | sed 's/.*"key":"\\([^"]*\\)".*/\\1/')`,
    `printf '%s\\n' "$key" >> '${lines}'`,
    'sleep "0.$(( $$ % 9 ))"',
    'printf \'"noted %s"\' "$key"',
  ];
  writeFileSync(path, `${script.join('\n')}\n`);
  chmodSync(path, 0o755);
  const parameters = { type: 'object', properties: { key: { type: 'string' } } };
  const about = { name: 'note', description: 'writes a line', parameters };
  writeFileSync(join(folder, 'tools', 'note.tool.json'), JSON.stringify(about));
}

function countsIn(file: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const key of readFileSync(file, 'utf8').split('\n')) if (key !== '') counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}
