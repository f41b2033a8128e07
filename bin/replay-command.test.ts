import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Env } from '../actors/config/env.ts';
import { JobLog, type Store } from '../actors/log/job-log.ts';
import { openStore } from '../actors/log/redis.ts';
import { readLogFile } from '../actors/replay/log-file.ts';
import { stepsOf } from '../actors/replay/replay.ts';
import { replayJob } from './replay-command.ts';

const goldenPath = fileURLToPath(new URL('../actors/replay/golden/0.1.0-adopted.log.jsonl', import.meta.url));
const golden = await readLogFile(goldenPath);
const goldenBytes = [...stepsOf(golden.entries())].map(({ caller }) => caller.bytes).join('');

interface Context {
  directory: string;
  dataDir: string;
  store: Store;
  log: JobLog;
}

const command = suite<Context>('replay');
command.before.each(async context => {
  context.directory = mkdtempSync(join(tmpdir(), 'auxot-replay-'));
  context.dataDir = join(context.directory, 'data');
  context.store = await openStore({ redisUrl: null, dataDir: context.dataDir });
  context.log = new JobLog(context.store);
});
command.after.each(async ({ directory, store }) => {
  await store.quit();
  rmSync(directory, { recursive: true, force: true });
});

/** Writes the golden log under another id, entry by entry or only so many, as a router does. */
async function write(log: JobLog, jobId: string, count = 99): Promise<void> {
  const entries = [...golden.entries()].slice(0, count);
  for (const { epoch, sequence, events } of entries) {
    const text = JSON.stringify(events).replaceAll(golden.jobId, jobId);
    const append = { jobId, epoch, sequence, count: events.length, events: text };
    const ends = events.at(-1)?.type === 'job.completed';
    const creates = epoch === 1 && sequence === 1;
    const [result] = await log.append([{ ...append, ...(creates ? { creates } : {}), ...(ends ? { ends } : {}) }]);
    assert.is(result?.kind, 'ok');
  }
  await log.close();
}

async function run(args: readonly string[], { dataDir }: { dataDir: string }, more: Env = {}) {
  const texts = { out: '', err: '' };
  const sink = (name: 'out' | 'err') => ({
    write: (text: string) => {
      texts[name] += text;
    },
  });
  const code = await replayJob(args, { AUXOT_DATA_DIR: dataDir, ...more }, { out: sink('out'), err: sink('err') });
  return { code, ...texts };
}

/** Everything about the files of a folder that a reader could change. */
function fingerprint(directory: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(directory).sort()) {
    const path = join(directory, name);
    const { ino, mtimeMs, size, mode } = statSync(path);
    hash.update(JSON.stringify([name, ino, mtimeMs, size, mode])).update(readFileSync(path));
  }
  return hash.digest('hex');
}

const jobA = 'chatcmpl-0aAAAAAAAAAAAAAAAAAAAAAA';
const jobB = 'chatcmpl-0bBBBBBBBBBBBBBBBBBBBBBB';

command('a job is replayed beside the router that has the store, whose files stay as they are', async context => {
  await write(context.log, jobA);
  await write(context.log, jobB, 3);
  const before = fingerprint(context.dataDir);
  const bytes = goldenBytes.replaceAll(golden.jobId, jobA);

  assert.equal(await run([jobA, '--bytes'], context), { code: 0, out: bytes, err: '' });
  const text = await run([jobA], context);
  assert.equal([text.code, text.err], [0, '']);
  assert.match(text.out, /^job chatcmpl-0aA+: openai\.chat, streamed, model demo/);
  assert.match(text.out, /^2-6\.0 +\+49 ms {2}job\.completed +generating → completed {3}\(answer: open → ended\)$/m);
  assert.match(text.out, /^completed after 2700 ms: 9 events, 2 attempts, 6 tokens, 1,690 bytes to the caller\n$/m);
  const unfinished = await run([jobB], context);
  assert.match(
    unfinished.out,
    /\nqueued after 900 ms: 3 events, 1 attempt, [^\n]*\nstill owed: armDeadline [^\n]*\nstill owed: requestWorker/,
  );
  assert.is((await run([], context)).code, 0);

  assert.is(fingerprint(context.dataDir), before);
  assert.ok(existsSync(context.dataDir));
  await write(context.log, 'chatcmpl-0cCCCCCCCCCCCCCCCCCCCCCC');
});

command('--json is one object a line, with nothing cut', async context => {
  await write(context.log, jobA);
  const { code, out } = await run([jobA, '--json'], context, { COLUMNS: '40' });
  const steps = out
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
  assert.is(code, 0);
  assert.equal(steps.map(({ position, before, after }) => [position, before?.state ?? null, after.state]).slice(0, 3), [
    ['1-1.0', null, 'queued'],
    ['1-2.0', 'queued', 'dispatched'],
    ['1-3.0', 'dispatched', 'queued'],
  ]);
  assert.is(steps.map(({ caller }) => caller.bytes).join(''), goldenBytes.replaceAll(golden.jobId, jobA));
});

