/** What a process has used so far, all its threads together, and the whole machine, as Linux counts it under `/proc`. */
import { readFileSync } from 'node:fs';

/** Linux reports processor time to programs in hundredths of a second, whatever the kernel's own clock. */
const msPerTick = 10;

/** User and system time since the process began. Threads that have ended are still in it. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in brackets may hold blanks and brackets itself, so the fields count from the last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * msPerTick;
}

/** All that the machine's cores did since it started, with what the host took away from them. */
export function machineCpuMs(): number {
  const [, user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)
    .join()
    .split(/\s+/);
  return [user, nice, system, irq, softirq, steal].reduce((sum, ticks) => sum + Number(ticks), 0) * msPerTick;
}

export const rssBytesOf = (pid: number): number => statusBytes(pid, 'VmRSS');
/** The most it ever was, which no sampling can miss. */
export const rssPeakBytesOf = (pid: number): number => statusBytes(pid, 'VmHWM');

function statusBytes(pid: number, field: string): number {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1] ?? Number.NaN) * 1024;
}
