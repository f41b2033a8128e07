/** Tools of OpenAI's in a Responses request: which of ours stand in, and what is said of the others. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { builtinTools } from './builtin-tools.ts';
import { everyFeature } from './features.ts';
import type { RouterTool } from './job-events.tools.ts';
import { readTools, type ToolsGiven } from './responses-api.tools.ts';

const ours = ['web_search', 'code_executor'].flatMap(name => builtinTools.get(name) ?? []);
const own = { type: 'function', name: 'f' };
const search = { type: 'web_search_preview_2025_03_11', search_context_size: 'low' };
const code = { type: 'code_interpreter', container: { type: 'auto' } };

function readWith(given: ToolsGiven, hosted: readonly RouterTool[] = ours, lent: readonly RouterTool[] = []) {
  const outcome = readTools(given, everyFeature, { lent, hosted });
  if (outcome.ok) {
    const { request, hosted: had, ignored } = outcome.value;
    const named = (request.tools ?? []).map(tool => (tool.function as { name: string }).name);
    return { named, choice: request.toolChoice, had, ignored };
  }
  return `${outcome.code} ${outcome.param}`;
}

test('web_search and code_interpreter are ours where a tools worker has them, and are left out where none has', () => {
  const tools = [own, search, code];
  const had = { web_search: search.type, code_executor: code.type };
  assert.equal(readWith({ tools }), { named: ['f'], choice: undefined, had, ignored: [] });
  assert.equal(readWith({ tools }, [], ours), { named: ['f'], choice: undefined, had, ignored: [] });
  const left = { named: ['f'], choice: undefined, had: {}, ignored: [search.type, code.type] };
  assert.equal(readWith({ tools }, []), left);
  assert.equal(readWith({ tools, tool_choice: 'none' }), { named: [], choice: 'none', had: {}, ignored: [] });
});

test('a choice may force them, and may allow some of them only', () => {
  const tools = [own, search, code];
  const forced = (name: string) => ({ type: 'function', function: { name } });
  for (const [type, name] of [
    ['code_interpreter', 'code_executor'],
    ['web_search_preview', 'web_search'],
  ] as const) {
    const outcome = readWith({ tools, tool_choice: { type } });
    assert.equal(typeof outcome === 'object' && outcome.choice, forced(name));
    assert.is(readWith({ tools: [own], tool_choice: { type } }), 'unsupported_parameter tool_choice');
    assert.is(readWith({ tools, tool_choice: { type } }, []), 'unsupported_parameter tool_choice');
  }
  const required = readWith({ tools: [code], tool_choice: 'required' });
  assert.equal(typeof required === 'object' && required.choice, 'required');
  const allowed = (...list: object[]) => ({
    tools,
    tool_choice: { type: 'allowed_tools', mode: 'required', tools: list },
  });
  const both = { named: ['f'], choice: 'required', had: { code_executor: code.type }, ignored: [] };
  assert.equal(readWith(allowed(own, { type: 'code_interpreter' })), both);
  assert.equal(readWith(allowed({ type: 'code_interpreter' })), { ...both, named: [] });
  assert.equal(readWith(allowed(own)), { ...both, had: {} });
});

test('what ours would not do is refused by name, and so is what nobody knows', () => {
  const refused = (tool: object) => readWith({ tools: [own, tool] });
  const at = 'unsupported_parameter tools[1]';
  assert.is(refused({ ...search, filters: { allowed_domains: ['a.example'] } }), `${at}.filters`);
  assert.is(refused({ ...code, container: 'cntr_1' }), `${at}.container`);
  assert.is(refused({ ...code, container: { type: 'auto', file_ids: ['f'] } }), `${at}.container.file_ids`);
  assert.is(refused({ type: 'time_travel' }), `${at}.type`);
  const quiet = { named: ['f'], choice: undefined, had: {} };
  assert.equal(refused({ ...search, external_web_access: false }), { ...quiet, ignored: [search.type] });
  for (const type of ['mcp', 'file_search', 'computer_use_preview', 'image_generation', 'local_shell', 'tool_search'])
    assert.equal(refused({ type }), { ...quiet, ignored: [type] });
});

test('a tool of the same name that the caller runs itself is the caller’s', () => {
  const mine = { type: 'function', name: 'code_executor' };
  const outcome = readWith({ tools: [code, mine] });
  assert.equal(outcome, { named: ['code_executor'], choice: undefined, had: {}, ignored: ['code_executor'] });
});

test('the router’s tools can be forced by their names', () => {
  const outcome = readWith({ tool_choice: { type: 'function', name: 'web_search' } }, [], ours);
  assert.equal(typeof outcome === 'object' && outcome.choice, { type: 'function', function: { name: 'web_search' } });
  assert.is(readWith({ tool_choice: { type: 'function', name: 'web_search' } }, [], []), 'invalid_request tool_choice');
  assert.is(
    readWith({ tool_choice: { type: 'function', name: 'web_search' } }, ours, []),
    'invalid_request tool_choice',
  );
});

test.run();
