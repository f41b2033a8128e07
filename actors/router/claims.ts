/**
 * Jobs that workers brought back by redial, until each of them has said whether it goes on with its worker. A worker is
 * greeted when all have answered; one that is gone before that is nobody's claimant any more.
 */
import type { JobMark } from '../../protocol/worker-frames.parts.ts';

interface Claim {
  readonly open: Set<string>;
  readonly granted: JobMark[];
}

export class Claims {
  readonly #claims = new Map<string, Claim>();
  readonly #answered: (workerId: string, granted: readonly JobMark[]) => void;

  constructor(answered: (workerId: string, granted: readonly JobMark[]) => void) {
    this.#answered = answered;
  }

  open(workerId: string, jobs: readonly JobMark[]): void {
    this.#claims.set(workerId, { open: new Set(jobs.map(({ job_id }) => job_id)), granted: [] });
  }

  answer(workerId: string, jobId: string, mark: JobMark | null): void {
    const claim = this.#claims.get(workerId);
    if (claim === undefined || !claim.open.delete(jobId)) return;
    if (mark !== null) claim.granted.push(mark);
    if (claim.open.size > 0) return;
    this.#claims.delete(workerId);
    this.#answered(workerId, claim.granted);
  }

  forget(workerId: string): void {
    this.#claims.delete(workerId);
  }
}
