/** Split model files: `name-00001-of-00003.gguf` and its siblings. */

const split = /^(.*)-(\d{5})-of-(\d{5})(\.gguf)$/i;

/** How many files the model is made of; 1 for a plain one. */
export const partCount = (file: string): number => Number(split.exec(file)?.[3] ?? 1);

/** All of them, in order, in the folder that the given one is in. */
export function partFiles(file: string): string[] {
  const [, prefix, , total, end] = split.exec(file) ?? [];
  if (prefix === undefined || total === undefined || end === undefined) return [file];
  return Array.from(
    { length: Number(total) },
    (_, n) => `${prefix}-${String(n + 1).padStart(5, '0')}-of-${total}${end}`,
  );
}
