import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  parseRouterFrame,
  parseWorkerFrame,
  type RouterFrame,
  serialiseFrame,
  type WorkerFrame,
} from './worker-frames.ts';

function readsAs(
  json: string,
  frame: WorkerFrame | RouterFrame,
  parse: typeof parseWorkerFrame | typeof parseRouterFrame,
) {
  assert.equal(parse(json), { ok: true, frame });
  assert.equal(parse(serialiseFrame(frame)), { ok: true, frame });
}

const invocation = { job_id: 'b264', parent_job_id: 'chatcmpl-0a1b', tool_name: 'web_search', tool_call_id: 'call_7' };

test('M24: tool_job.thread_id present is read, absent is absent, and arguments may be a JSON string', () => {
  const without: RouterFrame = { type: 'tool_job', ...invocation, arguments: '{"query":"x"}' };
  readsAs(JSON.stringify(without), without, parseRouterFrame);
  const withThread: RouterFrame = { ...without, thread_id: 't1' };
  readsAs(JSON.stringify(withThread), withThread, parseRouterFrame);
});
test('M25: hello of a tools worker, whatever the prefix of its key', () => {
  readsAs(
    '{"type":"hello","gpu_key":"wrk_EXAMPLE","worker_type":"tools","capabilities":{"backend":"","model":"","ctx_size":0},"tools_capabilities":{"tools":["web_fetch","code_executor"]}}',
    {
      type: 'hello',
      gpu_key: 'wrk_EXAMPLE',
      worker_type: 'tools',
      capabilities: { backend: '', model: '', ctx_size: 0 },
      tools_capabilities: { tools: ['web_fetch', 'code_executor'] },
    },
    parseWorkerFrame,
  );
});
test('M26: tool_job with an object as arguments', () => {
  const frame: RouterFrame = {
    type: 'tool_job',
    ...invocation,
    arguments: { query: 'weather', deep: [{ a: null }] },
    credentials: { BRAVE_SEARCH_API_KEY: 'EXAMPLE' },
    mcp_url: 'https://mcp.example.com/',
    mcp_headers: { Authorization: 'Bearer EXAMPLE' },
  };
  readsAs(JSON.stringify(frame), frame, parseRouterFrame);
});
test('M27: tool_result with an object result', () => {
  const frame: WorkerFrame = { type: 'tool_result', ...invocation, result: { hits: 3, none: null }, duration_ms: 421 };
  readsAs(JSON.stringify(frame), frame, parseWorkerFrame);
});
test('M28: tool_result with an error and no result', () => {
  const frame: WorkerFrame = { type: 'tool_result', ...invocation, error: 'timed out' };
  readsAs(JSON.stringify(frame), frame, parseWorkerFrame);
  readsAs(JSON.stringify({ ...frame, result: null }), frame, parseWorkerFrame);
});
test('M29: policy_reloaded with advertised tools and one MCP schema', () => {
  const github = {
    tool_name: 'github',
    package: '@scope/p',
    version: 'latest',
    description: 'd',
    commands: ['create_issue'],
  };
  const frame: WorkerFrame = {
    type: 'policy_reloaded',
    advertised_tools: ['web_fetch', 'github'],
    mcp_schemas: [github],
  };
  readsAs(JSON.stringify(frame), frame, parseWorkerFrame);
});
test('M39: tool_job, a tool_result with a string, and policy_reloaded with empty lists are read', () => {
  assert.ok(parseRouterFrame(JSON.stringify({ type: 'tool_job', ...invocation, arguments: {} })).ok);
  const result: WorkerFrame = { type: 'tool_result', ...invocation, result: 'text' };
  readsAs(JSON.stringify(result), result, parseWorkerFrame);
  const reloaded: WorkerFrame = { type: 'policy_reloaded', advertised_tools: [], mcp_schemas: [] };
  readsAs(JSON.stringify(reloaded), reloaded, parseWorkerFrame);
});
test('M40: an unknown type and invalid JSON are errors for tools workers too', () => {
  assert.is(parseRouterFrame('{"type":"tool_wibble"}').ok, false);
  assert.is(parseRouterFrame('{"type":"tool_job"').ok, false);
});

test('§9.4: what a Go peer writes for empty messages is read', () => {
  const empty = { job_id: '', parent_job_id: '', tool_name: '', tool_call_id: '' };
  readsAs(
    '{"type":"tool_job","job_id":"","parent_job_id":"","tool_name":"","tool_call_id":"","arguments":null}',
    { type: 'tool_job', ...empty, arguments: null },
    parseRouterFrame,
  );
  readsAs(
    '{"type":"tool_result","job_id":"","parent_job_id":"","tool_call_id":"","tool_name":"","result":null}',
    { type: 'tool_result', ...empty },
    parseWorkerFrame,
  );
  readsAs(
    '{"type":"reload_policy","policy":{"allowed_tools":null,"mcp_servers":null}}',
    { type: 'reload_policy', policy: { allowed_tools: [], mcp_servers: [] } },
    parseRouterFrame,
  );
  readsAs(
    '{"type":"policy_reloaded","advertised_tools":null}',
    { type: 'policy_reloaded', advertised_tools: [] },
    parseWorkerFrame,
  );
  readsAs(
    '{"type":"hello","gpu_key":"","worker_type":"tools","capabilities":{"backend":"","model":"","ctx_size":0},"tools_capabilities":{"tools":null}}',
    {
      type: 'hello',
      gpu_key: '',
      worker_type: 'tools',
      capabilities: { backend: '', model: '', ctx_size: 0 },
      tools_capabilities: { tools: [] },
    },
    parseWorkerFrame,
  );
});
test('validate_configuration and its result', () => {
  const ask: RouterFrame = {
    type: 'validate_configuration',
    request_id: 'v1',
    url: 'https://mcp.example.com/',
    resolved_headers: { A: 'b' },
  };
  readsAs(JSON.stringify(ask), ask, parseRouterFrame);
  const answer: WorkerFrame = {
    type: 'validate_configuration_result',
    request_id: 'v1',
    tools: [{ name: 'create_issue', input_schema: { type: 'object' } }],
  };
  readsAs(JSON.stringify(answer), answer, parseWorkerFrame);
});
test('a map with a value that is no text is a bad frame, whatever its key', () => {
  for (const key of ['A', 'a\nb', '']) {
    const result = parseRouterFrame(JSON.stringify({ type: 'tool_job', ...invocation, credentials: { [key]: 1 } }));
    assert.is(result.ok, false);
  }
  const nulled = parseRouterFrame('{"type":"tool_job","credentials":{"A":null}}');
  assert.equal(nulled.ok && nulled.frame.type === 'tool_job' ? nulled.frame.credentials : null, { A: '' });
});

test.run();
