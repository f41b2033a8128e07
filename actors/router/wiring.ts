/**
 * The parts of a front, put together: who tells whom of what.
 *
 * Each part gets the few functions and siblings that it needs. Some of them need each other, so what a part is given may
 * name parts that come later here; nothing is called before all are there.
 */
import type { Effect, ShardInput } from '../../protocol/shard-messages.ts';
import { slotOf } from '../../protocol/shard-messages.ts';
import { type Place, splitAhead } from './ahead.ts';
import { Appender } from './appender.ts';
import { Callers } from './callers.ts';
import { Cluster } from './cluster.ts';
import { Drain } from './drain.ts';
import { carryOut, type EffectsParts } from './effects.ts';
import type { FrontOptions, FrontParts } from './front.options.ts';
import { JobQueue } from './job-queue.ts';
import { tailByReading } from './log-tail.ts';
import { Looks } from './looks.ts';
import { OwnJobs } from './own-jobs.ts';
import { OwnLogs } from './own-logs.ts';
import { Redials } from './redials.ts';
import { RequestKeys } from './request-keys.ts';
import { Requests } from './requests.ts';
import { ShardDeaths } from './shard-deaths.ts';
import { ShardLinks } from './shard-links.ts';
import { Throttle } from './throttle.ts';
import { Timers } from './timers.ts';
import { TokenCounts } from './token-counts.ts';
import { ToolCalls } from './tool-calls.ts';
import { routerToolsFor, toolsOff } from './tool-offer.ts';
import { WorkerSockets } from './worker-sockets.ts';
import { WorkerTraffic } from './worker-traffic.ts';

/** The parts that the front itself has to do with. */
export interface Wired {
  readonly appender: Appender;
  readonly logs: OwnLogs;
  readonly jobs: OwnJobs;
  readonly timers: Timers;
  readonly queue: JobQueue;
  readonly callers: Callers;
  readonly requests: Requests;
  readonly counts: TokenCounts;
  readonly looks: Looks;
  readonly sockets: WorkerSockets;
  readonly traffic: WorkerTraffic;
  readonly tools: ToolCalls;
  readonly cluster: Cluster | null;
  readonly drain: Drain;
  readonly links: ShardLinks;
}

