/**
 * The table expanded to entries. This happens at the first question, takes a few milliseconds, and gives the same entries
 * in the same order every time: "the first that fits" is a promise about order.
 */
import { table } from './catalogue.table.ts';
import { type Capability, type Entry, idOf, type KvLayers, labelOf } from './entry.ts';

/** Rises with every change of the table. */
export const catalogueVersion = '1.0.0';
export const catalogueMadeAt = '2026-11-22T00:00:00Z';

const owner = 'unsloth';
const allVariants = 'BF16 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL';
/** Ids that the reference wrote by hand. */
const oddLabelIds: Readonly<Record<string, string>> = { 'flux-1-schnell-q4-k-s': 'flux1-schnell-q4-k-s' };

let expanded: readonly Entry[] | null = null;

export function catalogue(): readonly Entry[] {
  expanded ??= table.trim().split('\n').flatMap(expandRow);
  return expanded;
}

export function expandRow(row: string): Entry[] {
  const columns = row.split(' ');
  const [name = '', baseColumn = '', parameters = '', active = '', contextDefault = '', contextMax = ''] = columns;
  const [more = '', projector = '', tools = '', reasoning = '', license = '', cache = ''] = columns.slice(6);
  const variants = columns.slice(12);
  if (variants.length === 0) throw new Error(`the registry's row ${JSON.stringify(row.slice(0, 60))} is too short`);
  const base = baseColumn === '=' ? name : baseColumn;
  const shared = {
    name,
    repository: `${owner}/${base}-GGUF`,
    revision: null,
    family: active === '-' ? 'Dense' : 'MoE',
    parameters,
    parametersActive: orNull(active),
    contextDefault: Number(contextDefault),
    contextMax: Number(contextMax),
    capabilities: capabilitiesOf(more, tools, reasoning),
    toolFormat: orNull(tools),
    reasoningFormat: orNull(reasoning),
    license: orNull(license),
    projector: projector === '-' ? null : `mmproj-${projector}.gguf`,
    kv: cache === '-' ? null : cache.split('+').map(parseLayers),
    files: null,
    vramGb: null,
  } as const;
  return (variants[0] === 'ALL' ? allVariants.split(' ') : variants).map(variant => {
    const { quantization, file } = parseVariant(variant, base);
    const label = labelOf(quantization);
    const labelId = idOf(name, label);
    const id = idOf(name, quantization);
    return { id, labelId: oddLabelIds[labelId] ?? labelId, quantization, label, file, ...shared };
  });
}

function parseVariant(variant: string, base: string): { quantization: string; file: string } {
  const [, quantization = '', slashes, parts, path] = /^([A-Za-z0-9_-]+)(?:(\/\/?)(\d+)|=(.+))?$/.exec(variant) ?? [];
  if (path !== undefined) return { quantization, file: path };
  if (slashes === undefined || parts === undefined) return { quantization, file: `${base}-${quantization}.gguf` };
  const folder = slashes === '/' ? quantization : `${base}-${quantization}`;
  return { quantization, file: `${folder}/${base}-${quantization}-00001-of-${parts.padStart(5, '0')}.gguf` };
}

function parseLayers(text: string): KvLayers {
  const [, layers, heads, keyDim, valueDim, window] = /^(\d+)x(\d+)x(\d+)(?:\/(\d+))?(?:@(\d+))?$/.exec(text) ?? [];
  return {
    layers: Number(layers),
    heads: Number(heads),
    keyDim: Number(keyDim),
    valueDim: Number(valueDim ?? keyDim),
    window: window === undefined ? null : Number(window),
  };
}

function capabilitiesOf(more: string, tools: string, reasoning: string): Capability[] {
  if (more.includes('i')) return ['image_generation'];
  return [
    'chat',
    ...(more.includes('v') ? (['vision'] as const) : []),
    ...(reasoning === '-' ? [] : (['reasoning'] as const)),
    ...(more.includes('k') ? (['code'] as const) : []),
    ...(tools === '-' ? [] : (['tools'] as const)),
  ];
}

const orNull = (column: string): string | null => (column === '-' ? null : column);
