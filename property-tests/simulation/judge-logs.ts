/**
 * What every job's log must be, whatever happened: whole, ended once, opened by one writer an epoch, and true. Its replay
 * gives the bytes that its caller has.
 */
import { JobLog, type LogEntry } from '../../actors/log/job-log.ts';
import { stepsOf } from '../../actors/replay/replay.ts';
import { isTerminal, type JobEvent, type JobSubmitted } from '../../protocol/job-events.ts';
import { type CallerNode, show } from './caller-node.ts';
import { type Cluster, times } from './cluster.ts';
import { promptOf } from './engine.ts';
import { truthOf, vectorOf } from './truth.ts';

export interface JudgedJob {
  readonly jobId: string;
  readonly submitted: JobSubmitted;
  readonly events: readonly JobEvent[];
  readonly end: JobEvent;
}

/** A job may end so much later than its deadline: timers, shards and the log take their time. */
const lateMs = 3000;
/** What a router that is gone leaves open is ended by whoever takes it over: a lease, and an answer of the store that was lost. */
const takeOverMs = 8000;
/** Without a word from its worker, a job goes elsewhere or is asked after long before this. */
const quietMs = 25_000;

const isHeld = ({ type }: JobEvent): boolean =>
  type === 'job.assigned' || type === 'job.resumed' || type === 'output.appended';

export async function judgeLogs(cluster: Cluster, calmAt: number): Promise<Map<string, JudgedJob>> {
  const store = cluster.store.look();
  const jobs = new Map<string, JudgedJob>();
  if (store === null) {
    cluster.wrong('the store is not there when all is calm');
    return jobs;
  }
  const log = new JobLog(store);
  const callers = new Map(cluster.callers.map(caller => [caller.jobId, caller]));
  for (const jobId of cluster.store.jobIds()) {
    let entries: LogEntry[];
    try {
      entries = await log.read(jobId);
    } catch (error) {
      cluster.wrong(String(error));
      return jobs;
    }
    // A clock that was set forward has let it expire.
    if (entries.length === 0 && cluster.tally.had(['clock jumped'], 0, Number.POSITIVE_INFINITY)) continue;
    const judged = judge(cluster, jobId, entries, calmAt);
    if (judged === null) return jobs;
    jobs.set(jobId, judged);
    // A caller that came back too late is told that its job was cancelled; the replay takes it for one that had left.
    if (judged.end.type !== 'job.cancelled') replays(cluster, entries, callers.get(jobId));
    if (cluster.found !== null) return jobs;
  }
  const open = await log.openJobs();
  const listed = open.filter(jobId => !jobs.has(jobId));
  if (open.length > 0) cluster.wrong(`the index still names ${open.length} jobs as open: ${open} ${listed}`);
  return jobs;
}

function judge(cluster: Cluster, jobId: string, entries: readonly LogEntry[], calmAt: number): JudgedJob | null {
  const wrong = (what: string): null => {
    const told = entries.map(({ epoch, sequence, text }) => `${epoch}-${sequence} ${text}`).join('\n    ');
    cluster.wrong(`the log of ${jobId}: ${what}\n    ${told}`);
    return null;
  };
  const events = entries.flatMap(entry => [...entry.events]);
  const [submitted] = events;
  if (submitted?.type !== 'job.submitted') return wrong('it does not begin with job.submitted');
  const ends = events.filter(({ type }) => isTerminal(type));
  const [end] = ends;
  if (end === undefined) return wrong('its job has no end');
  if (ends.length > 1) return wrong('its job ends twice');
  const after = events.slice(events.indexOf(end) + 1);
  if (after.some(({ type }) => type !== 'job.adopted')) return wrong('it goes on after the end');
  let epoch = 0;
  let boot = '';
  for (const entry of entries) {
    const [first] = entry.events;
    if (first?.type === 'job.submitted') boot = first.boot;
    else if (first?.type === 'job.adopted') boot = first.boot;
    const boots = cluster.writers.of(jobId, entry.epoch, entry.sequence, entry.text);
    if (!boots.has(boot))
      return wrong(`${boot} opened epoch ${entry.epoch}, and ${[...boots]} wrote ${entry.epoch}-${entry.sequence}`);
    if (entry.epoch === epoch) {
      if (entry.events.some(({ type }) => type === 'job.adopted' || type === 'job.submitted'))
        return wrong(`epoch ${epoch} is opened twice`);
      continue;
    }
    if (entry.epoch !== epoch + 1) return wrong(`epoch ${entry.epoch} follows ${epoch}`);
    epoch = entry.epoch;
    if (first?.type !== (epoch === 1 ? 'job.submitted' : 'job.adopted'))
      return wrong(`epoch ${epoch} does not name its writer`);
  }
  const trouble = saidTrouble(cluster, submitted, events, end);
  if (trouble !== null) return wrong(trouble);
  const jumped = (cluster.tally.faults.get('clock jumped') ?? 0) > 0;
  const before = events.findLast(({ type, at }) => type !== 'job.adopted' && (type !== end.type || at !== end.at));
  const holder = events.findLast(event => event.type === 'job.assigned' || event.type === 'job.resumed');
  // One of version 1 that frames do not reach any more, and that goes on saying heartbeats, cannot be told from one at work.
  const tells = holder !== undefined && 'protocol' in holder && holder.protocol >= 2;
  const silent = before !== undefined && isHeld(before) && end.at - before.at > quietMs;
  if (end.type === 'job.expired' && tells && silent && !jumped)
    return wrong(`its worker had it for the last ${end.at - before.at} ms and said nothing`);
  const dueAt = Math.max(submitted.at + times.jobTimeoutMs, calmAt + takeOverMs) + lateMs;
  if (!jumped && end.at > dueAt) return wrong(`it ended ${end.at - dueAt} ms too late`);
  return { jobId, submitted, events, end };
}

