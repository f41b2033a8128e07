/** The OpenAPI document: valid, complete, and true of a real router. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { basePaths, openApiDocument, routes } from '../protocol/openapi.ts';
import { bearer, call } from './callers.ts';
import { type RouterProcess, startRouter } from './processes.ts';
import { type ScriptedWorker, startWorker } from './scripted-worker.ts';

// biome-ignore lint/suspicious/noExplicitAny: a document that is looked into by assertions.
const document: any = openApiDocument('1.2.3');

function* refsIn(value: unknown): Generator<string> {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    if (key === '$ref') yield String(inner);
    else yield* refsIn(inner);
  }
}

test('every reference leads somewhere, every operation has a name of its own and names its parameters', () => {
  for (const ref of refsIn(document)) {
    const at = ref.replace('#/', '').split('/');
    assert.ok(
      at.reduce((inner, key) => inner?.[key], document),
      ref,
    );
  }
  const names = new Set<string>();
  for (const [path, operations] of Object.entries<Record<string, Record<string, unknown>>>(document.paths)) {
    assert.match(path, /^\//);
    for (const operation of Object.values(operations)) {
      names.add(String(operation.operationId));
      const given = ((operation.parameters ?? []) as { in: string; name: string }[]).filter(
        ({ in: at }) => at === 'path',
      );
      assert.equal(
        given.map(({ name }) => `{${name}}`),
        path.match(/\{\w+\}/g) ?? [],
      );
      assert.ok(Object.keys(operation.responses as object).length > 0);
    }
  }
  assert.is(names.size, routes.length);
  const { ChatCompletionRequest: chat } = document.components.schemas;
  assert.equal([chat.type, chat.properties.messages.type, chat.required], ['object', 'array', ['messages']]);
});

test('what it says is served, below every base path, and with a key where it says so', async () => {
  const router: RouterProcess = await startRouter({ AUXOT_FSYNC: 'no' });
  let worker: ScriptedWorker | null = null;
  try {
    const served = await call(`${router.url}/openapi.json`);
    assert.is(served.status, 200);
    assert.equal(served.json.paths, document.paths);
    // Without one, embeddings are 501.
    const features = ['embeddings'];
    worker = await startWorker(router.wsUrl, {
      hello: { protocol_version: 2, instance_id: 'w', ready: true, features },
    });
    for (const { api, method, path, open } of routes) {
      for (const base of basePaths[api]) {
        const url = `${router.url}${base}${path.replace('{id}', 'test-model')}`;
        const headers = { ...bearer, ...(api === 'anthropic' ? { 'anthropic-version': '2023-06-01' } : {}) };
        const init = { method: method.toUpperCase(), ...(method === 'post' ? { body: '{}' } : {}) };
        const answer = await call(url, { ...init, headers });
        const what = `${init.method} ${url} ${answer.status} ${answer.text}`;
        assert.ok(answer.status < 500, what);
        assert.is.not(answer.json?.error?.type, 'not_found', what);
        const keyless = await call(url, init);
        assert.is(keyless.status, open === true ? 200 : 401, what);
      }
    }
  } finally {
    worker?.close();
    await router.stop();
  }
});

test.run();
