/**
 * How much main memory this process may still take, where a control group limits it: a container, a service, a batch
 * job. The kernel's own figure for free memory knows nothing of such limits, and who goes above one is killed.
 *
 * Both versions of Linux's control groups are read. The limit of every group above counts as well, as far as this
 * process can see them. What the kernel keeps of files and would give back counts as free.
 */
import { readFileSync } from 'node:fs';

export interface MemoryLimit {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

type ReadText = (path: string) => string | null;

/** null: no limit, or none that can be seen. */
export function memoryLimit(read: ReadText = readText): MemoryLimit | null {
  let found: MemoryLimit | null = null;
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    const isSecond = controllers === '';
    if (path === '' || !(isSecond || controllers.split(',').includes('memory'))) continue;
    for (let group = path; ; group = group.slice(0, group.lastIndexOf('/'))) {
      const limit = isSecond ? second(read, group) : first(read, group);
      if (limit !== null && (found === null || limit.freeBytes < found.freeBytes)) found = limit;
      if (group === '' || group === '/') break;
    }
  }
  return found;
}

function second(read: ReadText, group: string): MemoryLimit | null {
  const folder = `/sys/fs/cgroup${group === '/' ? '' : group}`;
  const numbers = [read(`${folder}/memory.max`), read(`${folder}/memory.current`)];
  return limitOf(numbers, read(`${folder}/memory.stat`), 'inactive_file');
}

function first(read: ReadText, group: string): MemoryLimit | null {
  const folder = `/sys/fs/cgroup/memory${group === '/' ? '' : group}`;
  const numbers = [read(`${folder}/memory.limit_in_bytes`), read(`${folder}/memory.usage_in_bytes`)];
  return limitOf(numbers, read(`${folder}/memory.stat`), 'total_inactive_file');
}

/** Above this nobody means it: version 1 writes "no limit" as a number near 2^63. */
const boundlessBytes = 2 ** 50;

function limitOf(numbers: readonly (string | null)[], stat: string | null, kept: string): MemoryLimit | null {
  const [total, used] = numbers.map(text => (text === null ? Number.NaN : Number(text.trim())));
  if (total === undefined || used === undefined || !Number.isFinite(total) || !Number.isFinite(used)) return null;
  if (total > boundlessBytes) return null;
  const [, returnable = '0'] = new RegExp(`^${kept} (\\d+)$`, 'm').exec(stat ?? '') ?? [];
  return { totalBytes: total, freeBytes: Math.max(0, total - Math.max(0, used - Number(returnable))) };
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null; // no such group, no control groups, or not for our eyes: then nothing is known
  }
}
