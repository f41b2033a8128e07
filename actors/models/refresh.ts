/**
 * Asks a hub what the registry's repositories really hold: commit, sizes, checksums, parts, projectors, and variants
 * that the registry does not have yet.
 *
 * F1. What the hub does not confirm is not changed: an entry whose file is gone stays as it was, and is told.
 * F2. A new variant is taken only with all of its parts, and only with a quantization that its name says.
 * F3. Every repository is given away as soon as it is known (`onRepository`), so that what was asked need not be again.
 */
import { checkHubRepository, checkHubTree, type HubTree } from '../../protocol/model-hub.ts';
import type { Parsed } from '../../protocol/schema.ts';
import { type Entry, type EntryFile, idOf, labelOf } from '../../registry/entry.ts';
import { partCount, partFiles } from '../../registry/parts.ts';
import { discard, type Hub, type HubAnswer, headerOf, openHub, pathText, refusalOf } from './hub.ts';
import { ModelError, reasonOf, stopped } from './model-error.ts';
import { patiently, type TransferOptions } from './transfer.ts';

export interface RefreshOptions extends Pick<TransferOptions, 'retry' | 'random' | 'signal' | 'onTrouble'> {
  readonly hub: Hub;
  /** Repositories at once. */
  readonly atOnce: number;
  readonly onRepository: (refreshed: RefreshedRepository) => void | Promise<void>;
}

export interface RefreshedRepository {
  readonly repository: string;
  readonly entries: readonly Entry[];
  /** Ids of entries that the registry did not have. */
  readonly added: readonly string[];
  /** Ids of entries whose files are not on the hub (any more). */
  readonly gone: readonly string[];
}

export interface FailedRepository {
  readonly repository: string;
  readonly reason: string;
}

export const refreshRetry = { msMin: 500, msMax: 30_000, strikesMax: 5 };
const answerBytesMax = 32 * 2 ** 20;
const pagesMax = 50;

/** Resolves with the repositories that the hub refuses; throws when the hub itself cannot be asked. */
export async function refresh(entries: readonly Entry[], options: RefreshOptions): Promise<FailedRepository[]> {
  const repositories = grouped(entries);
  const queue = [...repositories];
  const failed: FailedRepository[] = [];
  const line = openHub(options.hub);
  let broken: unknown = null;
  const run = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined && broken === null; next = queue.shift()) {
      const [repository, known] = next;
      try {
        await options.onRepository(await refreshOne(repository, known, line, options));
      } catch (error) {
        const refused =
          error instanceof ModelError && ['hub_denied', 'hub_not_found', 'hub_answer'].includes(error.code);
        if (refused) failed.push({ repository, reason: reasonOf(error) });
        else broken ??= error;
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: options.atOnce }, run));
  } finally {
    await line.close();
  }
  if (options.signal.aborted) throw stopped();
  if (broken !== null) throw broken;
  return failed;
}

async function refreshOne(
  repository: string,
  known: readonly Entry[],
  line: ReturnType<typeof openHub>,
  options: RefreshOptions,
): Promise<RefreshedRepository> {
  const root = `${options.hub.endpoint}/api/models/${pathText(repository)}`;
  const about = (await askJson(line, root, repository, checkHubRepository, options)).value;
  const tree: HubTree = [];
  let url: string | null = `${root}/tree/${about.sha}?recursive=true`;
  for (let page = 0; url !== null && page < pagesMax; page++) {
    const asked: { value: HubTree; next: string | null } = await askJson(line, url, repository, checkHubTree, options);
    tree.push(...asked.value);
    url = asked.next;
  }
  const license = typeof about.cardData?.license === 'string' ? about.cardData.license : null;
  return fromTree(repository, known, filesOf(tree), { revision: about.sha, license });
}

export function fromTree(
  repository: string,
  known: readonly Entry[],
  files: ReadonlyMap<string, EntryFile>,
  { revision, license }: { readonly revision: string; readonly license: string | null },
): RefreshedRepository {
  const sized = (entry: Entry): Entry | null => {
    const parts = partFiles(entry.file).map(path => files.get(path));
    const own = parts.filter(file => file !== undefined);
    if (own.length < parts.length) return null;
    const projector = entry.projector === null ? projectorOf(files) : entry.projector;
    const beside = projector === null ? undefined : files.get(projector);
    return {
      ...entry,
      revision,
      license: entry.license ?? license,
      projector: beside === undefined ? null : beside.path,
      capabilities:
        beside === undefined || entry.capabilities.includes('vision')
          ? entry.capabilities
          : [...entry.capabilities, 'vision'],
      files: beside === undefined ? own : [...own, beside],
    };
  };
  const gone: string[] = [];
  const entries = known.map(entry => {
    const found = sized(entry);
    if (found === null) gone.push(entry.id);
    return found ?? entry;
  });
  const added: string[] = [];
  const [first] = known;
  const taken = new Set(entries.flatMap(({ file }) => partFiles(file)));
  for (const path of files.keys()) {
    const quantization = quantizationOf(path);
    if (first === undefined || taken.has(path) || quantization === null || partFiles(path)[0] !== path) continue;
    const id = idOf(first.name, quantization);
    if (entries.some(entry => entry.id === id)) continue;
    const label = labelOf(quantization);
    const labelId = idOf(first.name, label);
    const entry = sized({ ...first, id, labelId, quantization, label, file: path, vramGb: null });
    if (entry === null) continue;
    entries.push(entry);
    added.push(id);
  }
  return { repository, entries, added, gone };
}

