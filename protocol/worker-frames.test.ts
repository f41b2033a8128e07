import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { peekFrame } from './worker-frames.codec.ts';
import {
  agreedVersion,
  parseRouterFrame,
  parseWorkerFrame,
  type RouterFrame,
  serialiseFrame,
  type WorkerFrame,
} from './worker-frames.ts';

/** Reads `json` and expects exactly `frame`; then writes `frame` and expects to read it again. */
function readsAs(
  json: string,
  frame: WorkerFrame | RouterFrame,
  parse: typeof parseWorkerFrame | typeof parseRouterFrame,
) {
  assert.equal(parse(json), { ok: true, frame });
  assert.equal(parse(serialiseFrame(frame)), { ok: true, frame });
}

const fromWorker: [claim: string, json: string, frame: WorkerFrame][] = [
  [
    'M1: hello with key and the three required capability fields',
    '{"type":"hello","gpu_key":"adm_EXAMPLE","capabilities":{"backend":"llama.cpp","model":"m","ctx_size":4096}}',
    { type: 'hello', gpu_key: 'adm_EXAMPLE', capabilities: { backend: 'llama.cpp', model: 'm', ctx_size: 4096 } },
  ],
  [
    'M2, M21: hello with vram_gb and total_slots',
    '{"type":"hello","gpu_key":"adm_EXAMPLE","capabilities":{"backend":"llama.cpp","model":"m","ctx_size":32768,"vram_gb":23.5,"parameters":"8B","total_slots":4}}',
    {
      type: 'hello',
      gpu_key: 'adm_EXAMPLE',
      capabilities: {
        backend: 'llama.cpp',
        model: 'm',
        ctx_size: 32768,
        vram_gb: 23.5,
        parameters: '8B',
        total_slots: 4,
      },
    },
  ],
  ['M3: heartbeat with only a type', '{"type":"heartbeat"}', { type: 'heartbeat' }],
  [
    'M4: token with job id and token',
    '{"type":"token","job_id":"chatcmpl-0a1b","token":"Hel"}',
    { type: 'token', job_id: 'chatcmpl-0a1b', token: 'Hel' },
  ],
  [
    'M4: token of a chain of thought',
    '{"type":"token","job_id":"chatcmpl-0a1b","token":"hm","reasoning":true}',
    { type: 'token', job_id: 'chatcmpl-0a1b', token: 'hm', reasoning: true },
  ],
  [
    'M5: complete with only job id and full response',
    '{"type":"complete","job_id":"j","full_response":"Hello"}',
    { type: 'complete', job_id: 'j', full_response: 'Hello' },
  ],
  [
    'M6: complete with counts and one tool call with JSON-text arguments',
    '{"type":"complete","job_id":"j","full_response":"","duration_ms":812,"cache_tokens":3,"input_tokens":120,"output_tokens":18,"tool_calls":[{"id":"call_7","type":"function","function":{"name":"f","arguments":"{\\"a\\":1}"}}]}',
    {
      type: 'complete',
      job_id: 'j',
      full_response: '',
      duration_ms: 812,
      cache_tokens: 3,
      input_tokens: 120,
      output_tokens: 18,
      tool_calls: [{ id: 'call_7', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
    },
  ],
  [
    'M7: error with a job id',
    '{"type":"error","job_id":"j","error":"inference error"}',
    { type: 'error', job_id: 'j', error: 'inference error' },
  ],
  [
    'M8: error without a job id',
    '{"type":"error","error":"boom","details":"d"}',
    { type: 'error', error: 'boom', details: 'd' },
  ],
  [
    'M9: config with capabilities',
    '{"type":"config","capabilities":{"backend":"llama.cpp","model":"m","ctx_size":1,"model_capabilities":["chat"]}}',
    { type: 'config', capabilities: { backend: 'llama.cpp', model: 'm', ctx_size: 1, model_capabilities: ['chat'] } },
  ],
  ['tool_generating', '{"type":"tool_generating","job_id":"j"}', { type: 'tool_generating', job_id: 'j' }],
  [
    'prompt_progress',
    '{"type":"prompt_progress","job_id":"j","total":4096,"cached":1024,"processed":2048}',
    { type: 'prompt_progress', job_id: 'j', total: 4096, cached: 1024, processed: 2048 },
  ],
  [
    'builtin_tool',
    '{"type":"builtin_tool","job_id":"j","id":"t","name":"Bash","arguments":"{}","result":"a"}',
    { type: 'builtin_tool', job_id: 'j', id: 't', name: 'Bash', arguments: '{}', result: 'a' },
  ],
  [
    'job.overload',
    '{"type":"job.overload","job_id":"j","retry_after_secs":540,"rate_limit_status":"denied","rate_limit_resets_at":1767225600,"rate_limit_type":"five_hour"}',
    {
      type: 'job.overload',
      job_id: 'j',
      retry_after_secs: 540,
      rate_limit_status: 'denied',
      rate_limit_resets_at: 1767225600,
      rate_limit_type: 'five_hour',
    },
  ],
  [
    'job.tool.call.request',
    '{"type":"job.tool.call.request","job_id":"j","call_id":"\\"2\\"","tool_name":"web_search","arguments":"{}"}',
    { type: 'job.tool.call.request', job_id: 'j', call_id: '"2"', tool_name: 'web_search', arguments: '{}' },
  ],
  [
    'version 2: a hello that redials with a job',
    '{"type":"hello","gpu_key":"k","capabilities":{"backend":"b","model":"m","ctx_size":1},"protocol_version":2,"instance_id":"i","ready":false,"model_file":"h","jobs":[{"job_id":"j","attempt":1,"seq":0}]}',
    {
      type: 'hello',
      gpu_key: 'k',
      capabilities: { backend: 'b', model: 'm', ctx_size: 1 },
      protocol_version: 2,
      instance_id: 'i',
      ready: false,
      model_file: 'h',
      jobs: [{ job_id: 'j', attempt: 1, seq: 0 }],
    },
  ],
  [
    'version 2: a numbered token with ids',
    '{"type":"token","job_id":"j","token":"a","attempt":2,"seq":9,"ids":[1,2],"choice":0}',
    { type: 'token', job_id: 'j', token: 'a', attempt: 2, seq: 9, ids: [1, 2], choice: 0 },
  ],
  [
    'version 2: complete with a finish reason',
    '{"type":"complete","job_id":"j","full_response":"","attempt":1,"seq":0,"finish_reason":"length","stop_sequence":"END"}',
    {
      type: 'complete',
      job_id: 'j',
      full_response: '',
      attempt: 1,
      seq: 0,
      finish_reason: 'length',
      stop_sequence: 'END',
    },
  ],
  [
    'version 2: error with a code',
    '{"type":"error","job_id":"j","error":"too long","code":"context_length_exceeded","attempt":1}',
    { type: 'error', job_id: 'j', error: 'too long', code: 'context_length_exceeded', attempt: 1 },
  ],
  [
    'version 2: cancelled',
    '{"type":"cancelled","job_id":"j","attempt":1}',
    { type: 'cancelled', job_id: 'j', attempt: 1 },
  ],
  [
    'version 2: status',
    '{"type":"status","state":"downloading","progress":0.25,"message":"m"}',
    { type: 'status', state: 'downloading', progress: 0.25, message: 'm' },
  ],
];
for (const [claim, json, frame] of fromWorker) test(claim, () => readsAs(json, frame, parseWorkerFrame));

const policy = {
  model_name: 'M',
  quantization: 'Q4_K_S',
  context_size: 32768,
  max_parallelism: 2,
  capabilities: ['chat'],
};
const fromRouter: [claim: string, json: string, frame: RouterFrame][] = [
  [
    'M10: hello_ack success with id and a full policy',
    `{"type":"hello_ack","success":true,"gpu_id":"5f1a","policy":${JSON.stringify(policy)}}`,
    { type: 'hello_ack', success: true, gpu_id: '5f1a', policy },
  ],
  [
    'M11: hello_ack failure with error and reconnectInSeconds 30',
    '{"type":"hello_ack","success":false,"error":"no","reconnectInSeconds":30}',
    { type: 'hello_ack', success: false, error: 'no', reconnectInSeconds: 30 },
  ],
  ['M12: heartbeat_ack', '{"type":"heartbeat_ack"}', { type: 'heartbeat_ack' }],
  ['M13: config_ack success', '{"type":"config_ack","success":true}', { type: 'config_ack', success: true }],
  [
    'M14, M22: job with two string messages, temperature 0.7, max_tokens 1024',
    '{"type":"job","job_id":"j","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"temperature":0.7,"max_tokens":1024}',
    {
      type: 'job',
      job_id: 'j',
      messages: [
        { role: 'system', content: 's' },
        { role: 'user', content: 'u' },
      ],
      temperature: 0.7,
      max_tokens: 1024,
    },
  ],
  [
    'M15: job with one tool including a JSON Schema that survives unchanged',
    '{"type":"job","job_id":"j","messages":[],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":["string","null"],"default":null,"enum":[1.5,null]}},"$defs":{}}}}]}',
    {
      type: 'job',
      job_id: 'j',
      messages: [],
      tools: [
        {
          type: 'function',
          function: {
            name: 'f',
            description: 'd',
            parameters: {
              type: 'object',
              properties: { a: { type: ['string', 'null'], default: null, enum: [1.5, null] } },
              $defs: {},
            },
          },
        },
      ],
    },
  ],
  ['M16: cancel', '{"type":"cancel","job_id":"j"}', { type: 'cancel', job_id: 'j' }],
  [
    'M23: job.reference_id present is read',
    '{"type":"job","job_id":"j","messages":[],"reference_id":"t1"}',
    { type: 'job', job_id: 'j', messages: [], reference_id: 't1' },
  ],
  ['policy_update', `{"type":"policy_update","policy":${JSON.stringify(policy)}}`, { type: 'policy_update', policy }],
  [
    'job.tool.call.result with an image',
    '{"type":"job.tool.call.result","job_id":"j","call_id":"c","result":"r","is_error":true,"image_parts":[{"mime_type":"image/png","data":"aGk="}]}',
    {
      type: 'job.tool.call.result',
      job_id: 'j',
      call_id: 'c',
      result: 'r',
      is_error: true,
      image_parts: [{ mime_type: 'image/png', data: 'aGk=' }],
    },
  ],
  [
    'version 2: hello_ack',
    '{"type":"hello_ack","success":true,"protocol_version":2,"ack_interval_ms":100,"jobs":[{"job_id":"j","attempt":1,"seq":7}]}',
    {
      type: 'hello_ack',
      success: true,
      protocol_version: 2,
      ack_interval_ms: 100,
      jobs: [{ job_id: 'j', attempt: 1, seq: 7 }],
    },
  ],
  [
    'version 2: ack',
    '{"type":"ack","job_id":"j","attempt":1,"seq":7}',
    { type: 'ack', job_id: 'j', attempt: 1, seq: 7 },
  ],
  ['version 2: drain', '{"type":"drain"}', { type: 'drain' }],
  [
    'version 2: cancel of one attempt',
    '{"type":"cancel","job_id":"j","attempt":3}',
    { type: 'cancel', job_id: 'j', attempt: 3 },
  ],
];
for (const [claim, json, frame] of fromRouter) test(claim, () => readsAs(json, frame, parseRouterFrame));

/** The kind of failure, and as much of the message as matters. */
const refused = (text: string | Uint8Array): string => {
  const result = parseWorkerFrame(text);
  return result.ok ? 'ok' : `${result.kind}: ${result.message}`;
};

test('M17: invalid JSON is an error of its own kind', () => {
  for (const text of ['{', '', 'nonsense', '{"type":"heartbeat"', '\uFEFF{"type":"heartbeat"}'])
    assert.match(refused(text), /^json: /);
});
test('M18: an unknown type is told apart from a bad shape', () =>
  assert.match(refused('{"type":"wibble"}'), /^type: .*wibble/));
test('M19: an empty type is unknown', () => assert.match(refused('{"type":""}'), /^type: /));
test('M20: a missing type is unknown', () => {
  assert.match(refused('{}'), /^type: /);
  assert.match(refused('{"type":null}'), /^type: /);
});
test('a type of the other direction is unknown here', () => {
  assert.match(refused('{"type":"job","job_id":"j"}'), /^type: /);
  assert.match(refused('{"type":"constructor"}'), /^type: /);
  assert.match(refused('{"type":"__proto__"}'), /^type: /);
});
test('what is no object, and a type that is no text, is a bad shape', () => {
  for (const text of ['null', '3', '"token"', '[]', '{"type":5}']) assert.match(refused(text), /^shape: /);
});

test('§4.0: unknown fields are ignored', () => {
  assert.equal(parseWorkerFrame('{"type":"heartbeat","job_id":7,"x":{"y":[]}}'), {
    ok: true,
    frame: { type: 'heartbeat' },
  });
});
test('§4.0: a missing required field takes its zero value', () => {
  assert.equal(parseWorkerFrame('{"type":"hello"}'), {
    ok: true,
    frame: { type: 'hello', gpu_key: '', capabilities: { backend: '', model: '', ctx_size: 0 } },
  });
  assert.equal(parseWorkerFrame('{"type":"token"}'), { ok: true, frame: { type: 'token', job_id: '', token: '' } });
  assert.equal(parseRouterFrame('{"type":"config_ack"}'), { ok: true, frame: { type: 'config_ack', success: false } });
});
test('§4.0, N22: null means the zero value for scalars, lists and objects', () => {
  assert.equal(
    parseRouterFrame(
      '{"type":"job","job_id":null,"messages":null,"tools":null,"temperature":null,"max_tokens":null,"data":null}',
    ),
    {
      ok: true,
      frame: { type: 'job', job_id: '', messages: [] },
    },
  );
  assert.equal(parseRouterFrame('{"type":"job","job_id":"","messages":[{"role":"user","content":null},null]}'), {
    ok: true,
    frame: {
      type: 'job',
      job_id: '',
      messages: [
        { role: 'user', content: null },
        { role: '', content: null },
      ],
    },
  });
  assert.equal(
    parseRouterFrame('{"type":"hello_ack","success":true,"policy":{"model_name":"m","capabilities":null}}'),
    {
      ok: true,
      frame: {
        type: 'hello_ack',
        success: true,
        policy: { model_name: 'm', quantization: '', context_size: 0, max_parallelism: 0, capabilities: [] },
      },
    },
  );
  assert.equal(parseRouterFrame('{"type":"policy_update","policy":null}'), {
    ok: true,
    frame: { type: 'policy_update' },
  });
  assert.equal(
    parseWorkerFrame('{"type":"complete","job_id":"j","full_response":null,"tool_calls":null,"duration_ms":null}'),
    {
      ok: true,
      frame: { type: 'complete', job_id: 'j', full_response: '' },
    },
  );
});
test('§4.0: a fraction in an integer field is a bad frame, and names its job so that the job can be failed', () => {
  const result = parseWorkerFrame('{"type":"complete","job_id":"j","full_response":"x","duration_ms":12.5}');
  assert.equal(result, {
    ok: false,
    kind: 'shape',
    type: 'complete',
    jobId: 'j',
    message: 'complete: $.duration_ms must be integer',
  });
});
test('§4.0: a whole number is read however it is spelled', () => {
  for (const spelled of ['12', '12.0', '1.2e1']) {
    const result = parseWorkerFrame(`{"type":"complete","job_id":"j","duration_ms":${spelled}}`);
    assert.is(result.ok && result.frame.type === 'complete' ? result.frame.duration_ms : null, 12);
  }
});
test('§4.0: integers that a double cannot hold are a bad frame', () => {
  assert.match(
    refused('{"type":"complete","job_id":"j","duration_ms":1e300}'),
    /^shape: complete: \$\.duration_ms must be <=/,
  );
  assert.match(refused('{"type":"complete","job_id":"j","duration_ms":9007199254740993}'), /^shape: /);
});
test('§4.0: a wrong JSON type in a known field fails the whole frame and names it', () => {
  assert.match(refused('{"type":"token","job_id":5,"token":"x"}'), 'shape: token: $.job_id must be string');
  assert.match(refused('{"type":"token","job_id":"j","token":["x"]}'), 'shape: token: $.token must be string');
  assert.match(
    refused(
      '{"type":"complete","job_id":"j","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":{}}}]}',
    ),
    '$.tool_calls[0].function.arguments must be string',
  );
  assert.match(refused('{"type":"hello","capabilities":[]}'), '$.capabilities must be object');
});
test('§4.0: field names are read as they are written, not in any case', () => {
  assert.equal(parseWorkerFrame('{"type":"token","Job_ID":"j","token":"x"}'), {
    ok: true,
    frame: { type: 'token', job_id: '', token: 'x' },
  });
});
test('§4.0: bytes are standard base64 with padding; null is empty', () => {
  const result = (data: string) =>
    parseRouterFrame(`{"type":"job.tool.call.result","image_parts":[{"mime_type":"m","data":${data}}]}`);
  for (const good of ['"aGk="', '"aGkh"', '""', 'null', '"+/+/"']) assert.ok(result(good).ok, good);
  for (const bad of ['"aGk"', '"-_-_"', '"a=k="', '"a b="', '7']) assert.not.ok(result(bad).ok, bad);
});
test('N21: trailing white space is accepted, two JSON values are not', () => {
  assert.ok(parseWorkerFrame('{"type":"heartbeat"}\n').ok);
  assert.ok(parseWorkerFrame(' \r\n{"type":"heartbeat"} \t\n').ok);
  assert.match(refused('{"type":"heartbeat"}{"type":"heartbeat"}'), /^json: /);
  assert.match(refused('{"type":"heartbeat"}\n{"type":"heartbeat"}'), /^json: /);
});
test('§3.1: text and bytes are read alike, bytes that are no UTF-8 become U+FFFD', () => {
  const bytes = Buffer.from('{"type":"token","job_id":"j","token":"é€\\u003c"}');
  assert.equal(parseWorkerFrame(bytes), { ok: true, frame: { type: 'token', job_id: 'j', token: 'é€<' } });
  const torn = Buffer.concat([
    Buffer.from('{"type":"token","job_id":"j","token":"'),
    Buffer.from([0xc3]),
    Buffer.from('"}'),
  ]);
  assert.equal(parseWorkerFrame(torn), { ok: true, frame: { type: 'token', job_id: 'j', token: '�' } });
});
test('JSON nested deeper than can be written again is a bad frame', () => {
  const deep = '['.repeat(100_000) + ']'.repeat(100_000);
  assert.match(
    refused(`{"type":"tool_result","result":${deep}}`),
    'shape: tool_result: $.result must not be nested deeper',
  );
  assert.ok(parseWorkerFrame(`{"type":"heartbeat","ignored":${deep}}`).ok);
});

test('N23: an integer is never written as a fraction or with an exponent', () => {
  const written = (tokens: number) =>
    serialiseFrame({ type: 'complete', job_id: 'j', full_response: '', output_tokens: tokens });
  assert.match(written(12.5), '"output_tokens":13}');
  assert.match(written(1e21), '"output_tokens":9007199254740991}');
  assert.match(written(Number.NaN), '"output_tokens":0}');
  assert.match(written(Number.POSITIVE_INFINITY), '"output_tokens":9007199254740991}');
  assert.match(
    serialiseFrame({ type: 'status', state: 'loading', progress: Number.NaN }),
    '{"type":"status","state":"loading"}',
  );
});
test('a frame is written with type first and job_id second, whatever the order it was made in', () => {
  const frame: WorkerFrame = { token: 'Hel', seq: 1, job_id: 'chatcmpl-0a', attempt: 1, type: 'token' };
  assert.is(serialiseFrame(frame), '{"type":"token","job_id":"chatcmpl-0a","token":"Hel","attempt":1,"seq":1}');
  assert.equal(peekFrame(serialiseFrame(frame)), { type: 'token', jobId: 'chatcmpl-0a' });
});
test('only a frame in the canonical form is known by its first bytes', () => {
  assert.is(peekFrame('{"job_id":"j","type":"token"}'), null);
  assert.is(peekFrame('{"type":"token", "job_id":"j"}'), null);
  assert.is(peekFrame('{"type":"token","job_id":"a\\u0062"}'), null);
  assert.is(peekFrame('{"type":"heartbeat"}'), null);
  assert.equal(peekFrame('{"type":"job.overload","job_id":"j"}'), { type: 'job.overload', jobId: 'j' });
});
test('the lower of two versions is spoken, and a peer that names none speaks version 1', () => {
  assert.equal([undefined, 0, 1, 2, 3].map(agreedVersion), [1, 1, 1, 2, 2]);
});

test.run();
