/**
 * Cursor: `cursor-agent --print --output-format stream-json --stream-partial-output`.
 *
 * It takes one prompt and no history, so the conversation is written into that prompt, each message under its speaker's
 * name. It has no way to be given tools that somebody else runs, nor images; both are refused. Its own tools run when the
 * policy lists `force`. Written from its documented output format; tried with a stand-in program only.
 */
import type { EngineJob } from '../engine/engine.ts';
import type { CliDriver, CliJob, CliSaying, Launch, Listener } from './cli.ts';
import { type Conversation, conversationOf, record, type Turn } from './conversation.ts';
import { SaidText } from './said-text.ts';

/** One argument of a program may have 128 KiB on Linux, and a character up to four bytes. */
const promptCharsMax = 32_000;

type Fields = Readonly<Record<string, unknown>>;

export const cursor: CliDriver = {
  name: 'cursor',
  title: 'Cursor',
  command: 'cursor-agent',
  pathVariable: 'CURSOR_AGENT_PATH',
  versionMin: '0.0.0',
  helpArgs: ['--help'],
  needs: ['--print', '--output-format', '--stream-partial-output'],
  passes: [/^CURSOR_/],
  login: { variable: 'CURSOR_CONFIG_DIR', folder: '.cursor', file: 'cli-config.json' },
  features: [],
  toolsByMcp: false,

  refuses({ tools, messages }: EngineJob): string | null {
    if ((tools?.length ?? 0) > 0) return 'tools: it cannot be given tools that the caller runs';
    const conversation = conversationOf(messages);
    const { history, prompt } = conversation;
    if (promptOf(conversation).length > promptCharsMax)
      return `messages: it takes its prompt as an argument, of at most ${promptCharsMax} characters`;
    const hasImage = prompt.images.length > 0 || history.some(turn => turn.role === 'user' && turn.images.length > 0);
    return hasImage ? 'messages: it cannot be given images' : null;
  },

  launch({ conversation, model, builtins, place }: CliJob): Launch {
    const args = ['--print', '--output-format', 'stream-json', '--stream-partial-output'];
    if (model !== '') args.push('--model', model);
    if (builtins.includes('force')) args.push('--force');
    return { args: [...args, promptOf(conversation)], env: { CURSOR_CONFIG_DIR: place.config } };
  },

  listen: () => new CursorListener(),
};

/** The whole conversation as one text. A single question stands as it is. */
export function promptOf({ system, history, prompt }: Conversation): string {
  const asked = history.length === 0 ? prompt.text : [...history.map(told), `User: ${prompt.text}`].join('\n\n');
  return system === '' ? asked : `${system}\n\n${asked}`;
}

function told(turn: Turn): string {
  switch (turn.role) {
    case 'user':
      return `User: ${turn.text}`;
    case 'assistant':
      return `Assistant: ${[turn.text, ...turn.calls.map(call => `[called ${call.name}(${call.arguments})]`)].join(' ').trim()}`;
    case 'results':
      return turn.results.map(({ text, isError }) => `Tool ${isError ? 'error' : 'result'}: ${text}`).join('\n\n');
  }
}

class CursorListener implements Listener {
  readonly opening: readonly string[] = [];
  /** Of the message that is being written; the whole message repeats its pieces. */
  #pieces = '';
  readonly #text = new SaidText();

  hear(event: Fields): CliSaying[] {
    switch (event.type) {
      case 'assistant':
        return this.#said(textOf(record(event.message).content));
      case 'thinking':
        return typeof event.text === 'string' && event.text !== '' ? [{ kind: 'reasoning', text: event.text }] : [];
      case 'tool_call':
        this.#pieces = '';
        this.#text.messageBegins();
        return [];
      case 'result':
        if (event.is_error === true || event.subtype !== 'success')
          return [failureOf(String(event.result ?? event.subtype))];
        return [{ kind: 'done', finishReason: 'stop' }];
      default:
        return [];
    }
  }

  #said(text: string): CliSaying[] {
    if (this.#pieces !== '' && text === this.#pieces) return [];
    this.#pieces += text;
    return this.#text.say(text);
  }
}

const textOf = (content: unknown): string =>
  (Array.isArray(content) ? content : [])
    .map(record)
    .map(({ text }) => (typeof text === 'string' ? text : ''))
    .join('');

function failureOf(text: string): CliSaying {
  const message = `Cursor: ${text.trim().slice(0, 1000)}`;
  if (/rate.?limit|usage limit|overloaded|too many requests/i.test(text))
    return { kind: 'limit', message, retryAfterMs: null };
  if (/context.{0,20}(length|window|limit)|too long/i.test(text))
    return { kind: 'failed', code: 'context_length_exceeded', message };
  return { kind: 'failed', code: 'internal_error', message };
}
