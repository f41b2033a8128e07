import { request } from 'undici';
import type { Health } from './doctor.ts';

const healthMsMax = 10_000;

/** Asks a router how it is. Rejects when nobody answers. */
export async function askHealth(url: string): Promise<Health> {
  const askedAt = Date.now();
  const { username, password } = new URL(url);
  const basic = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
  // `fetch` would refuse the ports that browsers refuse, where a router may well listen.
  const answer = await request(url, {
    signal: AbortSignal.timeout(healthMsMax),
    headers: username === '' ? {} : { authorization: `Basic ${basic}` },
  });
  await answer.body.dump();
  const answeredAt = Date.now();
  const theirs = Date.parse(String(answer.headers.date ?? ''));
  const dates = Number.isNaN(theirs) ? null : { theirs, ours: (askedAt + answeredAt) / 2 };
  return { status: answer.statusCode, ms: answeredAt - askedAt, dates };
}
