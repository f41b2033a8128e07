/** The HTTP surface of a router as far as routing, keys and robustness go (http-api.md §1, §2, §10.1 and §10.2). */
import type { Answer } from '../callers.ts';
import { type Case, expect, expectSame, shown } from './case.ts';
import { answerText, type Heard, type RouterPeer, type WorkerLine } from './router-peer.ts';

const bearer = (peer: RouterPeer) => ({ authorization: `Bearer ${peer.key()}` });
const post = (headers: Record<string, string>, body: string | Uint8Array<ArrayBuffer>): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body,
});
const chatBody = JSON.stringify({ messages: [{ role: 'user', content: 'hi' }] });
const chatPath = '/api/openai/chat/completions';
const messagesPath = '/api/anthropic/v1/messages';

/** An error in the envelope of its family, with a message and a type. */
function isError(answer: Answer, statuses: readonly number[], type?: string): void {
  const { status, headers, json, text } = answer;
  expect(statuses.includes(status), `status ${status} where ${statuses} is expected: ${text.slice(0, 200)}`);
  expect(
    /^application\/json/.test(headers.get('content-type') ?? ''),
    `content-type is ${headers.get('content-type')}`,
  );
  const error: Heard = json?.error;
  expect(typeof error?.message === 'string' && error.message !== '', `error.message is missing: ${text.slice(0, 200)}`);
  expect(typeof error.type === 'string' && error.type !== '', `error.type is missing: ${text.slice(0, 200)}`);
  if (type !== undefined) expectSame(error.type, type, 'error.type');
}

function isAnthropicError(answer: Answer, status: number, type: string): void {
  isError(answer, [status], type);
  expectSame(answer.json.type, 'error', 'type');
  expect(/^req_/.test(answer.json.request_id), `request_id is ${shown(answer.json.request_id)}`);
}

/** Answers every job that it is given. */
async function served(peer: RouterPeer): Promise<WorkerLine> {
  const line = await peer.worker();
  void (async () => {
    while (line.isOpen()) {
      const job = await line.next('job', undefined, 15_000).catch(() => null);
      if (job === null) return;
      line.complete(job, 'served', 0);
    }
  })();
  return line;
}

const keyedRoutes = [
  ['POST', chatPath],
  ['GET', chatPath],
  ['GET', `${chatPath}/some-id`],
  ['DELETE', `${chatPath}/some-id`],
  ['GET', `${chatPath}/some-id/messages`],
  ['POST', '/api/openai/completions'],
  ['POST', '/api/openai/embeddings'],
  ['GET', '/api/openai/models'],
  ['GET', '/api/openai/models/some-id'],
  ['POST', messagesPath],
  ['POST', `${messagesPath}/count_tokens`],
] as const;

