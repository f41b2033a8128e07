/** A router among others that is asked to stop: what it has goes on at the others, and nobody's answer is lost. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bearer, chat, chatInit, saidIn } from './callers.ts';
import { waitUntil, within } from './processes.ts';
import { startWorker } from './scripted-worker.ts';
import { lookMs, never, second, sleep, slowly, startTwoRouters, type TwoRouters, words } from './two-routers.ts';

const started = await startTwoRouters();
// Without a redis-server no test runs.
const { one, two, eventsOf, untilOutput } = (started ?? {}) as TwoRouters;

test.after(() => started?.stop());

async function readUntilCut({ body }: Response): Promise<{ text: string; whole: boolean }> {
  let text = '';
  try {
    for await (const piece of body ?? []) text += Buffer.from(piece).toString();
    return { text, whole: true };
  } catch {
    return { text, whole: false }; // the connection was cut
  }
}

test('a router that drains hands over what waits at once, and what runs after its grace', async () => {
  const worker = await startWorker(one.wsUrl, { slots: 1, script: never, hello: second('w-drain') });
  const idle = await startWorker(one.wsUrl, { slots: 1, script: never, hello: second('w-idle') });
  const drained: string[] = [];
  for (const [name, { socket }] of Object.entries({ worker, idle }))
    socket.on('message', (data: Buffer) => {
      if (JSON.parse(data.toString()).type === 'drain') drained.push(name);
    });
  // Its head comes with the first word.
  const heard = fetch(`${one.url}/api/openai/chat/completions`, chatInit({ stream: true })).then(readUntilCut);
  await waitUntil(
    () => worker.jobs.length + idle.jobs.length === 1,
    3000,
    () => 'no job came',
  );
  const [holder, other] = worker.jobs.length === 1 ? [worker, idle] : [idle, worker];
  const instance = holder === worker ? 'w-drain' : 'w-idle';
  other.close();
  await sleep(lookMs);
  const [{ job_id = '', attempt = 0 } = {}] = holder.jobs;
  for (const seq of [1, 2, 3]) holder.say({ type: 'token', job_id, attempt, seq, ids: [seq], token: `w${seq} ` });
  await untilOutput(job_id);
  const waiting = chat(one.url, { stream: true });
  await sleep(100);

  one.kill('SIGTERM');
  await waitUntil(
    () => drained.length > 0,
    3000,
    () => 'the worker was not told',
  );
  assert.is((await chat(one.url, { stream: true }).catch(() => null))?.status ?? 503, 503);
  const elsewhere = await startWorker(two.wsUrl, { slots: 1, script: slowly(5, 5) });
  assert.is(
    saidIn((await within(5000, waiting, 'the job that waited')).text),
    words(5),
    'its caller is still at the first router',
  );
  assert.is(elsewhere.jobs.length, 1);

  await within(15_000, new Promise(resolve => holder.socket.once('close', resolve)), 'the worker was sent away');
  const back = await startWorker(two.wsUrl, { slots: 1, hello: second(instance, [{ job_id, attempt, seq: 4 }]) });
  const [mark] = back.granted;
  assert.is(mark?.job_id, job_id, two.output());
  await slowly(10, 0, (mark?.seq ?? 0) + 1, 2)({ job_id, attempt: mark?.attempt ?? 0, messages: [] }, back);
  const { status } = await within(10_000, one.ended, 'the router that drains');
  assert.is(status, 0);

  // Its caller was cut, and goes on with the other router from the last id that it has.
  const { text, whole } = await heard;
  assert.not.ok(whole, 'the answer ended as if it were whole');
  assert.is(saidIn(text), words(3));
  const id = [...text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? '';
  const rest = await fetch(`${two.url}/api/jobs/${job_id}/events`, { headers: { ...bearer, 'last-event-id': id } });
  assert.is(saidIn(text) + saidIn(await rest.text()), words(10));
  const types = (await eventsOf(job_id)).map(({ type }) => type);
  assert.is(types.filter(type => type === 'job.assigned').length, 1, 'nothing was generated again');
  for (const each of [elsewhere, back]) each.close();
});

if (started !== null) test.run();
