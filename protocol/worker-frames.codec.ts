/**
 * Text to frames and back, for one set of frame schemas: what one side of a worker's socket may say.
 *
 * What stays true: reading never throws; a frame that was read has every required field and no unknown one; a type this
 * set does not know is told apart from a known one whose shape is wrong, because the first is ignored and the second is
 * not (PROTOCOL.md, Anything unexpected). Frames are written with `type` first and `job_id` second, in the order of
 * their schema, so that a reader may route them from their first bytes.
 */
import type { Static, TObject } from 'typebox';
import { type Fit, fit } from './fit.ts';
import { check, type Parsed } from './schema.ts';

export type FrameSchemas = Readonly<Record<string, TObject>>;
/** The union of all frames of a set. */
export type FrameOf<S extends FrameSchemas> = { [K in keyof S]: Static<S[K]> }[keyof S];

export type ParsedFrame<F> =
  | { readonly ok: true; readonly frame: F }
  | {
      readonly ok: false;
      /** `json`: no JSON value. `type`: not a type this side is sent. `shape`: a known type that breaks its own shape. */
      readonly kind: 'json' | 'type' | 'shape';
      readonly message: string;
      /** As far as they could be read, so that the job of a broken frame can be failed. */
      readonly type?: string;
      readonly jobId?: string;
    };

export interface FrameCodec<F> {
  readonly parse: (text: string | Uint8Array) => ParsedFrame<F>;
  /** The same for what JSON.parse gave already. */
  readonly read: (json: unknown) => ParsedFrame<F>;
  readonly serialise: (frame: F) => string;
}

interface Lane<F> {
  readonly fit: Fit;
  readonly check: (value: unknown) => Parsed<F>;
  readonly order: Fit;
  /** Whether the object has only fields of this type, and none with objects inside. */
  readonly knowsAll: (json: object) => boolean;
}

export function frameCodec<S extends FrameSchemas>(schemas: S): FrameCodec<FrameOf<S>> {
  const lanes = new Map<string, Lane<FrameOf<S>>>();
  for (const [type, schema] of Object.entries(schemas)) {
    const known = Object.fromEntries(Object.entries(schema.properties).filter(([, field]) => isFlat(field as Field)));
    lanes.set(type, {
      knowsAll: json => {
        for (const key in json) if (!Object.hasOwn(known, key)) return false;
        return true;
      },
      fit: fit(schema, { missing: 'zero' }),
      // The schema of this type is one of the set: what it describes is one of the union.
      check: check(schema) as (value: unknown) => Parsed<FrameOf<S>>,
      order: fit(schema, { missing: 'zero', whole: true }),
    });
  }

  function parse(text: string | Uint8Array): ParsedFrame<FrameOf<S>> {
    let json: unknown;
    try {
      json = JSON.parse(typeof text === 'string' ? text : decoder.decode(text));
    } catch (error) {
      return {
        ok: false,
        kind: 'json',
        message: `not one JSON value: ${error instanceof Error ? error.message : error}`,
      };
    }
    return read(json);
  }

  function read(json: unknown): ParsedFrame<FrameOf<S>> {
    if (typeof json !== 'object' || json === null || Array.isArray(json)) {
      return { ok: false, kind: 'shape', message: '$ must be object' };
    }
    const type = 'type' in json ? (json.type ?? '') : '';
    if (typeof type !== 'string') return { ok: false, kind: 'shape', message: '$.type must be string' };
    const lane = lanes.get(type);
    if (lane === undefined)
      return { ok: false, kind: 'type', type, message: `no frame of type "${type.slice(0, 64)}" is expected` };
    // Most frames are tokens, and most of them are as they should be: nothing to bring into form then.
    if (type === 'token' && lane.knowsAll(json)) {
      const straight = lane.check(json);
      if (straight.ok) return { ok: true, frame: straight.value };
    }
    const parsed = lane.check(lane.fit(json));
    if (parsed.ok) return { ok: true, frame: parsed.value };
    const jobId = 'job_id' in json && typeof json.job_id === 'string' ? { jobId: json.job_id } : {};
    return { ok: false, kind: 'shape', type, ...jobId, message: `${type}: ${parsed.path} ${parsed.message}` };
  }

  function serialise(frame: FrameOf<S>): string {
    const lane = lanes.get(String(frame.type));
    if (lane === undefined)
      throw new TypeError(`a frame of type "${String(frame.type)}" is not sent in this direction`);
    return JSON.stringify(lane.order(frame));
  }

  return { parse, read, serialise };
}

/** What is read here of a field's schema. */
interface Field {
  readonly properties?: object;
  readonly items?: { readonly properties?: object };
}
const isFlat = ({ properties, items }: Field): boolean => properties === undefined && items?.properties === undefined;

/** Bytes that are no UTF-8 become U+FFFD, as at other peers; a byte order mark is no JSON. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Type and job of a frame in the canonical form, from its first bytes; null for any other form, which needs a full
 * parse. A later `job_id` in the same frame would win in a full parse, so whoever owns the job checks again.
 */
export function peekFrame(text: string): { type: string; jobId: string } | null {
  const match = canonical.exec(text);
  return match?.[1] === undefined || match[2] === undefined ? null : { type: match[1], jobId: match[2] };
}

const canonical = /^\{"type":"([a-z_.]{1,40})","job_id":"([\w:-]{1,128})"/;
