/** `auxot-router models refresh`: writes a registry file with what a hub says of the models. */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Env } from '../actors/config/env.ts';
import { parseFlags, UsageError } from '../actors/config/flags.ts';
import { readModelsConfig } from '../actors/config/models-config.ts';
import { ModelError } from '../actors/models/model-error.ts';
import { type RefreshedRepository, refresh, refreshRetry } from '../actors/models/refresh.ts';
import type { Entry } from '../registry/entry.ts';
import { explain } from '../registry/explain.ts';
import { merge, openRegistry } from '../registry/load.ts';
import { parseRegistryFile, writeRegistryFile } from '../registry/registry-file.ts';
import { resolve } from '../registry/resolve.ts';
import type { Output } from './models-command.ts';

export const refreshHelp = `Usage: auxot-router models refresh [model ...] [flags]

Asks a hub for sizes, checksums, parts, projector files and further quantizations of the models (default: of all), and
writes them to a registry file that adds to the built-in one. Give that file to the router and its workers by
AUXOT_REGISTRY_FILE. If it is cut off, the same command goes on where it was.

  --output FILE    the file to write or bring up to date (default AUXOT_REGISTRY_FILE)
  --at-once N      repositories that are asked for at once (default 4)
  -h, --help       this text

HF_ENDPOINT is the hub (https://huggingface.co), HF_TOKEN a token for models that need one.
`;

export async function refreshModels(
  args: readonly string[],
  env: Env,
  { out, err }: { out: Output; err: Output },
  { signal, retry = refreshRetry }: { signal: AbortSignal; retry?: typeof refreshRetry },
): Promise<number> {
  const flags = parseFlags(
    'auxot-router models refresh',
    args,
    { output: 'value', 'at-once': 'value', help: 'switch' },
    { restMax: 1000 },
  );
  if (flags.has('help')) {
    out.write(refreshHelp);
    return 0;
  }
  const config = readModelsConfig(env);
  const path = flags.value('output') || config.registryFile;
  if (!path) throw new UsageError('auxot-router models refresh: say where to write to, by --output FILE');
  if (config.offline)
    throw new UsageError('auxot-router models refresh: there is nobody to ask while AUXOT_OFFLINE is true');
  const atOnce = Number(flags.value('at-once') ?? 4);
  if (!Number.isInteger(atOnce) || atOnce < 1 || atOnce > 16)
    throw new UsageError('auxot-router models refresh: --at-once takes a number from 1 to 16');

  const registry = openRegistry(existsSync(path) ? path : null);
  const wanted = selected(registry.entries, flags.rest);
  const partPath = `${path}.part`;
  let done = existsSync(partPath) ? [...parseRegistryFile(readFileSync(partPath, 'utf8'), partPath).entries] : [];
  const asked = new Set(done.map(({ repository }) => repository));
  const left = wanted.filter(({ repository }) => !asked.has(repository));
  if (asked.size > 0) out.write(`going on: ${asked.size} repositories were asked for already\n`);

  let answered = 0;
  const total = new Set(left.map(({ repository }) => repository)).size;
  const keep = (found: RefreshedRepository): void => {
    answered += 1;
    done = [...done, ...found.entries];
    write(partPath, done, existing(registry.version));
    const news = [
      found.added.length > 0 ? `new: ${found.added.join(', ')}` : '',
      found.gone.length > 0 ? `NOT ON THE HUB: ${found.gone.join(', ')}` : '',
    ].filter(Boolean);
    out.write(`${answered}/${total} ${found.repository}${news.length > 0 ? `  ${news.join('; ')}` : ''}\n`);
  };
  try {
    const failed = await refresh(left, {
      hub: config.hub,
      atOnce,
      retry,
      random: Math.random,
      signal,
      onRepository: keep,
      onTrouble: message => err.write(`${message}\n`),
    });
    if (done.length > 0) {
      const before = existsSync(path) ? parseRegistryFile(readFileSync(path, 'utf8'), path) : null;
      const entries = before === null ? done : merge(before.entries, done);
      write(partPath, entries, { ...existing(registry.version), extendsBuiltin: before?.extendsBuiltin ?? true });
      renameSync(partPath, path);
      out.write(`${path}: ${entries.length} entries\n`);
    } else rmSync(partPath, { force: true });
    for (const { repository, reason } of failed) err.write(`${repository}: ${reason}\n`);
    return failed.length > 0 ? 1 : 0;
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    err.write(`${error.message}. ${done.length > 0 ? 'The same command goes on where this one was.' : ''}\n`);
    return 1;
  }
}

const existing = (version: string) => ({ version, madeAt: new Date().toISOString(), extendsBuiltin: true });

/** At once or not at all: a half file would stop every router that is given it. */
function write(path: string, entries: readonly Entry[], about: Parameters<typeof writeRegistryFile>[1]): void {
  writeFileSync(`${path}.new`, writeRegistryFile(entries, about));
  renameSync(`${path}.new`, path);
}

function selected(entries: readonly Entry[], names: readonly string[]): readonly Entry[] {
  if (names.length === 0) return entries;
  const repositories = names.map(name => {
    const found = resolve(entries, name, null);
    if (found.ok) return found.entry.repository;
    const { problem, fix } = explain(found, { contextSize: 8192, slots: 1 });
    throw new UsageError(`auxot-router models refresh: ${JSON.stringify(name)}: ${problem}. ${fix}`);
  });
  return entries.filter(({ repository }) => repositories.includes(repository));
}
