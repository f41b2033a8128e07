/**
 * One script carried out on one router (rough-world.ts), and what is looked at on the way and at the end. The claims are
 * numbered in router.property.test.ts.
 */
import * as assert from 'uvu/assert';
import { openEarly, restoreStream, show } from '../machines/stream.ts';
import { isTerminal, type JobEvent, type JobSubmitted } from '../protocol/job-events.ts';
import { comparePositions, type Position, parsePosition } from '../protocol/position.ts';
import { allRounds, type Deed, type Saying, type Step } from './rough-deeds.ts';
import {
  type RoughCaller,
  type RoughWorker,
  RoughWorld,
  type Router,
  type Run,
  shardCount,
  times,
} from './rough-world.ts';

const killsMax = 8;
const bootsMax = 3;
const graceMs = 3_000;
const pick = <T>(list: readonly T[], n: number): T | undefined => list[n % Math.max(1, list.length)];

export class Trial {
  readonly world = new RoughWorld();
  readonly #pending: Promise<unknown>[] = [];
  #kills = 0;

  constructor() {
    this.world.clock.watch = () => this.look();
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const { deed: each, rounds } of steps) {
      await this.#obey(each);
      this.look();
      if (rounds === allRounds) await this.world.clock.settle();
      else for (let n = 0; n < rounds; n += 1) await this.world.clock.step();
    }
  }

  async #obey(each: Deed): Promise<void> {
    const { world } = this;
    const { front, callers, workers } = world.router;
    const present = callers.filter(({ ended, left, destroyed }) => !ended && !left && !destroyed);
    const connected = workers.filter(({ gone }) => !gone);
    switch (each.do) {
      case 'ask':
        world.ask(each.streamed, each.broken ? { messages: 'none' } : {});
        return;
      case 'leave': {
        const caller = pick(present, each.who);
        if (caller === undefined) return;
        caller.left = true;
        caller.leftAt = world.clock.now();
        front.callerClosed(caller.streamId);
        return;
      }
      case 'slow': {
        const caller = pick(present, each.who);
        if (caller !== undefined) caller.slow = true;
        return;
      }
      case 'drain':
      case 'trickle':
        pick(
          present.filter(({ slow }) => slow),
          each.who,
        )?.take(front, each.do === 'trickle');
        return;
      case 'join':
        if (connected.length < 4) world.join(each.protocol, each.slots);
        return;
      case 'say': {
        const speaking = connected.filter(({ runs }) => runs.length > 0);
        const worker = pick(speaking, each.who);
        if (worker !== undefined) this.#say(worker, each.run, each.saying);
        return;
      }
      case 'drop':
        pick(connected, each.who)?.drop();
        return;
      case 'redial': {
        const lost = workers.filter(({ gone, redialled, protocol }) => gone && !redialled && protocol >= 2);
        const worker = pick(lost, each.who);
        if (worker !== undefined && connected.length < 4) world.redial(worker);
        return;
      }
      case 'mute': {
        const worker = pick(connected, each.who);
        if (worker !== undefined) worker.answersPings = false;
        return;
      }
      case 'kill':
        this.#kills += 1;
        if (this.#kills > killsMax) return;
        for (let index = 0; index < shardCount; index += 1)
          if ((each.shards >> index) & 1) world.kill(index, each.shards >> shardCount);
        return;
      case 'store':
        world.log.down = each.down;
        if (each.down) world.log.troubled = true;
        return;
      case 'gate':
        if (each.shut) world.log.shut(each.reads);
        else world.log.unshut();
        return;
      case 'lose':
        world.log.loseReplies = each.replies;
        world.log.troubled = true;
        return;
      case 'pass':
        return world.clock.pass(each.ms);
      case 'boot':
        if (world.routers.length >= bootsMax || world.log.down || world.log.gate !== null) return;
        this.#pending.push(world.boot().front.recover());
        return;
      case 'rest':
        return world.clock.settle();
    }
  }

  #say(worker: RoughWorker, n: number, said: Saying): void {
    const open = worker.runs.filter(({ over }) => !over);
    const run = pick(said.what === 'late' ? worker.runs.filter(({ over }) => over) : open, n);
    if (run === undefined) return;
    const two = worker.protocol >= 2;
    const mark = two ? { attempt: run.attempt } : {};
    const job_id = run.jobId;
    switch (said.what) {
      case 'tokens':
        for (const token of said.texts) {
          if (two) run.seq += 1;
          this.#heard(run, token, said.reasoning);
          const frame = {
            token,
            ...(said.reasoning ? { reasoning: true } : {}),
            ...(two ? { ...mark, seq: run.seq, ids: [token.length] } : {}),
          };
          const whole = said.odd ? { ...frame, job_id, type: 'token' } : { type: 'token', job_id, ...frame };
          if (two && !run.broken) run.tail.push({ seq: run.seq, frame: whole });
          worker.say(whole);
        }
        return;
      case 'repeat':
        if (two && run.seq > 0) worker.say({ type: 'token', job_id, token: 'again', ...mark, seq: run.seq });
        return;
      case 'skip':
        if (!two) return;
        run.broken = true;
        run.seq += 2;
        worker.say({ type: 'token', job_id, token: 'skipped', ...mark, seq: run.seq });
        return;
      case 'stale':
        if (two) worker.say({ type: 'token', job_id, token: 'stale', attempt: run.attempt + 1, seq: run.seq + 1 });
        return;
      case 'foreign': {
        if (worker.paused) return;
        // A job that another worker runs: one that nobody runs may be on its way to this very worker.
        const others = this.world.router.workers.filter(each => each !== worker && !each.gone);
        const running = others.flatMap(({ runs }) => runs.filter(({ over, broken }) => !over && !broken));
        const other = pick(running, n)?.jobId;
        if (other !== undefined) worker.say({ type: 'token', job_id: other, token: 'forged' });
        return;
      }
      case 'late':
        // The last word of a run that a cancel crossed.
        worker.say({ type: 'token', job_id, token: 'late', ...mark, ...(two ? { seq: run.seq + 1 } : {}) });
        return;
      case 'unknown':
        worker.say({ type: 'no.such.frame', job_id });
        return;
      case 'progress':
        worker.say({ type: 'prompt_progress', job_id, total: 3, cached: 0, processed: 1, ...mark });
        return;
      case 'complete': {
        const full_response = run.content + said.tail;
        const counts = { duration_ms: 5, input_tokens: 3, output_tokens: 2, reasoning_content: run.reasoning };
        worker.say({ type: 'complete', job_id, full_response, ...counts, ...mark, ...(two ? { seq: run.seq } : {}) });
        if (!run.broken) run.content = full_response;
        run.over = true;
        return;
      }
      case 'error':
        worker.say({ type: 'error', job_id, error: 'out of memory', ...mark });
        run.over = true;
        return;
      case 'stopped':
        worker.say({ type: 'cancelled', job_id, attempt: run.attempt });
        run.over = true;
        return;
      case 'overload':
        worker.say({ type: 'job.overload', job_id, ...mark });
        run.over = true;
        return;
      case 'json':
        worker.tell(`{"type":"token","job_id":"${job_id}","token":`);
        run.broken = true;
        return;
      case 'shape':
        worker.say({ type: 'token', job_id, token: { no: 'text' } });
        run.broken = true;
        return;
    }
  }

  #heard(run: Run, token: string, reasoning: boolean): void {
    if (run.broken) return;
    if (reasoning) run.reasoning += token;
    else run.content += token;
  }

  /** What must be true at every moment. */
  look(): void {
    const { world } = this;
    world.noteQuiet();
    assert.is(world.log.violations.join(), '');
    for (const { callers, workers } of world.routers) {
      for (const worker of workers) assert.is(worker.violations.join(), '');
      for (const caller of callers) this.#lookAt(caller);
    }
  }

  #lookAt(caller: RoughCaller): void {
    const got = gotBy(caller);
    if (got === null) return;
    const logged = loggedOf(world(this).log.events(caller.jobId));
    assert.ok(logged.content.startsWith(got.content), `${caller.jobId} got "${got.content}" of "${logged.content}"`);
    assert.ok(logged.reasoning.startsWith(got.reasoning), `${caller.jobId} got "${got.reasoning}"`);
    assert.ok(got.errors <= 1 && got.ends <= 1, 'more than one end');
  }

  /** Every router is told to stop, whatever goes on: it does in time, and leaves nobody waiting. */
  async stop(): Promise<void> {
    const { world } = this;
    let stopped = 0;
    for (const { front } of world.routers) void front.stop(graceMs).then(() => (stopped += 1));
    // The grace, two seconds for last words, and something for what is done in between.
    await world.clock.pass(graceMs + 3_000);
    assert.is(stopped, world.routers.length, 'a stop takes too long');
    for (const { callers } of world.routers) {
      for (const { ended, destroyed, left, jobId } of callers) assert.ok(ended || destroyed || left, `${jobId} waits`);
    }
    world.log.down = false;
    world.log.unshut();
    await world.clock.pass(60_000);
  }

  /** Everything works again, workers finish what they have, and time passes: nothing is left, and all of it was right. */
  async end(): Promise<void> {
    const { world } = this;
    world.log.down = false;
    world.log.unshut();
    world.log.loseReplies = 0;
    await world.clock.pass(5_000);
    for (const { workers } of world.routers) {
      for (const worker of workers) {
        if (worker.gone) continue;
        for (const run of worker.runs)
          if (!run.over)
            this.#say(worker, worker.runs.filter(({ over }) => !over).indexOf(run), { what: 'complete', tail: '' });
      }
    }
    await world.clock.settle();
    for (const { front, callers } of world.routers) {
      for (const caller of callers) {
        if (!caller.ended && !caller.destroyed && !caller.left) caller.take(front, false);
      }
    }
    await world.clock.pass(times.jobTimeoutMs + times.queueTimeoutMs);
    await Promise.all(this.#pending);
    for (const router of world.routers) {
      const { callers, workers, front, shards } = router;
      for (const caller of callers) this.#judge(caller, router);
      assert.equal(front.load, { jobs: 0, callers: 0, holders: 0, timers: 0, appends: 0, batches: 0 });
      for (const worker of workers) worker.drop();
      await world.clock.pass(11_000);
      assert.equal(front.load, { jobs: 0, callers: 0, holders: 0, timers: 0, appends: 0, batches: 0 });
      assert.equal(shards.sizes(), Array(shardCount).fill({ jobs: 0, streams: 0, workers: 0 }));
    }
    for (const jobId of world.log.logs.keys()) this.#judgeLog(jobId);
  }

  /** R2, and the first half of R3. */
  #judgeLog(jobId: string): void {
    const { log } = this.world;
    const events = log.events(jobId);
    const kinds = events.map(({ type }) => type);
    const end = kinds.findIndex(isTerminal);
    assert.is.not(end, -1, `${jobId} has no end: ${kinds}`);
    assert.equal(
      kinds.slice(end + 1).filter(type => type !== 'job.adopted'),
      [],
      `${jobId} goes on after its end: ${kinds}`,
    );
    const spoken = events.findLast(event => event.type === 'output.appended' || event.type === 'job.completed');
    const logged = loggedOf(events);
    if (spoken === undefined || !('attempt' in spoken)) return;
    const last = events.find(
      event => (event.type === 'job.assigned' || event.type === 'job.resumed') && event.attempt === spoken.attempt,
    );
    if (last === undefined || !('workerId' in last && 'attempt' in last))
      return assert.unreachable(`${jobId}: an attempt that nobody had`);
    const run = this.world.workerOf(last.workerId)?.runOf(jobId, last.attempt);
    const said = run ?? { content: '', reasoning: '' };
    assert.ok(said.content.startsWith(logged.content), `${jobId} logged "${logged.content}" of "${said.content}"`);
    assert.ok(said.reasoning.startsWith(logged.reasoning), `${jobId} logged "${logged.reasoning}"`);
    if (kinds[end] !== 'job.completed') return;
    assert.is(logged.content, said.content, `${jobId} lost text`);
    assert.is(logged.reasoning, said.reasoning, `${jobId} lost reasoning`);
  }

  /** The second half of R3, and R4. */
  #judge(caller: RoughCaller, router: Router): void {
    const { log, routers } = this.world;
    const name = `${caller.jobId} (${caller.streamed ? 'streamed' : 'blocking'}, ${caller.status} "${caller.text}")`;
    const fenced = routers.length > 1 && router !== routers.at(-1);
    if (caller.left) {
      const end = log.events(caller.jobId).find(({ type }) => isTerminal(type));
      return assert.ok(fenced || end === undefined || end.at <= caller.leftAt, `${name} left, and its job went on`);
    }
    if (caller.destroyed) {
      return assert.ok(fenced || log.troubled || this.world.killedTwice, `${name} was cut; ${router.errors}`);
    }
    assert.ok(caller.ended, `${name} has no end; ${log.events(caller.jobId).map(({ type }) => type)}`);
    const got = gotBy(caller);
    const events = log.events(caller.jobId);
    const end = events.find(({ type }) => isTerminal(type));
    if (caller.status === 200 && got !== null && got.errors === 0) {
      const logged = loggedOf(events);
      assert.is(got.content, logged.content, name);
      assert.is(got.reasoning, logged.reasoning, name);
      assert.is(end?.type, 'job.completed', name);
      assert.is(got.ends, 1, name);
    } else {
      const code = got?.code ?? JSON.parse(caller.text).error.code;
      const wanted = end?.type === 'job.failed' ? end.code : end?.type === 'job.expired' ? 'timeout' : null;
      assert.ok(
        code === wanted || this.#excused(code, end),
        `${name} was told ${code}, the log says ${JSON.stringify(end)}`,
      );
    }
    if (end?.type === 'job.failed') this.#judgeCause(caller.jobId, end.code, name);
    if (caller.streamed && caller.status === 200) this.#judgeIds(caller);
  }

  #excused(code: string, end: JobEvent | undefined): boolean {
    if (code === 'store_unavailable') return this.world.log.troubled;
    if (code === 'poisoned_input') return this.world.killedTwice;
    return code === 'invalid_request' && end === undefined;
  }

  /** A job fails for a reason that this trial gave it. */
  #judgeCause(jobId: string, code: string, name: string): void {
    const { routers, killedTwice } = this.world;
    const held = routers.flatMap(({ workers }) =>
      workers.flatMap(worker => worker.runs.filter(run => run.jobId === jobId).map(run => ({ worker, run }))),
    );
    switch (code) {
      case 'worker_lost': {
        // Workers that left were dropped by now; one may have been lost with the job on its way to it.
        const given = this.world.log.events(jobId).flatMap(event => ('workerId' in event ? [event.workerId] : []));
        return assert.ok(
          routers.length > 1 ||
            held.some(({ run }) => run.broken) ||
            given.some(workerId => this.world.workerOf(workerId)?.gone !== false),
          `${name} lost no worker`,
        );
      }
      case 'worker_error':
      case 'server_overloaded':
      case 'queue_full':
        return;
      case 'poisoned_input':
        return assert.ok(killedTwice, `${name} was blamed for nothing`);
      default:
        assert.unreachable(`${name} failed with ${code}`);
    }
  }

  /** R4. */
  #judgeIds(caller: RoughCaller): void {
    const log = this.world.log.logs.get(caller.jobId) ?? [];
    const events = log.flatMap(({ epoch, sequence, events: list }) =>
      list.map((event, index): [JobEvent, Position] => [event, { epoch, number: sequence + index }]),
    );
    const submitted = events[0]?.[0];
    assert.is(submitted?.type, 'job.submitted');
    const text = caller.text.replaceAll(/^: .*\n\n/gm, '');
    let before: Position = { epoch: 0, number: 0 };
    let seen = '';
    for (const match of text.matchAll(/^id: (.*)\n.*\n\n/gm)) {
      const id = match[1] ?? '';
      assert.ok(id !== seen, `id ${id} came twice`);
      seen = id;
      const position = parsePosition(id.replace(/\/\d+$/, ''));
      assert.ok(position !== null, `"${id}" is no position`);
      if (position === null) return;
      assert.ok(comparePositions(position, before) >= 0, `id ${id} goes back`);
      before = position;
      if (id.includes('/')) continue;
      const rest = text.slice(match.index + match[0].length);
      const again = project(submitted as JobSubmitted, events, position);
      assert.ok(again.startsWith(rest), `after ${id} came "${rest}" and not "${again}"`);
      if (caller.ended) assert.is(rest, again);
    }
  }
}

