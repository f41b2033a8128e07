import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { jobLogContract } from './job-log.contract.ts';
import { openStore } from './redis.ts';
import type { Store } from './store.ts';

const directory = await mkdtemp(join(tmpdir(), 'auxot-log-'));
let opened: Store | null = null;
const close = async () => {
  await opened?.quit();
  opened = null;
};
test.after.each(close);
test.after(() => rm(directory, { recursive: true, force: true }));

jobLogContract(test, 'embedded, in memory', async () => {
  opened = await openStore({ redisUrl: null, dataDir: null });
  return opened;
});

let directories = 0;
jobLogContract(test, 'embedded, on disk', async () => {
  opened = await openStore({ redisUrl: null, dataDir: join(directory, String(++directories)) });
  return opened;
});

test('a store that cannot be reached is an error that names the variable and hides the password', async () => {
  for (const url of [
    'redis://me:secret@127.0.0.1:1',
    'redis:/secret',
    'http://me:secret@localhost',
    'secret@nowhere',
  ]) {
    const error = await openStore({ redisUrl: url, dataDir: null }).catch((reason: unknown) => reason);
    assert.match(String(error), /AUXOT_REDIS_URL/);
    assert.not.match(String(error), /me:secret|:secret@/);
  }
});

test.run();
