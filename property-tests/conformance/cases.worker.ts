/** What a worker does on its connection and with jobs, towards routers of both versions. */
import { parseWorkerFrame } from '../../protocol/worker-frames.ts';
import { type Case, expect, expectSame, NotApplicable, pause, shown } from './case.ts';
import type { Heard } from './router-peer.ts';
import type { RouterLine, WorkerPeer } from './worker-peer.ts';

type WorkerCase = Case<WorkerPeer>;

let jobs = 0;
/** A short job; `more` goes over it. */
export function aJob(more: object = {}): { readonly job_id: string } & Heard {
  jobs += 1;
  const messages = [{ role: 'user', content: 'Say hello.' }];
  return { type: 'job', job_id: `chatcmpl-conformance${jobs}`, messages, temperature: 0, max_tokens: 24, ...more };
}

/** A job that takes a while at any model. */
export const aLongJob = (more: object = {}): Heard =>
  aJob({
    messages: [{ role: 'user', content: 'Tell me a story.' }],
    max_tokens: 1500,
    ...more,
  });

const two = { attempt: 1 };

export const textOf = (frames: readonly Heard[]): string =>
  frames
    .filter(({ reasoning }) => reasoning !== true)
    .map(({ token }) => token)
    .join('');

/** Long enough that the worker has said some of it, and not all. */
export async function midway(line: RouterLine, job: Heard, count = 3): Promise<void> {
  if (!(await line.spoken(job.job_id, count)))
    throw new NotApplicable('the answer was over before the case could go on: the model says too little');
}

/** P3, P4: numbered without a gap, one end, nothing behind it, and the text in full. */
function isWholeAnswer(line: RouterLine, job: Heard, attempt: number | null): Heard {
  const about = line.about(job.job_id);
  const ends = about.filter(({ type }) => type === 'complete');
  expectSame(ends.length, 1, 'the number of complete frames');
  const [complete] = ends;
  expect(about.at(-1) === complete, `something follows the end: ${shown(about.at(-1))}`);
  const tokens = line.tokens(job.job_id);
  const text = textOf(tokens);
  expect(
    complete.full_response.startsWith(text.trimEnd()) || complete.full_response === text.trim(),
    `full_response is ${shown(complete.full_response)}, and the tokens say ${shown(text)}`,
  );
  if (attempt === null) {
    for (const frame of about)
      for (const field of ['attempt', 'seq', 'ids', 'finish_reason', 'code'])
        expect(!(field in frame), `${frame.type} has ${field}, and version 1 is spoken`);
    return complete;
  }
  expectSame(
    tokens.map(({ seq }) => seq),
    tokens.map((_, index) => index + 1),
    'the numbers of the tokens',
  );
  expectSame(complete.seq ?? 0, tokens.length, 'seq of complete');
  for (const frame of about) expectSame(frame.attempt, attempt, `attempt of ${frame.type}`);
  expect(['stop', 'length', 'tool_calls'].includes(complete.finish_reason), `finish_reason: ${complete.finish_reason}`);
  return complete;
}

const isWellFormed = (line: RouterLine): void => {
  for (const frame of line.heard) {
    const parsed = parseWorkerFrame(JSON.stringify(frame));
    expect(parsed.ok, `${shown(frame)} does not fit its shape`);
  }
};

