/**
 * Random lives of tool rounds: a job, and a few tools workers that keep to the table of PROTOCOL.md 4.3 (T1 to T5), with a
 * counter of what was really run. Connections are cut, workers die, frames come late and twice, the router dies and reads
 * its log again; whoever matches calls and workers may be as wrong as it likes.
 */
import fc from 'fast-check';
import type { JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import type { ToolResultFrame } from '../protocol/worker-frames.tools.ts';
import { assignJob, cancelJob, completeJob, type Decision } from './job.decide.ts';
import { takeOverJob } from './job.losses.ts';
import { begin, evolve, isOver, type Job, type JobAction, owed, replay } from './job.ts';
import { expireRound, finishCall, loseCall, refuseCall, startCall } from './tool-round.decide.ts';
import { type CallState, lateMs, roundNow, type ToolAction } from './tool-round.ts';

export const toolJobId = 'chatcmpl-7f1a91b5f8e95322ab8c4d912d09d479';

/** `look` may be run twice, `note` may not. */
export const submittedWithTools: JobSubmitted = {
  type: 'job.submitted',
  at: 1_000_000,
  jobId: toolJobId,
  instance: 'router-1',
  boot: 'boot-1',
  priority: 0,
  deadlineAt: 1_300_000,
  request: { model: 'm', messages: [{ role: 'user', content: 'hi' }] },
  answer: { api: 'openai.chat', stream: true, model: 'm' },
  routerTools: {
    offered: ['note', 'look'].map(name => ({ name, description: name, parameters: {}, idempotent: name === 'look' })),
    roundsMax: 3,
    callMs: 20_000,
  },
};

export type ToolCommand =
  /** A model's worker takes the job and answers with these calls, or with text. */
  | { readonly kind: 'answer'; readonly tools: readonly string[] }
  | { readonly kind: 'match'; readonly call: number; readonly worker: number }
  | { readonly kind: 'deliver'; readonly worker: number }
  | { readonly kind: 'reply'; readonly worker: number; readonly held: number }
  | { readonly kind: 'refuseFull'; readonly worker: number }
  | { readonly kind: 'cut'; readonly worker: number }
  | { readonly kind: 'die'; readonly worker: number }
  | { readonly kind: 'lose'; readonly call: number }
  | { readonly kind: 'giveUp'; readonly call: number }
  | { readonly kind: 'timeOver'; readonly early: boolean }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'restart' };

type Sent = Extract<ToolAction, { type: 'sendTool' }>['params'] & { readonly name: string };

class ModelWorker {
  readonly #place: number;
  boots = 1;
  connections = 1;
  /** On the wire to it. */
  inbox: Sent[] = [];
  /** What it knows of, with its answer. */
  journal = new Map<string, ToolResultFrame>();

  constructor(place: number) {
    this.#place = place;
  }

  get instance(): string {
    return `tools-${this.#place}.${this.boots}`;
  }

  get workerId(): string {
    return `${this.instance}/${this.connections}`;
  }

  cut(): void {
    this.connections += 1;
    this.inbox = [];
  }

  die(): void {
    this.boots += 1;
    this.cut();
    this.journal = new Map();
  }
}

export class ToolLife {
  job: Job;
  readonly log: JobEvent[] = [submittedWithTools];
  readonly workers = [new ModelWorker(0), new ModelWorker(1), new ModelWorker(2)] as const;
  /** How often each call was run, and of which tool it is. */
  readonly ran = new Map<string, { times: number; readonly name: string }>();
  readonly actions: JobAction[] = [];
  refusals = 0;
  #at = 1_000_000;

  constructor() {
    const [job, actions] = begin(submittedWithTools);
    this.job = job;
    this.actions.push(...actions);
  }

