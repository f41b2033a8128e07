/**
 * Where tools may connect to. A model's words decide which address is asked for, so private ones are refused: services
 * of this machine, of its network, and of the cloud it may stand in.
 *
 * E1. The address that is checked is the one that is connected to: names are resolved once, by the connection itself, and
 *     only addresses that pass are handed on. A name that changes its answer gains nothing.
 * E2. Every hop of a redirect is a connection of its own, and so is checked.
 * E3. What the operator allows is allowed by name, by address or by range, and nothing else.
 */
import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { Agent, buildConnector, type Dispatcher } from 'undici';

/** Gives every address of a name. */
export type Resolve = (name: string, done: (error: Error | null, addresses: readonly LookupAddress[]) => void) => void;

export interface Egress {
  readonly dispatcher: Dispatcher;
  close(): Promise<void>;
}

/** The connection was refused here, before it was made. */
export class EgressError extends Error {
  override readonly name = 'EgressError';
  readonly code = 'address_refused';
}

const connectMsMax = 10_000;

const systemResolve: Resolve = (name, done) =>
  systemLookup(name, { all: true, verbatim: true }, (error, addresses) => done(error, addresses ?? []));

/** `allow`: names, `*.names`, addresses, ranges (`10.0.0.0/8`), or `*` for everything. */
export function openEgress(allow: readonly string[], resolve: Resolve = systemResolve): Egress {
  const rules = readRules(allow);
  const lookup: LookupFunction = (name, options, done) =>
    resolve(name, (error, addresses) => {
      if (error !== null) return done(error, '');
      const usable = addresses.filter(
        ({ address, family }) =>
          isAllowed(rules, name, address) && (options.family === 0 || !options.family || options.family === family),
      );
      const [first] = usable;
      if (first === undefined) return done(refused(name, addresses[0]?.address ?? 'no address'), '');
      if (options.all === true) done(null, usable);
      else done(null, first.address, first.family);
    });
  const connect = buildConnector({ timeout: connectMsMax, lookup, maxCachedSessions: 0 });

  const guarded: buildConnector.connector = (target, done) => {
    // A literal address is not looked up.
    const host = target.hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) !== 0 && !isAllowed(rules, host, host)) return done(refused(host, host), null);
    connect(target, (error, socket) => {
      if (error !== null || socket === null) return done(error ?? new Error('not connected'), null);
      const { remoteAddress } = socket;
      if (remoteAddress === undefined || !isAllowed(rules, host, remoteAddress)) {
        socket.destroy();
        return done(refused(host, remoteAddress ?? 'no address'), null);
      }
      done(null, socket);
    });
  };
  const dispatcher = new Agent({ connect: guarded, connections: 16, keepAliveTimeout: 2000, maxHeaderSize: 32_768 });
  return { dispatcher, close: () => dispatcher.destroy() };
}

const refused = (host: string, address: string): EgressError =>
  new EgressError(
    `${host}${host === address ? '' : ` (${address})`} is not a public address, and tools may not connect to it; the operator of the tools worker can allow it by AUXOT_TOOLS_ALLOW_HOSTS`,
  );

interface Rules {
  readonly everything: boolean;
  readonly names: ReadonlySet<string>;
  readonly suffixes: readonly string[];
  readonly ranges: readonly [ipaddr.IPv4 | ipaddr.IPv6, number][];
}

function readRules(allow: readonly string[]): Rules {
  const names = new Set<string>();
  const suffixes: string[] = [];
  const ranges: [ipaddr.IPv4 | ipaddr.IPv6, number][] = [];
  for (const item of allow.map(text => text.toLowerCase())) {
    const bare = item.replace(/^\[|\]$/g, '');
    if (ipaddr.isValidCIDR(item)) ranges.push(ipaddr.parseCIDR(item));
    else if (isIP(bare) !== 0) ranges.push([ipaddr.parse(bare), isIP(bare) === 4 ? 32 : 128]);
    else if (item.startsWith('*.')) suffixes.push(item.slice(1));
    else names.add(item);
  }
  return { everything: allow.includes('*'), names, suffixes, ranges };
}

function isAllowed(rules: Rules, host: string, address: string): boolean {
  if (rules.everything) return true;
  const name = host.toLowerCase().replace(/\.$/, '');
  if (rules.names.has(name) || rules.suffixes.some(suffix => name.endsWith(suffix))) return true;
  const bare = address.replace(/%.*$/, '');
  if (isPublic(bare)) return true;
  if (!ipaddr.isValid(bare)) return false;
  const parsed = ipaddr.process(bare);
  return rules.ranges.some(([range, bits]) => range.kind() === parsed.kind() && parsed.match(range, bits));
}

/** Answers that a cloud's own machines give, at addresses that are public by their form. */
const metadata = new Set(['168.63.129.16']);

/** Whether an address belongs to the public internet. What is not known to be public is not. */
export function isPublic(address: string): boolean {
  if (isIP(address) === 0) return false;
  const parsed = ipaddr.process(address); // an IPv4 address inside IPv6 is that IPv4 address
  if (parsed.kind() === 'ipv4') {
    const text = parsed.toString();
    // 192.88.99.0/24 and 198.18.0.0/15 are routed nowhere, or to somebody's laboratory.
    return parsed.range() === 'unicast' && !metadata.has(text) && !/^(192\.88\.99|198\.1[89])\./.test(text);
  }
  // Global unicast, less what carries an IPv4 address (6to4, Teredo) or documents.
  return parsed.range() === 'unicast' && parsed.match(ipaddr.parse('2000::'), 3);
}
