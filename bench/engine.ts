/**
 * What the way from an engine to a caller costs: answers of one model, through a bare loop (bare-engine.ts), through our
 * engine alone, and through the whole system (engine, worker, router, caller), by turns in one run.
 *
 *   node --import tsx bench/engine.ts [--model FILE | --made] [--jobs 1,4,8] [--rounds N] [--answers N] [--threads N] [--tokens N]
 *
 * --made: a model of 100 million random weights (made-model.ts) instead of the demo model, which is a hundred times as quick.
 * Every side does the same work: as many jobs at once, each as many answers one after another, greedy, the same prompt.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { llamaEngine } from '../actors/engine/engine.llama.ts';
import { demoModel } from '../registry/load.ts';
import type { BareRound } from './bare-engine.ts';
import { forkProgram, runCommand } from './child.ts';
import { makeModel } from './made-model.ts';
import { cpuMsOf } from './process-usage.ts';
import { hardwareLine } from './report.ts';
import { startRouter } from './router.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: demoModel().path },
    made: { type: 'boolean', default: false },
    jobs: { type: 'string', default: '1,4,8' },
    rounds: { type: 'string', default: '7' },
    answers: { type: 'string', default: '8' },
    threads: { type: 'string', default: '1' },
    tokens: { type: 'string', default: '300' },
    ask: { type: 'string', default: 'tell me a story' },
    sides: { type: 'string', default: 'bare,engine,whole' },
  },
});
const folder = mkdtempSync(join(tmpdir(), 'auxot-bench-model-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
if (values.made) {
  values.model = join(folder, 'made.gguf');
  makeModel(values.model, demoModel().path, { width: 768, layers: 14 });
}
const contextSize = 1024;
const [rounds, answers, threads, tokensMax] = [values.rounds, values.answers, values.threads, values.tokens].map(
  Number,
);
const ask = values.ask;

interface Side {
  readonly name: string;
  /** Whose processor time is read, by name. */
  readonly pids: Readonly<Record<string, number>>;
  round(): Promise<BareRound>;
  stop(): Promise<void>;
}

async function timed(jobs: number, answer: () => Promise<number>): Promise<BareRound> {
  const startedAt = performance.now();
  const said = await Promise.all(
    Array.from({ length: jobs }, async () => {
      let sum = 0;
      for (let n = 0; n < (answers ?? 1); n += 1) sum += await answer();
      return sum;
    }),
  );
  return { ms: performance.now() - startedAt, tokens: said.reduce((a, b) => a + b, 0) };
}

async function bare(jobs: number): Promise<Side> {
  const child = forkProgram('bare-engine.ts');
  const next = <T>(pick: (report: { kind?: string; round?: T }) => T | undefined) =>
    child.next(120_000, report => pick(report as { kind?: string; round?: T }));
  const prompt = `<|im_start|>user\n${ask}<|im_end|>\n<|im_start|>assistant\n`;
  child.send({ modelPath: values.model, contextSize, threads, jobs, answers, prompt, tokensMax });
  await next(({ kind }) => (kind === 'ready' ? true : undefined) as true | undefined);
  return {
    name: 'bare loop',
    pids: { engine: child.pid },
    async round() {
      child.send('round');
      return next<BareRound>(({ round }) => round);
    },
    stop: () => child.stop(),
  };
}

async function engineAlone(jobs: number): Promise<Side> {
  const quiet = { onState: () => undefined, onLoading: () => undefined, onTrouble: console.error };
  const engine = llamaEngine({
    modelPath: values.model,
    contextSize,
    slots: jobs,
    threads: threads ?? 1,
    gpuLayers: null,
    ...quiet,
  });
  await engine.load();
  const hooks = { onPiece: () => undefined, onProgress: () => undefined, onToolCall: () => undefined };
  const job = { messages: [{ role: 'user', content: ask }], temperature: 0, maxTokens: tokensMax };
  return {
    name: 'engine alone',
    pids: { engine: engine.pid ?? 0, caller: process.pid },
    round: () =>
      timed(jobs, async () => {
        const { usage } = await engine.generate(job, { signal: new AbortController().signal, ...hooks });
        return usage.output;
      }),
    stop: () => engine.close(),
  };
}

