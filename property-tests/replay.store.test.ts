/** The replay command as people run it, on a Redis server that others use: what it sends there, and how it ends. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { JobLog } from '../actors/log/job-log.ts';
import { openStore } from '../actors/log/redis.ts';
import { readLogFile } from '../actors/replay/log-file.ts';
import { stepsOf } from '../actors/replay/replay.ts';
import { programArgs } from './processes.ts';
import { type RedisServer, startRedis } from './redis-server.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const goldenPath = fileURLToPath(new URL('../actors/replay/golden/0.1.0-adopted.log.jsonl', import.meta.url));
const golden = await readLogFile(goldenPath);
const { jobId } = golden;
const goldenBytes = [...stepsOf(golden.entries())].map(({ caller }) => caller.bytes).join('');
const before = [...golden.entries()];
const end = before.splice(-1);
/** Its last piece of text. */
const piece = before.at(-1)?.events.slice(-1) ?? [];

/** Commands that change nothing on a server; the first four are how a connection begins. */
const harmless = ['info', 'ping', 'client', 'select', 'xrange', 'xrevrange', 'exists', 'scan'];
const runMs = 20_000;
const run = promisify(execFile);

const redis = await startRedis();

test('on Redis, a replay gives the bytes of the job and sends only commands that read', async () => {
  if (redis === null) return;
  await fill(redis, jobId);
  const watcher = new Redis(redis.url);
  const monitor = await watcher.monitor();
  const sent: string[] = [];
  monitor.on('monitor', (_at, words: string[]) => sent.push((words[0] ?? '').toLowerCase()));
  try {
    assert.is((await replay(redis, jobId, '--bytes')).stdout, goldenBytes);
    assert.match((await replay(redis, jobId.slice(0, 14))).stdout, /^completed after 2700 ms: 9 events/m);
    assert.match((await replay(redis)).stdout, new RegExp(`^${jobId} +completed `, 'm'));
    const unknown = await replay(redis, 'nothing').catch(error => error);
    assert.is(unknown.code, 1);
    assert.match(unknown.stderr, /there is no job "nothing" in Redis at redis:\/\/127\.0\.0\.1:\d+/);
    await watcher.ping(); // and so all before it has been told
  } finally {
    monitor.disconnect();
    watcher.disconnect();
  }
  assert.ok(sent.includes('xrange'), `the monitor saw ${sent.length} commands`);
  assert.equal(
    [...new Set(sent)].filter(name => !harmless.includes(name)),
    [],
  );
});

test('a reader that stops listening ends the command without a word', async () => {
  if (redis === null) return;
  await fill(redis, 'chatcmpl-long', 2000);
  const script = `"${process.execPath}" --import tsx bin/router.ts replay chatcmpl-long --json | head -c 10`;
  const env = { ...process.env, AUXOT_REDIS_URL: redis.url };
  const { stdout, stderr } = await run('sh', ['-c', script], { cwd: root, timeout: runMs, env });
  assert.equal([stdout, stderr], ['{"position', '']);
});

test.after(() => redis?.stop());

/** The golden log under an id, with as many pieces of text more as are wanted before its end. */
async function fill({ url }: RedisServer, id: string, pieces = 0): Promise<void> {
  const store = await openStore({ redisUrl: url, dataDir: null });
  const log = new JobLog(store);
  const more = Array.from({ length: pieces }, () => ({ epoch: 2, events: piece }));
  let next = { epoch: 1, sequence: 1 };
  for (const { epoch, events } of [...before, ...more, ...end]) {
    const sequence = epoch === next.epoch ? next.sequence : 1;
    const text = JSON.stringify(events).replaceAll(golden.jobId, id);
    const append = { jobId: id, epoch, sequence, count: events.length, events: text };
    const creates = epoch + sequence === 2 ? { creates: true } : {};
    const ends = events.at(-1)?.type === 'job.completed' ? { ends: true } : {};
    const [result] = await log.append([{ ...append, ...creates, ...ends }]);
    assert.is(result?.kind, 'ok');
    next = { epoch, sequence: sequence + events.length };
  }
  await log.close();
  await store.quit();
}

const replay = ({ url }: RedisServer, ...args: string[]) =>
  run(process.execPath, [...programArgs('router'), 'replay', ...args], {
    cwd: root,
    timeout: runMs,
    env: { ...process.env, AUXOT_REDIS_URL: url },
  });

test.run();
