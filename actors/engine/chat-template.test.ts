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
