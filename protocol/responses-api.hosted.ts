/**
 * Items and events of tools that OpenAI's Responses API runs itself, and here a tools worker: `code_interpreter` (our
 * `code_executor`) and `web_search`.
 */
import { itemIdOf } from './responses-api.ids.ts';

export interface CodeItem {
  readonly type: 'code_interpreter_call';
  readonly id: string;
  readonly status: 'in_progress' | 'completed' | 'incomplete' | 'failed';
  readonly code: string;
  readonly container_id: string;
  readonly outputs: readonly { readonly type: 'logs'; readonly logs: string }[] | null;
}
export interface SearchItem {
  readonly type: 'web_search_call';
  readonly id: string;
  readonly status: 'in_progress' | 'completed' | 'failed';
  readonly action: {
    readonly type: 'search';
    readonly query: string;
    readonly queries: readonly string[];
    readonly sources?: readonly { readonly type: 'url'; readonly url: string }[];
  };
}
export type HostedItem = CodeItem | SearchItem;

/** What became of a call. */
export interface HostedOutcome {
  readonly failed: boolean;
  readonly result: unknown;
}

/** What the caller wants to see of results. */
export interface Included {
  readonly outputs?: boolean;
  readonly sources?: boolean;
}

/** The item of a call of our tool `name`, as it begins; `json` are its arguments as the model wrote them. */
export function hostedItem(name: string, json: string, jobId: string, place: number): HostedItem {
  const args = objectIn(json);
  if (name === 'web_search') {
    const query = textOf(args.query);
    return {
      type: 'web_search_call',
      id: itemIdOf('web_search_call', jobId, place),
      status: 'in_progress',
      action: { type: 'search', query, queries: [query] },
    };
  }
  return {
    type: 'code_interpreter_call',
    id: itemIdOf('code_interpreter_call', jobId, place),
    status: 'in_progress',
    code: textOf(args.code),
    // No container is kept: it names the response, whose calls share nothing.
    container_id: `cntr_${jobId.slice(jobId.lastIndexOf('-') + 1)}`,
    outputs: null,
  };
}

/** The item when its call is over; `outcome` null: its response ended before it. */
export function hostedItemDone(item: HostedItem, outcome: HostedOutcome | null, { outputs, sources }: Included) {
  if (item.type === 'web_search_call') {
    if (outcome === null || outcome.failed) return { ...item, status: 'failed' } as const;
    const found = sources === true ? { sources: sourcesOf(outcome.result) } : {};
    return { ...item, status: 'completed', action: { ...item.action, ...found } } as const;
  }
  if (outcome === null) return { ...item, status: 'incomplete' } as const;
  const logs = outputs === true ? [{ type: 'logs' as const, logs: logsOf(outcome.result) }] : null;
  return { ...item, status: outcome.failed ? 'failed' : 'completed', outputs: logs } as const;
}

/** What comes after `response.output_item.added`, and what before `response.output_item.done`: types and their fields. */
export const hostedEvents = {
  begun(item: HostedItem): [type: string, fields: object][] {
    if (item.type === 'web_search_call')
      return [
        ['web_search_call.in_progress', {}],
        ['web_search_call.searching', {}],
      ];
    const { code } = item;
    return [
      ['code_interpreter_call.in_progress', {}],
      ...(code === '' ? [] : [['code_interpreter_call_code.delta', { delta: code }] as [string, object]]),
      ['code_interpreter_call_code.done', { code }],
      ['code_interpreter_call.interpreting', {}],
    ];
  },
  ended: (item: HostedItem): [type: string, fields: object][] =>
    item.status === 'completed' ? [[`${item.type}.completed`, {}]] : [],
} as const;

/** Where `web_search` found something. */
function sourcesOf(result: unknown): { type: 'url'; url: string }[] {
  const list = isObject(result) && Array.isArray(result.results) ? result.results : [];
  return list.flatMap(each => (isObject(each) && typeof each.url === 'string' ? [{ type: 'url', url: each.url }] : []));
}

/** What `code_executor` printed, then the value, then what went wrong: as a console would show it. */
function logsOf(result: unknown): string {
  if (!isObject(result)) return typeof result === 'string' ? result : '';
  const { output, return_value: value, error } = result;
  const said = value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
  return [textOf(output).replace(/\n$/, ''), said, textOf(error)].filter(text => text !== '').join('\n');
}

function objectIn(json: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json);
    return isObject(value) ? value : {};
  } catch {
    return {}; // the call fails for the same reason
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
