/** Says hello to a router once, as a worker that takes no jobs, and leaves: is it there, and does it take this key? */
import { closeCodes } from '../../protocol/codes.ts';
import type { Policy } from '../../protocol/worker-frames.parts.ts';
import {
  agreedVersion,
  type HelloFrame,
  parseRouterFrame,
  protocolVersion,
  serialiseFrame,
} from '../../protocol/worker-frames.ts';
import type { Clock } from './clock.ts';
import type { Dial } from './socket.ts';

export type Greeting =
  | { readonly kind: 'taken'; readonly version: 1 | 2; readonly policy: Policy | null }
  /** The key is wrong. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** No connection, no answer, or none that makes sense. */
  | { readonly kind: 'failed'; readonly reason: string };

const greetMsMax = 15_000;

export function greet(url: string, gpuKey: string, instanceId: string, dial: Dial, clock: Clock): Promise<Greeting> {
  const hello: HelloFrame = {
    type: 'hello',
    gpu_key: gpuKey,
    capabilities: { backend: 'pending', model: 'pending', ctx_size: 0 },
    protocol_version: protocolVersion,
    instance_id: instanceId,
    ready: false,
  };
  return new Promise(resolve => {
    const finish = (greeting: Greeting): void => {
      callOff();
      socket.close(closeCodes.normal, '');
      resolve(greeting);
    };
    const callOff = clock.after(greetMsMax, () =>
      finish({ kind: 'failed', reason: `no answer to the greeting within ${greetMsMax / 1000} s` }),
    );
    const socket = dial(url, {
      onOpen: () => socket.send(serialiseFrame(hello)),
      onAlive: () => undefined,
      onText: text => {
        const parsed = parseRouterFrame(text);
        if (!parsed.ok) return;
        const { frame } = parsed;
        if (frame.type === 'hello_ack' && frame.success)
          finish({ kind: 'taken', version: agreedVersion(frame.protocol_version), policy: frame.policy ?? null });
        else if (frame.type === 'hello_ack') finish({ kind: 'refused', reason: frame.error ?? 'no reason given' });
        else if (frame.type === 'error')
          finish({ kind: isWrongKey(frame.error) ? 'refused' : 'failed', reason: frame.error });
      },
      onClosed: (code, reason) =>
        finish({
          kind: code === closeCodes.badKey ? 'refused' : 'failed',
          reason: reason || (code === 0 ? 'no connection' : `closed with ${code}`),
        }),
    });
  });
}

/** The reference refuses a key by an `error` frame, and closes without a code. */
export const isWrongKey = (error: string): boolean => /invalid gpu key|authentication failed/i.test(error);
