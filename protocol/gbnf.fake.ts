/** Texts of a grammar at random, for tests: reads the part of GBNF that our grammars use. */
type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'set'; readonly ranges: readonly (readonly [number, number])[]; readonly negated: boolean }
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'row'; readonly items: readonly Node[] }
  | { readonly kind: 'choice'; readonly items: readonly Node[] }
  | { readonly kind: 'many'; readonly item: Node; readonly min: number; readonly max: number };

/** `random` gives numbers from 0 up to 1. Deep texts get as short as the grammar lets them. */
export function textOf(grammar: string, random: () => number): string {
  const rules = new Map<string, Node>();
  for (const line of grammar.split('\n')) {
    const found = /^([a-z0-9]+) ::= (.*)$/s.exec(line);
    if (found?.[1] !== undefined && found[2] !== undefined) rules.set(found[1], read(found[2]));
  }
  const upTo = (count: number): number => Math.floor(random() * count);
  const write = (node: Node, depth: number): string => {
    if (depth > 4000) throw new Error('the grammar has no end');
    switch (node.kind) {
      case 'text':
        return node.text;
      case 'rule': {
        const rule = rules.get(node.name);
        if (rule === undefined) throw new Error(`no rule ${node.name}`);
        return write(rule, depth + 1);
      }
      case 'row':
        return node.items.map(item => write(item, depth + 1)).join('');
      case 'choice': {
        // The last option of our recursive rules is a plain one.
        const index = depth > 60 ? node.items.length - 1 : upTo(node.items.length);
        return write(node.items[index] ?? node, depth + 1);
      }
      case 'many': {
        const most = Math.min(node.max, node.min + (depth > 40 ? 0 : 3));
        return Array.from({ length: node.min + upTo(most - node.min + 1) }, () => write(node.item, depth + 1)).join('');
      }
      case 'set': {
        const { ranges, negated } = node;
        const inSet = (code: number): boolean => ranges.some(([from, to]) => from <= code && code <= to) !== negated;
        if (!negated) {
          const [from, to] = ranges[upTo(ranges.length)] ?? [97, 97];
          return String.fromCodePoint(from + upTo(Math.min(to - from + 1, 300)));
        }
        for (;;) {
          const code = random() < 0.9 ? 32 + upTo(95) : 0xa0 + upTo(5000);
          if (inSet(code)) return String.fromCodePoint(code);
        }
      }
    }
  };
  return write(rules.get('root') ?? { kind: 'text', text: '' }, 0);
}

function read(text: string): Node {
  let at = 0;
  const space = (): void => {
    while (text[at] === ' ') at += 1;
  };
  const choice = (): Node => {
    const items = [row()];
    for (space(); text[at] === '|'; space()) {
      at += 1;
      items.push(row());
    }
    return items.length === 1 ? (items[0] ?? { kind: 'text', text: '' }) : { kind: 'choice', items };
  };
  const row = (): Node => {
    const items: Node[] = [];
    for (space(); at < text.length && text[at] !== '|' && text[at] !== ')'; space()) items.push(counted(one()));
    return { kind: 'row', items };
  };
  const counted = (item: Node): Node => {
    const found = /^(?:([*+?])|\{(\d+)(,)?(\d+)?\})/.exec(text.slice(at));
    if (found === null) return item;
    at += found[0].length;
    const [, sign, from, comma, to] = found;
    if (sign !== undefined) {
      return { kind: 'many', item, min: sign === '+' ? 1 : 0, max: sign === '?' ? 1 : Number.POSITIVE_INFINITY };
    }
    const min = Number(from);
    return {
      kind: 'many',
      item,
      min,
      max: comma === undefined ? min : to === undefined ? Number.POSITIVE_INFINITY : Number(to),
    };
  };
  const character = (): number => {
    const escaped = /^\\(?:x([0-9A-F]{2})|u([0-9A-F]{4})|U([0-9A-F]{8})|(.))/s.exec(text.slice(at));
    if (escaped === null) {
      const code = text.codePointAt(at) ?? 0;
      at += String.fromCodePoint(code).length;
      return code;
    }
    at += escaped[0].length;
    const hex = escaped[1] ?? escaped[2] ?? escaped[3];
    if (hex !== undefined) return Number.parseInt(hex, 16);
    const plain: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };
    return (plain[escaped[4] ?? ''] ?? escaped[4] ?? '').codePointAt(0) ?? 0;
  };
  const one = (): Node => {
    if (text[at] === '(') {
      at += 1;
      const inner = choice();
      space();
      if (text[at] !== ')') throw new Error(`a bracket is open: ${text.slice(at, at + 40)}`);
      at += 1;
      return inner;
    }
    if (text[at] === '"') {
      at += 1;
      let words = '';
      while (text[at] !== '"') words += String.fromCodePoint(character());
      at += 1;
      return { kind: 'text', text: words };
    }
    if (text[at] === '[') {
      at += 1;
      const negated = text[at] === '^';
      if (negated) at += 1;
      const ranges: [number, number][] = [];
      while (text[at] !== ']') {
        const from = character();
        const isRange = text[at] === '-' && text[at + 1] !== ']';
        if (isRange) at += 1;
        ranges.push([from, isRange ? character() : from]);
      }
      at += 1;
      return { kind: 'set', ranges, negated };
    }
    const name = /^[a-z0-9]+/.exec(text.slice(at))?.[0];
    if (name === undefined) throw new Error(`what is this: ${text.slice(at, at + 40)}`);
    at += name.length;
    return { kind: 'rule', name };
  };
  return choice();
}
