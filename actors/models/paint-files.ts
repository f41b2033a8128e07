/** The files that a model which makes images needs beside its own: which they are, and where they lie once fetched. */
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Entry } from '../../registry/entry.ts';
import { type FetchHooks, fetchModel, folderOf, type ModelSource } from './fetch-model.ts';
import { ModelError } from './model-error.ts';

export interface FoundPaintFiles {
  readonly vae: string;
  readonly llm?: string;
  readonly clipL?: string;
  readonly t5xxl?: string;
  readonly prediction: string;
}

interface Place {
  readonly repository: string;
  readonly file: string;
}

interface Needed {
  readonly vae: Place;
  readonly llm?: Place;
  readonly clipL?: Place;
  readonly t5xxl?: Place;
  readonly prediction: string;
}

const encoders = 'comfyanonymous/flux_text_encoders';

function neededFor(name: string): Needed {
  const known = name.toLowerCase();
  if (known.includes('flux.2-klein')) {
    const size = known.includes('4b') ? '4B' : '8B';
    return {
      vae: { repository: 'Comfy-Org/flux2-dev', file: 'split_files/vae/flux2-vae.safetensors' },
      llm: { repository: `unsloth/Qwen3-${size}-GGUF`, file: `Qwen3-${size}-Q4_K_S.gguf` },
      prediction: 'flux2_flow',
    };
  }
  if (known.includes('flux.1-schnell'))
    return {
      // Behind a form of its makers: the hub wants a token for it.
      vae: { repository: 'black-forest-labs/FLUX.1-dev', file: 'ae.safetensors' },
      clipL: { repository: encoders, file: 'clip_l.safetensors' },
      t5xxl: { repository: encoders, file: 't5xxl_fp16.safetensors' },
      prediction: 'flux_flow',
    };
  throw new ModelError('hub_not_found', `${name} makes images, and which files it needs for that is not known`);
}

export async function fetchPaintFiles(entry: Entry, source: ModelSource, hooks: FetchHooks): Promise<FoundPaintFiles> {
  const { prediction, ...places } = neededFor(entry.name);
  const get = async ({ repository, file }: Place): Promise<string> => {
    // Where the reference has put it, flat, if it was here before.
    const path = join(folderOf(source.folder, repository), basename(file));
    const wanted = {
      ...entry,
      name: `${entry.name}: ${basename(file)}`,
      repository,
      file,
      revision: null,
      projector: null,
      files: null,
    };
    if (basename(file) !== file && (await isThere(path))) return path;
    return (await fetchModel(wanted, source, hooks)).modelPath;
  };
  return {
    vae: await get(places.vae),
    ...(places.llm === undefined ? {} : { llm: await get(places.llm) }),
    ...(places.clipL === undefined ? {} : { clipL: await get(places.clipL) }),
    ...(places.t5xxl === undefined ? {} : { t5xxl: await get(places.t5xxl) }),
    prediction,
  };
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    found => found.isFile() && found.size > 0,
    () => false,
  );
