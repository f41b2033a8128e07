/**
 * One bug that could be in the code, as a patch of one place: what stands there, and what stands there when it is wrong.
 *
 * M1. `old` stands in the file exactly once: a patch that fits nowhere, or twice, is an error that names it.
 */
import fs from 'node:fs';
import { join } from 'node:path';

export interface Mutation {
  readonly id: string;
  readonly file: string;
  readonly old: string;
  readonly now: string;
  /** One sentence. */
  readonly breaks: string;
  /** The suites to ask, the one that should find it soonest first: `simulation`, or a test file. */
  readonly suites: readonly string[];
}

export class PatchMisfit extends Error {
  override readonly name = 'PatchMisfit';
}

/** The file's text with the bug in it. */
export function patched(root: string, { id, file, old, now }: Mutation): string {
  const path = join(root, file);
  if (!fs.existsSync(path)) throw new PatchMisfit(`${id}: there is no ${file}; say in its list where the code is now`);
  const parts = fs.readFileSync(path, 'utf8').split(old);
  const [before, after] = parts;
  if (parts.length !== 2 || before === undefined || after === undefined)
    throw new PatchMisfit(
      `${id}: its old text stands ${parts.length - 1} times in ${file}, and must stand there once; write it anew from the code:\n${old}`,
    );
  if (old === now) throw new PatchMisfit(`${id}: its new text is its old text`);
  return `${before}${now}${after}`;
}
