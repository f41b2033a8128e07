/** A property, run as often as FC_RUNS says; a failure tells what went wrong besides the case that it was found in. */
import * as fc from 'fast-check';

const claimMsMax = 60_000;

export async function claim<T>(property: fc.IAsyncProperty<T>, numRuns: number): Promise<void> {
  const share = Number(process.env.FC_RUNS ?? 100) / 100;
  const seed = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };
  try {
    // Looking for a smaller case takes long where every step waits for sockets: it has a limit, and what it found is shown.
    const limits = { interruptAfterTimeLimit: claimMsMax * Math.max(1, share), markInterruptAsFailure: false };
    await fc.assert(property, { numRuns: Math.max(1, Math.round(numRuns * share)), ...limits, ...seed });
  } catch (error) {
    if (error instanceof Error && error.cause instanceof Error)
      error.message = `${error.cause.message}\n${error.message}`;
    throw error;
  }
}
