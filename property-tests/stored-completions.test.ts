/** Stored chat completions with the official client, on a real router process. */
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bearer, call, chat, untilHealth } from './callers.ts';
import { apiKey, type RouterProcess, startRouter } from './processes.ts';
import { type ScriptedWorker, startWorker } from './scripted-worker.ts';

let router: RouterProcess;
let worker: ScriptedWorker;
let client: OpenAI;

const start = async (dataDir?: string): Promise<void> => {
  router = await startRouter({ AUXOT_FSYNC: 'no' }, dataDir);
  client = new OpenAI({ baseURL: `${router.url}/v1`, apiKey, maxRetries: 0 });
  worker = await startWorker(router.wsUrl);
  await untilHealth(router.url, ({ total_slots }) => total_slots > 0, 'the worker is not offered');
};

test.before(() => start());

test.after(async () => {
  worker.close();
  await router.stop();
});

const make = (model: string, metadata: Record<string, string>, more: object = {}) =>
  client.chat.completions.create({
    model,
    store: true,
    metadata,
    messages: [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: [{ type: 'text', text: 'hi' }] },
    ],
    ...more,
  });

const idsOf = async (query: object = {}): Promise<string[]> => {
  const ids: string[] = [];
  for await (const { id } of client.chat.completions.list(query)) ids.push(id);
  return ids;
};

/** The API says it, and the client's types do not. */
const metadataOf = (completion: object): unknown => ('metadata' in completion ? completion.metadata : undefined);

test('stored completions are listed, fetched, noted on and deleted, and outlive the router', async () => {
  const one = await make('a', { team: 'x' });
  const streamed = await chat(router.url, { model: 'b', store: true, metadata: { team: 'y' }, stream: true });
  const two = streamed.headers.get('x-auxot-job') ?? '';
  const three = await make('a', {});
  const unstored = await client.chat.completions.create({ model: 'a', messages: [{ role: 'user', content: 'hi' }] });

  assert.equal(await idsOf(), [one.id, two, three.id]);
  assert.equal(await idsOf({ order: 'desc', limit: 1 }), [three.id, two, one.id], 'page after page');
  assert.equal(await idsOf({ model: 'a' }), [one.id, three.id]);
  assert.equal(await idsOf({ metadata: { team: 'y' } }), [two]);

  assert.equal(await client.chat.completions.retrieve(one.id), { ...one, metadata: { team: 'x' } });
  const { choices } = await client.chat.completions.retrieve(two);
  assert.is(choices[0]?.message.content, 'Hello from the GPU!');
  const messages = await client.chat.completions.messages.list(one.id);
  assert.equal(
    messages.data.map(({ id, role, content, content_parts: parts }) => ({ id, role, content, parts })),
    [
      { id: `${one.id}-0`, role: 'system', content: 'be brief', parts: null },
      { id: `${one.id}-1`, role: 'user', content: null, parts: [{ type: 'text', text: 'hi' }] },
    ],
  );
  const noted = await client.chat.completions.update(one.id, { metadata: { team: 'z', more: '1' } });
  assert.equal(metadataOf(noted), { team: 'z', more: '1' });
  assert.equal(await idsOf({ metadata: { team: 'z' } }), [one.id]);

  worker.close();
  await router.stop(true);
  await start(router.dataDir);
  assert.equal(await idsOf(), [one.id, two, three.id]);
  assert.equal(metadataOf(await client.chat.completions.retrieve(one.id)), { team: 'z', more: '1' });

  const deleted = await client.chat.completions.delete(two);
  assert.equal(deleted, { object: 'chat.completion.deleted', id: two, deleted: true });
  assert.equal(await idsOf(), [one.id, three.id]);
  for (const id of [two, unstored.id, 'chatcmpl-nonsense']) {
    try {
      await client.chat.completions.retrieve(id);
      assert.unreachable(id);
    } catch (error) {
      assert.instance(error, OpenAI.NotFoundError);
    }
  }
});

test('what cannot be metadata, a page or a place is refused by name', async () => {
  const { id } = await make('a', {});
  for (const metadata of [{ a: 1 }, ['x'], 'x', { ['n'.repeat(65)]: 'v' }, { n: 'v'.repeat(513) }]) {
    const made = await chat(router.url, { store: true, metadata });
    assert.equal([made.status, made.json.error.param], [400, 'metadata']);
    const url = `${router.url}/v1/chat/completions/${id}`;
    const noted = await call(url, { method: 'POST', headers: bearer, body: JSON.stringify({ metadata }) });
    assert.equal([noted.status, noted.json.error.param], [400, 'metadata']);
  }
  for (const query of ['limit=0', 'limit=101', 'limit=x', 'order=up', 'after=chatcmpl-nobody'])
    assert.is((await call(`${router.url}/v1/chat/completions?${query}`, { headers: bearer })).status, 400, query);
});

test.run();
