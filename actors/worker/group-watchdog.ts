/**
 * Ends process groups when this program is gone, however it went: after SIGKILL nothing of its own can. A shell reads from
 * a pipe which groups live; the end of that pipe is the end of this program, whatever ended it, and then it ends those
 * that are left, and itself.
 *
 * What stays true: there is one at most, started with the first group; it holds no secret; one that was killed itself is
 * replaced and told everything again. Windows has no groups of this kind, and no watchdog.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';

/** No program is needed but the shell: `read`, `case` and `kill` are its own. Signals for this program's group pass it by. */
const script = `trap '' HUP INT TERM
groups=' '
while read -r sign group; do
  case "$sign" in
    +) groups="$groups$group " ;;
    -) case "$groups" in *" $group "*) groups="\${groups%% "$group" *} \${groups#* "$group" }" ;; esac ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done`;

/** One that dies again and again is not to be had here. */
const startsMax = 20;

export class GroupWatchdog {
  readonly #groups = new Set<number>();
  #shell: ChildProcess | null = null;
  #starts = 0;

  /** From here on, the group ends with this program. */
  watch(group: number): void {
    this.#groups.add(group);
    if (process.platform === 'win32') return;
    if (this.#shell === null) this.#start();
    else this.#tell(`+ ${group}\n`);
  }

  /** The group is gone: its number may be another's soon. */
  release(group: number): void {
    if (this.#groups.delete(group)) this.#tell(`- ${group}\n`);
  }

  get groups(): ReadonlySet<number> {
    return this.#groups;
  }

  get pid(): number | null {
    return this.#shell?.pid ?? null;
  }

  #start(): void {
    if (this.#starts >= startsMax) return;
    this.#starts += 1;
    const shell = spawn('/bin/sh', ['-c', script], { env: {}, stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    this.#shell = shell;
    const lost = (): void => {
      if (this.#shell !== shell) return;
      this.#shell = null;
      if (this.#groups.size > 0) this.#start();
    };
    shell.once('error', lost);
    shell.once('exit', lost);
    shell.stdin?.on('error', lost);
    // It must not keep this program alive: it is there for when that has ended.
    shell.unref();
    (shell.stdin as Socket | null)?.unref(); // a pipe's stream is a socket
    for (const group of this.#groups) this.#tell(`+ ${group}\n`);
  }

  #tell(line: string): void {
    if (this.#shell?.stdin?.writable === true) this.#shell.stdin.write(line);
  }
}
