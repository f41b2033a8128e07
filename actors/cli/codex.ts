/**
 * Codex: `codex app-server`, JSON-RPC over its standard streams, which streams tokens, takes a history, a JSON schema and
 * the caller's tools (`dynamicTools`); `codex exec` can do none of these.
 *
 *   initialize ─▶ thread/start ─▶ thread/inject_items ─▶ turn/start ─▶ deltas … ─▶ turn/completed
 *
 * Its own tools are a shell and what goes with it: there when the policy lists `shell`, in a read-only sandbox, or
 * `workspace-write` when it lists that. Tried with 0.169.0.
 */
import type { CliDriver, CliJob, CliSaying, CliUsage, Launch, Listener } from './cli.ts';
import { type Image, record, type Turn } from './conversation.ts';
import { SaidText } from './said-text.ts';

type Fields = Readonly<Record<string, unknown>>;

const provider = 'auxot';

/** What it would offer its model beside the caller's tools. */
const shellFeatures = ['shell_tool', 'unified_exec', 'view_image'];
const otherFeatures = [
  'apps',
  'goals',
  'hooks',
  'multi_agent',
  'plugins',
  'remote_plugin',
  'skill_search',
  'sleep_tool',
  'tool_suggest',
];
const off = (feature: string): string => `features.${feature}=false`;
const runsCommands = (builtins: readonly string[]): boolean =>
  builtins.includes('shell') || builtins.includes('workspace-write');

export const codex: CliDriver = {
  name: 'codex',
  title: 'Codex',
  command: 'codex',
  pathVariable: 'CODEX_PATH',
  versionMin: '0.160.0',
  helpArgs: ['app-server', '--help'],
  needs: ['--config'],
  passes: [/^OPENAI_/, /^CODEX_(?!HOME$)/],
  login: { variable: 'CODEX_HOME', folder: '.codex', file: 'auth.json' },
  features: ['images'],
  toolsByMcp: false,

  refuses: () => null,

  launch({ place, env, builtins }: CliJob): Launch {
    // With a key there is no login: the key is named, not shown, on the command line.
    const { OPENAI_API_KEY: key, OPENAI_BASE_URL: url = 'https://api.openai.com/v1' } = env;
    const settings =
      key === undefined
        ? []
        : [
            `model_provider="${provider}"`,
            `model_providers.${provider}={name="OpenAI API",base_url=${JSON.stringify(url)},env_key="OPENAI_API_KEY",wire_api="responses"}`,
          ];
    settings.push('web_search="disabled"', 'history.persistence="none"', 'analytics.enabled=false');
    settings.push(
      'skills.bundled.enabled=false',
      'include_permissions_instructions=false',
      'include_environment_context=false',
      ...otherFeatures.map(off),
    );
    if (!runsCommands(builtins)) settings.push(...shellFeatures.map(off));
    return {
      args: ['app-server', ...settings.flatMap(setting => ['--config', setting])],
      env: { CODEX_HOME: place.config },
    };
  },

  listen: job => new CodexListener(job),
};

