/** `auxot-router models`: what is in the registry, by what it needs and can do. */
import type { Env } from '../actors/config/env.ts';
import { parseFlags, UsageError } from '../actors/config/flags.ts';
import { capabilities, type Entry } from '../registry/entry.ts';
import { estimate, GiB, totalGb, type Use } from '../registry/estimate.ts';
import { explain } from '../registry/explain.ts';
import { openRegistry, type Registry } from '../registry/load.ts';
import { nearest } from '../registry/nearest.ts';
import { partCount } from '../registry/parts.ts';
import { query } from '../registry/query.ts';
import { models, resolve } from '../registry/resolve.ts';

export interface Output {
  write(text: string): unknown;
}

const contextDefault = 8192;
const slotsDefault = 1;

export const modelsHelp = `Usage: auxot-router models [words] [flags]

Lists the models of the registry: the built-in one, or that of AUXOT_REGISTRY_FILE. Words must all occur in a name.

  --fits GB            only what fits into this much video memory
  --ctx N              tokens of a slot, for the memory (default ${contextDefault}; a model's own maximum caps it)
  --parallel N         slots, for the memory (default ${slotsDefault})
  --capability LIST    only models with all of these, by commas: ${capabilities.join(', ')}
  --family NAME        MoE, Dense, or how the name begins (qwen3, gemma-3)
  --show MODEL         one model: files, sizes, licence, memory; a name, an id, or name:quantization
  --json               the same as JSON, an object for each variant
  -h, --help           this text

auxot-router models refresh asks a hub for sizes, checksums and further quantizations: see its --help.

The memory is an estimate: weights + vision encoder + slots × tokens × what a token costs in this model + buffers, in
GB of 2^30 bytes. Until sizes are asked for at the hub, weights come from the number of parameters and the quantization.
`;

export function listModels(args: readonly string[], env: Env, { out, err }: { out: Output; err: Output }): number {
  const flags = parseFlags(
    'auxot-router models',
    args,
    {
      fits: 'value',
      ctx: 'value',
      parallel: 'value',
      capability: 'value',
      family: 'value',
      show: 'value',
      json: 'switch',
      help: 'switch',
    },
    { restMax: 20 },
  );
  if (flags.has('help')) {
    out.write(modelsHelp);
    return 0;
  }
  const use = {
    contextSize: wholeNumber('ctx', flags.value('ctx'), contextDefault),
    slots: wholeNumber('parallel', flags.value('parallel'), slotsDefault),
  };
  const registry = openRegistry(env.AUXOT_REGISTRY_FILE || null);
  const shown = flags.value('show');
  if (shown !== undefined) return show(registry, shown, use, flags.has('json'), { out, err });
  const fits = flags.value('fits');
  const fitsGb = fits === undefined ? undefined : Number(/^(\d+(?:\.\d+)?)\s*(?:GB)?$/i.exec(fits)?.[1] ?? Number.NaN);
  if (Number.isNaN(fitsGb)) throw new UsageError(`auxot-router models: --fits takes a number of GB, not ${fits}`);
  const found = query(registry.entries, {
    text: flags.rest.join(' '),
    capabilities: capabilityList(flags.value('capability')),
    family: flags.value('family'),
    fitsGb,
    use,
  });
  if (found.length === 0) {
    const names = models(registry.entries).map(([first]) => first?.name ?? '');
    const near = flags.rest.length === 0 ? null : (nearest(flags.rest.join(' '), names)[0]?.word ?? null);
    const hint = near === null ? '' : `; the nearest name is ${near}`;
    err.write(`no model of the registry is like that${hint}. auxot-router models lists all.\n`);
    return 1;
  }
  out.write(flags.has('json') ? asJson(registry, found, use) : asList(registry, found, use));
  return 0;
}

function asList(registry: Registry, found: readonly Entry[], use: Use): string {
  const all = registry.entries.length;
  const count = found.length === all ? `${all}` : `${found.length} of ${all}`;
  return [
    `auxot model registry (v${registry.version}, ${count} entries)`,
    '',
    ...models(found).map(variants => modelLine(variants, use)),
    '',
    'Usage: AUXOT_MODEL=<model-name>',
    '       AUXOT_QUANTIZATION=<quant>  (optional — auto-selects if omitted)',
    `min: the least memory for ${use.slots} × ${use.contextSize} tokens, estimated (--ctx, --parallel; see --help)`,
    '',
  ].join('\n');
}