const world = (trial: Trial): RoughWorld => trial.world;

function project(submitted: JobSubmitted, events: readonly [JobEvent, Position][], after: Position): string {
  let stream = restoreStream(submitted, events, after, true);
  [stream] = openEarly(stream);
  let text = '';
  for (const [event, position] of events) {
    const [next, actions] = show(stream, event, position);
    stream = next;
    for (const action of actions) if (action.type === 'write') text += action.text;
  }
  return text;
}

function loggedOf(events: readonly JobEvent[]): { content: string; reasoning: string } {
  const logged = { content: '', reasoning: '' };
  for (const event of events) {
    if (event.type !== 'output.appended') continue;
    logged[event.kind === 'text' ? 'content' : 'reasoning'] += event.text;
  }
  return logged;
}

/** What a caller was told; null when it has no answer yet, or one that is no completion. */
function gotBy(
  caller: RoughCaller,
): { content: string; reasoning: string; errors: number; ends: number; code: string | null } | null {
  const got = { content: '', reasoning: '', errors: 0, ends: 0, code: null as string | null };
  if (caller.status !== 200) return null;
  if (!caller.streamed) {
    const { message } = JSON.parse(caller.text).choices[0];
    return { ...got, content: message.content ?? '', reasoning: message.reasoning_content ?? '', ends: 1 };
  }
  for (const { data } of caller.chunks) {
    if (data === '[DONE]') {
      got.ends += 1;
      continue;
    }
    assert.is(got.ends, 0, 'something came after the end');
    const chunk = JSON.parse(data);
    if (chunk.error !== undefined) {
      got.errors += 1;
      got.code = chunk.error.code;
    }
    const delta = chunk.choices?.[0]?.delta ?? {};
    got.content += delta.content ?? '';
    got.reasoning += delta.reasoning_content ?? '';
  }
  return got;
}
