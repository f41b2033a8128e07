/**
 * The frames of PROTOCOL.md §4 once more, copied by hand from its tables, so that the schemas are checked against
 * something else than themselves; and what §2 and §9 say of any bytes: well-formed, broken or unknown.
 */

/** `ordinal` counts from 1. A list holds one kind; an object's fields are all that is known of it. */
export type Kind =
  | 'state'
  | 'finish'
  | 'text'
  | 'int'
  | 'ordinal'
  | 'required ordinal'
  | 'number'
  | 'flag'
  | 'any'
  | Kinds
  | readonly [Kind];
export interface Kinds {
  readonly [field: string]: Kind;
}

const mark: Kinds = { job_id: 'text', attempt: 'required ordinal', seq: 'int' };
const capabilities: Kinds = {
  backend: 'text',
  model: 'text',
  ctx_size: 'int',
  vram_gb: 'number',
  parameters: 'text',
  total_slots: 'int',
  model_capabilities: ['text'],
};
const call: Kinds = { id: 'text', type: 'text', function: { name: 'text', arguments: 'text' } };
const tool: Kinds = {
  type: 'text',
  function: { name: 'text', description: 'text', parameters: 'any', strict: 'flag' },
};
const message: Kinds = { role: 'text', content: 'any', tool_call_id: 'text', tool_calls: [call], name: 'text' };

export const workerSays: Kinds = {
  hello: {
    gpu_key: 'text',
    worker_type: 'text',
    capabilities,
    protocol_version: 'int',
    instance_id: 'text',
    ready: 'flag',
    model_file: 'text',
    jobs: [mark],
  },
  heartbeat: {},
  config: { capabilities, model_file: 'text' },
  status: { state: 'state', progress: 'number', message: 'text' },
  token_count: { count_id: 'text', input_tokens: 'int', error: 'text' },
  token: {
    job_id: 'text',
    token: 'text',
    reasoning: 'flag',
    attempt: 'ordinal',
    seq: 'ordinal',
    ids: ['int'],
    choice: 'int',
  },
  tool_generating: { job_id: 'text', attempt: 'ordinal' },
  prompt_progress: { job_id: 'text', total: 'int', cached: 'int', processed: 'int', attempt: 'ordinal' },
  builtin_tool: { job_id: 'text', id: 'text', name: 'text', arguments: 'text', result: 'text', attempt: 'ordinal' },
  complete: {
    job_id: 'text',
    full_response: 'text',
    post_tool_content: 'text',
    reasoning_content: 'text',
    duration_ms: 'int',
    cache_tokens: 'int',
    input_tokens: 'int',
    output_tokens: 'int',
    reasoning_tokens: 'int',
    tool_calls: [call],
    total_cost_usd: 'number',
    rate_limit_resets_at: 'int',
    attempt: 'ordinal',
    seq: 'int',
    stop_sequence: 'text',
    finish_reason: 'finish',
    context_full: 'flag',
  },
  error: { job_id: 'text', error: 'text', details: 'text', code: 'text', attempt: 'ordinal' },
  cancelled: { job_id: 'text', attempt: 'ordinal' },
  'job.overload': { job_id: 'text', retry_after_secs: 'int', rate_limit_status: 'text', attempt: 'ordinal' },
};

export const routerSays: Kinds = {
  config_ack: { success: 'flag', error: 'text' },
  heartbeat_ack: {},
  hello_ack: { success: 'flag', gpu_id: 'text', error: 'text', reconnectInSeconds: 'int', protocol_version: 'int' },
  job: {
    job_id: 'text',
    reference_id: 'text',
    model: 'text',
    messages: [message],
    tools: [tool],
    temperature: 'number',
    max_tokens: 'int',
    reasoning_effort: 'text',
    data: 'any',
    caller_tools: ['text'],
    attempt: 'ordinal',
    top_p: 'number',
    top_k: 'int',
    stop: ['text'],
    seed: 'int',
    parallel_tool_calls: 'flag',
  },
  cancel: { job_id: 'text', attempt: 'ordinal' },
  ack: { job_id: 'text', attempt: 'required ordinal', seq: 'int', ended: 'flag' },
  count_tokens: { count_id: 'text', messages: [message], tools: [tool], reasoning_effort: 'text' },
  error: { error: 'text', details: 'text' },
};

/** A value that fits, with every known field. */
export function sample(kind: Kind): unknown {
  if (kind === 'state') return 'ready';
  if (kind === 'finish') return 'stop';
  if (kind === 'text') return 'x';
  if (kind === 'int' || kind === 'ordinal' || kind === 'required ordinal') return 1;
  if (kind === 'number') return 0.5;
  if (kind === 'flag') return false;
  if (kind === 'any') return { a: [1] };
  if (isList(kind)) return [sample(kind[0])];
  return Object.fromEntries(Object.entries(kind).map(([field, inner]) => [field, sample(inner)]));
}

const states = ['downloading', 'loading', 'ready', 'draining'];
const finishes = ['stop', 'length', 'tool_calls'];

function fits(value: unknown, kind: Kind): boolean {
  // Of these words, too, none stands for nothing.
  if (kind === 'state') return typeof value === 'string' && states.includes(value);
  // It counts from 1, so that no zero value can stand for it.
  if (kind === 'required ordinal') return Number.isSafeInteger(value) && Number(value) >= 1;
  // A zero value, or absent.
  if (value === null || value === undefined || kind === 'any') return true;
  if (kind === 'text') return typeof value === 'string';
  if (kind === 'finish') return typeof value === 'string' && finishes.includes(value);
  if (kind === 'flag') return typeof value === 'boolean';
  if (kind === 'number') return Number.isFinite(value);
  if (kind === 'int') return Number.isSafeInteger(value);
  if (kind === 'ordinal') return Number.isSafeInteger(value) && Number(value) >= 1;
  if (isList(kind)) return Array.isArray(value) && value.every(one => fits(one, kind[0]));
  return isObject(value) && Object.entries(kind).every(([field, inner]) => fits(value[field], inner));
}

/** §2 and §9: what a frame is to whoever hears it, and the job that it names. */
export function verdictOn(
  text: string,
  says: Kinds,
): { readonly is: 'fine' | 'broken' | 'unknown'; readonly type: string; readonly jobId: string | null } {
  // In the canonical form the first bytes tell the job.
  const canonical = /^\{"type":"[a-z_.]{1,40}","job_id":"([\w:-]{1,128})"/.exec(text)?.[1];
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    // No JSON, or two values.
    return { is: 'broken', type: '', jobId: canonical ?? null };
  }
  if (!isObject(frame)) return { is: 'broken', type: '', jobId: null };
  const named = canonical ?? frame.job_id;
  const jobId = typeof named === 'string' && named !== '' ? named : null;
  const type = frame.type ?? '';
  if (typeof type !== 'string') return { is: 'broken', type: '', jobId };
  const kinds = Object.hasOwn(says, type) ? says[type] : undefined;
  if (kinds === undefined) return { is: 'unknown', type, jobId };
  return { is: fits(frame, kinds) ? 'fine' : 'broken', type, jobId };
}

const isList = (kind: Kind): kind is readonly [Kind] => Array.isArray(kind);
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