function modelLine(variants: readonly Entry[], use: Use): string {
  const [first] = variants;
  if (first === undefined) return '';
  const small = variants.filter(({ label }) => label !== 'F16' && label !== 'F32');
  const least = Math.ceil(Math.min(...(small.length > 0 ? small : variants).map(variant => totalGb(variant, use))));
  const quantizations = variants.map(({ quantization }) => quantization).join(', ');
  const context = contextText(first.contextMax).padEnd(6);
  return `  ${first.name.padEnd(50)} ${first.family}  ${first.parameters}  ctx ${context}  min ${least}GB  [${quantizations}]`;
}

/** 40960 is `40K`, 1000000 is `1M`, 1048576 is `1.0M`. */
export function contextText(tokens: number): string {
  if (tokens >= 1e6) return tokens % 1e6 === 0 ? `${tokens / 1e6}M` : `${(tokens / 1e6).toFixed(1)}M`;
  return tokens >= 1024 && tokens % 1024 === 0 ? `${tokens / 1024}K` : `${Math.floor(tokens / 1000)}K`;
}

function asJson(registry: Registry, found: readonly Entry[], use: Use): string {
  const { version, madeAt, source } = registry;
  const listed = found.map(entry => ({ ...entry, parts: partCount(entry.file), memory: estimate(entry, use) }));
  return `${JSON.stringify({ version, madeAt, source, use, models: listed }, null, 2)}\n`;
}

function show(
  registry: Registry,
  asked: string,
  use: Use,
  json: boolean,
  { out, err }: { out: Output; err: Output },
): number {
  const found = resolve(registry.entries, asked, null);
  if (!found.ok) {
    const { problem, fix } = explain(found, use);
    err.write(`${JSON.stringify(asked)}: ${problem}. ${fix}\n`);
    return 1;
  }
  const { entry } = found;
  if (json) {
    out.write(asJson(registry, [entry], use));
    return 0;
  }
  const memory = estimate(entry, use);
  const gb = (bytes: number): string => `${(bytes / GiB).toFixed(1)} GB`;
  const others = registry.entries.filter(({ name, id }) => name === entry.name && id !== entry.id);
  const files = entry.files ?? [];
  const lines: [string, string][] = [
    ['model', `${entry.name}, ${entry.quantization}`],
    ['id', entry.id === entry.labelId ? entry.id : `${entry.id} (also ${entry.labelId})`],
    ['repository', `${entry.repository}${entry.revision === null ? '' : ` at ${entry.revision}`}`],
    ['file', `${entry.file}${partCount(entry.file) > 1 ? ` (${partCount(entry.file)} parts)` : ''}`],
    ['projector', entry.projector ?? 'none'],
    [
      'parameters',
      `${entry.parameters}${entry.parametersActive === null ? '' : `, ${entry.parametersActive} active`} (${entry.family})`,
    ],
    ['context', `up to ${entry.contextMax} tokens`],
    ['can', entry.capabilities.join(', ')],
    ['tool calls', entry.toolFormat ?? 'none known'],
    ['reasoning', entry.reasoningFormat ?? 'none'],
    ['licence', entry.license ?? 'unknown'],
    [
      'memory',
      `${gb(memory.totalBytes)} for ${use.slots} × ${Math.min(use.contextSize, entry.contextMax)} tokens: weights ${gb(memory.weightBytes)}${memory.weightsKnown ? '' : ' (estimated)'}, cache ${gb(memory.cacheBytes)}${memory.cacheKnown ? '' : ' (estimated)'}, rest ${gb(memory.projectorBytes + memory.overheadBytes)}`,
    ],
    ...files.map(({ path, bytes, sha256 }): [string, string] => ['', `${path}  ${bytes} bytes  ${sha256 ?? ''}`]),
    ['others', others.map(({ quantization }) => quantization).join(', ') || 'none'],
  ];
  for (const [word, text] of lines) out.write(`${word.padEnd(12)}${text}\n`);
  return 0;
}

function wholeNumber(flag: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const [, digits, kilo] = /^(\d+)(k)?$/i.exec(text) ?? [];
  const number = Number(digits) * (kilo === undefined ? 1 : 1024);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new UsageError(`auxot-router models: --${flag} takes a whole number from 1, not ${JSON.stringify(text)}`);
  return number;
}

function capabilityList(text: string | undefined): string[] {
  const asked = (text ?? '').split(',').map(word => word.trim().toLowerCase().replace(/-/g, '_'));
  const words = asked.filter(word => word !== '');
  for (const word of words)
    if (!capabilities.some(known => known === word)) {
      const near = nearest(word, capabilities)[0]?.word ?? '';
      const why = `Did you mean ${near}? There are ${capabilities.join(', ')}.`;
      throw new UsageError(`auxot-router models: no capability ${JSON.stringify(word)}. ${why}`);
    }
  return words;
}
