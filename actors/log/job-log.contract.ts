/** What a job log promises, whatever store it is on. One suite for the embedded store and for a Redis server. */
import fc from 'fast-check';
import type { test as uvuTest } from 'uvu';
import * as assert from 'uvu/assert';
import type { JobEvent } from '../../protocol/job-events.ts';
import { type Append, JobLog, LogCorrupt } from './job-log.ts';
import { finishedKey, logKey, readyKey } from './log-keys.ts';
import { type Store, StoreTrouble } from './store.ts';

const runs = Number(process.env.FC_RUNS ?? 60);
const seed = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

const text = (number: number, said = `t${number}`): JobEvent => ({
  type: 'output.appended',
  at: number,
  attempt: 1,
  kind: 'text',
  text: said,
  tokens: 1,
});
const end: JobEvent = { type: 'job.cancelled', at: 9, reason: 'requested' };

function append(
  jobId: string,
  epoch: number,
  sequence: number,
  events: JobEvent[],
  more: Partial<Append> = {},
): Append {
  return { jobId, epoch, sequence, count: events.length, events: JSON.stringify(events), ...more };
}
const creation = (jobId: string): Append => append(jobId, 1, 1, [text(1)], { creates: true });
const kinds = async (results: Promise<readonly { kind: string }[]>): Promise<string> =>
  (await results).map(({ kind }) => kind).join(' ');

