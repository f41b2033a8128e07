/** What the engine would find on this machine: asked in a process of its own, because native code may end it. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { EngineOptions, MachineFacts } from './engine.ts';

export type Probed =
  | { readonly ok: true; readonly facts: MachineFacts }
  | { readonly ok: false; readonly message: string };

const probeMsMax = 60_000;

/** @throws when the process ends without an answer, or gives none in time. */
export function probeMachine(model: EngineOptions | null): Promise<MachineFacts> {
  return new Promise((resolve, reject) => {
    const child = fork(program, [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const late = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the engine's libraries gave no answer within ${probeMsMax / 1000} s`));
    }, probeMsMax);
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      clearTimeout(late);
      reject(new Error(`the engine's libraries end their process (${signal ?? `exit code ${code}`})`));
    });
    // The child is the same program: what it sends is of this type.
    child.on('message', message => {
      const probed = message as Probed;
      if (probed.ok) resolve(probed.facts);
      else reject(new Error(probed.message));
    });
    child.send({ model });
  });
}

/** Beside this file, and with its ending: `.ts` from the source, `.js` once built. */
const program = fileURLToPath(
  new URL(`./probe.process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
);
