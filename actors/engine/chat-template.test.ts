import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chatTemplate } from './chat-template.ts';
import { EngineError } from './engine.ts';

const template = (source: string | null) => chatTemplate({ source, bos: '<s>', eos: '</s>' });
const user = (content: unknown) => ({ role: 'user', content });

test('a model without a template gets ChatML', () => {
  const text = template(null).render({ messages: [{ role: 'system', content: 'Be kind.' }, user('Hi')] });
  assert.is(text, '<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n');
});

test('the template sees messages, tools, the special tokens and its options', () => {
  const source =
    '{{ bos_token }}{{ messages[0].content }}{{ tools[0].function.name }}{{ enable_thinking }}{{ eos_token }}';
  const tools = [{ type: 'function', function: { name: 'look' } }];
  const job = { messages: [user('Hi')], tools, templateOptions: { enable_thinking: true } };
  assert.is(template(source).render(job), '<s>Hilooktrue</s>');
});

test('the schema of a tool reaches the template whole, however deep (G15)', () => {
  const parameters = {
    type: 'object',
    $defs: { place: { anyOf: [{ type: 'string', minLength: 2 }, { type: 'null' }] } },
    properties: {
      where: { $ref: '#/$defs/place', default: null },
      days: { type: 'array', items: { type: 'object', properties: { n: { type: 'integer', maximum: 7 } } } },
      unit: { enum: ['c', 'f'], format: 'x' },
    },
    additionalProperties: false,
  };
  const tools = [{ type: 'function', function: { name: 'weather', parameters } }];
  const text = template('{{ tools[0].function.parameters | tojson }}').render({ messages: [user('Hi')], tools });
  assert.equal(JSON.parse(text), parameters);
});

test('reasoning effort none switches thinking off, but what the caller says to the template wins', () => {
  const source = '{{ enable_thinking }}';
  const messages = [user('Hi')];
  assert.is(template(source).render({ messages, reasoningEffort: 'none' }), 'false');
  assert.is(
    template(source).render({ messages, reasoningEffort: 'none', templateOptions: { enable_thinking: true } }),
    'true',
  );
});

test('any other effort switches it on, as a level and as a budget where the template knows them', () => {
  const render = (source: string, reasoningEffort?: string) =>
    template(source).render({ messages: [user('Hi')], ...(reasoningEffort === undefined ? {} : { reasoningEffort }) });
  const all = '{{ enable_thinking }} {{ thinking }} {{ reasoning }} {{ reasoning_effort }} {{ thinking_budget }}';
  assert.is(render(all, 'high'), 'true true true high 16384');
  assert.is(render(all, 'minimal'), 'true true true low 512');
  assert.is(render('{{ thinking_budget }}', 'none'), '0');
  const told = { messages: [user('Hi')], reasoningEffort: 'high', thinkingBudget: 2048 };
  assert.is(template('{{ thinking_budget }}').render(told), '2048');
  assert.is(render('{{ thinking_budget is defined }}{{ enable_thinking is defined }}'), 'falsefalse');
});

const look = {
  type: 'function',
  function: {
    name: 'look',
    parameters: {
      $defs: { at: { enum: ['near', 'far'] } },
      type: 'object',
      properties: { where: { $ref: '#/$defs/at' }, deep: { anyOf: [{ type: 'null' }, { type: ['string', 'null'] }] } },
      required: ['where'],
    },
  },
};

test('schemas are whole in the prompt: references, enums, what is nested and alternatives', () => {
  const source = '{{ tools[0].function.parameters | tojson }}';
  const text = template(source).render({ messages: [user('Hi')], tools: [look] });
  assert.equal(JSON.parse(text), look.function.parameters);
});

test('a template that asks each parameter for its type gets the whole schema with types', () => {
  const source =
    '{% for name, p in tools[0].function.parameters.properties.items() %}{% if p.type is not string %}{{ raise_exception("no type") }}{% endif %}{% endfor %}{{ tools[0].function.parameters | tojson }}';
  const parameters = JSON.parse(template(source).render({ messages: [user('Hi')], tools: [look] }));
  assert.equal(parameters.properties.where, { type: 'object', $ref: '#/$defs/at' });
  assert.equal(parameters.properties.deep.anyOf[1].type, 'string');
  assert.equal(parameters.$defs.at, { type: 'string', enum: ['near', 'far'] });
});

test('a template that knows no tools gets them in words, and calls and results as text, sides in turn', () => {
  const call = { id: 'c', type: 'function', function: { name: 'look', arguments: '{"where":"far"}' } };
  const messages = [
    user('Look!'),
    { role: 'assistant', content: null, tool_calls: [call, call] },
    { role: 'tool', tool_call_id: 'c', content: 'a ship' },
    { role: 'tool', tool_call_id: 'c', content: 'a sail' },
    user('And?'),
  ];
  const text = template('{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}').render({
    messages,
    tools: [look],
  });
  assert.ok(text.includes(JSON.stringify(look.function)));
  const told = '<tool_call>\n{"name": "look", "arguments": {"where":"far"}}\n</tool_call>';
  const results = '<tool_response>\na ship\n</tool_response>\n<tool_response>\na sail\n</tool_response>\n\nAnd?';
  assert.ok(text.endsWith(`[user]Look!\n[assistant]${told}\n${told}\n[user]${results}\n`), text);
  assert.is(text.match(/\[(system|user|assistant)\]/g)?.join(''), '[system][user][assistant][user]');
});

test('text parts are joined, missing content is empty, an image is refused by its place', () => {
  const source = '{% for m in messages %}[{{ m.content }}]{% endfor %}';
  const parts = [
    { type: 'text', text: 'a' },
    { type: 'text', text: 'b' },
  ];
  assert.is(template(source).render({ messages: [user(parts), user(null)] }), '[ab][]');
  try {
    template(source).render({ messages: [user('x'), user([{ type: 'image_url', image_url: { url: 'data:' } }])] });
    assert.unreachable();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    assert.is(error.code, 'unsupported_parameter');
    assert.match(error.message, 'messages[1].content[0]');
  }
});

test('arguments of earlier calls are objects for templates that write them as JSON, and text for the others', () => {
  const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":1}' } };
  const messages = [user('x'), { role: 'assistant', content: null, tool_calls: [call] }];
  const asJson = '{{ messages[1].tool_calls[0].function.arguments | tojson }}';
  const asText = "{{ 'args ' + messages[1].tool_calls[0].function.arguments }}";
  assert.is(template(asJson).render({ messages }), '{"a": 1}');
  assert.is(template(asText).render({ messages }), 'args {"a":1}');
});

test('a template that cannot bear a system turn gets its text in the first user turn', () => {
  const source =
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ m.role }}:{{ m.content }};{% endfor %}";
  const messages = [{ role: 'system', content: 'Be kind.' }, user('Hi')];
  assert.is(template(source).render({ messages }), 'user:Be kind.\n\nHi;');
});

test('messages that no form of the template takes are refused in its own words', () => {
  try {
    template("{{ raise_exception('roles must alternate') }}").render({ messages: [user('Hi')] });
    assert.unreachable();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    assert.is(error.code, 'invalid_request');
    assert.match(error.message, 'roles must alternate');
  }
});

test.run();
