/**
 * What Claude Code prints, line by line (`--output-format stream-json --include-partial-messages`).
 *
 * Its deltas are those of the Messages API. What it makes up itself instead of an answer (not logged in, no credit, the
 * provider's errors) comes as text of a `<synthetic>` model and a result with `is_error`: that is an error (C5). Calls of
 * the caller's tools are complete when the message that holds them stops; nothing after that counts (C8).
 */
import type { CliSaying, CliUsage, Listener } from './cli.ts';
import { record } from './conversation.ts';
import { SaidText } from './said-text.ts';

type Fields = Readonly<Record<string, unknown>>;

interface OpenCall {
  readonly id: string;
  readonly name: string;
  json: string;
}

const rejected = 'rejected';

export class ClaudeListener implements Listener {
  readonly opening: readonly string[];
  readonly #toolPrefix: string;
  readonly #tools: ReadonlySet<string>;
  /** Once deltas came, whole messages say nothing new. */
  #streams = false;
  readonly #text = new SaidText();
  #call: OpenCall | null = null;
  #calls = 0;
  #stopReason = '';
  #usage: CliUsage = { input: 0, cached: 0, output: 0, reasoning: 0 };
  /** Of the message being written; added when it ends. */
  #current: CliUsage = this.#usage;

  constructor(openingLine: string, toolPrefix: string, tools: ReadonlySet<string>) {
    this.opening = [openingLine];
    this.#toolPrefix = toolPrefix;
    this.#tools = tools;
  }

  hear(event: Fields): CliSaying[] {
    // What a helper of its own says to it is none of the caller's business.
    if (typeof event.parent_tool_use_id === 'string') return [];
    switch (event.type) {
      case 'system':
        return this.#began(event);
      case 'stream_event':
        this.#streams = true;
        return this.#delta(record(event.event));
      case 'assistant':
        return this.#streams ? [] : this.#whole(record(event.message));
      case 'rate_limit_event':
        return limitOf(record(event.rate_limit_info));
      case 'control_request':
        return permission(event);
      case 'result':
        return this.#over(event);
      default:
        return [];
    }
  }

  #began(event: Fields): CliSaying[] {
    if (event.subtype !== 'init' || this.#tools.size === 0) return [];
    const servers = Array.isArray(event.mcp_servers) ? event.mcp_servers.map(record) : [];
    if (servers.some(({ status }) => status === 'connected' || status === 'pending')) return [];
    return [{ kind: 'failed', code: 'internal_error', message: 'Claude Code could not reach the tools of this job' }];
  }

  #delta(event: Fields): CliSaying[] {
    switch (event.type) {
      case 'message_start':
        this.#text.messageBegins();
        this.#current = usageOf(record(record(event.message).usage));
        return [];
      case 'content_block_start':
        return this.#blockBegan(record(event.content_block));
      case 'content_block_delta':
        return this.#blockGrew(record(event.delta));
      case 'content_block_stop':
        return this.#blockEnded();
      case 'message_delta': {
        const { stop_reason: reason } = record(event.delta);
        if (typeof reason === 'string') this.#stopReason = reason;
        this.#current = later(this.#current, usageOf(record(event.usage)));
        return [];
      }
      case 'message_stop':
        this.#usage = sum(this.#usage, this.#current);
        if (this.#calls === 0) return [];
        return [
          { kind: 'usage', usage: this.#usage },
          { kind: 'done', finishReason: 'tool_calls' },
        ];
      default:
        return [];
    }
  }

  #blockBegan({ type, id, name, text }: Fields): CliSaying[] {
    if (type === 'text' && typeof text === 'string' && text !== '') return this.#text.say(text);
    if (type !== 'tool_use') return [];
    const called = this.#callerTool(name);
    if (called === null) return [];
    this.#call = { id: String(id), name: called, json: '' };
    return [{ kind: 'callBegun' }];
  }

  #blockGrew({ type, text, thinking, partial_json: json }: Fields): CliSaying[] {
    if (type === 'text_delta' && typeof text === 'string') return this.#text.say(text);
    if (type === 'thinking_delta' && typeof thinking === 'string') return [{ kind: 'reasoning', text: thinking }];
    if (type === 'input_json_delta' && typeof json === 'string' && this.#call !== null) this.#call.json += json;
    return [];
  }

