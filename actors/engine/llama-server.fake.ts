/**
 * A server with llama-server's API and no model: what it answers is written down beforehand. Every byte is a token, so that
 * characters of several bytes come as several tokens, of which the last alone is told, as by the real one.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { EOL } from 'node:os';

export interface FakeLevers {
  /** The whole answer to every question. */
  answer: string;
  /** Between two tokens. */
  slowMs: number;
  /** So many health checks are answered with 503. */
  loadingChecks: number;
  /** The next answers break off behind so many tokens each. */
  dropsAfter: number[];
  /** An event that is no JSON, in the next answer. */
  malformed: boolean;
  /** `/tokenize` cuts texts otherwise than the model wrote them. */
  cutsOtherwise: boolean;
  /** What `/props` says otherwise. */
  props: Record<string, unknown>;
  /** Every request for an answer is refused with this. */
  refusal: { readonly status: number; readonly error: Record<string, unknown> } | null;
  vector: readonly number[] | null;
  apiKey: string | null;
}

export interface FakeLlamaServer {
  readonly url: string;
  readonly levers: FakeLevers;
  /** Bodies of the requests for answers. */
  readonly asked: Record<string, unknown>[];
  /** Answers that were given up by who asked. */
  readonly abandoned: number;
  close(): Promise<void>;
}

const bosToken = 256;
const eosToken = 257;
const template = `{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' -}}`;
const assistantMark = '<|im_start|>assistant\n';

