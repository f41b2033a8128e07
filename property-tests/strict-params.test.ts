/** AUXOT_STRICT_PARAMS on a real router process: fields without effect are refused by name. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { call, chat, chatInit, untilHealth, userSays } from './callers.ts';
import { startRouter } from './processes.ts';
import { startWorker } from './scripted-worker.ts';

test('fields without effect are accepted, or refused by name where that is asked for', async () => {
  for (const strict of ['true', 'false']) {
    const router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_STRICT_PARAMS: strict });
    const worker = await startWorker(router.wsUrl);
    try {
      await untilHealth(router.url, ({ total_slots }) => total_slots > 0, 'the worker is not offered');
      const completion = await chat(router.url, { service_tier: 'auto' });
      const message = await call(
        `${router.url}/v1/messages`,
        chatInit({ model: 'm', max_tokens: 9, messages: userSays('hi'), metadata: { user_id: 'u' } }),
      );
      if (strict === 'false') assert.equal([completion.status, message.status], [200, 200]);
      else {
        assert.equal([completion.status, message.status], [400, 400]);
        const { param, code } = completion.json.error;
        assert.equal([param, code], ['service_tier', 'unsupported_parameter']);
        assert.match(message.json.error.message, /metadata/);
        assert.is((await chat(router.url, { temperature: 1 })).status, 200);
      }
    } finally {
      worker.close();
      await router.stop();
    }
  }
});

test.run();
