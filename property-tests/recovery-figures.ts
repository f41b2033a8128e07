/**
 * How long a router with the embedded store takes to be there again: with open jobs, and behind a gigabyte of finished
 * ones. Prints figures for docs/operations.md and checks nothing:
 *
 *   node --import tsx property-tests/recovery-figures.ts
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbedded } from '../actors/log/embedded-redis.ts';
import { type Append, JobLog } from '../actors/log/job-log.ts';
import { startRouter } from './processes.ts';

const openCount = 10_000;
const finishedBytes = 2 ** 30;
const text = 'word '.repeat(200);

const idOf = (n: number): string => `chatcmpl-${(n % 256).toString(16).padStart(2, '0')}${String(n).padStart(22, '0')}`;

function submitted(n: number): Append {
  const at = Date.now();
  const event = {
    type: 'job.submitted',
    at,
    jobId: idOf(n),
    instance: 'figures',
    boot: 'figures',
    priority: 0,
    deadlineAt: at + 300_000,
    request: { model: 'm', messages: [{ role: 'user', content: text }] },
    answer: { api: 'openai.chat', stream: true, model: 'm' },
  };
  return { jobId: idOf(n), epoch: 1, sequence: 1, count: 1, events: JSON.stringify([event]), creates: true };
}

function said(n: number, pieces: number): Append {
  const at = Date.now();
  const worker = { workerId: '0'.repeat(32), workerInstance: 'w', protocol: 2 };
  const events: object[] = [{ type: 'job.assigned', at, attempt: 1, ...worker }];
  for (let seq = 1; seq <= pieces; seq += 1)
    events.push({ type: 'output.appended', at, attempt: 1, kind: 'text', text, tokens: 1, seq });
  return { jobId: idOf(n), epoch: 1, sequence: 2, count: events.length, events: JSON.stringify(events) };
}

function ended(n: number, pieces: number): Append {
  const { events, count, ...append } = said(n, pieces);
  const usage = { input: 1, cached: 0, output: pieces, reasoning: 0 };
  const end = { type: 'job.completed', at: Date.now(), attempt: 1, finishReason: 'stop', usage };
  return { ...append, count: count + 1, events: `${events.slice(0, -1)},${JSON.stringify(end)}]`, ends: true };
}

async function filled(fill: (log: JobLog) => Promise<void>): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'auxot-recovery-'));
  const store = await openEmbedded({ directory, fsync: 'no', say: () => undefined });
  const log = new JobLog(store);
  await fill(log);
  await log.close();
  await store.quit();
  return directory;
}

async function restarted(what: string, directory: string): Promise<void> {
  const fileMb = Math.round(statSync(join(directory, 'auxot.aof')).size / 2 ** 20);
  const startedAt = performance.now();
  const router = await startRouter({ AUXOT_FSYNC: 'no' }, directory);
  const ms = Math.round(performance.now() - startedAt);
  const recovered = /"recovered":(\d+)/.exec(router.output())?.[1] ?? '?';
  console.log(`${what}: file of ${fileMb} MiB, ${recovered} jobs taken up, serving after ${ms} ms`);
  router.kill('SIGKILL');
  await router.ended;
  rmSync(directory, { recursive: true, force: true });
}

await restarted('nothing', await filled(async () => undefined));

const open = await filled(async log => {
  for (let n = 0; n < openCount; n += 200) {
    const batch = Array.from({ length: 200 }, (_, i) => n + i);
    await log.append(batch.map(submitted));
    await log.append(batch.map(each => said(each, 1)));
  }
});
await restarted(`${openCount} open jobs`, open);

const finished = await filled(async log => {
  for (let n = 0, bytes = 0; bytes < finishedBytes; n += 50) {
    const batch = Array.from({ length: 50 }, (_, i) => n + i);
    await log.append(batch.map(submitted));
    const ends = batch.map(each => ended(each, 50));
    await log.append(ends);
    for (const { events } of ends) bytes += events.length;
    if (n % 500 === 0) await log.sweep(Date.now());
  }
  await log.sweep(Date.now());
});
await restarted(`${finishedBytes / 2 ** 20} MiB of finished jobs behind it`, finished);