  obey(command: ToolCommand): void {
    this.#at += 1;
    const at = this.#at;
    switch (command.kind) {
      case 'answer': {
        if (this.job.state.value !== 'queued') return;
        this.took(assignJob(this.job, { at, workerId: 'gpu', protocol: 1 }));
        const called = command.tools.map((name, n) => ({
          id: n % 2 === 0 ? 'same' : `call_${n}`,
          type: 'function',
          function: name === 'broken' ? { name: 'note', arguments: '{' } : { name, arguments: '{}' },
        }));
        const text = called.length === 0 ? 'done' : '';
        const said = { type: 'complete', job_id: toolJobId, full_response: text, tool_calls: called } as const;
        return this.took(completeJob(this.job, 'gpu', said, at));
      }
      case 'match': {
        const { workerId, instance } = this.#worker(command.worker);
        return this.took(
          startCall(this.job, { at, callId: this.#callId(command.call), workerId, workerInstance: instance }),
        );
      }
      case 'deliver':
        return this.#delivered(this.#worker(command.worker, ({ inbox }) => inbox.length > 0));
      case 'reply': {
        const { journal, workerId } = this.#worker(command.worker, one => one.journal.size > 0);
        const result = [...journal.values()][command.held % Math.max(1, journal.size)];
        if (result !== undefined) this.took(finishCall(this.job, workerId, result, at));
        return;
      }
      case 'refuseFull': {
        const worker = this.#worker(command.worker, ({ inbox }) => inbox.length > 0);
        const sent = worker.inbox.shift();
        if (sent === undefined || worker.journal.has(sent.callId)) return;
        return this.took(finishCall(this.job, worker.workerId, failure(sent, 'overloaded'), at));
      }
      case 'cut':
        return this.#worker(command.worker).cut();
      case 'die':
        return this.#worker(command.worker).die();
      case 'lose':
        return this.took(loseCall(this.job, this.#callId(command.call), at));
      case 'giveUp':
        return this.took(refuseCall(this.job, this.#callId(command.call), 'unknown_tool', 'nobody has it', at));
      case 'timeOver': {
        const round = roundNow(this.job.tools);
        if (round === null) return;
        return this.took(expireRound(this.job, round.deadlineAt + lateMs - (command.early ? 1 : 0)));
      }
      case 'cancel':
        return this.took(cancelJob(this.job, 'requested', at));
      case 'restart':
        return this.#restart(at);
    }
  }

  took(decision: Decision): void {
    if (!decision.ok) {
      this.refusals += 1;
      return;
    }
    for (const event of decision.events) this.#happened(event);
  }

  /** Calls that are not finished. */
  get open(): readonly CallState[] {
    return roundNow(this.job.tools)?.calls.filter(({ state }) => state !== 'finished') ?? [];
  }

  get finished(): readonly CallState[] {
    return this.job.tools.rounds.flatMap(({ calls }) => calls).filter(({ state }) => state === 'finished');
  }

  /** All goes well from here on, as far as it can: calls go to whoever has them. Bounded: what hangs is seen by its test. */
  comeToRest(): void {
    for (let n = 0; n < 40 && !isOver(this.job); n += 1) {
      this.obey({ kind: 'answer', tools: [] });
      const [call] = this.open;
      if (call === undefined) continue;
      const { callId, begunBy } = call;
      const had = this.workers.findIndex(({ instance }) => instance === begunBy);
      if (begunBy !== null && had < 0) this.took(loseCall(this.job, callId, this.#at));
      this.obey({ kind: 'match', call: 0, worker: Math.max(0, had) });
      for (const worker of this.workers) {
        while (worker.inbox.length > 0) this.#delivered(worker);
        for (const result of [...worker.journal.values()])
          this.took(finishCall(this.job, worker.workerId, result, this.#at));
      }
    }
  }

  #happened(event: JobEvent): void {
    this.log.push(event);
    const [job, actions] = evolve(this.job, event);
    this.job = job;
    this.actions.push(...actions);
    for (const action of actions) {
      if (action.type !== 'sendTool') continue;
      const { workerId, callId } = action.params;
      const name = job.tools.rounds.at(-1)?.calls.find(call => call.callId === callId)?.name ?? '';
      // A connection that is gone takes nothing.
      this.workers.find(worker => worker.workerId === workerId)?.inbox.push({ ...action.params, name });
    }
  }

  /** PROTOCOL.md 4.3: T1 and T2, T3, T5. */
  #delivered(worker: ModelWorker): void {
    const sent = worker.inbox.shift();
    if (sent === undefined || worker.journal.has(sent.callId)) return;
    const { callId, name, sentTo } = sent;
    const byOther = sentTo !== null && sentTo !== '' && sentTo !== worker.instance;
    if (byOther && name !== 'look') {
      this.took(finishCall(this.job, worker.workerId, failure(sent, 'outcome_unknown'), this.#at));
      return;
    }
    const before = this.ran.get(callId)?.times ?? 0;
    this.ran.set(callId, { times: before + 1, name });
    worker.journal.set(callId, { ...idsOf(sent), result: `of ${callId}` });
  }

  /** The router dies with all connections; the next one opens its epoch, reads, and asks for what is owed. */
  #restart(at: number): void {
    for (const worker of this.workers) worker.cut();
    const rebuilt = replay(this.log);
    if (rebuilt === null || isOver(rebuilt)) return;
    this.job = rebuilt;
    const decision = takeOverJob(rebuilt, at);
    this.#happened({ type: 'job.adopted', at, instance: 'router-2', boot: `boot-${this.log.length}` });
    this.took(decision);
    this.actions.push(...owed(this.job));
  }

  /** One that can do what it is told, if there is any: most commands mean something then. */
  #worker(place: number, can: (worker: ModelWorker) => boolean = () => true): ModelWorker {
    const able = this.workers.filter(can);
    return able[place % Math.max(1, able.length)] ?? this.workers[0];
  }

  /** Of those that are not finished; the last place may be any. */
  #callId(place: number): string {
    const calls = place < 2 && this.open.length > 0 ? this.open : (roundNow(this.job.tools)?.calls ?? []);
    return calls[place % Math.max(1, calls.length)]?.callId ?? 'none';
  }
}

const idsOf = ({ callId, jobId, name }: Sent) =>
  ({ type: 'tool_result', job_id: callId, parent_job_id: jobId, tool_call_id: callId, tool_name: name }) as const;
const failure = (sent: Sent, code: string): ToolResultFrame => ({ ...idsOf(sent), error: code, code });

const answer = fc.record({
  kind: fc.constant('answer' as const),
  tools: fc.oneof(
    {
      weight: 9,
      arbitrary: fc.array(fc.constantFrom('note', 'note', 'look', 'broken'), { minLength: 1, maxLength: 3 }),
    },
    { weight: 1, arbitrary: fc.constant<string[]>([]) },
  ),
});
const place = fc.nat(2);
const some = <K extends ToolCommand['kind']>(kind: K) =>
  fc.record({ kind: fc.constant(kind), call: place, worker: place, held: fc.nat(4) }) as fc.Arbitrary<ToolCommand>;

/** What happens when nobody dies, gives up or is late: cuts, restarts, repeats and refusals that cost nothing. */
const anyKindCommand: fc.Arbitrary<ToolCommand> = fc.oneof(
  { weight: 3, arbitrary: answer },
  { weight: 6, arbitrary: some('match') },
  { weight: 5, arbitrary: some('deliver') },
  { weight: 4, arbitrary: some('reply') },
  { weight: 1, arbitrary: some('refuseFull') },
  { weight: 2, arbitrary: some('cut') },
  { weight: 1, arbitrary: fc.constant<ToolCommand>({ kind: 'restart' }) },
  { weight: 1, arbitrary: fc.constant<ToolCommand>({ kind: 'timeOver', early: true }) },
);

const anyToolCommand: fc.Arbitrary<ToolCommand> = fc.oneof(
  { weight: 24, arbitrary: anyKindCommand },
  { weight: 2, arbitrary: some('die') },
  { weight: 2, arbitrary: some('lose') },
  { weight: 1, arbitrary: some('giveUp') },
  {
    weight: 1,
    arbitrary: fc.constantFrom<ToolCommand>({ kind: 'timeOver', early: false }, { kind: 'cancel' }),
  },
);

const lifeOf = (command: fc.Arbitrary<ToolCommand>): fc.Arbitrary<readonly ToolCommand[]> =>
  fc
    .tuple(answer, fc.array(command, { minLength: 4, maxLength: 50, size: 'max' }))
    .map(([first, commands]) => [first, ...commands]);
export const anyToolLife = lifeOf(anyToolCommand);
export const anyKindLife = lifeOf(anyKindCommand);