const efforts = new Set(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']);

class CodexListener implements Listener {
  readonly opening: readonly string[];
  readonly #job: CliJob;
  readonly #tools: ReadonlySet<string>;
  #thread = '';
  /** Calls of the history: these are told as well, when the turn begins. */
  readonly #told: ReadonlySet<string>;
  #calls = 0;
  readonly #text = new SaidText();
  #usage: CliUsage = { input: 0, cached: 0, output: 0, reasoning: 0 };

  constructor(job: CliJob) {
    this.#job = job;
    this.#tools = new Set(job.tools.map(({ name }) => name));
    const { history } = job.conversation;
    this.#told = new Set(history.flatMap(turn => (turn.role === 'assistant' ? turn.calls.map(({ id }) => id) : [])));
    const clientInfo = { name: 'auxot_worker', title: 'Auxot worker', version: '1' };
    const capabilities = { experimentalApi: true, requestAttestation: false };
    this.opening = [request('initialize', { clientInfo, capabilities })];
  }

  hear(event: Fields): CliSaying[] {
    const { id, method, result, error } = event;
    if (typeof method !== 'string')
      return error === undefined ? this.#answered(id, record(result)) : refused(id, error);
    const params = record(event.params);
    if (id !== undefined) return this.#asked(id, method);
    switch (method) {
      case 'item/agentMessage/delta':
        return this.#text.say(String(params.delta ?? ''));
      case 'item/reasoning/textDelta':
      case 'item/reasoning/summaryTextDelta':
        return [{ kind: 'reasoning', text: String(params.delta ?? '') }];
      case 'item/started':
        if (record(params.item).type === 'agentMessage') this.#text.messageBegins();
        return [];
      case 'rawResponseItem/completed':
        return this.#item(record(params.item));
      case 'rawResponse/completed':
        return this.#responseOver(record(params.usage));
      case 'error':
        return params.willRetry === true ? [] : [failureOf(record(params.error))];
      case 'turn/completed':
        return this.#turnOver(record(params.turn));
      default:
        return [];
    }
  }

  /** Each answer brings the next request. */
  #answered(method: unknown, result: Fields): CliSaying[] {
    const { conversation } = this.#job;
    switch (method) {
      case 'initialize':
        return [write(notification('initialized')), write(request('thread/start', this.#threadParams()))];
      case 'thread/start': {
        this.#thread = String(record(result.thread).id ?? '');
        if (conversation.history.length === 0) return [this.#ask()];
        const items = conversation.history.flatMap(itemsOf);
        return [write(request('thread/inject_items', { threadId: this.#thread, items }))];
      }
      case 'thread/inject_items':
        return [this.#ask()];
      default:
        return [];
    }
  }

  #threadParams(): object {
    const { conversation, model, tools, builtins, place } = this.#job;
    return {
      ...(model === '' ? {} : { model }),
      cwd: place.work,
      ephemeral: true,
      approvalPolicy: 'never',
      sandbox: builtins.includes('workspace-write') ? 'workspace-write' : 'read-only',
      baseInstructions: conversation.system === '' ? 'You are a helpful assistant.' : conversation.system,
      ...(runsCommands(builtins) ? {} : { environments: [] }),
      dynamicTools: tools.map(({ name, description, schema }) => ({
        type: 'function',
        name,
        description,
        inputSchema: schema,
      })),
      experimentalRawEvents: true,
    };
  }

  #ask(): CliSaying {
    const { prompt } = this.#job.conversation;
    const { effort } = this.#job;
    const input = [
      { type: 'text', text: prompt.text, text_elements: [] },
      ...prompt.images.map(({ url }: Image) => ({ type: 'image', url })),
    ];
    const turn = { threadId: this.#thread, input };
    return write(request('turn/start', effort !== undefined && efforts.has(effort) ? { ...turn, effort } : turn));
  }

  /** A caller's tool is called by the caller; nothing else is allowed. Either way the answer can wait for the end. */
  #asked(id: unknown, method: string): CliSaying[] {
    if (method === 'item/tool/call') return [];
    return [write(JSON.stringify({ id, error: { code: -32601, message: `${method} is not offered here` } }))];
  }

  #item({ type, name, call_id: id, arguments: args }: Fields): CliSaying[] {
    if (type !== 'function_call' || this.#told.has(String(id)) || typeof name !== 'string' || !this.#tools.has(name))
      return [];
    this.#calls += 1;
    return [
      { kind: 'callBegun' },
      { kind: 'call', id: String(id), name, arguments: typeof args === 'string' ? args : '{}' },
    ];
  }

  #responseOver(usage: Fields): CliSaying[] {
    const { inputTokens, cachedInputTokens, outputTokens, reasoningOutputTokens } = usage;
    const [input, cached] = [count(inputTokens), count(cachedInputTokens)];
    this.#usage = {
      input: this.#usage.input + Math.max(0, input - cached),
      cached: this.#usage.cached + cached,
      output: this.#usage.output + count(outputTokens),
      reasoning: this.#usage.reasoning + count(reasoningOutputTokens),
    };
    return this.#calls === 0 ? [] : this.#done('tool_calls');
  }

  #turnOver({ status, error }: Fields): CliSaying[] {
    if (status !== 'completed') return [failureOf(record(error))];
    return this.#done(this.#calls > 0 ? 'tool_calls' : 'stop');
  }

  #done(finishReason: 'stop' | 'tool_calls'): CliSaying[] {
    return [
      { kind: 'usage', usage: this.#usage },
      { kind: 'done', finishReason },
    ];
  }
}

/** Requests are named by what they ask: each is made once. */
const request = (method: string, params: object): string => JSON.stringify({ id: method, method, params });
const notification = (method: string): string => JSON.stringify({ method });
const write = (line: string): CliSaying => ({ kind: 'write', line });

function refused(id: unknown, error: unknown): CliSaying[] {
  const { message } = record(error);
  return [{ kind: 'failed', code: 'internal_error', message: `Codex refused ${String(id)}: ${String(message)}` }];
}

/** An earlier turn as items of the Responses API. */
function itemsOf(turn: Turn): object[] {
  switch (turn.role) {
    case 'user':
      return [
        {
          type: 'message',
          role: 'user',
          content: [
            { type: 'input_text', text: turn.text },
            ...turn.images.map(({ url }) => ({ type: 'input_image', image_url: url })),
          ],
        },
      ];
    case 'assistant':
      return [
        ...(turn.text === ''
          ? []
          : [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text: turn.text }] }]),
        ...turn.calls.map(({ id, name, arguments: args }) => ({
          type: 'function_call',
          call_id: id,
          name,
          arguments: args,
        })),
      ];
    case 'results':
      return turn.results.map(({ callId, text }) => ({ type: 'function_call_output', call_id: callId, output: text }));
  }
}

function failureOf({ message, codexErrorInfo: info }: Fields): CliSaying {
  const text = `Codex: ${String(message ?? 'it gave no reason').slice(0, 1000)}`;
  const status = Object.values(record(info)).map(detail => record(detail).httpStatusCode)[0];
  if (info === 'contextWindowExceeded') return { kind: 'failed', code: 'context_length_exceeded', message: text };
  const limits = ['usageLimitExceeded', 'rateLimitExceeded', 'serverOverloaded', 'policyCapacityUnavailable'];
  if (limits.includes(String(info)) || status === 429 || status === 503 || status === 529)
    return { kind: 'limit', message: text, retryAfterMs: null };
  if (info === 'badRequest' || status === 400) return { kind: 'failed', code: 'invalid_request', message: text };
  if (info === 'unauthorized' || status === 401)
    return { kind: 'failed', code: 'internal_error', message: `${text} (log in on the worker's machine)` };
  return { kind: 'failed', code: 'internal_error', message: text };
}

const count = (value: unknown): number => (typeof value === 'number' && value > 0 ? value : 0);
