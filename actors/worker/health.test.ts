import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Health, serveHealth, type WorkerLook } from './health.ts';

async function withHealth(run: (health: Health, set: (look: Partial<WorkerLook>) => void) => Promise<void>) {
  let look: WorkerLook = { connected: true, engine: 'ready', model: 'tiny "q4"', slots: 4, running: 1 };
  const health = await serveHealth({ port: 0, version: '1.2.3', look: () => look });
  try {
    await run(health, more => {
      look = { ...look, ...more };
    });
  } finally {
    await health.close();
  }
}

test('a worker tells whether it works, by status and with the reasons (weakness X8)', () =>
  withHealth(async ({ port }, set) => {
    const ask = () => fetch(`http://127.0.0.1:${port}/healthz`);
    const well = await ask();
    assert.is(well.status, 200);
    const said = { status: 'ok', connected: true, engine: 'ready', model: 'tiny "q4"', slots: 4, running: 1 };
    assert.equal(await well.json(), { ...said, version: '1.2.3' });
    for (const trouble of [{ connected: false }, { engine: 'restarting' }, { engine: null }] as const) {
      set({ connected: true, engine: 'ready', ...trouble });
      const ill = await ask();
      assert.is(ill.status, 503);
      assert.match(await ill.text(), '"status":"not ready"');
    }
  }));

test('its numbers are there as Prometheus reads them; other paths and methods are refused (weakness X8)', () =>
  withHealth(async ({ port }) => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    assert.match(text, 'auxot_worker_info{version="1.2.3",model="tiny \\"q4\\""} 1\n');
    assert.match(text, '# TYPE auxot_worker_jobs_running gauge\nauxot_worker_jobs_running 1\n');
    assert.match(text, 'auxot_worker_ready 1\n');
    assert.is((await fetch(`http://127.0.0.1:${port}/`)).status, 404);
    assert.is((await fetch(`http://127.0.0.1:${port}/healthz`, { method: 'POST' })).status, 405);
  }));

test('a port that is taken is told', () =>
  withHealth(async ({ port }) => {
    try {
      await serveHealth({ port, version: '', look: () => assert.unreachable() as never });
      assert.unreachable('it was free');
    } catch (error) {
      assert.match(String(error), 'EADDRINUSE');
    }
  }));

test.run();