command('lines are cut to the width of the terminal, and not with --full', async context => {
  await write(context.log, jobA);
  const narrow = await run([jobA], context, { COLUMNS: '60' });
  assert.ok(narrow.out.split('\n').every(line => line.length <= 60));
  assert.match(narrow.out, /…$/m);
  const full = await run([jobA, '--full'], context, { COLUMNS: '60' });
  assert.not.match(full.out, /…$/m);
  const bytes = full.out.split('\n').flatMap(line => /^ {4}caller {2}\|(?: (.*))?$/.exec(line)?.slice(1) ?? []);
  assert.is(bytes.map(line => `${line ?? ''}\n`).join(''), goldenBytes.replaceAll(golden.jobId, jobA));
});

command('--until stops behind a number of events, or behind a position', async context => {
  await write(context.log, jobA);
  for (const [until, last] of [
    ['1', '1-1.0'],
    ['4', '2-1.0'],
    ['2-4.0', '2-4.0'],
    ['2-3.1', '2-4.0'],
    ['999', '2-6.0'],
  ] as const) {
    const { code, out } = await run([jobA, '--json', '--until', until], context);
    assert.is(code, 0);
    assert.is(JSON.parse(out.trimEnd().split('\n').at(-1) ?? '').position, last);
  }
  const bad = await run([jobA, '--until', '0'], context);
  assert.equal([bad.code, bad.out], [2, '']);
  assert.match(bad.err, /--until "0" is neither a count nor a position: write .* 1-17\.0/);
});

command('the beginning of an id is enough, when only one job begins so', async context => {
  await write(context.log, jobA);
  await write(context.log, jobB, 2);
  for (const word of ['chatcmpl-0a', '0a', jobA]) {
    assert.match((await run([word], context)).out, new RegExp(`^job ${jobA}:`), word);
  }
  const both = await run(['0'], context);
  assert.equal([both.code, both.out], [1, '']);
  assert.is(both.err, `auxot-router replay: 2 jobs begin with 0:\n  ${jobB}\n  ${jobA}\n`);
});

command(
  'an unknown job is an error that names the store, the retention, and what may have been meant',
  async context => {
    await write(context.log, jobA);
    const { code, out, err } = await run(['chatcmpl-1zzz'], context, { AUXOT_LOG_RETENTION: '2h' });
    assert.equal([code, out], [1, '']);
    assert.ok(err.includes(`there is no job "chatcmpl-1zzz" in the embedded store in ${context.dataDir}.`), err);
    assert.match(
      err,
      /kept for 2h after the end of a job \(AUXOT_LOG_RETENTION\).*"auxot-router replay" lists the newest\.\n$/,
    );
    const slip = await run([jobA.replace('0aA', '0Aa')], context);
    assert.match(slip.err, new RegExp(`Did you mean ${jobA}\\?\n$`));
  },
);

command('without a job, the newest are listed with state and age', async context => {
  assert.is((await run([], context)).out, `There are no jobs in the embedded store in ${context.dataDir}.\n`);
  for (let n = 10; n < 32; n += 1) await write(context.log, `chatcmpl-${n}`);
  await write(context.log, 'chatcmpl-open', 5);
  const { code, out } = await run([], context);
  const [head, ...rows] = out.trimEnd().split('\n');
  assert.is(code, 0);
  assert.match(head ?? '', /^JOB +STATE +AGE +EVENTS +TOKENS +MODEL$/);
  assert.is(rows.length, 20);
  assert.match(rows.join('\n'), /^chatcmpl-open +dispatched +[\dhms]+ +5 +0 +demo$/m);
  assert.match(rows.join('\n'), /^chatcmpl-31 +completed +[\dhms]+ +9 +6 +demo$/m);
  assert.not.match(out, /^chatcmpl-1[012] /m);
  const json = (await run(['--json'], context)).out
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
  assert.is(json.length, 20);
  assert.equal(Object.keys(json[0]), ['jobId', 'state', 'ageMs', 'events', 'tokens', 'model']);
});

command(
  'an exported log is replayed from its file, byte for byte; it is private, and nothing is written over',
  async context => {
    await write(context.log, jobA);
    const path = join(context.directory, 'a.jsonl');
    const { code, out, err } = await run([jobA, '--export', path], context);
    assert.equal([code, out, err], [0, '', `9 events of job ${jobA} are in ${path}\n`]);
    assert.is(statSync(path).mode & 0o777, 0o600);
    const elsewhere = { dataDir: join(context.directory, 'nowhere') };
    assert.is((await run(['--file', path, '--bytes'], elsewhere)).out, goldenBytes.replaceAll(golden.jobId, jobA));
    assert.equal(await run(['--file', path, '--json'], elsewhere), await run([jobA, '--json'], context));
    const again = await run([jobA, '--export', path], context);
    assert.equal([again.code, again.out], [1, '']);
    assert.match(again.err, /a\.jsonl exists already; move it away first/);
    assert.match((await run(['0b', '--file', path], elsewhere)).err, /holds the log of job chatcmpl-0aA+, not of 0b/);
  },
);