  #blockEnded(): CliSaying[] {
    const call = this.#call;
    if (call === null) return [];
    this.#call = null;
    this.#calls += 1;
    return [{ kind: 'call', id: call.id, name: call.name, arguments: call.json === '' ? '{}' : call.json }];
  }

  /** A program that does not stream: the message as it is. */
  #whole({ model, content, usage, stop_reason: reason }: Fields): CliSaying[] {
    if (model === '<synthetic>') return [];
    if (typeof reason === 'string') this.#stopReason = reason;
    this.#text.messageBegins();
    this.#usage = later(this.#usage, usageOf(record(usage)));
    return (Array.isArray(content) ? content.map(record) : []).flatMap((block): CliSaying[] => {
      if (block.type === 'thinking') return [{ kind: 'reasoning', text: String(block.thinking ?? '') }];
      if (block.type === 'text') return this.#text.say(String(block.text ?? ''));
      const name = block.type === 'tool_use' ? this.#callerTool(block.name) : null;
      if (name === null) return [];
      this.#calls += 1;
      const args = JSON.stringify(block.input ?? {});
      return [{ kind: 'callBegun' }, { kind: 'call', id: String(block.id), name, arguments: args }];
    });
  }

  #callerTool(name: unknown): string | null {
    if (typeof name !== 'string' || !name.startsWith(this.#toolPrefix)) return null;
    const bare = name.slice(this.#toolPrefix.length);
    return this.#tools.has(bare) ? bare : null;
  }

  #over(event: Fields): CliSaying[] {
    if (event.is_error === true || (typeof event.subtype === 'string' && event.subtype !== 'success'))
      return [failureOf(String(event.result ?? event.subtype ?? 'it gave no reason'))];
    const total = usageOf(record(event.usage));
    const usage = total.output > 0 ? total : this.#usage;
    const finishReason = this.#calls > 0 ? 'tool_calls' : this.#stopReason === 'max_tokens' ? 'length' : 'stop';
    return [
      { kind: 'usage', usage },
      { kind: 'done', finishReason },
    ];
  }
}

/** What it prints when its provider, or its own login, refuses. */
export function failureOf(text: string): CliSaying {
  const message = `Claude Code: ${text.trim().slice(0, 1000)}`;
  const until = /usage limit reached\|(\d{10,})/i.exec(text)?.[1];
  if (until !== undefined || /usage limit|rate.?limit|API Error: 429|API Error: 529|overloaded/i.test(text))
    return { kind: 'limit', message, retryAfterMs: until === undefined ? null : msUntil(Number(until)) };
  if (/prompt is too long|context.{0,20}(length|window|limit)|input is too long/i.test(text))
    return { kind: 'failed', code: 'context_length_exceeded', message };
  if (/\/login|invalid api key|authentication|API Error: 40[13]|credit balance|expired/i.test(text))
    return { kind: 'failed', code: 'internal_error', message: `${message} (log in on the worker's machine)` };
  if (/API Error: 400|could not process image|invalid_request_error/i.test(text))
    return { kind: 'failed', code: 'invalid_request', message };
  return { kind: 'failed', code: 'internal_error', message };
}

/** Only a refusal is a limit; a warning comes with a good answer (C17). */
function limitOf({ status, resetsAt }: Fields): CliSaying[] {
  if (status !== rejected) return [];
  const retryAfterMs = typeof resetsAt === 'number' ? msUntil(resetsAt) : null;
  return [{ kind: 'limit', message: 'Claude Code: its usage limit is reached', retryAfterMs }];
}

/** `at` in seconds, or ms, since 1970. */
const msUntil = (at: number): number => Math.max(0, (at > 1e12 ? at : at * 1000) - Date.now());

/** Tools that the policy does not list are not there; those that are may run. */
function permission(event: Fields): CliSaying[] {
  const request = record(event.request);
  if (request.subtype !== 'can_use_tool') return [];
  const isOurs = String(request.tool_name ?? '').startsWith('mcp__');
  const response = isOurs
    ? { behavior: 'deny', message: 'The caller makes this call.' }
    : { behavior: 'allow', updatedInput: request.input ?? {} };
  const line = JSON.stringify({
    type: 'control_response',
    response: { subtype: 'success', request_id: event.request_id, response },
  });
  return [{ kind: 'write', line }];
}

/** In our terms: `cached` beside the newly evaluated input. Tokens written to the provider's cache are new ones. */
function usageOf(usage: Fields): CliUsage {
  const count = (value: unknown): number => (typeof value === 'number' && value > 0 ? value : 0);
  return {
    input: count(usage.input_tokens) + count(usage.cache_creation_input_tokens),
    cached: count(usage.cache_read_input_tokens),
    output: count(usage.output_tokens),
    reasoning: 0,
  };
}

const later = (a: CliUsage, b: CliUsage): CliUsage => ({
  input: Math.max(a.input, b.input),
  cached: Math.max(a.cached, b.cached),
  output: Math.max(a.output, b.output),
  reasoning: Math.max(a.reasoning, b.reasoning),
});

const sum = (a: CliUsage, b: CliUsage): CliUsage => ({
  input: a.input + b.input,
  cached: a.cached + b.cached,
  output: a.output + b.output,
  reasoning: a.reasoning + b.reasoning,
});
