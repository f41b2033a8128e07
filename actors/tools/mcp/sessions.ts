/**
 * The warm sessions of all MCP servers: one for each server, set of credentials and, where it keeps a state, conversation.
 *
 * P1. Two callers that need the same session at the same time start it once.
 * P2. A server that cannot be started, or ends by itself, is not started again before a pause that grows with every time.
 * P3. A session that nobody uses for its idle time ends; so does the one that rested longest when too many are open.
 */
import { createHash } from 'node:crypto';
import type { Env } from '../../config/env.ts';
import { plainEnvironment } from '../credentials.ts';
import { ToolError } from '../tool.ts';
import type { Egress } from '../web/egress.ts';
import type { McpServer } from './server-config.ts';
import { type McpSession, openSession } from './session.ts';

export interface SessionsOptions {
  readonly env: Env;
  readonly egress: Egress;
  readonly version: string;
  readonly sessionsMax?: number;
}

export interface Sessions {
  /** Runs `use` with the session, started if need be. `scope`: a conversation with a session of its own. */
  with<T>(
    server: McpServer,
    credentials: Readonly<Record<string, string>>,
    scope: string | null,
    use: (session: McpSession) => Promise<T>,
  ): Promise<T>;
  onToolsChanged(slug: string, told: () => void): void;
  close(): Promise<void>;
  readonly size: number;
}

const sessionsMaxDefault = 32;
const pauseMsMin = 500;
const pauseMsMax = 60_000;
/** A session that lived so long was good. */
const goodMs = 30_000;
const serversMax = 1000;

interface Slot {
  readonly opening: Promise<McpSession>;
  readonly abort: AbortController;
  session: McpSession | null;
  users: number;
  restedAt: number;
  idle: NodeJS.Timeout | null;
  ending: boolean;
}

export function openSessions({ env, egress, version, sessionsMax = sessionsMaxDefault }: SessionsOptions): Sessions {
  const slots = new Map<string, Slot>();
  const pauses = new Map<string, { times: number; until: number; why: string }>();
  const listeners = new Map<string, () => void>();
  let closed = false;

  const end = async (key: string, slot: Slot): Promise<void> => {
    if (slot.ending) return;
    slot.ending = true;
    if (slot.idle !== null) clearTimeout(slot.idle);
    if (slots.get(key) === slot) slots.delete(key);
    slot.abort.abort();
    const session = slot.session ?? (await slot.opening.catch(() => null));
    await session?.close();
  };
  const failedOnce = (key: string, why: string): void => {
    const times = (pauses.get(key)?.times ?? 0) + 1;
    if (pauses.size > serversMax) pauses.clear();
    pauses.set(key, { times, why, until: Date.now() + Math.min(pauseMsMax, pauseMsMin * 2 ** (times - 1)) });
  };
  const makeRoom = (): void => {
    if (slots.size < sessionsMax) return;
    const resting = [...slots]
      .filter(([, slot]) => slot.users === 0)
      .sort(([, a], [, b]) => a.restedAt - b.restedAt)[0];
    if (resting === undefined)
      throw new ToolError('overloaded', `${slots.size} sessions of MCP servers are in use, and no more may be`);
    void end(...resting);
  };

  const start = (key: string, server: McpServer, credentials: Readonly<Record<string, string>>): Slot => {
    const pause = pauses.get(key);
    if (pause !== undefined && Date.now() < pause.until) {
      const seconds = Math.ceil((pause.until - Date.now()) / 1000);
      throw new ToolError('tool_failed', `${pause.why} (it is tried again in ${seconds} s)`);
    }
    makeRoom();
    const own = server.kind === 'stdio' ? { ...server.env, ...credentials } : { ...server.headers, ...credentials };
    const openedAt = Date.now();
    const abort = new AbortController();
    const slot: Slot = {
      abort,
      opening: openSession({
        server,
        env: server.kind === 'stdio' ? { ...plainEnvironment(env), ...own } : {},
        secrets: own,
        egress,
        version,
        signal: abort.signal,
        onClosed: () => {
          if (slots.get(key) !== slot) return;
          slots.delete(key);
          if (slot.idle !== null) clearTimeout(slot.idle);
          if (slot.ending || slot.session === null) return;
          if (Date.now() - openedAt > goodMs) pauses.delete(key);
          failedOnce(key, `the MCP server ${server.slug} ended by itself`);
        },
        onToolsChanged: () => listeners.get(server.slug)?.(),
      }),
      session: null,
      users: 0,
      restedAt: openedAt,
      idle: null,
      ending: false,
    };
    slots.set(key, slot);
    slot.opening.then(
      session => {
        slot.session = session;
        if (closed || slot.ending) void session.close();
      },
      error => {
        if (slots.get(key) === slot) slots.delete(key);
        failedOnce(key, error instanceof Error ? error.message : String(error));
      },
    );
    return slot;
  };

  return {
    async with(server, credentials, scope, use) {
      if (closed) throw new ToolError('worker_stopping', 'this tools worker is stopping');
      const key = keyOf(server, credentials, scope);
      let slot = slots.get(key);
      if (slot?.session?.closed === true) {
        slots.delete(key);
        slot = undefined;
      }
      slot ??= start(key, server, credentials);
      slot.users += 1;
      if (slot.idle !== null) clearTimeout(slot.idle);
      const used = slot;
      try {
        const done = await use(await used.opening);
        pauses.delete(key);
        return done;
      } finally {
        used.users -= 1;
        used.restedAt = Date.now();
        if (used.users === 0 && slots.get(key) === used) {
          used.idle = setTimeout(() => void end(key, used), server.idleMs);
          used.idle.unref();
        }
      }
    },
    onToolsChanged: (slug, told) => void listeners.set(slug, told),
    async close() {
      closed = true;
      await Promise.allSettled([...slots].map(([key, slot]) => end(key, slot)));
    },
    get size() {
      return slots.size;
    },
  };
}

/** A digest: credentials are no key of a map that somebody may print. */
function keyOf(server: McpServer, credentials: Readonly<Record<string, string>>, scope: string | null): string {
  const sorted = Object.entries(credentials).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([server, sorted, scope]))
    .digest('base64url');
}
