/**
 * The history of a conversation as a session file of Claude Code: one JSON object a line, each naming its parent.
 *
 * The instants grow from line to line: it takes the latest as the end of the conversation. A title in front saves it from
 * asking its model for one. Every tool result stands behind its call, or it would leave the call out.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { imageBlock } from './claude.ts';
import type { CliJob } from './cli.ts';
import type { Turn } from './conversation.ts';

const isoOf = (n: number): string => new Date(Date.UTC(2020, 0, 1) + n * 1000).toISOString();

/** Writes the file where the program looks for it. Returns the session's id; null when there is no history. */
export function writeSession({ conversation, place, model, tools }: CliJob, toolPrefix: string): string | null {
  const { history } = conversation;
  if (history.length === 0) return null;
  const session = randomUUID();
  const offered = new Set(tools.map(({ name }) => name));
  let parent: string | null = null;
  const lines: object[] = [];
  for (const turn of history) {
    const uuid = randomUUID();
    lines.push({
      parentUuid: parent,
      isSidechain: false,
      userType: 'external',
      cwd: place.work,
      sessionId: session,
      version: '1.0.0',
      gitBranch: '',
      type: turn.role === 'assistant' ? 'assistant' : 'user',
      message: messageOf(turn, uuid, model, name => (offered.has(name) ? toolPrefix + name : name)),
      uuid,
      timestamp: isoOf(lines.length),
    });
    parent = uuid;
  }
  lines.unshift({ type: 'summary', summary: 'Conversation', leafUuid: parent });
  const folder = join(place.config, 'projects', place.work.replace(/[^a-zA-Z0-9]/g, '-'));
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const text = lines.map(line => JSON.stringify(line)).join('\n');
  fs.writeFileSync(join(folder, `${session}.jsonl`), `${text}\n`, { mode: 0o600 });
  return session;
}

function messageOf(turn: Turn, id: string, model: string, nameOf: (name: string) => string): object {
  switch (turn.role) {
    case 'user':
      return { role: 'user', content: notEmpty([...textBlocks(turn.text), ...turn.images.map(imageBlock)]) };
    case 'results':
      return {
        role: 'user',
        content: turn.results.map(({ callId, text, images, isError }) => ({
          type: 'tool_result',
          tool_use_id: callId,
          content: notEmpty([...textBlocks(text), ...images.map(imageBlock)]),
          ...(isError ? { is_error: true } : {}),
        })),
      };
    case 'assistant':
      return {
        id,
        type: 'message',
        role: 'assistant',
        model,
        content: notEmpty([
          ...textBlocks(turn.text),
          ...turn.calls.map(call => ({
            type: 'tool_use',
            id: call.id,
            name: nameOf(call.name),
            input: inputOf(call.arguments),
          })),
        ]),
        stop_reason: turn.calls.length > 0 ? 'tool_use' : 'end_turn',
        stop_sequence: null,
        usage: { input_tokens: 0, output_tokens: 0 },
      };
  }
}

const textBlocks = (text: string): object[] => (text === '' ? [] : [{ type: 'text', text }]);

/** The API refuses a message without content. */
const notEmpty = (blocks: object[]): object[] => (blocks.length > 0 ? blocks : [{ type: 'text', text: '(empty)' }]);

function inputOf(json: string): object {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
  } catch {
    return {};
  }
}
