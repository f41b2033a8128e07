/** What a person is told about a name that the registry does not have. */
import type { Entry } from './entry.ts';
import { totalGb, type Use } from './estimate.ts';
import { editDistance, plain } from './nearest.ts';
import type { UnknownModel, UnknownQuantization } from './resolve.ts';

const suggestionsMax = 15;
const askForAll = 'Run "auxot-router models" for all of them.';

/** `problem` is the sentence, `fix` what to do: lines to copy. */
export interface Explanation {
  readonly problem: string;
  readonly fix: string;
}

export function explain(miss: UnknownModel | UnknownQuantization, use: Use): Explanation {
  return miss.unknown === 'model' ? unknownModel(miss) : unknownQuantization(miss, use);
}

function unknownModel({ asked, containing, nearest }: UnknownModel): Explanation {
  const edits = editDistance(plain(asked), plain(nearest));
  const close =
    nearest !== '' && (edits <= Math.max(2, Math.floor(plain(nearest).length / 3)) || containing.length > 0);
  const lines = containing.slice(0, suggestionsMax).map(name => `  AUXOT_MODEL=${name}`);
  if (containing.length > suggestionsMax) lines.push(`  … and ${containing.length - suggestionsMax} more`);
  const guess = close
    ? `Did you mean AUXOT_MODEL=${nearest}?`
    : `There is no close match; the nearest name is ${nearest}.`;
  return {
    problem: 'the model registry has no model of this name',
    fix: [
      guess,
      ...(lines.length > 0 ? ['Names that contain it:', ...lines] : []),
      `${askForAll} A file of your own, which the workers are started with: AUXOT_MODEL=name.gguf`,
    ].join('\n'),
  };
}

function unknownQuantization({ name, nearest, variants }: UnknownQuantization, use: Use): Explanation {
  return {
    problem: `the model ${name} is in the registry, but not in this quantization`,
    fix: [
      `The nearest is ${nearest}. There are, with the memory that ${use.slots} × ${use.contextSize} tokens need:`,
      ...variants.map(variant => `  AUXOT_QUANTIZATION=${variantLine(variant, use)}`),
      'Leave AUXOT_QUANTIZATION unset to have one chosen.',
    ].join('\n'),
  };
}

const variantLine = (variant: Entry, use: Use): string =>
  `${variant.quantization.padEnd(10)} (${totalGb(variant, use).toFixed(1)} GB VRAM)`;
