/**
 * The yardstick: the least program that can stand where the router stands. WebSocket frames in, server-sent events
 * out, one `JSON.parse` a frame and one `res.write` a token, in one thread. No keys, log, machines, batching or limits
 * worth the name. It is kept simple and unchanged, so that figures taken months apart can be compared.
 *
 *   node bench/bare-relay.mjs [port]     prints the port it listens on
 */
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const jobsWaitingMax = 20_000;
const workers = new Set();
const jobs = new Map();
const waiting = [];
let lastId = 0;

const server = createServer((req, res) => {
  if (req.method === 'GET' && req.url === '/health') {
    const slots = [...workers].reduce((sum, worker) => sum + worker.slots, 0);
    res.writeHead(200, { 'content-type': 'application/json' });
    res.end(JSON.stringify({ status: 'ok', workers: workers.size, total_slots: slots, active_jobs: jobs.size }));
    return;
  }
  if (req.method !== 'POST' || req.url !== '/v1/chat/completions') return void res.writeHead(404).end();
  let body = '';
  req.setEncoding('utf8');
  req.on('data', piece => {
    body += piece;
  });
  req.on('end', () => submit(JSON.parse(body), res));
});

function submit(request, res) {
  if (waiting.length >= jobsWaitingMax) return void res.writeHead(503).end();
  lastId += 1;
  const job = { id: `chatcmpl-${lastId}`, request, res, created: Math.floor(Date.now() / 1000), worker: undefined };
  jobs.set(job.id, job);
  res.on('close', () => {
    if (jobs.has(job.id)) finish(job);
  });
  waiting.push(job);
  dispatch();
}

function dispatch() {
  while (waiting.length > 0) {
    let free;
    for (const worker of workers) if (worker.busy < worker.slots && (!free || worker.busy < free.busy)) free = worker;
    if (!free) return;
    const job = waiting.shift();
    if (!jobs.has(job.id)) continue;
    job.worker = free;
    free.busy += 1;
    free.socket.send(JSON.stringify({ type: 'job', job_id: job.id, messages: job.request.messages }));
    if (!job.request.stream) continue;
    job.res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    writeChunk(job, { role: 'assistant', content: '' }, null);
  }
}

function writeChunk(job, delta, finishReason, usage) {
  const chunk = {
    id: job.id,
    object: 'chat.completion.chunk',
    created: job.created,
    model: job.request.model,
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
    usage,
  };
  job.res.write(`data: ${JSON.stringify(chunk)}\n\n`);
}

function complete(job, frame) {
  const usage = {
    prompt_tokens: frame.input_tokens,
    completion_tokens: frame.output_tokens,
    total_tokens: frame.input_tokens + frame.output_tokens,
  };
  finish(job);
  if (job.request.stream) {
    writeChunk(job, {}, 'stop', usage);
    job.res.end('data: [DONE]\n\n');
    return;
  }
  const message = { role: 'assistant', content: frame.full_response };
  const choices = [{ index: 0, message, logprobs: null, finish_reason: 'stop' }];
  job.res.writeHead(200, { 'content-type': 'application/json' });
  job.res.end(
    JSON.stringify({
      id: job.id,
      object: 'chat.completion',
      created: job.created,
      model: job.request.model,
      choices,
      usage,
    }),
  );
}

function finish(job) {
  jobs.delete(job.id);
  if (!job.worker) return;
  job.worker.busy -= 1;
  dispatch();
}

new WebSocketServer({ server, path: '/ws' }).on('connection', socket => {
  const worker = { socket, slots: 0, busy: 0 };
  socket.on('message', data => {
    const frame = JSON.parse(data.toString());
    if (frame.type === 'token') {
      const job = jobs.get(frame.job_id);
      if (job?.request.stream) writeChunk(job, { content: frame.token }, null);
    } else if (frame.type === 'complete') {
      const job = jobs.get(frame.job_id);
      if (job) complete(job, frame);
    } else if (frame.type === 'hello') {
      worker.slots = frame.capabilities.total_slots;
      workers.add(worker);
      socket.send(JSON.stringify({ type: 'hello_ack', success: true, gpu_id: String(workers.size) }));
      dispatch();
    } else if (frame.type === 'heartbeat') {
      socket.send('{"type":"heartbeat_ack"}');
    }
  });
  socket.on('error', error => console.error(`worker socket: ${error.message}`));
  socket.on('close', () => {
    workers.delete(worker);
    for (const job of jobs.values()) if (job.worker === worker) job.res.destroy();
  });
});

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => console.log(server.address().port));
// Started by the benchmark it has a channel to it, and must not outlive it.
process.once('disconnect', () => process.exit());
