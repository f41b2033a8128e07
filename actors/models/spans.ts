/** Which bytes of a file are there: a sorted list of spans `[from, to)` that neither touch nor overlap. */
export type Span = readonly [from: number, to: number];

export function withSpan(spans: readonly Span[], [from, to]: Span): Span[] {
  if (from >= to) return [...spans];
  const before = spans.filter(span => span[1] < from);
  const after = spans.filter(span => span[0] > to);
  const joined = spans.filter(span => span[1] >= from && span[0] <= to);
  const start = Math.min(from, ...joined.map(span => span[0]));
  const end = Math.max(to, ...joined.map(span => span[1]));
  return [...before, [start, end], ...after];
}

/** What is missing of `[0, bytes)`, in pieces of `pieceBytes` at most. */
export function gaps(spans: readonly Span[], bytes: number, pieceBytes: number): Span[] {
  const missing: Span[] = [];
  let at = 0;
  for (const [from, to] of [...spans, [bytes, bytes] as const]) {
    for (; at < Math.min(from, bytes); at = Math.min(at + pieceBytes, from, bytes))
      missing.push([at, Math.min(at + pieceBytes, from, bytes)]);
    at = Math.max(at, to);
  }
  return missing;
}

export const bytesIn = (spans: readonly Span[]): number => spans.reduce((sum, [from, to]) => sum + to - from, 0);
