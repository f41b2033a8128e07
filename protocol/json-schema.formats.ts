/** The formats of strings that a grammar can hold, each as what stands inside the quotes. */

const month = '("0" [1-9] | "1" [0-2])';
/** Every month has 28 days, and a few texts less than there are dates hurt nobody. */
const day = '("0" [1-9] | "1" [0-9] | "2" [0-8])';
const date = `([1-2] [0-9]{3} "-" ${month} "-" ${day})`;
const time =
  '(("0" [0-9] | "1" [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [-+] ("0" [0-9] | "1" [0-3]) ":" [0-5] [0-9]))';
const octet = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9]{2} | [1-9]? [0-9])';
const hex = '[0-9a-f]';
const label = '([a-z0-9] ([a-z0-9-]{0,30} [a-z0-9])?)';
const host = `(${label} ("." ${label}){0,3} "." [a-z]{2,10})`;

const formats: Readonly<Record<string, string>> = {
  date,
  time,
  'date-time': `(${date} "T" ${time})`,
  duration:
    '("P" ([0-9]{1,4} "D" ("T" [0-9]{1,4} "H" ([0-9]{1,4} "M" ([0-9]{1,4} "S")?)?)? | "T" [0-9]{1,4} [HMS] | [0-9]{1,4} [YMW]))',
  uuid: `(${hex}{8} "-" ${hex}{4} "-" ${'[1-5]'} ${hex}{3} "-" [89ab] ${hex}{3} "-" ${hex}{12})`,
  email: `([a-zA-Z0-9] [a-zA-Z0-9_+-]{0,30} ("." [a-zA-Z0-9_+-]{1,30}){0,2} "@" ${host})`,
  hostname: host,
  ipv4: `(${octet} "." ${octet} "." ${octet} "." ${octet})`,
  ipv6: `([0-9a-f]{1,4} (":" [0-9a-f]{1,4}){7})`,
  uri: `("http" "s"? "://" ${host} ("/" [a-zA-Z0-9._~-]{0,40}){0,8} ("?" [a-zA-Z0-9=&._~-]{0,60})?)`,
};

/** Null: such a format cannot be held. */
export const formatGrammar = (format: string): string | null =>
  Object.hasOwn(formats, format) ? (formats[format] ?? null) : null;