export const workerJobs: readonly WorkerCase[] = [
  {
    id: 'worker/greeting/hello',
    says: 'The first frame is a well-formed hello with the key, and a process keeps its instance_id.',
    of: '§4.1, §6; spec 3.3',
    async run(peer) {
      const first = await peer.dialled();
      expect(first.line.heard[0] === first.hello, `before it came ${shown(first.line.heard[0])}`);
      isWellFormed(first.line);
      for (const field of ['backend', 'model'])
        expect(first.hello.capabilities?.[field] !== '', `capabilities.${field} is missing`);
      first.line.drop();
      const { hello } = await peer.dialled();
      expectSame(hello.instance_id, first.hello.instance_id, 'instance_id of the second connection');
    },
  },
  {
    id: 'worker/greeting/works',
    says: 'A worker that has its model tells model, context and slots in config, and has work to offer.',
    of: '§4.1, §6; spec 4.3',
    ms: 10 * 60_000,
    async run(peer) {
      const { line, slots } = await peer.line(1);
      expect(slots >= 1, `total_slots is ${slots}`);
      isWellFormed(line);
      for (const { type } of line.heard)
        expect(['hello', 'config', 'heartbeat'].includes(type), `${type} is not for a version 1 router`);
    },
  },
  {
    id: 'worker/greeting/second-ack',
    says: 'A second hello_ack is ignored, and so are frames of types that are not known or not for it.',
    of: '§9',
    async run(peer) {
      for (const version of [1, 2] as const) {
        const { line } = await peer.line(version);
        line.say(peer.ack(version), { type: 'no_such_type' }, { type: null }, '{}', { type: 'token', job_id: 'x' });
        line.say({ type: 'tool_job', job_id: 'x' }, { type: 'policy_update', policy: null }, { type: 'config_ack' });
        line.say(
          { type: 'heartbeat_ack' },
          { type: 'cancel', job_id: 'nobody' },
          { type: 'error', error: 'for people' },
        );
        await line.heardOut();
        const job = aJob(version === 2 ? two : {});
        line.say(job);
        expectSame((await line.end(job.job_id)).type, 'complete', 'the end of a job');
      }
    },
  },
  {
    id: 'worker/greeting/later',
    says: 'A refusal that may heal is tried again: error in words, and success false with reconnectInSeconds, not before that.',
    of: '§4.1, §5; spec 3.8',
    weakness: 'reconnectInSeconds is not read (§3.8)',
    async run(peer) {
      const first = await peer.dialled();
      first.line.say({ type: 'error', error: 'the router is busy checking keys' });
      first.line.socket.close(4429);
      const second = await peer.dialled();
      const saidMs = performance.now();
      second.line.say({ type: 'hello_ack', success: false, error: 'later', reconnectInSeconds: 1 });
      second.line.socket.close(1001);
      await peer.dialled(peer.options.redialMs + 2000);
      const afterMs = performance.now() - saidMs;
      expect(afterMs > 990, `it dialled again after ${Math.round(afterMs)} ms`);
    },
  },
  {
    id: 'worker/transport/ping',
    says: 'A ping is answered with its payload.',
    of: '§8; spec 3.1',
    async run(peer) {
      const { line } = await peer.line(1);
      await line.heardOut();
    },
  },
  {
    id: 'worker/transport/pieces',
    says: 'A job in binary frames and in pieces, with white space behind it, is a job.',
    of: '§1',
    async run(peer) {
      const { line } = await peer.line(1);
      const job = aJob();
      const message = Buffer.from(`${JSON.stringify(job)}\r\n \t`);
      line.socket.send(message.subarray(0, 11), { binary: true, fin: false });
      line.socket.send(message.subarray(11, 60), { fin: false });
      line.socket.send(message.subarray(60), { fin: true });
      expectSame((await line.end(job.job_id)).type, 'complete', 'the end of the job');
      isWholeAnswer(line, job, null);
    },
  },
  {
    id: 'worker/transport/no-utf8',
    says: 'Bytes that are no UTF-8 in a text message are read as U+FFFD, and cost neither job nor connection.',
    of: '§2',
    async run(peer) {
      const { line } = await peer.line(1);
      const job = aJob({ messages: [{ role: 'user', content: 'Say # hello.' }] });
      const [before = '', after = ''] = JSON.stringify(job).split('#');
      const bytes = Buffer.concat([Buffer.from(before), Buffer.from([0xc3, 0x28, 0xff]), Buffer.from(after)]);
      line.socket.send(bytes, { binary: false });
      expectSame((await line.end(job.job_id)).type, 'complete', 'the end of the job');
    },
  },
  {
    id: 'worker/job/version-1',
    says: 'To a version 1 router a job is tokens and one complete, the text in full, with no field of version 2.',
    of: 'P3, §3.3; spec 4.4',
    async run(peer) {
      const { line } = await peer.line(1);
      const job = aJob();
      line.say(job);
      await line.end(job.job_id);
      await pause(50);
      isWholeAnswer(line, job, null);
      isWellFormed(line);
    },
  },
  {
    id: 'worker/job/version-2',
    says: 'To a version 2 router tokens are numbered without a gap under the job’s attempt, and complete tells the last number.',
    of: 'P3, P4',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aJob({ attempt: 3 });
      line.say(job);
      await line.end(job.job_id);
      await pause(50);
      isWholeAnswer(line, job, 3);
      isWellFormed(line);
    },
  },
  {
    id: 'worker/job/nulls',
    says: 'Null where a value may be absent is accepted, and unknown fields are ignored.',
    of: '§2; spec N22',
    async run(peer) {
      const { line } = await peer.line(1);
      const nulls = { tools: null, max_tokens: null, reasoning_effort: null, data: null, caller_tools: null };
      const job = aJob({ ...nulls, credentials: null, reference_id: null, no_such_field: [{}] });
      line.say(job);
      expectSame((await line.end(job.job_id)).type, 'complete', 'the end of the job');
    },
  },
  {
    id: 'worker/job/limit',
    says: 'max_tokens is kept, and told as finish_reason length.',
    of: '§4.2',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ ...two, max_tokens: 3 });
      line.say(job);
      const end = await line.end(job.job_id);
      expectSame([end.type, end.finish_reason], ['complete', 'length'], 'type and finish_reason');
      expect(end.output_tokens <= 3, `output_tokens is ${end.output_tokens}`);
    },
  },
  {
    id: 'worker/job/cancel',
    says: 'A cancelled job ends in cancelled, and nothing follows; a cancel for a job that is over is ignored.',
    of: 'P3, R1; §9',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob(two);
      line.say(job);
      await midway(line, job);
      line.say({ type: 'cancel', job_id: job.job_id, attempt: 1 });
      const end = await line.end(job.job_id);
      expectSame([end.type, end.attempt], ['cancelled', 1], 'type and attempt of the end');
      line.say({ type: 'cancel', job_id: job.job_id, attempt: 1 });
      await pause(100);
      expect(line.about(job.job_id).at(-1) === end, `something follows: ${shown(line.about(job.job_id).at(-1))}`);
    },
  },
  {
    id: 'worker/job/cancel-version-1',
    says: 'Towards a version 1 router a cancelled job ends with an error or in silence; nothing follows.',
    of: 'P3; spec 4.4',
    async run(peer) {
      const { line } = await peer.line(1);
      const job = aLongJob();
      line.say(job);
      await midway(line, job);
      line.say({ type: 'cancel', job_id: job.job_id });
      await pause(500);
      const about = line.about(job.job_id);
      const ends = about.filter(({ type }) => type !== 'token' && type !== 'prompt_progress');
      expect(ends.length <= 1 && ends.every(({ type }) => type === 'error'), `it says ${shown(ends)}`);
      await pause(200);
      expectSame(line.about(job.job_id).length, about.length, 'the number of frames, a moment later');
    },
  },
  {
    id: 'worker/job/cancel-other-attempt',
    says: 'A cancel of another attempt is ignored.',
    of: '§9',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ attempt: 5, max_tokens: 40 });
      line.say(job);
      await midway(line, job);
      line.say({ type: 'cancel', job_id: job.job_id, attempt: 4 }, { type: 'cancel', job_id: 'nobody', attempt: 5 });
      expectSame((await line.end(job.job_id)).type, 'complete', 'the end of the job');
    },
  },
  {
    id: 'worker/job/twice',
    says: 'The same job twice is one job.',
    of: 'P7',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob({ ...two, max_tokens: 40 });
      line.say(job, job);
      await midway(line, job);
      line.say(job);
      await line.end(job.job_id);
      await pause(100);
      isWholeAnswer(line, job, 1);
    },
  },
  {
    id: 'worker/job/twice-ended',
    says: 'The same job again, behind its end that is not acknowledged yet, is still one job.',
    of: 'P7, P3',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aJob(two);
      line.say(job);
      await line.end(job.job_id);
      line.say(job);
      await line.heardOut();
      await pause(200);
      isWholeAnswer(line, job, 1);
    },
  },
  {
    id: 'worker/job/newer-attempt',
    says: 'A newer attempt takes the place of the one that runs, and nothing more is said about that.',
    of: 'P7, P3',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob(two);
      line.say(job);
      await midway(line, job);
      line.say({ ...job, attempt: 2, max_tokens: 20 });
      const isNew = ({ attempt }: Heard): boolean => attempt === 2;
      await line.next('complete', ({ job_id: id, attempt }) => id === job.job_id && attempt === 2, 60_000);
      const about = line.about(job.job_id);
      const first = about.findIndex(isNew);
      expect(about.slice(first).every(isNew), 'the older attempt still speaks');
      const older = about.slice(0, first).filter(({ type }) => type === 'complete');
      expectSame(older.length, 0, 'the number of complete frames of the older attempt');
      const seqs = about.slice(first).flatMap(({ type, seq }) => (type === 'token' ? [seq] : []));
      expectSame(
        seqs,
        seqs.map((_, index) => index + 1),
        'the numbers of the newer attempt',
      );
    },
  },
  {
    id: 'worker/job/broken',
    says: 'A job that cannot be read is answered with error and its id, and the connection stays.',
    of: '§9',
    weakness: '§4.0: the whole message is dropped',
    async run(peer) {
      for (const version of [1, 2] as const) {
        const { line } = await peer.line(version);
        for (const broken of [{ messages: 7 }, { max_tokens: 1.5 }, { tools: {} }, { temperature: 'hot' }]) {
          const job = aJob({ ...(version === 2 ? two : {}), ...broken });
          line.say(job);
          const error = await line.next('error', ({ job_id: id }) => id === job.job_id);
          if (version === 2) expectSame(error.code, 'invalid_request', 'code');
        }
        await line.heardOut();
      }
    },
  },
  {
    id: 'worker/job/slots',
    says: 'It runs as many jobs at once as it has slots.',
    of: 'P1; spec 3.3',
    async run(peer) {
      const { line, slots } = await peer.line(2);
      if (slots < 2) throw new NotApplicable('it has one slot');
      const running = Array.from({ length: Math.min(slots, 4) }, () => aLongJob(two));
      line.say(...running);
      for (const job of running) await midway(line, job, 1);
      const over = running.filter(({ job_id: id }) => line.about(id).some(({ type }) => type === 'complete'));
      expectSame(over.length, 0, 'the number of jobs that ended before the last one began');
      for (const { job_id } of running) line.say({ type: 'cancel', job_id, attempt: 1 });
      for (const { job_id } of running) await line.end(job_id);
    },
  },
  {
    id: 'worker/job/alive',
    says: 'A worker with jobs says a token, progress or heartbeat every second.',
    of: '§8',
    async run(peer) {
      const { line } = await peer.line(2);
      const job = aLongJob(two);
      line.say(job);
      await midway(line, job, 1);
      const start = Date.now();
      let [count, at, longestMs] = [line.heard.length, start, 0];
      while (Date.now() - start < 2500 && !line.about(job.job_id).some(({ type }) => type === 'complete')) {
        await pause(20);
        if (line.heard.length > count) [count, at] = [line.heard.length, Date.now()];
        longestMs = Math.max(longestMs, Date.now() - at);
      }
      expect(longestMs < 1500, `it said nothing for ${longestMs} ms`);
      line.say({ type: 'cancel', job_id: job.job_id, attempt: 1 });
      await line.end(job.job_id);
    },
  },
  {
    id: 'worker/job/counts',
    says: 'count_tokens is answered with its count_id and a number or an error, beside running jobs.',
    of: '§4.2',
    async run(peer) {
      const { line } = await peer.line(2);
      line.say({ type: 'count_tokens', count_id: 'c 1', messages: [{ role: 'user', content: 'hi' }] });
      const count = await line.next('token_count');
      expectSame(count.count_id, 'c 1', 'count_id');
      expect(count.input_tokens > 0 || typeof count.error === 'string', `it says ${shown(count)}`);
    },
  },
  {
    id: 'worker/frames/broken-version-1',
    says: 'What a version 1 router says that cannot be read is ignored.',
    of: '§9; spec 3.1',
    async run(peer) {
      const { line } = await peer.line(1);
      line.say('no json', '[]', 'null', '{"type":7}', '{"type":"cancel","job_id":7}', '{}{}', `${'['.repeat(50_000)}`);
      await line.heardOut();
      const job = aJob();
      line.say(job);
      expectSame((await line.end(job.job_id)).type, 'complete', 'the end of a job');
    },
  },
  {
    id: 'worker/frames/broken-version-2',
    says: 'What a version 2 router says that cannot be read closes with 4400, and the worker dials again.',
    of: '§9',
    async run(peer) {
      for (const text of ['no json', '[]', '{"type":7}', '{"type":"cancel","job_id":7}', '{"type":"drain"}{}']) {
        const { line } = await peer.line(2);
        line.say(text);
        expectSame(await line.closed(), 4400, `the close code after ${text}`);
      }
      await peer.line(2);
    },
  },
];
