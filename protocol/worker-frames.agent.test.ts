import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type AgentFrame,
  type AgentServerFrame,
  parseAgentFrame,
  parseAgentServerFrame,
  readAgentHelloAck,
  serialiseAgentFrame,
  serialiseAgentServerFrame,
} from './worker-frames.agent.ts';

const sent: [claim: string, frame: AgentFrame][] = [
  ['M31: agent_token', { type: 'agent_token', job_id: 'j', token: 'He' }],
  ['M32: agent_complete', { type: 'agent_complete', job_id: 'j', stop_reason: 'end_turn' }],
  ['M33: agent_error', { type: 'agent_error', job_id: 'j', error: 'boom' }],
  ['M34: agent_tool_call', { type: 'agent_tool_call', job_id: 'j', id: 'c1', name: 'read', arguments: '{}' }],
  ['M35: agent_tool_result, success', { type: 'agent_tool_result', job_id: 'j', tool_call_id: 'c1', content: 'ok' }],
  [
    'M36: agent_tool_result, error',
    { type: 'agent_tool_result', job_id: 'j', tool_call_id: 'c1', content: 'no', is_error: true },
  ],
  [
    'hello of an agent',
    {
      type: 'hello',
      worker_type: 'agent',
      agent_key: 'wrk_EXAMPLE',
      system_prompt: 'You are …',
      local_tools: [{ name: 'bash', parameters: { type: 'object' } }],
      metadata: { name: 'ops', soul_digest: 'mtime:1760000000,size:812' },
    },
  ],
  ['tool.result', { type: 'tool.result', call_id: 'c1', result: '/home/ops\n' }],
  ['file.upload_ack', { type: 'file.upload_ack', correlation_id: 'u1', resolved_path: '/srv/a.txt' }],
  ['context_update', { type: 'context_update', system_prompt: 's', local_tools: [{ name: 'read' }] }],
];
for (const [claim, frame] of sent) {
  test(claim, () => {
    assert.equal(parseAgentFrame(JSON.stringify(frame)), { ok: true, frame });
    assert.equal(parseAgentFrame(serialiseAgentFrame(frame)), { ok: true, frame });
  });
}

const external = { name: 'web_fetch', description: 'd', parameters: { type: 'object' }, source: 'builtin' };
const served: [claim: string, json: string, frame: AgentServerFrame][] = [
  [
    'M30: agent_job',
    '{"type":"agent_job","job_id":"j","messages":[{"role":"user","content":"Hi"}],"credentials":{"A":"b"}}',
    { type: 'agent_job', job_id: 'j', messages: [{ role: 'user', content: 'Hi' }], credentials: { A: 'b' } },
  ],
  [
    'M38: reload_policy of an agent, system_prompt may be missing',
    `{"type":"reload_policy","external_tools":[${JSON.stringify(external)}]}`,
    { type: 'reload_policy', system_prompt: '', external_tools: [external] },
  ],
  [
    'tool.execute',
    '{"type":"tool.execute","call_id":"c1","tool_name":"bash","arguments":"{}","env":{"GH_TOKEN":"EXAMPLE"}}',
    { type: 'tool.execute', call_id: 'c1', tool_name: 'bash', arguments: '{}', env: { GH_TOKEN: 'EXAMPLE' } },
  ],
  [
    'file.upload, with data null as Go writes nothing',
    '{"type":"file.upload","correlation_id":"","file_name":"","data":null}',
    { type: 'file.upload', correlation_id: '', file_name: '', data: '' },
  ],
];
for (const [claim, json, frame] of served) {
  test(claim, () => {
    assert.equal(parseAgentServerFrame(json), { ok: true, frame });
    assert.equal(parseAgentServerFrame(serialiseAgentServerFrame(frame)), { ok: true, frame });
  });
}

test('M37: the answer to an agent hello is read whatever its type says', () => {
  const ack = { status: 'ok', agent_id: 'agt_1', external_tools: [external] };
  for (const type of ['hello_ack', 'agent_hello_ack']) {
    assert.equal(readAgentHelloAck({ type, ...ack, extra: 1 }), { ok: true, value: { type, ...ack } });
  }
  assert.equal(readAgentHelloAck({ ...ack, system_prompt: null }), { ok: true, value: { type: '', ...ack } });
  assert.is(readAgentHelloAck('ok').ok, false);
});

test.run();