/** The same states and the same bytes. */
function replays(cluster: Cluster, entries: readonly LogEntry[], caller: CallerNode | undefined): void {
  let bytes = '';
  try {
    for (const { caller: seen } of stepsOf(entries)) bytes += seen.bytes;
  } catch (error) {
    return cluster.wrong(String(error));
  }
  if (caller === undefined || caller.ending !== 'answered' || caller.malformed || caller.turned) return;
  if (caller.heard.error === 'store_unavailable' || caller.heard.error === 'poisoned_input') return;
  if (caller.body !== '') {
    // The head of a stream that went out early is told from the times of the events, in whole seconds.
    if (caller.body !== bytes && !caller.ask.streamed)
      cluster.wrong(`${caller.name} got ${caller.body}, and its log gives ${bytes}`);
    return;
  }
  // Who comes back is given a stream's head at once: an error is told behind it, and not with a status of its own.
  if (caller.resumes > 0 && bytes.startsWith('{')) return;
  const got = caller.frames.join('');
  const frames = bytes
    .split(/(?<=\n\n)/)
    .filter(frame => !frame.startsWith(':') && !(frame.startsWith('event: ping') && !frame.includes('id: ')))
    .join('');
  if (got !== frames) cluster.wrong(`${caller.name} got\n    ${show(got)}\n  and its log gives\n    ${show(frames)}`);
}

/** Where what the job said is not the truth. */
function saidTrouble(
  cluster: Cluster,
  submitted: JobSubmitted,
  events: readonly JobEvent[],
  end: JobEvent,
): string | null {
  const { embed } = submitted.request;
  if (embed !== undefined) {
    const vectors = embed.inputs.map(input => vectorOf(String(input))).join();
    if (events.some(({ type }) => type === 'output.appended')) return 'it says something beside its vectors';
    if (end.type === 'job.completed' && (end.embeddings ?? []).join() !== vectors) return 'its vectors are wrong';
    return null;
  }
  const prompt = promptOf(submitted.request.messages);
  const truth = truthOf(prompt, submitted.request.maxTokens ?? Number.POSITIVE_INFINITY);
  const said = { text: '', reasoning: '' };
  for (const event of events) if (event.type === 'output.appended') said[event.kind] += event.text;
  if (!truth.text.startsWith(said.text)) return `it says ${show(said.text)}, and the truth is ${show(truth.text)}`;
  if (!truth.reasoning.startsWith(said.reasoning))
    return `it thinks ${show(said.reasoning)}, and the truth is ${show(truth.reasoning)}`;
  if (end.type === 'job.completed') {
    if (said.text !== truth.text || said.reasoning !== truth.reasoning)
      return `it is complete with ${show(said.text)} of ${show(truth.text)}`;
    const old = cluster.plan.shape.workers.some(({ version }) => version === 1);
    // A worker of version 1 cannot say why it stopped: the router goes by the number of tokens.
    if (end.finishReason !== truth.finishReason && !(old && truth.call === null))
      return `it finished with ${end.finishReason} and not with ${truth.finishReason}`;
    if (end.usage.output !== truth.tokens) return `it counts ${end.usage.output} tokens of ${truth.tokens}`;
    const calls = (end.toolCalls ?? []).map(({ name, arguments: json }) => `${name}${json}`).join();
    if (calls !== (truth.call === null ? '' : `${truth.call.name}${truth.call.arguments}`)) return `it calls ${calls}`;
  }
  return null;
}
