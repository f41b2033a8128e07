/** A model file that somebody has put on this disk: is all of it there? */
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { partFiles } from '../../registry/parts.ts';
import { ModelError } from './model-error.ts';

/** Throws when a part of a split model is missing beside the given one. Whether it is a model at all, the engine sees. */
export async function checkLocalModel(path: string): Promise<void> {
  const parts = partFiles(path);
  if (parts.length === 1) return;
  const missing: string[] = [];
  for (const part of parts) {
    const isThere = await stat(part)
      .then(found => found.isFile())
      .catch(() => false);
    if (!isThere) missing.push(basename(part));
  }
  if (missing.length === 0) return;
  const message = `${missing.length} of ${parts.length} parts of the model are missing in ${dirname(path)}: ${missing.join(', ')}`;
  throw new ModelError('offline', message);
}