async function whole(jobs: number): Promise<Side> {
  const router = await startRouter(undefined, {
    AUXOT_CTX_SIZE: String(contextSize),
    AUXOT_MAX_PARALLEL: String(jobs),
  });
  const program = join(fileURLToPath(new URL('..', import.meta.url)), 'bin/worker.ts');
  const command = [process.execPath, '--import', import.meta.resolve('tsx'), program, '--model-path', values.model];
  const worker = runCommand(
    command,
    {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      AUXOT_GPU_KEY: router.workerKey,
      AUXOT_ROUTER_URL: `${router.url.replace('http', 'ws')}/ws`,
      AUXOT_THREADS: String(threads),
      AUXOT_LOG_LEVEL: 'warn',
    },
    tmpdir(),
  );
  const stop = async (): Promise<void> => {
    await worker.stop();
    await router.stop();
  };
  for (const deadline = performance.now() + startMs; ; await sleep(50)) {
    const health = (await (await fetch(`${router.url}/health`)).json()) as { total_slots?: number };
    if (health.total_slots === jobs) break;
    if (performance.now() < deadline && !worker.ended) continue;
    await stop();
    throw new Error(`the worker is not there: ${worker.said}`);
  }
  const body = JSON.stringify({
    model: 'x',
    messages: [{ role: 'user', content: ask }],
    temperature: 0,
    max_tokens: tokensMax,
    stream: true,
    stream_options: { include_usage: true },
  });
  const headers = { authorization: `Bearer ${router.callerKey}`, 'content-type': 'application/json' };
  return {
    name: 'whole system',
    pids: { engine: childOf(worker.pid), worker: worker.pid, router: router.pid ?? 0, caller: process.pid },
    round: () =>
      timed(jobs, async () => {
        const text = await (await fetch(`${router.url}/v1/chat/completions`, { method: 'POST', headers, body })).text();
        const [, tokens] = /"completion_tokens":(\d+)/.exec(text) ?? [];
        if (tokens === undefined || !text.includes('[DONE]')) throw new Error(`no whole answer: ${text.slice(-300)}`);
        return Number(tokens);
      }),
    stop,
  };
}

const startMs = 60_000;

/** The engine is the worker's only child. */
const childOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;

console.log(
  `${hardwareLine()}\n\n| jobs | side | tokens/s | of the bare loop | processor time, ms for 1,000 tokens |\n|---|---|---|---|---|`,
);
const starts = { bare, engine: engineAlone, whole };
for (const jobs of values.jobs.split(',').map(Number)) {
  const sides: Side[] = [];
  try {
    for (const [name, start] of Object.entries(starts)) if (values.sides.includes(name)) sides.push(await start(jobs));
    const speeds = sides.map((): number[] => []);
    const used = sides.map((): Record<string, number> => ({}));
    let work: number | null = null;
    for (let round = 0; round <= (rounds ?? 1); round += 1) {
      for (const [n, side] of sides.entries()) {
        const before = Object.entries(side.pids).map(([name, pid]) => [name, cpuMsOf(pid)] as const);
        const { ms, tokens } = await side.round();
        const after = new Map(Object.entries(side.pids).map(([name, pid]) => [name, cpuMsOf(pid)]));
        const own = used[n] ?? {};
        for (const [name, ms] of before) if (round > 0) own[name] = (own[name] ?? 0) + ((after.get(name) ?? 0) - ms);
        work ??= tokens;
        // Random weights have tokens that are as likely as each other, and a batch may prefer another one.
        if (tokens !== work && !values.made) throw new Error(`${side.name} said ${tokens} tokens, the others ${work}`);
        if (round > 0) speeds[n]?.push((tokens / ms) * 1000); // the first warms up
      }
    }
    for (const [n, side] of sides.entries()) {
      const own = speeds[n] ?? [];
      const shares = own.map((speed, round) => speed / (speeds[0]?.[round] ?? Number.NaN));
      const costs = Object.entries(used[n] ?? {})
        .map(([name, ms]) => `${name} ${Math.round((ms * 1000) / ((work ?? 1) * own.length))}`)
        .join(', ');
      console.log(
        `| ${jobs} | ${side.name} | ${Math.round(median(own))} | ${n === 0 ? '' : median(shares).toFixed(2)} | ${costs} |`,
      );
    }
  } finally {
    for (const side of sides) await side.stop();
  }
}
console.log(`\n${availableParallelism()} cores, ${threads} of them for the model`);
