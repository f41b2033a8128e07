/** A server under load: the router, the bare relay, or one that already runs. */
import { forkProgram } from './child.ts';
import { cpuMsOf } from './process-usage.ts';

export interface Target {
  readonly name: string;
  /** The command or address that stands behind the name. */
  readonly about: string;
  readonly url: string;
  readonly callerKey: string;
  readonly workerKey: string;
  /** Absent when its processor time and memory cannot be read here. */
  readonly pid: number | undefined;
  readonly said: () => string;
  readonly stop: () => Promise<void>;
}

const startMs = 10_000;

export async function startBareRelay(): Promise<Target> {
  const child = forkProgram('bare-relay.mjs');
  const port = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`bare relay did not start: ${child.said}`)), startMs);
    child.process.stdout?.once('data', data => {
      clearTimeout(timer);
      resolve(Number(data));
    });
  });
  return {
    name: 'bare relay',
    about: 'node bench/bare-relay.mjs',
    url: `http://127.0.0.1:${port}`,
    callerKey: '',
    workerKey: '',
    pid: child.pid,
    said: () => child.said,
    stop: () => child.stop(),
  };
}

export function runningServer(url: string, callerKey: string, workerKey: string, pid: number | undefined): Target {
  if (!URL.canParse(url) || new URL(url).protocol !== 'http:')
    throw new Error(`--url must be http://host:port, not ${url}`);
  const { origin } = new URL(url);
  const stop = () => Promise.resolve();
  return { name: 'router', about: origin, url: origin, callerKey, workerKey, pid, said: () => '', stop };
}

/** What it uses when nothing is asked of it, which no token is to be charged with. */
export async function idleCpuShare(target: Target, spanMs: number): Promise<number> {
  if (target.pid === undefined) return 0;
  const before = cpuMsOf(target.pid);
  await new Promise(resolve => setTimeout(resolve, spanMs));
  return (cpuMsOf(target.pid) - before) / spanMs;
}
