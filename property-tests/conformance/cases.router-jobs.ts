/** What a router does with jobs and with workers of version 1, which reference workers are. */
import { parseRouterFrame } from '../../protocol/worker-frames.ts';
import { within } from '../processes.ts';
import { type Case, expect, expectSame, pause, shown } from './case.ts';
import { answerText, capabilities, errorIn, type RouterPeer, soonMs } from './router-peer.ts';

const version2Fields = [
  ...['attempt', 'top_p', 'top_k', 'min_p', 'stop', 'seed', 'frequency_penalty', 'presence_penalty'],
  ...['repeat_penalty', 'logit_bias', 'response_format', 'tool_choice', 'parallel_tool_calls', 'logprobs'],
  ...['top_logprobs', 'n', 'template_options', 'resume'],
];

export const routerJobs: readonly Case<RouterPeer>[] = [
  {
    id: 'router/job/answered',
    says: 'A worker that only greets, without config or heartbeats, gets a job, and its tokens and complete are the answer.',
    of: '§6, R6; spec MW1, MW2',
    async run(peer) {
      const line = await peer.worker({ config: false });
      const { asked, job } = await peer.askFor(line, { stream: false });
      expect(parseRouterFrame(JSON.stringify(job)).ok, `the job does not fit its shape: ${shown(job)}`);
      expectSame(job.messages, [{ role: 'user', content: 'hi' }], 'messages');
      line.token(job, 'Hel', 1);
      line.token(job, 'lo', 2);
      line.complete(job, 'Hello', 2);
      const answer = await asked.answer;
      expectSame(answerText(answer), 'Hello', 'the answer');
      expectSame(answer.json.usage.completion_tokens, 5, 'usage.completion_tokens');
    },
  },
  {
    id: 'router/job/streamed',
    says: 'A token reaches the caller of a stream before the next one is sent.',
    of: '§4.2; spec 5.3',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line);
      let text = '';
      for (const word of ['one', ' two', ' three', '<b>', ' "é"\u2028', '😀']) {
        text += word;
        line.token(job, word, 0);
        await said(asked, text);
      }
      line.complete(job, text, 0);
      expectSame(answerText(await asked.answer), text, 'the answer');
    },
  },
  {
    id: 'router/job/version-1-fields',
    says: 'A version 1 worker is sent no field of version 2, whatever the request holds.',
    of: '§3.3',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line, {
        temperature: 0,
        max_tokens: 7,
        seed: 1,
        top_p: 0.5,
        stop: ['x'],
      });
      for (const field of version2Fields) expect(!(field in job), `the job has ${field}`);
      expectSame([job.temperature, job.max_tokens], [0, 7], 'temperature and max_tokens');
      line.complete(job, 'x', 0);
      await asked.answer;
    },
  },
  {
    id: 'router/job/waits',
    says: 'A request without a worker waits, and is answered when one comes.',
    of: '§6; spec I2',
    async run(peer) {
      const asked = peer.ask();
      await peer.untilHealth(({ queued_jobs: queued }) => queued === 1, 'nothing waits');
      const line = await peer.worker();
      line.complete(await line.next('job'), 'at last', 0);
      expectSame(answerText(await asked.answer), 'at last', 'the answer');
    },
  },
  {
    id: 'router/job/slots',
    says: 'A worker has as many jobs at once as it has slots, and never more; the next comes as soon as one has ended.',
    of: 'P1, P8; spec N1, N2',
    weakness: 'P1, P2',
    async run(peer) {
      const line = await peer.worker({ slots: 3 });
      const asked = Array.from({ length: 5 }, () => peer.ask());
      const jobs = [await line.next('job'), await line.next('job'), await line.next('job')];
      await line.none('job', 150, 'one job more than there are slots');
      for (const job of jobs.splice(0, 2)) {
        line.complete(job, job.job_id, 0);
        jobs.push(await line.next('job', undefined, 500));
      }
      for (const job of jobs) line.complete(job, job.job_id, 0);
      const texts = (await Promise.all(asked.map(({ answer }) => answer))).map(answerText);
      expectSame(new Set(texts).size, 5, 'the number of different answers');
    },
  },
  {
    id: 'router/job/config-changes-slots',
    says: 'A config that changes the slots counts at once.',
    of: '§9; spec 4.3',
    async run(peer) {
      const line = await peer.worker({ slots: 1 });
      const asked = [peer.ask(), peer.ask()];
      const jobs = [await line.next('job')];
      line.say({ type: 'config', capabilities: { ...capabilities, total_slots: 2 } });
      jobs.push(await line.next('job'));
      for (const job of jobs) line.complete(job, 'x', 0);
      for (const { answer } of asked) expectSame(answerText(await answer), 'x', 'the answer');
    },
    weakness: 'P1',
  },
  {
    id: 'router/job/pending',
    says: 'A connection that says pending never gets a job, and delays none.',
    of: '§4.1, §6; spec N6',
    weakness: 'H11',
    async run(peer) {
      const pending = { backend: 'pending', model: 'pending', ctx_size: 0 };
      const { line: probe } = await peer.greeted({ hello: { capabilities: pending } });
      const asked = peer.ask();
      await probe.none('job', 200, 'it was given a job');
      const line = await peer.worker();
      line.complete(await line.next('job', undefined, 1000), 'x', 0);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
      await probe.none('job', 0, 'it was given a job');
    },
  },
  {
    id: 'router/job/not-mine',
    says: 'Frames about a job count only from the connection that holds it.',
    of: 'P2; spec N16',
    weakness: 'S3, U4',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line);
      const thief = await peer.worker();
      thief.token(job, 'forged', 1);
      thief.complete(job, 'forged', 1);
      thief.say({ type: 'error', job_id: job.job_id, error: 'forged' });
      await thief.heardOut();
      line.token(job, 'true', 1);
      line.complete(job, 'true', 1);
      expectSame(answerText(await asked.answer), 'true', 'the answer');
      expect(thief.isOpen(), 'the other worker was closed');
    },
  },
  {
    id: 'router/job/unknown-ids',
    says: 'Frames about jobs that nobody knows are ignored, and the connection stays.',
    of: '§9',
    async run(peer) {
      const line = await peer.worker();
      for (const id of ['chatcmpl-00nobodyknowsthisjob00', '', '__proto__', 'chatcmpl-zz', '\u0000', 'x'.repeat(9000)])
        for (const type of ['token', 'complete', 'error', 'tool_generating', 'prompt_progress', 'builtin_tool'])
          line.say({ type, job_id: id, token: 'lost', error: 'lost', full_response: 'lost' });
      line.say({ type: 'error', error: 'about no job' });
      await line.heardOut();
      const { asked, job } = await peer.askFor(line);
      line.complete(job, 'x', 0);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
    },
  },
  {
    id: 'router/job/late',
    says: 'What a worker says about a job after its end changes nothing.',
    of: 'P3, §9',
    async run(peer) {
      const line = await peer.worker();
      for (const text of ['one', 'two', 'three']) {
        const { asked, job } = await peer.askFor(line, { stream: false });
        line.token(job, text, 1);
        line.complete(job, text, 1);
        line.token(job, ' late', 2);
        line.complete(job, 'late', 2);
        line.say({ type: 'error', job_id: job.job_id, error: 'late' });
        expectSame(answerText(await asked.answer), text, 'the answer');
      }
    },
  },
  {
    id: 'router/job/unknown-frames',
    says: 'Types that are not known, or not sent in this direction, are ignored.',
    of: '§9; spec 3.1',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line);
      for (const type of ['no_such_type', 'job', 'cancel', 'hello_ack', 'drain', 'ack', 'tool_job', ''])
        line.say({ type, job_id: job.job_id }, { type });
      line.say({ job_id: job.job_id }, '{}');
      await line.heardOut();
      line.complete(job, 'x', 0);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
    },
  },
  {
    id: 'router/job/nonsense',
    says: 'Nonsense of a version 1 worker, about no job, is ignored.',
    of: '§9; spec 3.1',
    async run(peer) {
      const line = await peer.worker();
      for (const text of [
        'no json',
        'null',
        '[]',
        '7',
        '""',
        '{"type":7}',
        '{"type":"config","capabilities":7}',
        '{}{}',
        '',
      ])
        line.say(text);
      await line.heardOut();
      const { asked, job } = await peer.askFor(line);
      line.complete(job, 'x', 0);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
    },
  },
  {
    id: 'router/job/error',
    says: 'An error of the worker about its job is told to the caller, with its text, and frees the slot.',
    of: '§4.2; spec 4.4, OA34',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line, { stream: false });
      line.say({ type: 'error', job_id: job.job_id, error: 'the engine is on fire' });
      const { status, text } = await asked.answer;
      expect(status >= 500 && text.includes('the engine is on fire'), `the caller got ${status}: ${text}`);
      const next = await peer.askFor(line);
      line.complete(next.job, 'x', 0);
      expectSame(answerText(await next.asked.answer), 'x', 'the next answer');
    },
  },
  {
    id: 'router/job/overload',
    says: 'job.overload ends the job at this worker and frees its slot.',
    of: '§4.2; spec N8',
    weakness: 'H2',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line, { stream: false });
      line.say({ type: 'job.overload', job_id: job.job_id });
      // It is told at once, or runs again.
      const again = line.next('job', undefined, 2000).then(given => line.complete(given, 'x', 0));
      again.catch(() => undefined);
      const { status, text } = await within(soonMs, asked.answer, 'the caller was told nothing');
      expect([200, 429, 503].includes(status), `the caller got ${status}: ${text}`);
      if (status === 200) return;
      const next = peer.ask();
      await again;
      expectSame(answerText(await next.answer), 'x', 'the next answer');
    },
  },
  {
    id: 'router/job/caller-leaves',
    says: 'When its caller leaves, a job is cancelled at its worker within 1 s, and the slot is free without an answer.',
    of: '§6, P8; spec N7',
    weakness: 'P12',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line);
      line.token(job, 'x', 1);
      await said(asked, 'x');
      asked.leave();
      const cancel = await line.next('cancel', ({ job_id: id }) => id === job.job_id, 1000);
      expect(!('attempt' in cancel), 'version 1 has no attempts');
      const next = await peer.askFor(line);
      line.token(job, 'late', 2);
      line.complete(job, 'late', 2);
      line.complete(next.job, 'x', 0);
      expectSame(answerText(await next.asked.answer), 'x', 'the next answer');
    },
  },
  {
    id: 'router/job/caller-leaves-queue',
    says: 'When its caller leaves, a waiting job is given to nobody.',
    of: '§6; spec N7',
    weakness: 'P12',
    async run(peer) {
      const asked = peer.ask();
      await peer.untilHealth(({ queued_jobs: queued }) => queued === 1, 'nothing waits');
      asked.leave();
      await peer.untilHealth(({ queued_jobs: queued }) => queued === 0, 'it still waits');
      const line = await peer.worker();
      await line.none('job', 150, 'the job of a caller who left was given out');
    },
  },
  {
    id: 'router/job/broken-frame',
    says: 'A broken frame about a job fails it at once, not at its deadline, and the connection stays.',
    of: '§9',
    weakness: 'D15',
    async run(peer) {
      const line = await peer.worker();
      for (const broken of [{ duration_ms: 12.5 }, { full_response: 7 }, { tool_calls: {} }, { tool_calls: [7] }]) {
        const { asked, job } = await peer.askFor(line, { stream: false });
        line.complete(job, 'x', 0, broken);
        const { status, json } = await within(3000, asked.answer, `no answer after ${shown(broken)}`);
        expect(status === 500 && json.error.code === 'worker_error', `${shown(broken)}: ${status} ${shown(json)}`);
      }
      expect(line.isOpen(), 'the connection was closed');
    },
  },
  {
    id: 'router/job/whole-numbers',
    says: 'A complete whose counts are spelled 12.0 and 1e1 is a complete.',
    of: '§2',
    weakness: 'D15',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line, { stream: false });
      const text = `{"type":"complete","job_id":"${job.job_id}","full_response":"x","input_tokens":12.0,"output_tokens":1e1}`;
      line.say(text);
      const answer = await within(soonMs, asked.answer, 'no answer');
      expectSame(answer.json.usage.completion_tokens, 10, 'usage.completion_tokens');
    },
  },
  {
    id: 'router/job/any-spelling',
    says: 'The job of a frame is found wherever its id stands, with any white space, key order and escapes.',
    of: '§2',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line);
      const id: string = job.job_id;
      const escaped = `\\u${id.charCodeAt(0).toString(16).padStart(4, '0')}${id.slice(1)}`;
      line.say(`{"token":"a","job_id":"${id}","type":"token"}`);
      line.say(`{\n  "type": "token",\n  "job_id": "${id}",\n  "token": "b"\n}\n`);
      line.say(`{"type":"token","job_id":"${escaped}","token":"\\u0063"}`);
      line.say(` {"type":"to\\u006ben","x":{"job_id":"no"},"job_id":"${id}","token":"d"}\r\n\t`);
      line.complete(job, 'abcd', 0);
      expectSame(answerText(await asked.answer), 'abcd', 'the answer');
    },
  },
  {
    id: 'router/job/one-id-twice',
    says: 'If job_id stands twice in the canonical form, the first one counts.',
    of: '§2',
    weakness: 'S3',
    async run(peer) {
      const line = await peer.worker({ slots: 2 });
      const [one, two] = [await peer.askFor(line), await peer.askFor(line)];
      line.say(`{"type":"token","job_id":"${one.job.job_id}","token":"first","job_id":"${two.job.job_id}"}`);
      await said(one.asked, 'first');
      line.complete(one.job, 'first', 0);
      line.complete(two.job, 'second', 0);
      expectSame(answerText(await one.asked.answer), 'first', 'the first answer');
      expectSame(answerText(await two.asked.answer), 'second', 'the second answer');
    },
  },
  {
    id: 'router/job/pieces',
    says: 'A message of 20 kB in frames of 4096 bytes, text or binary, with a newline behind, is put together.',
    of: '§1; spec N21',
    async run(peer) {
      const text = 'word '.repeat(4000);
      const line = await peer.worker();
      for (const opcode of [1, 2]) {
        const { asked, job } = await peer.askFor(line, { stream: false });
        const frame = { type: 'complete', job_id: job.job_id, full_response: text };
        const message = Buffer.from(`${JSON.stringify(frame)}\n`);
        for (let at = 0; at < message.length; at += 4096)
          line.raw.frame(at === 0 ? opcode : 0, message.subarray(at, at + 4096), { fin: at + 4096 >= message.length });
        expectSame(answerText(await asked.answer), text, 'the answer');
      }
    },
  },
  {
    id: 'router/job/no-utf8',
    says: 'Bytes that are no UTF-8 become U+FFFD, in text and in binary messages.',
    of: '§2; spec 4.0',
    async run(peer) {
      const line = await peer.worker();
      for (const opcode of [1, 2]) {
        const { asked, job } = await peer.askFor(line, { stream: false });
        const [before = '', after = ''] = JSON.stringify({
          type: 'complete',
          job_id: job.job_id,
          full_response: 'a#b',
        }).split('#');
        line.raw.frame(opcode, Buffer.concat([Buffer.from(before), Buffer.from([0xff]), Buffer.from(after)]));
        const answer = await within(soonMs, asked.answer, 'no answer');
        expectSame(answerText(answer), 'a\ufffdb', `the answer of a ${opcode === 1 ? 'text' : 'binary'} message`);
      }
    },
  },
  {
    id: 'router/job/deep',
    says: 'Nesting without an end costs its job at most, not the connection.',
    of: '§2, §9',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line);
      const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
      line.say(`{"type":"token","job_id":"${job.job_id}","token":"x","unknown":${deep}}`, deep, `{"type":${deep}}`);
      await line.heardOut();
      line.complete(job, 'x', 0);
      await within(soonMs, asked.answer, 'no answer');
      const next = await peer.askFor(line);
      line.complete(next.job, 'y', 0);
      expectSame(answerText(await next.asked.answer), 'y', 'the next answer');
    },
  },
  {
    id: 'router/job/nulls',
    says: 'Null lists and null texts of a Go peer are accepted.',
    of: '§2; spec N22',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line, { stream: false });
      line.say({ type: 'token', job_id: job.job_id, token: null });
      line.token(job, 'said', 0);
      const nulls = { full_response: null, tool_calls: null, duration_ms: null, reasoning_content: null };
      line.say({ type: 'complete', job_id: job.job_id, ...nulls });
      const answer = await asked.answer;
      expectSame(answer.json?.choices?.[0]?.finish_reason, 'stop', 'finish_reason');
    },
  },
  {
    id: 'router/job/rest-said',
    says: 'full_response is the whole text: a caller of a stream gets what had not been streamed.',
    of: '§4.2',
    weakness: 'not in the list: reference streams show tokens only',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line);
      line.token(job, 'half', 1);
      line.complete(job, 'half and half', 1);
      expectSame(answerText(await asked.answer), 'half and half', 'the answer');
    },
  },
  {
    id: 'router/job/reasoning',
    says: 'A token with reasoning true is a thought, and no part of the text.',
    of: '§4.2; spec 4.4',
    async run(peer) {
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line, { stream: false });
      line.token(job, 'hmm', 1, { reasoning: true });
      line.token(job, 'yes', 2);
      line.complete(job, 'yes', 2, { reasoning_content: 'hmm' });
      const { message } = (await asked.answer).json.choices[0];
      expectSame([message.content, message.reasoning_content], ['yes', 'hmm'], 'content and reasoning_content');
    },
  },
  {
    id: 'router/job/tool-calls',
    says: 'Tool calls reach the caller, each with an id of its own, also when the worker gave none or one twice.',
    of: '§4.2; spec D11',
    weakness: 'D11',
    async run(peer) {
      const line = await peer.worker();
      const tools = ['f', 'g'].map(name => ({ type: 'function', function: { name, parameters: { type: 'object' } } }));
      const { asked, job } = await peer.askFor(line, { stream: false, tools });
      expectSame(job.tools?.length, 2, 'the number of tools in the job');
      const call = (id: string, name: string) => ({ id, type: 'function', function: { name, arguments: '{"a":1}' } });
      const calls = [call('', 'f'), call('c', 'g'), call('c', 'f'), call('', 'g')];
      line.complete(job, '', 0, { tool_calls: calls });
      const [choice] = (await asked.answer).json.choices;
      expectSame(choice.finish_reason, 'tool_calls', 'finish_reason');
      const got: readonly { id: string; function: { name: string } }[] = choice.message.tool_calls;
      expectSame(
        got.map(one => one.function.name),
        ['f', 'g', 'f', 'g'],
        'the names',
      );
      expect(got.every(({ id }) => id !== '') && new Set(got.map(({ id }) => id)).size === 4, `ids: ${shown(got)}`);
    },
  },
  {
    id: 'router/job/worker-lost-unsaid',
    says: 'A job whose worker is lost before it spoke is given to another within 1 s.',
    of: '§6; spec N4, MW4',
    weakness: 'H10',
    async run(peer) {
      const first = await peer.worker();
      const { asked, job } = await peer.askFor(first);
      const second = await peer.worker();
      first.raw.close();
      const again = await second.next('job', ({ job_id: id }) => id === job.job_id, 1000);
      second.complete(again, 'x', 0);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
    },
  },
  {
    id: 'router/job/worker-lost-midway',
    says: 'A version 1 worker lost in mid-answer leaves an error, and no text twice.',
    of: '§10 (what version 1 allows); spec N3',
    weakness: 'U1',
    async run(peer) {
      const first = await peer.worker();
      const { asked, job } = await peer.askFor(first);
      first.token(job, 'one', 1);
      await said(asked, 'one');
      const second = await peer.worker();
      first.raw.close();
      const answer = await within(soonMs, asked.answer, 'the caller was told nothing');
      expectSame(asked.said(), 'one', 'the text');
      expectSame(errorIn(answer)?.code, 'worker_lost', 'the code of the error');
      await second.none('job', 100, 'the job was given out again');
    },
  },
  {
    id: 'router/job/kills-two',
    says: 'A job that loses two workers in a row fails, and no third gets it.',
    of: 'R11; spec N5',
    weakness: 'U5',
    async run(peer) {
      const asked = peer.ask({ stream: false });
      for (let n = 0; n < 2; n += 1) {
        const line = await peer.worker();
        await line.next('job');
        line.raw.close();
      }
      const third = await peer.worker();
      const answer = await within(soonMs, asked.answer, 'the caller was told nothing');
      expectSame(errorIn(answer)?.code, 'worker_lost', 'the code of the error');
      await third.none('job', 100, 'a third worker was given the job');
    },
  },
  {
    id: 'router/job/flood',
    says: 'A worker that floods with tokens for nobody and broken frames hinders no other, and stays.',
    of: '§9',
    async run(peer) {
      const { line: rude } = await peer.greeted({
        hello: { capabilities: { backend: 'pending', model: 'pending', ctx_size: 0 } },
      });
      for (let n = 0; n < 2000; n += 1) {
        if (n % 100 === 0) rude.raw.frame(9, 'ping');
        rude.say({ type: 'token', job_id: `chatcmpl-${n}`, token: 'x' }, '');
      }
      const line = await peer.worker();
      const { asked, job } = await peer.askFor(line);
      line.complete(job, 'x', 0);
      expectSame(answerText(await asked.answer), 'x', 'the answer');
      expect(rude.isOpen(), `it was closed with ${rude.raw.closed()}`);
    },
  },
];

/** Until the caller of a stream has been said this much. */
export async function said(asked: { said(): string }, text: string, ms = soonMs): Promise<void> {
  const end = Date.now() + ms;
  while (asked.said() !== text) {
    expect(Date.now() < end, `the caller was said ${shown(asked.said())} where ${shown(text)} is expected`);
    await pause(5);
  }
}
