/**
 * Commands for the HTTP surface, and its tiny model: what a request is answered with follows from method, path and key
 * alone, whatever else is going on; and /health counts what runs.
 */
import * as fc from 'fast-check';
import { expect, expectSame } from './case.ts';
import { type Asked, answerText, type Heard, type RouterPeer, type WorkerLine } from './router-peer.ts';

export interface HttpModel {
  running: number;
}
export interface HttpReal {
  readonly peer: RouterPeer;
  readonly line: WorkerLine;
  readonly open: { readonly asked: Asked; readonly job: Heard }[];
}
type HttpCommand = fc.AsyncCommand<HttpModel, HttpReal, boolean>;

export const slots = 4;

const keys = ['right', 'wrong', 'none'] as const;
type Key = (typeof keys)[number];

/** Path, method, and the status with a right key and without one. */
const routes = [
  ['/health', 'GET', 200, 200],
  ['/nope', 'GET', 404, 404],
  ['/api/openai/nope', 'POST', 501, 501],
  ['/api/openai/models', 'GET', 200, 401],
  ['/api/openai/v1/models', 'GET', 200, 401],
  ['/v1/models', 'GET', 200, 401],
  ['/api/openai/models/no-such-model', 'GET', 404, 401],
  ['/api/openai/chat/completions', 'POST', 400, 401],
  ['/api/openai/chat/completions/no-such-id', 'GET', 404, 401],
  ['/api/anthropic/v1/messages', 'POST', 400, 401],
  ['/api/anthropic/v1/models', 'GET', 200, 401],
  ['/api/anthropic/v1/no-such-thing', 'GET', 501, 401],
] as const;

const request = ([path, method, right, otherwise]: (typeof routes)[number], key: Key, body: string): HttpCommand => ({
  check: () => true,
  async run(_model, { peer }) {
    const authorization = { right: `Bearer ${peer.key()}`, wrong: `Bearer rtr_${'w'.repeat(43)}`, none: '' }[key];
    const headers = { 'content-type': 'application/json', ...(key === 'none' ? {} : { authorization }) };
    const answer = await peer.call(path, { method, headers, ...(method === 'POST' ? { body } : {}) });
    expectSame(answer.status, key === 'right' ? right : otherwise, `${method} ${path} with ${key} key`);
    expect((answer.headers.get('x-request-id') ?? answer.headers.get('request-id')) !== null, 'it has no request id');
  },
  toString: () => `${method} ${path} (${key} key)`,
});

const counted = async ({ running }: HttpModel, { peer }: HttpReal): Promise<void> =>
  peer.untilHealth(
    ({ active_jobs: active, available, total_slots: total }) => active === running && available === total - running,
    `${running} jobs should run`,
  );

const start = (stream: boolean): HttpCommand => ({
  check: ({ running }) => running < slots,
  async run(model, real) {
    real.open.push(await real.peer.askFor(real.line, { stream }));
    model.running += 1;
    await counted(model, real);
  },
  toString: () => `start(${stream ? 'streamed' : 'whole'})`,
});

const finish = (n: number): HttpCommand => ({
  check: ({ running }) => running > 0,
  async run(model, real) {
    const [one] = real.open.splice(n % real.open.length, 1);
    expect(one !== undefined, 'nothing is open');
    real.line.complete(one.job, one.job.job_id, 0);
    expectSame(answerText(await one.asked.answer), one.job.job_id, 'the answer');
    model.running -= 1;
    await counted(model, real);
  },
  toString: () => `finish(${n})`,
});

export const httpCommands = fc.commands<HttpModel, HttpReal, boolean>(
  [
    fc
      .record({
        route: fc.constantFrom(...routes),
        key: fc.constantFrom(...keys),
        body: fc.constantFrom('', '{', '[]', 'null', '{}', '{"messages":[]}', '{"messages":7}'),
      })
      .map(({ route, key, body }) => request(route, key, body)),
    fc.boolean().map(start),
    fc.nat(7).map(finish),
  ],
  { maxCommands: 30, size: 'max' },
);