export const httpCases: readonly Case<RouterPeer>[] = [
  {
    id: 'http/health',
    says: 'Health needs no key, counts workers and slots, and holds nothing secret.',
    of: 'http-api §5.3; spec I3, I4, SEC21, SEC22, HL1, HL2',
    async run(peer) {
      const line = await peer.worker({ slots: 2 });
      await peer.untilHealth(
        ({ workers, total_slots: slots }) => workers === 1 && slots === 2,
        'the worker is not told',
      );
      const { status, text } = await peer.call('/health');
      expectSame(status, 200, 'the status');
      for (const secret of [peer.address.gpuKey, peer.address.apiKey ?? 'redis://', 'password', 'secret', 'redis://'])
        expect(!text.includes(secret), 'it holds a secret');
      line.raw.close();
      await peer.untilHealth(
        ({ workers, total_slots: slots }) => workers === 0 && slots === 0,
        'the worker is not forgotten',
      );
    },
  },
  {
    id: 'http/routing/v1-segments',
    says: 'Chat, Messages and models are served with the v1 segments that clients put before them.',
    of: 'http-api §1.2; spec RT1–RT4',
    async run(peer) {
      await served(peer);
      for (const base of ['/api/openai', '/api/openai/v1', '/api/openai/v1/v1']) {
        const answer = await peer.call(`${base}/chat/completions`, post(bearer(peer), chatBody));
        expectSame(answerText(answer), 'served', `the answer under ${base}`);
        expectSame(
          (await peer.call(`${base}/models`, { headers: bearer(peer) })).json?.object,
          'list',
          `${base}/models`,
        );
      }
      for (const base of ['/api/anthropic', '/api/anthropic/v1', '/api/anthropic/v1/v1'])
        isAnthropicError(await peer.call(`${base}/messages`, post(bearer(peer), '{}')), 400, 'invalid_request_error');
    },
  },
  {
    id: 'http/routing/no-redirects',
    says: 'Three v1 segments, doubled slashes and plain /v1 are served, never redirected.',
    of: 'http-api §1.2, §1.3; spec RT12',
    weakness: 'RT12†',
    async run(peer) {
      for (const path of ['/api/openai/v1/v1/v1/models', '//api//openai//models', '/v1/models', '/api/openai/models/'])
        expectSame((await peer.call(path, { headers: bearer(peer) })).json?.object, 'list', path);
      for (const path of ['/api/openai', '/api/anthropic', '/mcp', '/api/tools'])
        expect((await peer.call(path)).status >= 400, `${path} is redirected`);
    },
  },
  {
    id: 'http/routing/unknown-openai',
    says: 'Unknown paths of the OpenAI API, and wrong methods on known ones, are 501 and never 200.',
    of: 'http-api §1.1; spec RT6, RT7, SEC14',
    async run(peer) {
      const headers = bearer(peer);
      isError(await peer.call('/api/openai/nope', { method: 'POST' }), [501], 'not_implemented');
      for (const [method, path] of [
        ['PUT', 'completions'],
        ['PUT', 'chat/completions'],
        ['PATCH', 'chat/completions'],
        ['PUT', 'embeddings'],
        ['POST', 'models'],
        ['PUT', 'models'],
        ['DELETE', 'models'],
        ['POST', 'models/some-id'],
      ] as const)
        isError(await peer.call(`/api/openai/${path}`, { method, headers }), [501], 'not_implemented');
    },
  },
  {
    id: 'http/routing/unknown-anthropic',
    says: 'Unknown Anthropic paths are 501 with a key and 401 without.',
    of: 'http-api §1.1; spec RT8, RT9',
    async run(peer) {
      for (const path of ['files', 'v1/files', 'v1/skills', 'v1/a/b'])
        for (const method of ['GET', 'POST']) {
          const at = `/api/anthropic/${path}`;
          isAnthropicError(await peer.call(at, { method, headers: bearer(peer) }), 501, 'not_implemented_error');
          isAnthropicError(await peer.call(at, { method }), 401, 'authentication_error');
        }
    },
  },
  {
    id: 'http/routing/nowhere',
    says: 'What is nowhere is 404 in the OpenAI envelope.',
    of: 'http-api §1.1; spec RT10',
    async run(peer) {
      for (const path of ['/nope', '/v2/models', '/health/x', '/ws/gpu'])
        isError(await peer.call(path), [404], 'not_found');
    },
  },
  {
    id: 'http/routing/head',
    says: 'HEAD is answered wherever GET is, without a body.',
    of: 'http-api §1.1; spec RT13, RT15',
    weakness: 'RT13†, RT15†',
    async run(peer) {
      for (const path of ['/health', '/api/openai/models', '/api/anthropic', '/api/anthropic/api/hello']) {
        const head = await peer.call(path, { method: 'HEAD', headers: bearer(peer) });
        expectSame([head.status, head.text], [200, ''], `status and body of HEAD ${path}`);
      }
    },
  },
  {
    id: 'http/keys/none',
    says: 'Every route that wants a key says 401 without one, in the envelope of its family.',
    of: 'http-api §2; spec AU1, AU3, AU6, AU12, SEC3',
    async run(peer) {
      for (const [method, path] of keyedRoutes) {
        const answer = await peer.call(path, { method, ...(method === 'POST' ? { body: '{}' } : {}) });
        if (path.startsWith('/api/anthropic')) isAnthropicError(answer, 401, 'authentication_error');
        else isError(answer, [401], 'authentication_error');
      }
    },
  },
  {
    id: 'http/keys/wrong',
    says: 'A wrong, empty, oddly written, long or foreign key is no key.',
    of: 'http-api §2; spec AU2, AU4, AU5, AU7, AU8, SEC1, SEC2, SEC4, SEC5',
    async run(peer) {
      const key = peer.key();
      const wrong = [
        `rtr_${'x'.repeat(43)}`,
        '',
        'k'.repeat(10 * 1024),
        peer.address.gpuKey,
        key.slice(0, -1),
        `${key}x`,
      ];
      for (const authorization of [...wrong.map(one => `Bearer ${one}`), `bearer ${key}`, `Basic ${key}`, key])
        isError(await peer.call(chatPath, post({ authorization }, chatBody)), [401], 'authentication_error');
    },
  },
  {
    id: 'http/keys/anthropic',
    says: 'The Anthropic API takes the key in x-api-key or as a Bearer token, the OpenAI API as a Bearer token only.',
    of: 'http-api §2.2; spec AU11',
    async run(peer) {
      const key = peer.key();
      for (const headers of [{ 'x-api-key': key }, bearer(peer)])
        expectSame((await peer.call(messagesPath, post(headers, '{}'))).status, 400, 'the status with a right key');
      expectSame((await peer.call('/api/openai/models', { headers: { 'x-api-key': key } })).status, 401, 'the status');
    },
  },
  {
    id: 'http/keys/either',
    says: 'Any right key opens the Anthropic API, also beside a wrong one.',
    of: 'http-api §2; spec AU13',
    weakness: 'AU13†',
    async run(peer) {
      const headers = { 'x-api-key': 'wrong', ...bearer(peer) };
      expectSame((await peer.call(messagesPath, post(headers, '{}'))).status, 400, 'the status');
    },
  },
  {
    id: 'http/bodies/refused',
    says: 'A body that is no request is 4xx, never 200 or 5xx.',
    of: 'http-api §2.4; spec RB1–RB3, RB5, SEC9–SEC11, SEC13',
    async run(peer) {
      const binary = Uint8Array.from({ length: 1024 }, (_, n) => (n * 167 + 13) % 256);
      for (const body of [
        'hello there',
        '{"messages":[{"role":"user","content":',
        '<?xml version="1.0"?><a/>',
        '42',
        '"text"',
        'true',
        'null',
        '{}',
        '[]',
        JSON.stringify(chatBody),
        '',
        `{"messages":${'{"a":'.repeat(100)}1${'}'.repeat(100)}}`,
        binary,
      ])
        isError(await peer.call(chatPath, post(bearer(peer), body)), [400], 'invalid_request_error');
      for (const path of [messagesPath, `${messagesPath}/count_tokens`])
        isAnthropicError(await peer.call(path, post(bearer(peer), '')), 400, 'invalid_request_error');
    },
  },
  {
    id: 'http/bodies/second-value',
    says: 'A second JSON value behind the request is refused.',
    of: 'http-api §8',
    weakness: 'not in the list: reference decoders read one value',
    async run(peer) {
      isError(await peer.call(chatPath, post(bearer(peer), `${chatBody} {}`)), [400], 'invalid_request_error');
    },
  },
  {
    id: 'http/bodies/megabyte',
    says: 'A megabyte of text is taken, and reaches the worker whole.',
    of: 'spec RB4, SEC12',
    async run(peer) {
      const text = 'word '.repeat(200_000);
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line, { messages: [{ role: 'user', content: text }] });
      expect(job.messages[0].content === text, `${job.messages[0].content.length} characters came`);
      line.complete(job, 'x', 0);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
    },
  },
  {
    id: 'http/ids/hostile',
    says: 'Hostile model and completion ids are unknown ids: 4xx, and never HTML.',
    of: 'spec RB6, RB8, SEC15, SEC16, SEC23',
    async run(peer) {
      const ids = ['..%2F..%2Fetc%2Fpasswd', 'a%00b', '%3Cscript%3Ealert(1)%3C%2Fscript%3E', "'%20OR%201=1", '{{7*7}}'];
      for (const id of ids)
        for (const [method, path] of [
          ['GET', '/api/openai/models'],
          ['GET', chatPath],
          ['DELETE', chatPath],
        ] as const) {
          const { status, headers } = await peer.call(`${path}/${id}`, { method, headers: bearer(peer) });
          expect((status >= 400 && status < 500) || status === 301, `${method} ${path}/${id}: ${status}`);
          expect(
            !/html/.test(headers.get('content-type') ?? '') || status === 301,
            `${path}/${id} is answered in HTML`,
          );
        }
    },
  },
  {
    id: 'http/errors/whole',
    says: 'Errors of the OpenAI API have message, type, param and code, and every response has a request id.',
    of: 'http-api §2.3; spec RB7, RB10, OA36, SEC17',
    weakness: 'OA36†, RB10†',
    async run(peer) {
      for (const answer of [
        await peer.call('/api/openai/models'),
        await peer.call(chatPath, post(bearer(peer), '{')),
        await peer.call('/api/openai/models/unknown', { headers: bearer(peer) }),
        await peer.call('/nope'),
      ]) {
        expectSame(Object.keys(answer.json?.error ?? {}).sort(), ['code', 'message', 'param', 'type'], 'the keys');
        expect((answer.headers.get('x-request-id') ?? '') !== '', 'x-request-id is missing');
      }
      const messages = await peer.call(messagesPath, post(bearer(peer), '{}'));
      expectSame(messages.headers.get('request-id'), messages.json?.request_id, 'request-id');
    },
  },
];