export async function fakeLlamaServer(wanted: Partial<FakeLevers> = {}, port = 0): Promise<FakeLlamaServer> {
  const levers: FakeLevers = {
    answer: 'Hello, größte Welt! 🦊',
    slowMs: 0,
    loadingChecks: 0,
    dropsAfter: [],
    malformed: false,
    cutsOtherwise: false,
    props: {},
    refusal: null,
    vector: null,
    apiKey: null,
    ...wanted,
  };
  const asked: Record<string, unknown>[] = [];
  let abandoned = 0;

  const complete = async (body: Record<string, unknown>, response: ServerResponse): Promise<void> => {
    asked.push(body);
    if (levers.refusal !== null) return json(response, levers.refusal.status, { error: levers.refusal.error });
    const { text, length } = promptOf(body.prompt);
    const said = text.slice(text.lastIndexOf(assistantMark) + assistantMark.length);
    const left = Buffer.from(levers.answer).subarray(Buffer.byteLength(said));
    const limit = typeof body.n_predict === 'number' && body.n_predict >= 0 ? body.n_predict : left.length + 1;
    const dropAfter = levers.dropsAfter.shift() ?? Number.POSITIVE_INFINITY;
    let gone = false;
    response.on('close', () => {
      if (response.writableEnded || gone) return;
      gone = true;
      abandoned += 1;
    });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const tell = (event: unknown): void => void response.write(`data: ${JSON.stringify(event)}\n\n`);
    tell({
      content: '',
      tokens: [0],
      stop: false,
      tokens_predicted: 0,
      prompt_progress: { total: length, cache: 0, processed: length },
    });
    if (levers.malformed) {
      levers.malformed = false;
      response.write('data: {"content": "He\n\n');
    }
    let held: number[] = [];
    let predicted = 0;
    for (const token of left) {
      if (predicted >= limit || gone) break;
      if (levers.slowMs > 0) await new Promise(resolve => setTimeout(resolve, levers.slowMs));
      held.push(token);
      predicted += 1;
      const character = Buffer.from(held).toString('utf8');
      if (!character.includes('\ufffd')) {
        const chances = body.n_probs === undefined ? {} : { completion_probabilities: [chanceOf(token, character)] };
        tell({ content: character, tokens: [token], stop: false, tokens_predicted: predicted, ...chances });
        held = [];
      }
      if (predicted === dropAfter) {
        gone = true;
        // What was written must be on its way before the connection breaks.
        await new Promise(resolve => setTimeout(resolve, 20));
        response.destroy();
        return;
      }
    }
    const isOver = predicted < limit;
    if (isOver) tell({ content: '', tokens: [eosToken], stop: false, tokens_predicted: predicted + 1 });
    tell({
      content: '',
      stop: true,
      stop_type: isOver ? 'eos' : 'limit',
      tokens_predicted: predicted + (isOver ? 1 : 0),
      tokens_evaluated: length,
      timings: { cache_n: 0, prompt_n: length },
    });
    response.end();
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url ?? '';
    if (path === '/health') {
      if (levers.loadingChecks === 0) return json(response, 200, { status: 'ok' });
      levers.loadingChecks -= 1;
      return json(response, 503, { error: { code: 503, message: 'Loading model', type: 'unavailable_error' } });
    }
    if (levers.apiKey !== null && request.headers.authorization !== `Bearer ${levers.apiKey}`)
      return json(response, 401, { error: { code: 401, message: 'Invalid API Key', type: 'authentication_error' } });
    const body = await bodyOf(request);
    switch (path) {
      case '/props':
        return json(response, 200, {
          default_generation_settings: { n_ctx: 1024, params: { generation_prompt: '' } },
          total_slots: 2,
          model_path: '/models/Scripted-7B-Q8_0.gguf',
          chat_template: template,
          bos_token: '<s>',
          eos_token: '</s>',
          build_info: 'b1-fake',
          modalities: { vision: false },
          media_marker: '<__media_x__>',
          ...levers.props,
        });
      case '/v1/models':
        return json(response, 200, { data: [{ id: 'scripted', meta: { n_params: 7_100_000_000, n_vocab: 258 } }] });
      case '/tokenize': {
        const text = String(body.content);
        const bytes = levers.cutsOtherwise && text.length < 4 ? [0, 0, 0] : [...Buffer.from(text)];
        return json(response, 200, { tokens: body.add_special === true ? [bosToken, ...bytes] : bytes });
      }
      case '/detokenize':
        return json(response, 200, { content: textOf(numbers(body.tokens)) });
      case '/v1/embeddings':
        if (levers.vector === null) return json(response, 501, { error: { code: 501, message: 'not supported' } });
        return json(response, 200, { data: [{ embedding: levers.vector }], usage: { prompt_tokens: 3 } });
      case '/completion':
        return complete(body, response);
      default:
        return json(response, 404, { error: { code: 404, message: 'File Not Found', type: 'not_found_error' } });
    }
  };

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    levers,
    asked,
    get abandoned() {
      return abandoned;
    },
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function promptOf(prompt: unknown): { readonly text: string; readonly length: number } {
  if (typeof prompt === 'object' && prompt !== null && 'prompt_string' in prompt) {
    const text = String(prompt.prompt_string);
    return { text, length: text.length };
  }
  const parts: unknown[] = Array.isArray(prompt) ? prompt : [];
  const bytes = parts.flatMap(part => (typeof part === 'string' ? [...Buffer.from(part)] : numbers([part])));
  return { text: textOf(bytes), length: bytes.length };
}

const numbers = (value: unknown): number[] =>
  Array.isArray(value) ? value.filter((item): item is number => typeof item === 'number') : [];

const textOf = (tokens: readonly number[]): string =>
  Buffer.from(tokens.filter(token => token < bosToken)).toString('utf8');

const chanceOf = (id: number, token: string) => {
  const bytes = [...Buffer.from(token)];
  const other = { id: 65, token: 'A', bytes: [65], logprob: -2.5 };
  return { id, token, bytes, logprob: -0.25, top_logprobs: [{ id, token, bytes, logprob: -0.25 }, other] };
};

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = '';
  for await (const piece of request.setEncoding('utf8')) text += piece;
  return text === '' ? {} : JSON.parse(text);
}

// As a program, it takes a real one's flags, and fails where its model's name says so.
const [, script = '', ...args] = process.argv;
if (script.endsWith('llama-server.fake.ts')) {
  const flagValue = (flag: string): string => args[args.indexOf(flag) + 1] ?? '';
  const complain = (line: string): void => void process.stderr.write(line + EOL);
  complain('llama_model_loader: loaded meta data');
  complain('..........');
  if (process.env.FAKE_LLAMA_FAILS === 'memory' && Number(flagValue('--parallel')) > 1) {
    complain('ggml_backend_alloc: failed to allocate buffer of size 1');
    process.exit(1);
  }
  if (process.env.FAKE_LLAMA_FAILS === 'model') {
    complain('llama_model_load: error loading model: unknown model architecture: strange');
    process.exit(1);
  }
  const slots = Number(flagValue('--parallel'));
  const contextSize = Number(flagValue('--ctx-size')) / slots;
  const props = {
    total_slots: slots,
    default_generation_settings: { n_ctx: contextSize, params: { generation_prompt: '' } },
    modalities: { vision: args.includes('--mmproj') },
  };
  const apiKey = process.env.LLAMA_API_KEY ?? null;
  await fakeLlamaServer({ apiKey, props, loadingChecks: 2 }, Number(flagValue('--port')));
}