/** `x/Model-UD-Q4_K_XL-00001-of-00002.gguf` → `UD-Q4_K_XL`. null: it is no model file, or does not say. */
export function quantizationOf(path: string): string | null {
  const name = path.replace(/^.*\//, '');
  if (!/\.gguf$/i.test(name) || /mmproj|imatrix/i.test(name) || (partCount(path) > 1 && partFiles(path)[0] !== path))
    return null;
  const stem = name.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, '');
  return (
    /[-._]((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|BF16|F16|F32|MXFP4(?:_[A-Z]+)?))$/i.exec(stem)?.[1]?.toUpperCase() ??
    null
  );
}

/** The registry says which one it wants; of an unknown one the 16-bit float is what most engines read. */
function projectorOf(files: ReadonlyMap<string, EntryFile>): string | null {
  const all = [...files.keys()].filter(path => /^mmproj[^/]*\.gguf$/i.test(path));
  return all.find(path => /-F16\.gguf$/i.test(path)) ?? all[0] ?? null;
}

function filesOf(tree: HubTree): Map<string, EntryFile> {
  const files = new Map<string, EntryFile>();
  for (const { type, path, size, lfs } of tree) {
    const bytes = lfs?.size ?? size ?? 0;
    const isSafe = !path.startsWith('/') && !path.includes('\\') && !path.split('/').includes('..');
    if (type !== 'file' || bytes <= 0 || !isSafe) continue;
    const sha256 = lfs !== undefined && /^[0-9a-f]{64}$/.test(lfs.oid) ? lfs.oid : null;
    files.set(path, { path, bytes, sha256 });
  }
  return files;
}

function askJson<T>(
  line: ReturnType<typeof openHub>,
  url: string,
  repository: string,
  check: (value: unknown) => Parsed<T>,
  options: RefreshOptions,
): Promise<{ value: T; next: string | null }> {
  return patiently(options, repository, async () => {
    const answer = await line.ask(url, { method: 'GET', signal: options.signal });
    if (answer.status !== 200) {
      await discard(answer.body);
      throw refusalOf(answer, options.hub, repository);
    }
    const checked = check(await readJson(answer, repository, options.signal));
    if (!checked.ok)
      throw new ModelError('hub_answer', `what the hub says of ${repository}: ${checked.path} ${checked.message}`);
    return { value: checked.value, next: nextPage(answer, options.hub) };
  });
}

async function readJson({ body }: HubAnswer, repository: string, signal: AbortSignal): Promise<unknown> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      const piece: Uint8Array = chunk;
      bytes += piece.length;
      if (bytes > answerBytesMax) break;
      pieces.push(piece);
    }
  } catch (error) {
    if (signal.aborted) throw stopped();
    throw new ModelError('hub_trouble', `the answer broke off: ${reasonOf(error)}`, { retryable: true, cause: error });
  }
  if (bytes > answerBytesMax) throw new ModelError('hub_answer', `the list of files of ${repository} has no end`);
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch (error) {
    throw new ModelError('hub_answer', `what the hub says of ${repository} is no JSON`, { cause: error });
  }
}

/** `<https://hub/…&cursor=x>; rel="next"`, of the same hub. */
function nextPage({ headers }: HubAnswer, { endpoint }: Hub): string | null {
  const url = /<([^>]+)>\s*;\s*rel="?next"?/.exec(headerOf(headers, 'link') ?? '')?.[1];
  return url !== undefined && URL.canParse(url) && new URL(url).origin === new URL(endpoint).origin ? url : null;
}

function grouped(entries: readonly Entry[]): Map<string, Entry[]> {
  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    const group = groups.get(entry.repository);
    if (group === undefined) groups.set(entry.repository, [entry]);
    else group.push(entry);
  }
  return groups;
}
