/**
 * How a worker is told that it may not come in: the frame, and the close code after it.
 *
 * A wrong key is answered with `hello_ack{success:false}`, because that makes a reference GPU worker stop instead of
 * trying for ever (spec/worker-protocol §3.3). What may be better later is answered with `error`, which all workers
 * take as a reason to try again: a reference worker that read `success:false` would exit because we were busy.
 */
import { closeCodes } from '../protocol/codes.ts';
import type { RouterFrame } from '../protocol/worker-frames.ts';

export interface HandshakeRefusal {
  readonly frame: RouterFrame;
  readonly close: { readonly code: number; readonly reason: string };
}

export function refusalOf(role: 'admin' | 'tools', verdict: 'wrong' | 'busy' | 'unconfigured'): HandshakeRefusal {
  switch (verdict) {
    case 'wrong': {
      const close = { code: closeCodes.badKey, reason: 'wrong key' };
      return role === 'tools'
        ? { frame: { type: 'error', error: 'authentication failed' }, close }
        : { frame: { type: 'hello_ack', success: false, error: 'invalid GPU key' }, close };
    }
    case 'busy':
      return {
        frame: { type: 'error', error: 'the router is busy checking keys', details: 'try again in a few seconds' },
        close: { code: closeCodes.tooManyConnections, reason: 'busy: try again in a few seconds' },
      };
    case 'unconfigured': {
      const name = role === 'tools' ? 'AUXOT_TOOLS_KEY_HASH' : 'AUXOT_ADMIN_KEY_HASH';
      return {
        frame: {
          type: 'error',
          error: `${name} is not set on this router`,
          details: `set ${name} to let ${role} workers in`,
        },
        close: { code: closeCodes.badKey, reason: `${name} is not set` },
      };
    }
  }
}
