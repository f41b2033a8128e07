/**
 * Which tools worker gets a call (spec/worker-protocol §6.7). A conversation stays with one worker as long as the workers
 * stay the same, because some tools keep things between calls; a call without one goes to whoever has the most room.
 */
export interface ToolsWorkerState {
  readonly workerId: string;
  readonly tools: ReadonlySet<string>;
  readonly slots: number;
  /** What it runs. */
  readonly calls: { readonly size: number };
}

/** Null: none has the tool. With a conversation it may be one without room: the call waits for it. Empty `name`: any. */
export function chooseToolsWorker<W extends ToolsWorkerState>(
  workers: Iterable<W>,
  name: string,
  threadId: string | null,
): W | null {
  const able = [...workers].filter(({ tools }) => name === '' || tools.has(name));
  if (threadId !== null && threadId !== '') {
    const byId = able.sort((a, b) => (a.workerId < b.workerId ? -1 : 1));
    return byId[Number(fnv1a64(threadId) % BigInt(Math.max(1, byId.length)))] ?? null;
  }
  let best: W | null = null;
  for (const worker of able) if (best === null || isBetter(worker, best)) best = worker;
  return best;
}

/** FNV-1a, 64 bits, of the UTF-8 bytes. */
export function fnv1a64(text: string): bigint {
  let hash = 14695981039346656037n;
  for (const byte of new TextEncoder().encode(text)) hash = ((hash ^ BigInt(byte)) * 1099511628211n) & (2n ** 64n - 1n);
  return hash;
}

/** The smaller part of its slots taken; then by id, so that nothing is left to chance. */
const isBetter = (a: ToolsWorkerState, b: ToolsWorkerState): boolean => {
  const load = a.calls.size * b.slots - b.calls.size * a.slots;
  return load === 0 ? a.workerId < b.workerId : load < 0;
};
