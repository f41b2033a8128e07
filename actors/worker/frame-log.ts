/**
 * Shows a person the frames between a worker and its router: `--debug`.
 *
 * - No secret is shown, at either level: keys, credentials and headers become `***`.
 * - Level 1 has what happens, without what is said: no tokens, answers or signs of life, and of a job only its outline.
 *   Level 2 has every frame whole, prompts and answers with it; images become their size, and long texts are cut.
 */
import { isRecord } from '../../protocol/record.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Dial } from './socket.ts';

export type DebugLevel = 1 | 2;

export const loggedDial =
  (dial: Dial, level: DebugLevel, diagnostics: Diagnostics): Dial =>
  (url, events) => {
    const show = (msg: 'ws_send' | 'ws_recv', text: string): void => {
      const payload = shown(text, level);
      if (payload === null) return;
      const [source, dest] = msg === 'ws_send' ? ['worker', 'router'] : ['router', 'worker'];
      diagnostics.debug(msg, { source, dest, payload });
    };
    const socket = dial(url, {
      ...events,
      onText: text => {
        show('ws_recv', text);
        events.onText(text);
      },
    });
    return {
      send: text => {
        show('ws_send', text);
        socket.send(text);
      },
      ping: () => socket.ping(),
      close: (code, reason) => socket.close(code, reason),
      terminate: () => socket.terminate(),
      get bufferedBytes() {
        return socket.bufferedBytes;
      },
    };
  };

const quiet: ReadonlySet<unknown> = new Set(['heartbeat', 'heartbeat_ack', 'token', 'ack', 'complete']);

/** null: nothing of this frame at this level. */
export function shown(text: string, level: DebugLevel): unknown {
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return level === 1 ? `(not JSON, ${text.length} characters)` : cut(text);
  }
  if (!isRecord(frame)) return masked(frame, '');
  if (level === 2) return masked(frame, '');
  if (quiet.has(frame.type)) return null;
  return masked(frame.type === 'job' ? outline(frame) : frame, '');
}

function outline(job: Record<string, unknown>): Record<string, unknown> {
  const { type, job_id, attempt, temperature, max_tokens, reasoning_effort, tools, messages } = job;
  const names = Array.isArray(tools)
    ? tools.map(tool => (isRecord(tool) && isRecord(tool.function) ? tool.function.name : '?'))
    : undefined;
  const count = Array.isArray(messages) ? messages.length : undefined;
  return { type, job_id, attempt, temperature, max_tokens, reasoning_effort, tools: names, messages: count };
}

/** By the names of fields; `token` is what a frame of an answer calls its text, and no secret. */
const secret = /(?:^|_)(?:key|secret|password|authorization|credentials?|headers?)$|^static_value$|_token$/i;
const charactersMax = 20_000;

function masked(value: unknown, name: string): unknown {
  if (secret.test(name))
    return isRecord(value) ? Object.fromEntries(Object.keys(value).map(key => [key, '***'])) : '***';
  if (typeof value === 'string')
    return /^(?:data|bytes)$/.test(name) && value.length > 64
      ? `<${value.length} characters of data>`
      : cut(imagesOut(value));
  if (Array.isArray(value)) return value.map(item => masked(item, ''));
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, masked(item, key)]));
}

const imagesOut = (text: string): string =>
  text.replace(
    /data:([\w.+-]+\/[\w.+-]+);base64,([A-Za-z0-9+/=]+)/g,
    (_, type: string, data: string) =>
      `<${type}, ${data.length} characters, about ${Math.ceil((data.length * 3) / 4096)} KiB>`,
  );

const cut = (text: string): string =>
  text.length <= charactersMax
    ? text
    : `${text.slice(0, charactersMax)}… (${text.length - charactersMax} more characters)`;
