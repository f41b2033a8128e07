/** Bugs in the shards: what machines ask for, and what streams show. */
import type { Mutation } from './mutation.ts';

const streamTests = ['actors/shard/streams.test.ts', 'actors/shard/resume.test.ts'];

export const shardMutations: readonly Mutation[] = [
  {
    id: 'ack-dropped',
    file: 'actors/shard/live-jobs.ts',
    old: `    live.chunk?.effects.push({ kind: 'ackFrames', workerId, jobId, attempt, seq: draft.seq });\n`,
    now: '',
    breaks: 'Token frames are never acknowledged.',
    suites: ['property-tests/conformance.test.ts'],
  },
  {
    id: 'ack-before-append',
    file: 'actors/shard/live-jobs.ts',
    old: `    live.chunk?.effects.push({ kind: 'ackFrames', workerId, jobId, attempt, seq: draft.seq });`,
    now: `    this.#effects.push({ kind: 'ackFrames', workerId, jobId, attempt, seq: draft.seq });`,
    breaks: 'A worker is told that its frames are safe before they are in the log.',
    suites: ['simulation', 'property-tests/router.property.test.ts', 'property-tests/router.races.test.ts'],
  },
  {
    id: 'end-ack-dropped',
    file: 'actors/shard/job-frames.ts',
    old: 'seq: live.job.output.seq, ended: true });',
    now: 'seq: live.job.output.seq });',
    breaks: 'A worker is never told that the end of its job is safe, and keeps it.',
    suites: ['property-tests/conformance.test.ts', 'property-tests/router.property.test.ts'],
  },
  {
    id: 'refused-match-keeps-slot',
    file: 'actors/shard/shard.ts',
    old: `    if (refusal !== null) this.#jobs.out({ kind: 'freeSlot', jobId, workerId });\n`,
    now: `    if (refusal !== null) return;\n`,
    breaks: 'A job that ended before it heard of its worker keeps the slot.',
    suites: ['simulation', 'property-tests/router.races.test.ts'],
  },
  {
    id: 'abandoned-job-runs',
    file: 'actors/shard/stream-inputs.ts',
    old: '!this.#streams.watched(jobId)) this.#abandoned(live, at);',
    now: 'this.#streams.watched(jobId)) this.#abandoned(live, at);',
    breaks: 'A job goes on when its caller has left.',
    suites: ['simulation', 'property-tests/http.endings.test.ts'],
  },
  {
    id: 'kept-for-ever',
    file: 'actors/shard/stream-inputs.ts',
    old: `    if (keepMs > 0) this.#jobs.out({ kind: 'armTimer', key: \`keep:\${jobId}\`, at: at + keepMs });`,
    now: '    if (keepMs > 0) return;',
    breaks: 'A job that waits for its caller to come back waits until its deadline.',
    suites: ['simulation', 'property-tests/resume.test.ts'],
  },
  {
    id: 'claim-granted-before-append',
    file: 'actors/shard/shard.ts',
    old: `    live.chunk.effects.push({ kind: 'claimAnswered', workerId, jobId, mark });`,
    now: `    this.#jobs.out({ kind: 'claimAnswered', workerId, jobId, mark });`,
    breaks: 'A worker has its job back before the log says so.',
    suites: ['simulation', 'property-tests/router.races.test.ts'],
  },
  {
    id: 'last-event-again-on-resume',
    file: 'actors/shard/streams.ts',
    old: 'const has = ahead < 0 || (ahead === 0 && live.sentFrames === null);',
    now: 'const has = ahead < 0;',
    breaks: 'A caller that resumes is given the last token again.',
    suites: ['simulation', ...streamTests],
  },
  {
    id: 'said-meanwhile-lost',
    file: 'actors/shard/streams.ts',
    old: '    for (const [event, position] of live.waiting) this.#shown(streamId, live, event, position, effects);\n',
    now: '',
    breaks: 'What is said while a caller catches up is never shown to it.',
    suites: ['simulation', ...streamTests],
  },
  {
    id: 'closed-stream-kept',
    file: 'actors/shard/streams.ts',
    old: `    const jobId = this.jobOf(streamId);
    this.#drop(streamId);
    return jobId;`,
    now: '    return this.jobOf(streamId);',
    breaks: 'A stream whose caller is gone stays.',
    suites: ['simulation', ...streamTests],
  },
  {
    id: 'restored-stream-shows-nothing',
    file: 'actors/shard/streams.ts',
    old: '    for (const [event, position] of log) this.#shown(streamId, live, event, position, effects);\n    return effects;',
    now: '    return effects;',
    breaks: 'What a caller had not got when its shard died is never shown.',
    suites: ['simulation', 'property-tests/shard-death.test.ts'],
  },
  {
    id: 'worker-timer-ignored',
    file: 'actors/shard/workers.ts',
    old: `new Set<TimerName>(['hello', 'key', 'claim', 'settle', 'drain'])`,
    now: `new Set<TimerName>(['hello', 'key', 'claim', 'drain'])`,
    breaks: 'A version 1 worker that sends no config is never given a job.',
    suites: ['property-tests/conformance.test.ts', 'simulation'],
  },
];
