/**
 * What the simulated model calls, what the simulated tools answer, and what was really run: the truth about tool rounds.
 *
 * A prompt with `#calls` makes the model call tools of the router in one or two rounds, with no text beside them, if it is
 * offered any. So the caller's text is the same whether it was or not, and truth.ts knows it.
 */
import { hashText } from './random.ts';

/** `peek` may be run twice, `note` may not. */
export const simulatedTools = ['note', 'peek'] as const;

interface ModelCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}
type Message = Readonly<Record<string, unknown>>;

const roundsOf = (prompt: string): number => (prompt.includes('#calls') ? 1 + (hashText(`${prompt} r`) % 2) : 0);

function callsOf(prompt: string, round: number): ModelCall[] {
  const hash = hashText(`${prompt} ${round}`);
  return Array.from({ length: 1 + (hash % 3) }, (_, n) => ({
    // Some models give all calls of an answer the same id.
    id: hash % 2 === 0 ? 'same' : `call_${n}`,
    name: (hash >>> (8 + n)) % 4 === 0 ? 'peek' : 'note',
    arguments: JSON.stringify({ key: `${prompt} ${round}.${n}` }),
  }));
}

export const resultOf = (key: string): string => `${hashText(key)} of ${key}`;

/** What a model may be told instead of a result, when something was broken. */
const excuses =
  /"code":"(outcome_unknown|timeout|unknown_tool)"|sent a broken result|worker is stopping","code":"cancelled"/;

/** The calls that the model makes now; none: it answers. `wrong` hears of results that are not those of its calls. */
export function callsDue(
  messages: readonly Message[],
  tools: readonly Message[] | undefined,
  wrong: (what: string) => void,
): readonly ModelCall[] {
  const asked = messages.findLastIndex(({ role }) => role === 'user');
  const content = messages[asked]?.content;
  const prompt = typeof content === 'string' ? content : JSON.stringify(content ?? '');
  const [tag] = /p[\w.]+ #calls/.exec(prompt) ?? [];
  const offered = JSON.stringify(tools ?? []).includes('"note"');
  if (tag === undefined) return [];
  const rest = messages.slice(asked + 1);
  let round = 0;
  for (let at = 0; at < rest.length; round += 1) {
    const calls = callsOf(tag, round);
    if (rest[at]?.role !== 'assistant') wrong(`round ${round} of ${tag} does not begin with the calls`);
    const results = rest.slice(at + 1, at + 1 + calls.length);
    const ids = results.map(({ tool_call_id }) => tool_call_id);
    if (new Set(ids).size < calls.length) wrong(`round ${round} of ${tag} has the ids ${ids}`);
    for (const [n, call] of calls.entries()) {
      const told = String(results[n]?.content);
      const { key } = JSON.parse(call.arguments);
      if (told !== resultOf(key) && !excuses.test(told)) wrong(`the model is told ${told} of the call ${key}`);
    }
    at += 1 + calls.length;
  }
  return offered && round < roundsOf(tag) ? callsOf(tag, round) : [];
}

/** What tools did, and for whom. */
export class ToolBook {
  readonly #ran = new Map<string, { times: number; readonly name: string; readonly by: string[] }>();

  ran(jobId: string, key: string, name: string, by: string): void {
    const id = `${jobId} ${key}`;
    const entry = this.#ran.get(id) ?? { times: 0, name, by: [] };
    entry.times += 1;
    entry.by.push(by);
    this.#ran.set(id, entry);
  }

  timesOf(jobId: string, key: string): number {
    return this.#ran.get(`${jobId} ${key}`)?.times ?? 0;
  }

  get size(): number {
    return this.#ran.size;
  }

  /** A call that was run more than once and may not be. */
  get twice(): string | null {
    for (const [id, { times, name, by }] of this.#ran) if (name === 'note' && times > 1) return `${id} by ${by}`;
    return null;
  }
}
