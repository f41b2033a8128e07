/**
 * Two routers on one Redis, a real tools worker that knows both, and a router that is killed while the tools worker runs
 * a call for a job of it: the other router takes the job over, the worker dials it, and what the call gave is handed over.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hashKey } from '../actors/keys/keys.ts';
import { bearer, call } from './callers.ts';
import { type RouterProcess, runProgram, waitUntil } from './processes.ts';
import { type Script, startWorker } from './scripted-worker.ts';
import { kill, startTwoRouters, type TwoRouters } from './two-routers.ts';

const toolsKey = `tls_${'T'.repeat(43)}`;
const folder = mkdtempSync(join(tmpdir(), 'auxot-handover-'));
const lines = join(folder, 'lines');
const routerEnv = { AUXOT_TOOLS_KEY_HASH: await hashKey(toolsKey), AUXOT_ALLOWED_TOOLS: 'note' };
const started = await startTwoRouters([], undefined, routerEnv);
// Without a redis-server no test runs.
const { one, two, eventsOf, start } = (started ?? {}) as TwoRouters;

mkdirSync(join(folder, 'tools'));
const about = { name: 'note', description: 'notes', parameters: { type: 'object' }, timeout_seconds: 60 };
writeFileSync(join(folder, 'tools', 'note.tool.json'), JSON.stringify(about));
const script = `#!/bin/sh\necho begun >> ${lines}\nsleep "$(sed 's/[^0-9.]//g')"\necho ended >> ${lines}\necho noted\n`;
writeFileSync(join(folder, 'tools', 'note.sh'), script, { mode: 0o755 });

test.after(async () => {
  await started?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** What a test leaves open. */
const after: (() => Promise<void>)[] = [];

/** Calls the tool once, and then says what it was told. */
const model =
  (seconds: number): Script =>
  ({ job_id, messages }, worker) => {
    const told = messages.filter(({ role }) => role === 'tool').map(({ content }) => content);
    const note = { name: 'note', arguments: JSON.stringify({ seconds }) };
    const calls = told.length > 0 ? {} : { tool_calls: [{ id: 'c', type: 'function', function: note }] };
    worker.say({ type: 'complete', job_id, full_response: told.join(), input_tokens: 1, output_tokens: 1, ...calls });
  };

const noted = (): string => {
  try {
    return readFileSync(lines, 'utf8');
  } catch {
    return '';
  }
};
const has = async ({ url }: RouterProcess): Promise<boolean> =>
  (await call(`${url}/api/tools/v1/tools`, { headers: bearer })).text.includes('"note"');

/** A job in the middle of a call that lasts `seconds`, at a router that is killed then. What it comes to at the other. */
async function taken(routers: readonly RouterProcess[], seconds: number, pauseMs = 0) {
  rmSync(lines, { force: true });
  const urls = routers.map(({ wsUrl }) => wsUrl).join(',');
  const env = { AUXOT_TOOLS_KEY: toolsKey, AUXOT_TOOLS_DIR: join(folder, 'tools'), AUXOT_RECONNECT_DELAY: '200ms' };
  const tools = runProgram('tools', ['--router-url', urls], env, folder);
  after.push(async () => {
    tools.kill('SIGTERM');
    await tools.ended;
  });
  let at: RouterProcess | undefined;
  await waitUntil(
    async () => {
      for (const router of routers) if (await has(router)) at = router;
      return at !== undefined;
    },
    20_000,
    () => `the tools worker did not come:\n${tools.output()}`,
  );
  const lost = at ?? one;
  const others = routers.filter(router => router !== lost);
  const models = async (dialled: readonly RouterProcess[]): Promise<void> => {
    const workers = await Promise.all(dialled.map(({ wsUrl }) => startWorker(wsUrl, { script: model(seconds) })));
    after.push(async () => {
      for (const worker of workers) worker.close();
    });
  };
  // While the others have no slot, the job stays at the router that has the tools worker.
  await models([lost]);
  const body = JSON.stringify({ model: 'm', background: true, input: 'go' });
  const headers = { ...bearer, 'content-type': 'application/json' };
  const asked = await call(`${lost.url}/v1/responses`, { method: 'POST', headers, body });
  assert.is(asked.status, 200, asked.text);
  await waitUntil(
    () => noted().includes('begun'),
    15_000,
    () => `the call was not begun:\n${tools.output()}`,
  );
  await models(others);
  await new Promise(resolve => setTimeout(resolve, pauseMs));
  await kill(lost);
  const killedAt = Date.now();
  let answer = asked.json;
  await waitUntil(
    async () => {
      answer = (await call(`${others[0]?.url}/v1/responses/${asked.json.id}`, { headers: bearer })).json;
      return answer?.status !== 'queued' && answer?.status !== 'in_progress';
    },
    40_000,
    () => `no end: ${JSON.stringify(answer)}\n${tools.output()}`,
  );
  const ms = Date.now() - killedAt;
  const jobId = String(asked.json.id).replace('resp_', 'chatcmpl-');
  const events = await eventsOf(jobId);
  const said = answer.output?.flatMap((item: { content?: { text: string }[] }) => item.content ?? [])[0]?.text;
  return { said, ms, events, calls: events.filter(({ type }) => type === 'toolCall.finished') };
}

if (started !== null) {
  let routers: RouterProcess[] = [one, two];
  test.after.each(async () => {
    for (const close of after.splice(0)) await close();
    const alive = await Promise.all(routers.map(({ url }) => call(`${url}/health`).catch(() => null)));
    const living = routers.filter((_, place) => alive[place] !== null);
    routers = [...living, ...(await Promise.all(routers.slice(living.length).map(() => start())))];
    // So long that each of them may judge the other.
    await new Promise(resolve => setTimeout(resolve, 2500));
  });

  for (const [seconds, pauseMs, when] of [
    [4, 0, 'that is still run when the other router has the job'],
    [1, 0, 'that ends while there is no router to be told'],
    [0.2, 150, 'whose result is on its way to the router that is killed'],
  ] as const)
    test(`a call ${when} is delivered to it, and was run once`, async () => {
      const { said, ms, events, calls } = await taken(routers, seconds, pauseMs);
      console.log(`  the answer came ${ms} ms after the kill`);
      assert.is(said, 'noted\n', JSON.stringify(events.slice(1)));
      assert.is(noted(), 'begun\nended\n');
      assert.is(calls.length, 1);
    });
}

test.run();