command('a damaged log is told up to the damage; then comes the error', async context => {
  await write(context.log, jobA, 3);
  await context.store.xadd(`auxot:{${jobA}}:log`, '1-4', 'v', '1', 'e', '[{"type":"job.sold","at":1}]');
  const stored = await run([jobA, '--json'], context);
  assert.is(stored.code, 1);
  assert.is(stored.out.trimEnd().split('\n').length, 3);
  assert.match(stored.err, new RegExp(`The log of job ${jobA} is corrupt at 1-4\\.0: event \\$\\[0\\]`));
  assert.match((await run([], context)).out, new RegExp(`^${jobA} +corrupt `, 'm'));

  const lines = readFileSync(goldenPath, 'utf8').split('\n');
  const path = join(context.directory, 'torn.jsonl');
  for (const [content, steps, problem] of [
    [`${lines.slice(0, 4).join('\n')}\n${lines[4]?.slice(0, 50)}`, 3, /torn\.jsonl, line 5: the line is cut off/],
    [`${lines.slice(0, 3).join('\n')}\nrubbish\n${lines[4]}\n`, 2, /line 4: this is no JSON/],
    [`${lines.slice(0, 3).join('\n')}\n{"epoch":1}\n`, 2, /line 4: \$\.sequence is required/],
    [
      [lines[0], lines[1], lines[3]].join('\n'),
      1,
      /cannot be replayed at 1-3\.0: the events from 1-2\.0 up to it are missing/,
    ],
    [`${lines[0]}\n`, 0, /the log of job chatcmpl-\w+ is empty/],
    ['%PDF-1.7\n', 0, /line 1: this is no exported log: the first line must be \{"auxotLog":1/],
    ['', 0, /line 1: this is no exported log/],
    ['{"auxotLog":2,"jobId":"a"}\n', 0, /line 1: its format is 2, and this program reads 1/],
    [lines.join('\n').replace(golden.jobId, 'chatcmpl-other'), 0, /at 1-1\.0: it is the log of job chatcmpl-7fQ2/],
  ] as const) {
    writeFileSync(path, content);
    const { code, out, err } = await run(['--file', path, '--json'], context);
    assert.is(code, 1, String(problem));
    assert.is(out.split('\n').length - 1, steps, String(problem));
    assert.match(err, problem);
    assert.not.match(err, /\n\s+at /);
  }
  assert.match(
    (await run(['--file', join(context.directory, 'none')], context)).err,
    /^auxot-router replay: There is no file \S+none\.\n$/,
  );
});

command('what a model said cannot steer the terminal', async context => {
  const events = [
    {
      type: 'output.appended',
      at: 1_764_000_000_005,
      attempt: 1,
      kind: 'text',
      text: '\u001b[2J\u009b31m\u202e',
      tokens: 1,
    },
  ];
  await write(context.log, jobA, 2);
  const append = { jobId: jobA, epoch: 1, sequence: 3, count: 1, events: JSON.stringify(events) };
  assert.equal(await context.log.append([append]), [{ kind: 'ok' }]);
  for (const flags of [[], ['--full']]) {
    const { out } = await run([jobA, ...flags], context);
    assert.match(out, /\\u001b\[2J\\u009b31m\\u202e/);
    assert.not.match(out.replaceAll('\n', ''), /[\u0000-\u001f\u007f-\u009f\u202e]/);
  }
});

command('a store that is not there is not made', async ({ directory }) => {
  const dataDir = join(directory, 'nowhere');
  const { code, err } = await run(['x'], { dataDir });
  assert.is(code, 1);
  assert.ok(err.includes(`there is no store in ${dataDir}`), err);
  assert.match(err, /AUXOT_DATA_DIR/);
  assert.not(existsSync(dataDir));
  assert.match(
    (await run([], { dataDir: ':memory:' })).err,
    /AUXOT_DATA_DIR=:memory: keeps nothing that another program can read/,
  );
});

command('misuse is told with exit status 2', async context => {
  for (const [args, problem] of [
    [['--jsn'], /unknown flag "--jsn"\. Did you mean --json\?/],
    [['a', 'b'], /unexpected argument "b"/],
    [['--bytes'], /--bytes needs a JOB/],
    [['a', '--json', '--bytes'], /give --json or --bytes, not both/],
    [['a', '--export', 'x', '--file', 'y'], /--export writes the whole log of a store; it does not go with --file/],
  ] as const) {
    const { code, out, err } = await run(args, context);
    assert.equal([code, out], [2, '']);
    assert.match(err, problem);
  }
  const help = await run(['--help'], context);
  assert.equal([help.code, help.err], [0, '']);
  assert.match(help.out, /^Usage: auxot-router replay/);
});

command.run();
