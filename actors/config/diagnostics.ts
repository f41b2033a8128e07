/**
 * Diagnostics: text for the people who run a program, one JSON object a line with `time`, `level` and `msg`.
 *
 * INFO and DEBUG go to stdout, WARN and ERROR to stderr; a terminal gets the same record indented. A secret never enters
 * a record: addresses pass through maskUrl first, and keys are not logged at all.
 */
import { pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

export type Fields = Readonly<Record<string, unknown>>;

/** The port: what the rest of the program knows of diagnostics, and what a test implements in five lines. */
export interface Diagnostics {
  debug(msg: string, fields?: Fields): void;
  info(msg: string, fields?: Fields): void;
  warn(msg: string, fields?: Fields): void;
  error(msg: string, fields?: Fields): void;
  /** The same, with these fields in every record. */
  child(fields: Fields): Diagnostics;
}

/** As much of a Node stream as is needed here. */
export interface TextSink {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

export function openDiagnostics({
  level,
  out = process.stdout,
  err = process.stderr,
}: {
  level: LogLevel;
  out?: TextSink;
  err?: TextSink;
}): Diagnostics {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: label => ({ level: label.toUpperCase() }) },
    },
    pino.multistream(
      [
        { level: 'debug', stream: sinkOf(out) },
        { level: 'warn', stream: sinkOf(err) },
      ],
      { dedupe: true }, // each record goes to the last stream that takes its level, and to no other
    ),
  );
  return diagnosticsOver(logger);
}

/** Says nothing to nobody. For tests and for commands that speak to a person instead. */
export const silentDiagnostics: Diagnostics = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentDiagnostics,
};

/** An address with its user name and password hidden; text that is no address is hidden whole. */
export function maskUrl(address: string): string {
  if (!URL.canParse(address)) return '(not a URL)';
  const url = new URL(address);
  if (url.host === '' && url.protocol !== 'unix:') return '(not a URL)'; // "user:secret" has a scheme, too: "user"
  if (url.username !== '') url.username = '***';
  if (url.password !== '') url.password = '***';
  for (const name of [...url.searchParams.keys()])
    if (/pass|key|token|secret|auth/i.test(name)) url.searchParams.set(name, '***');
  return url.href;
}

const diagnosticsOver = (logger: pino.Logger): Diagnostics => ({
  debug: (msg, fields) => logger.debug(plain(fields), msg),
  info: (msg, fields) => logger.info(plain(fields), msg),
  warn: (msg, fields) => logger.warn(plain(fields), msg),
  error: (msg, fields) => logger.error(plain(fields), msg),
  child: fields => diagnosticsOver(logger.child(plain(fields))),
});

/** Errors become their message with every cause behind it: `{}`, which is what JSON makes of them, helps nobody. */
function plain(fields: Fields = {}): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) record[name] = value instanceof Error ? messageOf(value) : value;
  return record;
}

function messageOf(error: Error): string {
  const messages: string[] = [];
  for (let at: unknown = error; at instanceof Error && messages.length < 5; at = at.cause) messages.push(at.message);
  return messages.join(': ');
}

const sinkOf = (sink: TextSink) => ({
  write: (line: string): void => {
    sink.write(sink.isTTY === true ? `${JSON.stringify(JSON.parse(line), null, 2)}\n` : line);
  },
});
