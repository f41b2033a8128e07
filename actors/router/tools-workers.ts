/**
 * The tools workers that are connected: what each offers, and which calls it has.
 *
 * W1. No tool is known here that the allow-list forbids, so none is listed, chosen or run.
 * W2. A worker that takes nothing more (`open` false) keeps the calls that it has.
 */
import { chooseToolsWorker } from '../../machines/tool-choice.ts';
import type { ToolsOffer } from '../../protocol/shard-messages.ts';
import { isToolAllowed, type ListedTool, toolsListed } from './tool-offer.ts';

export interface ToolsWorker {
  readonly workerId: string;
  offer: ToolsOffer;
  tools: ReadonlySet<string>;
  slots: number;
  /** May get calls that it does not have. */
  open: boolean;
  readonly calls: Set<string>;
  /** It has said that it takes nothing more for now. */
  fullUntilAt: number;
}

export class ToolsWorkers {
  readonly #allowed: readonly string[];
  readonly #workers = new Map<string, ToolsWorker>();
  readonly #changed = new Set<() => void>();
  #listed: readonly ListedTool[] | null = null;

  constructor(allowed: readonly string[]) {
    this.#allowed = allowed;
  }

  /** Tools that can be called now. */
  get listed(): readonly ListedTool[] {
    this.#listed ??= toolsListed(
      this.#allowed,
      [...this.#open()].map(({ offer }) => offer),
    );
    return this.#listed;
  }

  get count(): number {
    return [...this.#open()].length;
  }

  get(workerId: string | null): ToolsWorker | undefined {
    return this.#workers.get(workerId ?? '');
  }

  /** Calls `heard` when other tools can be called than before; the returned function ends that. */
  onChange(heard: () => void): () => void {
    this.#changed.add(heard);
    return () => void this.#changed.delete(heard);
  }

  /** True: the worker was not known before. */
  offer(workerId: string, offer: ToolsOffer): boolean {
    const known = this.#workers.get(workerId);
    const tools = new Set(offer.tools.filter(name => isToolAllowed(this.#allowed, name)));
    const { slots } = offer;
    if (known !== undefined) Object.assign(known, { offer, tools, slots, open: true });
    else this.#workers.set(workerId, { workerId, offer, tools, slots, open: true, calls: new Set(), fullUntilAt: 0 });
    this.#toolsChanged();
    return known === undefined;
  }

  withdraw(workerId: string): void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    worker.open = false;
    this.#toolsChanged();
  }

  /** The worker is gone. Returns what was known of it. */
  remove(workerId: string): ToolsWorker | undefined {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return undefined;
    this.#workers.delete(workerId);
    this.#toolsChanged();
    return worker;
  }

  /** The worker that is this process, open or not. */
  ofInstance(instance: string | null): ToolsWorker | null {
    for (const worker of this.#workers.values()) if (worker.offer.workerInstance === instance) return worker;
    return null;
  }

  choose(name: string, threadId: string | null): ToolsWorker | null {
    return chooseToolsWorker(this.#open(), name, threadId);
  }

  stop(): void {
    this.#changed.clear();
  }

  *#open(): Iterable<ToolsWorker> {
    for (const worker of this.#workers.values()) if (worker.open) yield worker;
  }

  #toolsChanged(): void {
    this.#listed = null;
    for (const heard of [...this.#changed]) heard();
  }
}
