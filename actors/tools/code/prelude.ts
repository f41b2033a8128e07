/**
 * The program that runs in the sandbox before the model's own: what a script expects of its surroundings. It gets the
 * few functions that lead outside as arguments and keeps them to itself, so that no script can reach or replace them.
 *
 * It is text, because it runs inside QuickJS. Its value is an object with what the host needs of it.
 */
export const prelude = String.raw`
((print, randomBytes) => {
  'use strict';
  const stringify = JSON.stringify, freeze = Object.freeze, isArray = Array.isArray, toText = String;
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

  const toUtf8 = text => {
    const out = [];
    for (const c of toText(text)) {
      let p = c.codePointAt(0);
      if (p >= 0xd800 && p <= 0xdfff) p = 0xfffd;
      if (p < 0x80) out.push(p);
      else if (p < 0x800) out.push(0xc0 | p >> 6, 0x80 | p & 63);
      else if (p < 0x10000) out.push(0xe0 | p >> 12, 0x80 | p >> 6 & 63, 0x80 | p & 63);
      else out.push(0xf0 | p >> 18, 0x80 | p >> 12 & 63, 0x80 | p >> 6 & 63, 0x80 | p & 63);
    }
    return out;
  };
  const fromUtf8 = bytes => {
    let out = '';
    for (let i = 0; i < bytes.length; ) {
      const b = bytes[i++];
      const more = b < 0x80 ? 0 : b >= 0xc2 && b < 0xe0 ? 1 : b >= 0xe0 && b < 0xf0 ? 2 : b >= 0xf0 && b < 0xf5 ? 3 : -1;
      if (more < 0) { out += '\ufffd'; continue; }
      let p = more === 0 ? b : b & (63 >> more), n = 0;
      while (n < more && i < bytes.length && (bytes[i] & 0xc0) === 0x80) { p = p << 6 | bytes[i++] & 63; n++; }
      const least = [0, 0x80, 0x800, 0x10000][more];
      out += n < more || p < least || p > 0x10ffff || p >= 0xd800 && p <= 0xdfff ? '\ufffd' : String.fromCodePoint(p);
    }
    return out;
  };
  const toBase64 = bytes => {
    let out = '';
    for (let i = 0; i < bytes.length; i += 3) {
      const n = bytes[i] << 16 | (bytes[i + 1] ?? 0) << 8 | (bytes[i + 2] ?? 0), left = bytes.length - i;
      out += alphabet[n >> 18] + alphabet[n >> 12 & 63] + (left > 1 ? alphabet[n >> 6 & 63] : '=') + (left > 2 ? alphabet[n & 63] : '=');
    }
    return out;
  };
  const fromBase64 = text => {
    const bare = toText(text).replace(/[\t\n\f\r ]/g, '').replace(/-/g, '+').replace(/_/g, '/').replace(/={1,2}$/, '');
    if (bare.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(bare)) throw new TypeError('the text is not base64');
    const out = [];
    let bits = 0, n = 0;
    for (const c of bare) {
      n = n << 6 | alphabet.indexOf(c);
      bits += 6;
      if (bits >= 8) { bits -= 8; out.push(n >> bits & 255); n &= (1 << bits) - 1; }
    }
    return out;
  };
  const toHex = bytes => Array.prototype.map.call(bytes, b => b.toString(16).padStart(2, '0')).join('');
  const fromHex = text => (toText(text).match(/^(?:[0-9a-f]{2})*/i)[0].match(/../g) ?? []).map(h => parseInt(h, 16));

  const shown = value => {
    if (typeof value === 'string') return value;
    if (value instanceof Error) return value.stack ? value + '\n' + value.stack.trimEnd() : toText(value);
    if (typeof value === 'function') return '[function ' + (value.name || 'anonymous') + ']';
    if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? value + 'n' : toText(value);
    const json = asJson(value, 2);
    return json ?? toText(value);
  };
  /** JSON text in which what JSON lacks has a readable form; a circle is named. */
  const asJson = (value, indent) => {
    const above = [];
    const text = stringify(value, function (key, inner) {
      if (typeof inner === 'bigint') return inner + 'n';
      if (typeof inner === 'function') return '[function ' + (inner.name || 'anonymous') + ']';
      if (typeof inner === 'symbol') return toText(inner);
      if (typeof inner === 'number' && !isFinite(inner)) return toText(inner);
      if (typeof inner !== 'object' || inner === null) return inner;
      while (above.length > 0 && above[above.length - 1] !== this) above.pop();
      if (above.includes(inner)) return '[circular]';
      if (above.length > 60) return '[nested too deep]';
      const next = inner instanceof Map ? [...inner] : inner instanceof Set ? [...inner]
        : inner instanceof Error ? inner + '' : inner;
      if (typeof next === 'object') above.push(next);
      return next;
    }, indent);
    return text;
  };
  const say = prefix => (...args) => { print(prefix + args.map(shown).join(' ')); };
  const define = (name, value) => Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  define('console', { log: say(''), info: say(''), warn: say('[warn] '), error: say('[error] '), debug: say('[debug] '), trace: say('[debug] '), dir: say(''), table: say('') });

  define('btoa', text => {
    const chars = Array.from(toText(text), c => c.codePointAt(0));
    return toBase64(chars.every(c => c < 256) ? chars : toUtf8(text));
  });
  define('atob', text => {
    const bytes = fromBase64(text);
    const utf8 = fromUtf8(bytes);
    return utf8.includes('\ufffd') ? bytes.map(b => String.fromCharCode(b)).join('') : utf8;
  });

  class Buffer extends Uint8Array {
    static from(value, encoding = 'utf8') {
      if (typeof value !== 'string') return super.from(value?.type === 'Buffer' && isArray(value.data) ? value.data : value instanceof ArrayBuffer ? new Uint8Array(value) : value);
      const bytes = /^base64/i.test(encoding) ? fromBase64(value) : /^hex$/i.test(encoding) ? fromHex(value)
        : /^(latin1|binary|ascii)$/i.test(encoding) ? Array.from(value, c => c.charCodeAt(0) & 255) : toUtf8(value);
      return super.from(bytes);
    }
    static isBuffer(value) { return value instanceof Buffer; }
    static alloc(size, fill = 0) { return new Buffer(size).fill(fill); }
    static byteLength(text, encoding) { return Buffer.from(text, encoding).length; }
    static concat(list) {
      const out = new Buffer(list.reduce((n, b) => n + b.length, 0));
      let at = 0;
      for (const b of list) { out.set(b, at); at += b.length; }
      return out;
    }
    toString(encoding = 'utf8') {
      if (/^base64url$/i.test(encoding)) return toBase64(this).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
      if (/^base64$/i.test(encoding)) return toBase64(this);
      if (/^hex$/i.test(encoding)) return toHex(this);
      if (/^(latin1|binary|ascii)$/i.test(encoding)) return Array.from(this, b => String.fromCharCode(b)).join('');
      return fromUtf8(this);
    }
    toJSON() { return { type: 'Buffer', data: Array.from(this) }; }
    equals(other) { return this.length === other.length && this.every((b, i) => b === other[i]); }
  }
  define('Buffer', Buffer);
  define('TextEncoder', class TextEncoder { get encoding() { return 'utf-8'; } encode(text = '') { return Uint8Array.from(toUtf8(text)); } });
  define('TextDecoder', class TextDecoder {
    get encoding() { return 'utf-8'; }
    decode(bytes = []) { return fromUtf8(bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : ArrayBuffer.isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes); }
  });
  define('crypto', freeze({
    randomUUID() {
      const b = Array.from(fromHex(randomBytes(16)));
      b[6] = b[6] & 15 | 64;
      b[8] = b[8] & 63 | 128;
      const h = toHex(b);
      return [h.slice(0, 8), h.slice(8, 12), h.slice(12, 16), h.slice(16, 20), h.slice(20)].join('-');
    },
    getRandomValues(array) {
      if (!ArrayBuffer.isView(array) || array.byteLength > 65536) throw new TypeError('getRandomValues takes a typed array of at most 65536 bytes');
      new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(fromHex(randomBytes(array.byteLength)));
      return array;
    },
  }));

  /** Timers that have not fired, earliest first. Time is told by the host. */
  const timers = [];
  let now = 0, lastId = 0;
  const add = (every, run, ms, args) => {
    if (typeof run !== 'function') throw new TypeError('a timer needs a function');
    if (timers.length >= 10000) throw new RangeError('too many timers');
    const wait = Math.min(Math.max(1, Number(ms) || 0), 2147483647);
    const timer = { id: ++lastId, at: now + wait, every: every ? wait : 0, run, args };
    insert(timer);
    return timer.id;
  };
  const insert = timer => {
    let at = timers.length;
    while (at > 0 && timers[at - 1].at > timer.at) at--;
    timers.splice(at, 0, timer);
  };
  const clear = id => {
    const at = timers.findIndex(timer => timer.id === id);
    if (at >= 0) timers.splice(at, 1);
  };
  define('setTimeout', (run, ms, ...args) => add(false, run, ms, args));
  define('setInterval', (run, ms, ...args) => add(true, run, ms, args));
  define('setImmediate', (run, ...args) => add(false, run, 0, args));
  for (const name of ['clearTimeout', 'clearInterval', 'clearImmediate']) define(name, clear);
  define('queueMicrotask', run => { Promise.resolve().then(run); });

  return {
    /** Milliseconds to the next timer, -1 without one. */
    next(at) { now = at; return timers.length === 0 ? -1 : Math.max(0, timers[0].at - now); },
    fire(at) {
      now = at;
      const timer = timers.shift();
      if (timer === undefined) return;
      if (timer.every > 0) { timer.at = now + timer.every; insert(timer); }
      timer.run(...timer.args);
    },
    json: value => value === undefined || value === null ? '' : asJson(value) ?? '',
    text: value => shown(value),
  };
})
`;
