import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lockFile } from './file-lock.ts';
import { ModelError } from './model-error.ts';

async function inFolder(run: (path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'auxot-lock-'));
  try {
    await run(join(folder, 'x.gguf'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const never = (): void => {
  throw new Error('it waited');
};
const soon = (): AbortSignal => AbortSignal.timeout(1500);
const deadPid = (): number => spawnSync(process.execPath, ['-e', '']).pid;
const lockOf = (path: string, holder: object): void =>
  writeFileSync(`${path}.lock`, JSON.stringify({ nonce: 'theirs', host: hostname(), started: null, ...holder }));

test('a second one waits until the first lets go, and says for whom', () =>
  inFolder(async path => {
    const first = await lockFile(path, soon(), never);
    const told: number[] = [];
    let has = false;
    const second = lockFile(path, soon(), pid => told.push(pid)).then(lock => {
      has = true;
      return lock;
    });
    await new Promise(resolve => setTimeout(resolve, 300));
    assert.not.ok(has);
    assert.equal(told, [process.pid]);
    await first.release();
    await (await second).release();
    assert.not.ok(existsSync(`${path}.lock`));
  }));

test('whoever waits stops when told to', () =>
  inFolder(async path => {
    const first = await lockFile(path, soon(), never);
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    try {
      await lockFile(path, stop.signal, () => undefined);
      assert.unreachable();
    } catch (error) {
      assert.ok(error instanceof ModelError && error.code === 'stopped');
    }
    await first.release();
  }));

test('the lock of a process that is gone is taken over, also when another process has its id now', () =>
  inFolder(async path => {
    for (const holder of [
      { pid: deadPid() },
      ...(existsSync('/proc/self/stat') ? [{ pid: process.ppid, started: 'an earlier boot 1' }] : []),
    ]) {
      lockOf(path, holder);
      await (await lockFile(path, soon(), never)).release();
    }
  }));

test('the lock of another machine stands until it has not been renewed for a minute', () =>
  inFolder(async path => {
    lockOf(path, { pid: deadPid(), host: 'another-machine' });
    let waited = false;
    await lockFile(path, AbortSignal.timeout(400), () => {
      waited = true;
    }).catch(() => undefined);
    assert.ok(waited);
    const old = new Date(Date.now() - 61_000);
    utimesSync(`${path}.lock`, old, old);
    await (await lockFile(path, soon(), never)).release();
  }));

test('of many that find the same dead lock, one at a time gets it', () =>
  inFolder(async path => {
    lockOf(path, { pid: deadPid() });
    let holding = 0;
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        const lock = await lockFile(path, AbortSignal.timeout(20_000), () => undefined);
        holding += 1;
        assert.is(holding, 1);
        await new Promise(resolve => setTimeout(resolve, 5));
        holding -= 1;
        await lock.release();
      }),
    );
  }));

test.run();