export function wire(options: FrontOptions, parts: FrontParts): Wired {
  const { clock, log, ids, diagnostics } = parts;
  const { writer, jobTimeoutMs, modelDefault, strictParams, tools: toolsOptions = toolsOff } = options;
  const shared = parts.cluster !== undefined;
  const shardOf = (id: string): number => (links.count === 1 ? 0 : slotOf(id) % links.count);
  /** To the shard that owns the job or the worker's connection. */
  const post = (id: string, input: ShardInput): void => links.post(shardOf(id), input);
  const postLazily = (id: string, input: ShardInput): void => links.postLazily(shardOf(id), input);
  const postCount = (id: string, input: ShardInput): void => links.post(Number(id) % links.count, input);
  const sendToWorker = (workerId: string, text: string): void => sockets.send(workerId, text);
  const release = (effects: readonly Effect[]): void => {
    for (const effect of effects) carryOut(effect, effectsParts);
  };
  const isOurs = (jobId: string): boolean => jobs.has(jobId);
  const placeOf = (jobId: string): Place => ({
    settled: appender.isSettled(jobId),
    hasSlot: queue.slots.any > 0 && cluster?.hasOthers !== true,
  });

  const timers = new Timers(clock, (key, at) => {
    const [kind, id = ''] = key.split(':');
    if (kind === 'queue') jobs.fail(id, 'server_overloaded', 'no worker was free in time (AUXOT_QUEUE_TIMEOUT)');
    else if (kind === 'standby') queue.enqueueLater(id);
    else post(id, { kind: 'timerFired', at, key });
  });
  const appender = new Appender(
    log,
    clock,
    {
      release,
      fenced: (jobId, why) => jobs.fenced(jobId, why),
      full: jobId => jobs.fail(jobId, 'log_full', 'the answer is longer than one job may log'),
      storeChanged: (working, reason) => {
        if (working) diagnostics.info('the store works again');
        else diagnostics.error('the store fails: answers are held back and new jobs are refused', { reason });
      },
    },
    diagnostics,
  );
  const logs = new OwnLogs(writer, {
    clock,
    log,
    diagnostics,
    appender,
    taken: (jobId, entries, adopted) => {
      jobs.add(jobId);
      post(jobId, { kind: 'jobRestored', at: clock.now(), jobId, entries, adopted });
    },
  });
  const queue = new JobQueue(options, clock, timers, {
    give: (jobId, workerId, { protocol, workerInstance, modelFile, backend }, at) =>
      post(jobId, {
        kind: 'jobMatched',
        at,
        jobId,
        workerId,
        protocol,
        backend,
        ...(workerInstance === undefined ? {} : { workerInstance }),
        ...(modelFile === undefined ? {} : { modelFile }),
      }),
    fail: (jobId, code, message) => jobs.fail(jobId, code, message),
    matched: () => cluster?.look(),
    recalled: jobId => cluster?.recall(jobId),
  });
  const tail = parts.tail ?? parts.cluster ?? tailByReading(log, clock, jobTimeoutMs);
  const places = (): ReadonlyMap<string, number> => queue.places();
  const readElsewhere = (jobId: string): boolean => jobs.readElsewhere(jobId);
  const heard = { post, postLazily, places, readElsewhere };
  const callers = new Callers(options, { clock, log, tail, appender, diagnostics, ...heard });
  const sockets = new WorkerSockets(options, clock, diagnostics, (worker, code) => traffic.gone(worker, code));
  const counts = new TokenCounts(clock, (model, frame) => traffic.askToCount(model, frame));
  const looks = new Looks({
    clock,
    log,
    appender,
    post: (lookId, look, entries) => post(look.jobId, { kind: 'lookArrived', lookId, look, entries }),
    end: jobId => requests.end(jobId),
  });
  const tools = new ToolCalls(toolsOptions, {
    clock,
    post,
    send: sendToWorker,
    others: shared
      ? {
          tellWriter: (...call) => cluster?.tellOfCall(...call),
          callIsOver: (boot, callId) => cluster?.callIsOver(boot, callId),
        }
      : null,
    tellCallers: (jobId, name, frame) => callers.toolProgressed(jobId, name, frame),
  });

  const jobs = new OwnJobs({
    clock,
    log,
    diagnostics,
    appender,
    timers,
    queue,
    callers,
    shared,
    post,
    sendToWorker,
    letGoOfTools: jobId => tools.letGo(jobId),
    lost: jobId => logs.lost(jobId),
    tellWriter: (kind, jobId) => cluster?.tellWriter(kind, jobId),
    left: () => drain.look(),
  });
  const cluster =
    parts.cluster === undefined
      ? null
      : new Cluster(writer.boot, parts.cluster, { clock, log, diagnostics, appender, queue, jobs, logs, tools, post });
  const keys =
    parts.requestKeys === undefined ? null : new RequestKeys({ clock, ids, port: parts.requestKeys, isOpen: isOurs });
  const requests = new Requests({
    clock,
    ids,
    diagnostics,
    jobTimeoutMs,
    callers,
    counts,
    looks,
    jobs,
    keys,
    post,
    postCount,
    terms: withTools => {
      const offered = traffic.features;
      return {
        writer,
        modelDefault,
        ...(strictParams === true ? { strict: true } : {}),
        offered,
        ...(withTools ? routerToolsFor(toolsOptions, tools.listed, offered) : {}),
      };
    },
    tellWriter: cluster === null ? null : (kind, jobId) => cluster.tellWriter(kind, jobId),
  });
  const redials = new Redials({
    clock,
    queue,
    sockets,
    isOurs,
    post,
    fetch: cluster === null ? null : (jobId, claim) => cluster.fetch(jobId, claim),
  });
  const throttle = new Throttle({
    backlog: () => links.backlog,
    waitingChars: jobId => appender.waitingChars(jobId),
    heldBy: workerId => queue.heldBy(workerId),
    workerOf: jobId => sockets.get(queue.holder(jobId) ?? ''),
    pause: (worker, mayRead) => sockets.pause(worker, mayRead),
  });
  const traffic = new WorkerTraffic({
    clock,
    ids,
    keys: parts.keys,
    sockets,
    queue,
    redials,
    throttle,
    counts,
    tools,
    post,
    postFrame: (at, jobId, workerId, text) => links.postFrame(shardOf(jobId), at, jobId, workerId, text),
  });
  const drain = new Drain({ clock, diagnostics, appender, queue, callers, sockets, jobs, cluster, post });
  const effectsParts: EffectsParts = {
    diagnostics,
    callers,
    requests,
    counts,
    looks,
    sockets,
    traffic,
    redials,
    tools,
    queue,
    timers,
    jobs,
    drain,
    cluster,
    ...(parts.listCompletion === undefined ? {} : { listCompletion: parts.listCompletion }),
  };
  const deaths = new ShardDeaths({
    clock,
    diagnostics,
    appender,
    queue,
    callers,
    sockets,
    jobs,
    logs,
    shardOf,
    refuseCount: (countId, code, message) => counts.refuse(countId, code, message),
    refuseLook: (lookId, code, message) => looks.refuse(lookId, code, message),
    refuseRequest: (streamId, code, message) => requests.refuse(streamId, code, message),
    endCall: callId => tools.end(callId, true),
  });
  const links = new ShardLinks(
    parts.shards,
    clock,
    {
      heard: ({ chunks, effects }) => {
        const chosen: Effect[] = [];
        for (const whole of chunks) {
          const { chunk, ahead } = splitAhead(whole, () => placeOf(whole.jobId));
          // The first event of an epoch: the job is ours from here on. Of one that was let go since, nothing more is logged.
          if (chunk.creates) {
            jobs.add(chunk.jobId);
            keys?.made(chunk.jobId);
          } else if (chunk.count > 0 && !jobs.has(chunk.jobId)) continue;
          // It was let go and taken again since: refused, this would look as if another router wrote the job.
          else if (chunk.count > 0 && chunk.epoch < (appender.ackedOf(chunk.jobId)?.epoch ?? 0)) continue;
          chosen.push(...ahead);
          appender.add(chunk);
          throttle.logs(chunk.jobId);
        }
        appender.flush();
        release(chosen);
        release(effects);
      },
      rebuild: shard => deaths.rebuild(shard),
      poisoned: input => deaths.poisoned(input),
      gaveUp: (shard, reason) => parts.failed(`shard ${shard} died too often: ${reason}`),
    },
    diagnostics,
  );
  return {
    appender,
    logs,
    jobs,
    timers,
    queue,
    callers,
    requests,
    counts,
    looks,
    sockets,
    traffic,
    tools,
    cluster,
    drain,
    links,
  };
}