/** Adds the suite to `test`. `open` gives an empty store; the caller closes what it opened. */
export function jobLogContract(test: typeof uvuTest, name: string, open: () => Promise<Store>): void {
  const on = (what: string, body: (store: Store, log: JobLog) => Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      const store = await open();
      const log = new JobLog(store);
      await body(store, log);
      await log.close();
    });

  on('what is appended is read back in order, with its positions', async (_, log) => {
    assert.is(await kinds(log.append([creation('a'), creation('b')])), 'ok ok');
    assert.is(
      await kinds(log.append([append('a', 1, 2, [text(2), text(3, 'grüße 🚀')]), append('b', 1, 2, [text(2)])])),
      'ok ok',
    );
    assert.is(await kinds(log.append([append('a', 2, 1, [text(4)])])), 'ok');
    const entries = await log.read('a');
    assert.equal(
      entries.map(({ epoch, sequence, count }) => [epoch, sequence, count]),
      [
        [1, 1, 1],
        [1, 2, 2],
        [2, 1, 1],
      ],
    );
    assert.equal(entries[1]?.events, [text(2), text(3, 'grüße 🚀')]);
    assert.is(entries[1]?.text, JSON.stringify([text(2), text(3, 'grüße 🚀')]));
    assert.is(entries[1]?.bytes, Buffer.byteLength(entries[1]?.text ?? ''));
    assert.equal(await log.read('unknown'), []);
  });

  on('reading on from any position gives the rest, also from within an entry', async (_, log) => {
    await log.append([append('a', 1, 1, [text(1), text(2), text(3)], { creates: true })]);
    await log.append([append('a', 1, 4, [text(4), text(5)])]);
    await log.append([append('a', 2, 1, [text(6)])]);
    for (let number = 0; number <= 5; number++) {
      const entries = await log.read('a', { epoch: 1, number });
      const said = entries.flatMap(({ events }) => events.map(({ at }) => at));
      assert.equal(said, [1, 2, 3, 4, 5, 6].slice(number), `after 1-${number}`);
      for (const entry of entries) {
        assert.is(entry.count, entry.events.length);
        assert.is(entry.text, JSON.stringify(entry.events));
      }
    }
    assert.is((await log.read('a', { epoch: 1, number: 2 }))[0]?.sequence, 3);
    assert.equal(await log.read('a', { epoch: 2, number: 1 }), []);
    assert.equal(
      (await log.read('a', { epoch: 1, number: 1 }, 1)).map(({ sequence }) => sequence),
      [2],
    );
    assert.equal(
      (await log.read('a', { epoch: 1, number: 3 }, 1)).map(({ sequence }) => sequence),
      [4],
    );
  });

  on('an append that is repeated is ok, and stands in the log once', async (_, log) => {
    const second = append('a', 1, 2, [text(2)]);
    await log.append([creation('a')]);
    assert.is(await kinds(log.append([second])), 'ok');
    assert.is(await kinds(log.append([second, creation('a')])), 'ok ok');
    assert.is((await log.read('a')).length, 2);
  });

  on('an append at an id that holds something else is fenced', async (_, log) => {
    await log.append([creation('a')]);
    await log.append([append('a', 1, 2, [text(2)])]);
    assert.is(await kinds(log.append([append('a', 1, 2, [text(2, 'other')])])), 'fenced');
    assert.is(await kinds(log.append([append('a', 1, 2, [text(2), text(3)])])), 'fenced');
  });

  on('the writer of an older epoch is fenced, and leaves no trace', async (store, log) => {
    const other = new JobLog(store, { boot: 'other' });
    await log.append([creation('a'), creation('b')]);
    assert.is(await kinds(other.append([append('a', 2, 1, [text(2)], { adopts: true })])), 'ok');
    assert.is(
      await kinds(log.append([append('a', 1, 2, [end], { ends: true }), append('b', 1, 2, [text(2)])])),
      'fenced ok',
    );
    await log.close();
    assert.is(await store.pttl(logKey('a')), -1);
    assert.equal((await other.openJobs()).sort(), ['a', 'b']);
    assert.equal(await other.openJobs(boot => boot === 'other'), ['a']);
    assert.is(await store.xlen(readyKey), 2, 'each job stands in the index in the name of its writer');
    assert.is((await other.read('a')).length, 2);
  });

  on('of writers that race for an epoch one wins, and the log is one writer after another', async (store, log) => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: 3, maxLength: 30 }), async steps => {
        await store.flushall();
        const writers = [log, new JobLog(store), new JobLog(store)];
        const held = writers.map(() => ({ epoch: 0, sequence: 0 }));
        await log.append([creation('a')]);
        const accepted: string[] = ['1-1'];
        for (let at = 0; at < steps.length; at += 3) {
          await Promise.all(
            steps.slice(at, at + 3).map(async ([who, what]) => {
              const mine = held[who];
              if (mine === undefined) return;
              // 0: try to become the writer; else write on.
              if (what === 0 || mine.epoch === 0) {
                const last = (await log.read('a')).at(-1);
                Object.assign(mine, { epoch: (last?.epoch ?? 1) + 1, sequence: 0 });
              }
              mine.sequence += 1;
              const { epoch, sequence } = mine;
              const [result] = (await writers[who]?.append([append('a', epoch, sequence, [text(who)])])) ?? [];
              if (result?.kind === 'ok') accepted.push(`${epoch}-${sequence}`);
              else mine.epoch = 0;
            }),
          );
        }
        const entries = await log.read('a');
        // Two writers may have put down the same bytes at the same id; then both hold it, as far as bytes can tell.
        assert.equal(new Set(entries.map(({ epoch, sequence }) => `${epoch}-${sequence}`)), new Set(accepted));
      }),
      { numRuns: Math.ceil(runs / 4), includeErrorInReport: true, ...seed },
    );
  });

  on('an append to a log that is not there is told so, and makes none', async (store, log) => {
    assert.is(await kinds(log.append([append('a', 1, 2, [text(2)])])), 'gone');
    assert.is(await store.exists(logKey('a')), 0);
  });

  on('open jobs are listed in order of submission until they end', async (store, log) => {
    await log.append([creation('b')]);
    await log.append([creation('a'), creation('c')]);
    assert.equal(await log.openJobs(), ['b', 'a', 'c']);
    assert.is(await kinds(log.append([append('a', 1, 2, [text(2), end], { ends: true })])), 'ok');
    await log.close();
    assert.equal(await log.openJobs(), ['b', 'c']);
    assert.is(await store.xlen(readyKey), 2);
    const ttl = await store.pttl(logKey('a'));
    assert.ok(ttl > 3_500_000 && ttl <= 3_600_000, `expires in ${ttl} ms`);
    assert.is(await store.pttl(logKey('b')), -1);
    assert.is((await log.read('a')).length, 2, 'a finished log can still be read');
  });

  on('a job of another instance leaves the index when it ends here', async (store, log) => {
    await log.append([creation('a'), creation('b')]);
    const other = new JobLog(store);
    await other.append([append('a', 2, 1, [end], { ends: true })]);
    await other.close();
    assert.equal(await other.openJobs(), ['b']);
    assert.is(await store.xlen(readyKey), 1);
  });

  on('what a crash left between the end of a job and its tidying is made good', async (store, log) => {
    await log.append([creation('a'), creation('b'), creation('c')]);
    // As a router does that is killed right after the append.
    await store.xadd(logKey('a'), '1-2', 'v', '1', 'e', JSON.stringify([end]));
    await store.del(logKey('b'));
    const restarted = new JobLog(store);
    assert.equal(await restarted.openJobs(), ['c']);
    await restarted.close();
    assert.is(await store.xlen(readyKey), 2);
    assert.ok((await store.pttl(logKey('a'))) > 0);
    await restarted.sweep(Date.now());
    await restarted.sweep(Date.now() + 30_000);
    assert.is(await store.xlen(readyKey), 1);
  });

  // Found by the simulation: whoever looked at the last event only took the job for open, at every start again.
  on('a job that was taken over too late, behind its end, is not open', async (store, log) => {
    const late = (epoch: number): Append =>
      append('a', epoch, 1, [{ type: 'job.adopted', at: 9, instance: 'b', boot: `b${epoch}` }], { adopts: true });
    await log.append([creation('a'), creation('b')]);
    await store.xadd(logKey('a'), '1-2', 'v', '1', 'e', JSON.stringify([text(2), end]));
    await log.append([late(2)]);
    await log.append([late(3), { ...late(2), jobId: 'b' }]);
    const restarted = new JobLog(store);
    assert.equal(await restarted.openJobs(), ['b']);
    await restarted.close();
    assert.ok((await store.pttl(logKey('a'))) > 0, 'its log expires');
    assert.is(await store.pttl(logKey('b')), -1);
    assert.equal((await restarted.openJobs()).join(), 'b', 'nothing of it is left in the index');
  });

  // Found by the simulation: with the log first, a log was left that no index names and that never expired.
  on('a router that dies between the two keys that make a job leaves no log, and an entry that goes', async store => {
    const log = new JobLog({
      ...dressed(store),
      pipeline: words => ({
        exec: async () => {
          await store.pipeline(words.slice(0, 1)).exec();
          throw new Error('Connection is closed.');
        },
      }),
    });
    assert.instance(await log.append([creation('a')]).catch((error: unknown) => error), StoreTrouble);
    assert.is(await store.exists(logKey('a')), 0);
    assert.is(await store.xlen(readyKey), 1);
    const next = new JobLog(store);
    assert.equal(await next.openJobs(), []);
    const now = Date.now();
    await next.sweep(now);
    await next.sweep(now + 10_000);
    assert.is(await store.xlen(readyKey), 1, 'its router may live, and be about to write the log');
    await next.sweep(now + 30_000);
    assert.is(await store.xlen(readyKey), 0);
  });

  on('an entry of the index whose log comes late is kept', async (store, log) => {
    await store.xadd(readyKey, '*', 'job', 'a', 'boot', 'frozen');
    assert.equal(await log.openJobs(), []);
    await log.sweep(1000);
    await store.xadd(logKey('a'), '1-1', 'v', '1', 'e', JSON.stringify([text(1)]));
    await log.sweep(100_000);
    assert.is(await store.xlen(readyKey), 1);
    assert.equal(await log.openJobs(), ['a']);
  });

  on('a log that no writer can have written is called corrupt, with job and position', async (store, log) => {
    const wrong: [what: string, id: string, fields: string[], pattern: RegExp][] = [
      ['gap', '1-3', ['v', '1', 'e', JSON.stringify([text(3)])], /job j .*1-3\.0: the events before it are missing/],
      ['epoch that starts late', '2-2', ['v', '1', 'e', JSON.stringify([text(3)])], /2-2\.0: the events before/],
      ['no JSON', '1-2', ['v', '1', 'e', '[{'], /1-2\.0: its events are no JSON/],
      ['unknown event', '1-2', ['v', '1', 'e', '[{"type":"job.x"}]'], /1-2\.0: event \$/],
      ['no event', '1-2', ['v', '1', 'e', '[]'], /1-2\.0: event \$/],
      ['newer envelope', '1-2', ['v', '2', 'e', '[]'], /envelope version is 2/],
      ['other fields', '1-2', ['a', 'b'], /its fields are a instead of v, e/],
    ];
    for (const [what, id, fields, pattern] of wrong) {
      await store.flushall();
      await log.append([creation('j')]);
      await store.xadd(logKey('j'), id, ...fields);
      try {
        await log.read('j');
        assert.unreachable(what);
      } catch (error) {
        assert.instance(error, LogCorrupt, `${what}: ${error}`);
        assert.match(String(error), pattern);
      }
    }
    await store.flushall();
    await store.xadd(logKey('j'), '1-2', 'v', '1', 'e', JSON.stringify([text(2)]));
    await log.read('j').then(
      () => assert.unreachable('a log without its start'),
      error => assert.match(String(error), /1-2\.0: the events before it are missing/),
    );
  });

  on('a log at its cap takes only the end of its job', async store => {
    const log = new JobLog(store, { jobBytesMax: 400 });
    await log.append([creation('a'), creation('b')]);
    assert.is(await kinds(log.append([append('a', 1, 2, [text(2, 'x'.repeat(200))])])), 'ok');
    const more = append('a', 1, 3, [text(3, 'x'.repeat(200))]);
    assert.is(await kinds(log.append([more, append('b', 1, 2, [text(2)])])), 'full ok');
    assert.is(await kinds(log.append([append('a', 1, 3, [end], { ends: true })])), 'ok');
    assert.is((await log.read('a')).length, 3);
    // A new owner learns the size by reading, as it must do anyhow.
    await log.append([creation('c')]);
    await log.append([append('c', 1, 2, [text(2, 'x'.repeat(200))])]);
    const owner = new JobLog(store, { jobBytesMax: 400 });
    await owner.append([append('c', 2, 1, [text(3)])]);
    await owner.read('c');
    assert.is(await kinds(owner.append([append('c', 2, 2, [text(4, 'x'.repeat(100))])])), 'full');
    await log.close();
    await owner.close();
  });

  on('the oldest finished logs go when all logs exceed their cap, and open ones stay', async store => {
    const log = new JobLog(store, { logsBytesMax: 12_000 });
    await log.append([append('open', 1, 1, [text(1, 'x'.repeat(3000))], { creates: true })]);
    for (let i = 0; i < 5; i++) {
      const jobId = `done-${i}`;
      await log.append([creation(jobId)]);
      await log.append([append(jobId, 1, 2, [text(2, 'x'.repeat(2000)), end], { ends: true })]);
    }
    await log.close();
    const { removed, bytes } = await log.sweep(Date.now());
    assert.is(removed, 3);
    assert.ok(bytes <= 12_000, `${bytes} bytes are left`);
    assert.equal(await log.read('done-0'), []);
    assert.is((await log.read('done-4')).length, 2);
    assert.is((await log.read('open')).length, 1);
    // Another router counts the same, also after this one removed some.
    assert.is((await new JobLog(store, { logsBytesMax: 12_000 }).sweep(Date.now())).removed, 0);
    for (const jobId of ['done-3', 'done-4']) await store.pexpire(logKey(jobId), 1);
    await new Promise(resolve => setTimeout(resolve, 20));
    const later = await log.sweep(Date.now() + 3_700_000);
    assert.is(later.removed, 2, 'expired logs leave the books');
    assert.is(await store.xlen(finishedKey), 0);
  });

  // Found by the simulation: the router that a job was let go for died before it took it, and nobody found it any more.
  on('a job that was let go and not yet taken stands in the index', async (store, log) => {
    await log.append([creation('a'), creation('b')]);
    log.letGo('a', true);
    assert.equal(await new JobLog(store).openJobs(), ['a', 'b']);
    log.letGo('a');
    log.letGo('b');
    await log.read('b');
    assert.is(await store.xlen(readyKey), 0);
  });

  // Found by the simulation: a job that went to another router and back was in no index any more, and nobody's once its
  // router died.
  on('a late refusal of an earlier epoch says nothing of a job that came back', async (store, log) => {
    const other = new JobLog(store, { boot: 'b2' });
    const taken = (epoch: number): Append => append('a', epoch, 1, [text(2)], { adopts: true });
    await log.append([creation('a')]);
    await other.append([taken(2)]);
    log.letGo('a');
    await log.append([taken(3)]);
    other.letGo('a');
    assert.is(await kinds(log.append([append('a', 1, 2, [text(2)])])), 'fenced');
    assert.equal(await new JobLog(store).openJobs(), ['a']);
  });

  // Found by the simulation: a router whose clock was an hour ahead removed a log a second after its end.
  on('a router whose clock is wrong takes no log away that has not expired', async (store, log) => {
    await log.append([creation('a')]);
    await log.append([append('a', 1, 2, [end], { ends: true })]);
    await log.close();
    assert.is((await new JobLog(store).sweep(Date.now() + 3_700_000)).removed, 0);
    assert.is((await log.read('a')).length, 2);
  });

  on('a reply that is lost, and the same batch again: ok, and in the log once', async store => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }), async losses => {
        await store.flushall();
        const lossy = losing(store);
        const log = new JobLog(lossy.store);
        const batches = [[creation('a'), creation('b')]];
        for (let i = 2; i <= losses.length; i++)
          batches.push([
            append('a', 1, i, [text(i)]),
            append('b', 1, i, [i === losses.length ? end : text(i)], { ends: i === losses.length }),
          ]);
        for (const [i, batch] of batches.entries()) {
          lossy.lose = losses[i] === true;
          const first = await log.append(batch).catch((error: Error) => error);
          assert.is(first instanceof StoreTrouble, lossy.lose, String(first));
          lossy.lose = false;
          if (first instanceof StoreTrouble) assert.is(await kinds(log.append(batch)), 'ok ok');
        }
        await log.close();
        assert.is((await log.read('a')).length, losses.length);
        assert.equal(await log.openJobs(), losses.length > 1 ? ['a'] : ['a', 'b']);
      }),
      { numRuns: runs, includeErrorInReport: true, ...seed },
    );
  });

  on('a store that does not answer is trouble after a while, not silence', async store => {
    const silent = { ...dressed(store), pipeline: () => ({ exec: () => new Promise<never>(() => undefined) }) };
    const log = new JobLog(silent, { answerMs: 20 });
    const error = await log.append([creation('a')]).catch((reason: unknown) => reason);
    assert.instance(error, StoreTrouble);
    assert.match(String(error), /did not answer within 20 ms/);
  });
}

/** A store whose commands run, but whose replies can get lost on the way. */
function losing(store: Store): { store: Store; lose: boolean } {
  const lossy = {
    lose: false,
    store: dressed(store),
  };
  lossy.store = {
    ...lossy.store,
    pipeline: words => ({
      exec: async () => {
        const replies = await store.pipeline(words).exec();
        if (lossy.lose) throw new Error('Connection is closed.');
        return replies;
      },
    }),
  };
  return lossy;
}

/** The log uses the port's `pipeline` alone. */
const dressed = (store: Store): Store => ({ ...store, pipeline: words => store.pipeline(words) });
