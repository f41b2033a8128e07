/** What a job's actions mean for the front: each becomes effects, with all that the front needs to carry them out. */
import { type Choice, hasSaid, idsFor } from '../../machines/job.output.ts';
import type { Job, JobAction } from '../../machines/job.ts';
import { requestNow } from '../../machines/tool-round.ts';
import { type Feature, featuresNeeded } from '../../protocol/features.ts';
import type { Effect } from '../../protocol/shard-messages.ts';
import type { Resume } from '../../protocol/worker-frames.parts.ts';
import { jobFrame, serialiseFrame } from '../../protocol/worker-frames.ts';
import { sendTool } from './tool-rounds.ts';

export function effectsOf({ type, params }: JobAction, job: Job): Effect[] {
  switch (type) {
    case 'requestWorker':
      return [{ kind: 'enqueueJob', ...params, ...needsOf(job) }];
    case 'requestStandby': {
      const { modelFile } = job.output;
      const prefers = modelFile === null ? {} : { modelFile };
      return [
        { kind: 'enqueueJob', ...params, again: true, continues: hasSaid(job.output), ...prefers, ...needsOf(job) },
      ];
    }
    case 'withdrawRequest':
      return [{ kind: 'dequeueJob', ...params }];
    case 'sendJob': {
      const { jobId, workerId, attempt, protocol } = params;
      const version = protocol >= 2 ? 2 : 1;
      const resume = hasSaid(job.output) ? resumeOf(job, job.state.context.modelFile) : undefined;
      const frame = jobFrame(jobId, attempt, requestNow(job), version, resume);
      return [{ kind: 'sendFrame', workerId, text: serialiseFrame(frame) }];
    }
    case 'cancelAtWorker': {
      const { jobId, workerId, attempt } = params;
      const frame = { type: 'cancel', job_id: jobId, ...(job.state.context.protocol >= 2 ? { attempt } : {}) } as const;
      return [{ kind: 'sendFrame', workerId, text: serialiseFrame(frame) }];
    }
    case 'freeSlot':
      return [{ kind: 'freeSlot', ...params }];
    case 'takeBack':
      return [{ kind: 'takeBack', ...params }];
    case 'armPatience':
      return [{ kind: 'armTimer', key: `patience:${params.jobId}`, at: params.at }];
    case 'disarmPatience':
      return [{ kind: 'disarmTimer', key: `patience:${params.jobId}` }];
    case 'callTool':
      return [{ kind: 'callTool', ...params }];
    case 'sendTool':
      return sendTool(job, params);
    case 'endTool':
      return [{ kind: 'endTool', callId: params.callId, thanks: params.thanks }];
    case 'armRound':
      return [{ kind: 'armTimer', key: `tools:${params.jobId}`, at: params.at }];
    case 'disarmRound':
      return [{ kind: 'disarmTimer', key: `tools:${params.jobId}` }];
    case 'armDeadline':
      return [{ kind: 'armTimer', key: `job:${params.jobId}`, at: params.at }];
    case 'finishJob':
      return [
        { kind: 'disarmTimer', key: `job:${params.jobId}` },
        ...(job.submitted.keepMs === undefined ? [] : [{ kind: 'disarmTimer', key: `keep:${params.jobId}` } as const]),
        { kind: 'retireJob', jobId: params.jobId },
      ];
  }
}

export function needsOf(job: Job): { readonly needs?: readonly Feature[] } {
  const needs = featuresNeeded(requestNow(job));
  return needs.length === 0 ? {} : { needs };
}

/** What the next worker, which runs `modelFile`, is told of the answer so far. */
export function resumeOf({ output }: Job, modelFile: string | null): Resume {
  const resumed = (choice: Choice): Omit<Resume, 'others'> => {
    const { text, reasoning, tokens, reasoningTokens, calls, end } = choice;
    const ids = idsFor(output, modelFile, choice);
    return {
      text,
      reasoning,
      tokens,
      reasoning_tokens: reasoningTokens,
      ...(ids === null ? {} : { ids }),
      ...(calls.length === 0 ? {} : { calls: [...calls] }),
      ...(end === null ? {} : { ended: true }),
    };
  };
  const { others } = output;
  return { ...resumed(output), ...(others.length === 0 ? {} : { others: others.map(resumed) }) };
}
