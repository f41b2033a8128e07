/** Two routers on a Redis that is reached over TLS and asks for a password. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, saidIn } from './callers.ts';
import { freePort, type RouterProcess, startRouter } from './processes.ts';
import { startRedis } from './redis-server.ts';
import { startWorker } from './scripted-worker.ts';
import { lookMs, sleep } from './two-routers.ts';

const folder = mkdtempSync(join(tmpdir(), 'auxot-tls-'));
const [certificate, key] = [join(folder, 'server.crt'), join(folder, 'server.key')];
const password = 'pass/word-that-must-not-show';

/** Null, after a loud line, where one of the programs is missing. */
async function startSecureRedis() {
  if (spawnSync('openssl', ['version']).status !== 0) {
    console.log('SKIPPED (no openssl): a certificate is needed to try Redis over TLS');
    return null;
  }
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', certificate];
  execFileSync('openssl', ['req', '-x509', '-days', '2', ...made, ...subject], { stdio: 'ignore' });
  const tlsPort = await freePort();
  const tls = ['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate];
  const only = ['--port', '0', '--tls-port', String(tlsPort), '--tls-auth-clients', 'no', '--requirepass', password];
  const redis = await startRedis([...only, ...tls]);
  return redis === null ? null : { redis, tlsPort };
}

const server = await startSecureRedis();
const secure = server === null ? test.skip : test;
const trusted = { NODE_EXTRA_CA_CERTS: certificate, AUXOT_SHARDS: '1' };
const urlWith = (word: string): string => `rediss://:${encodeURIComponent(word)}@127.0.0.1:${server?.tlsPort}`;

test.after(async () => {
  await server?.redis.stop();
  rmSync(folder, { recursive: true, force: true });
});

secure('jobs of one router run at the other', async () => {
  const start = (): Promise<RouterProcess> => startRouter({ ...trusted, AUXOT_REDIS_URL: urlWith(password) });
  const [one, two] = await Promise.all([start(), start()]);
  await sleep(4 * lookMs);
  const worker = await startWorker(two.wsUrl, { slots: 1 });
  assert.is(saidIn((await chat(one.url, { stream: true })).text), 'Hello from the GPU!');
  assert.is(saidIn((await chat(two.url, { stream: true })).text), 'Hello from the GPU!');
  worker.close();
  for (const router of [one, two]) {
    assert.not.match(router.output(), /pass(\/|%2F)word/);
    await router.stop();
  }
});

secure('a wrong password and a certificate of a stranger end the start, with a sentence', async () => {
  for (const [url, env, why] of [
    [urlWith('wrong-password'), trusted, /WRONGPASS|invalid username-password|NOAUTH/],
    [urlWith(password), { AUXOT_SHARDS: '1' }, /certificate/],
  ] as const) {
    const failed = await startRouter({ ...env, AUXOT_REDIS_URL: url }).then(
      () => 'it started',
      (error: Error) => error.message,
    );
    assert.match(failed, /AUXOT_REDIS_URL: rediss:\/\/:\*\*\*@127\.0\.0\.1/);
    assert.match(failed, why);
    assert.not.match(failed, /pass(\/|%2F)word-|wrong-password/);
  }
});

test.run();
