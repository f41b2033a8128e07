/** Bugs of what a caller is shown of its job, in each API. */
import type { Mutation } from './mutation.ts';

const chat = 'machines/answer.openai-chat.test.ts';
const message = 'machines/answer.anthropic.test.ts';
const response = 'machines/answer.openai-responses.test.ts';

export const answerMutations: readonly Mutation[] = [
  {
    id: 'call-ends-cut',
    file: 'machines/streamed-calls.ts',
    old: '? { begins: false, text: call.arguments.slice(length) }',
    now: '? null',
    breaks: 'What a call has beyond its last piece is never said.',
    suites: ['machines/streamed-calls.test.ts', chat],
  },
  {
    id: 'call-said-twice',
    file: 'machines/streamed-calls.ts',
    old: 'text: call.arguments.slice(length) }',
    now: 'text: call.arguments }',
    breaks: 'A call that was told in pieces is told again as a whole.',
    suites: ['machines/streamed-calls.test.ts', chat],
  },
  {
    id: 'choices-mixed',
    file: 'machines/answer.openai-chat.ts',
    old: 'index !== choice\n      ? one',
    now: 'index !== 0\n      ? one',
    breaks: 'The texts of several choices are gathered in the first.',
    suites: [chat, 'property-tests/chat-features.test.ts'],
  },
  {
    id: 'usage-not-told',
    file: 'machines/answer.openai-chat.ts',
    old: 'if (answer.includeUsage && writer !== undefined) last.push(frame(writer.usage(event.usage)));',
    now: '',
    breaks: 'A caller that asks for the counts of a streamed answer is not given them.',
    suites: [chat, 'property-tests/openai-client.test.ts'],
  },
  {
    id: 'block-not-closed',
    file: 'machines/answer.anthropic.ts',
    old: 'const [closed, frames] = answer.open === kind ? [answer, []] : close(answer);\n  const { index } = closed;',
    now: 'const [closed, frames]: [MessageAnswer, string[]] = [answer, []];\n  const { index } = closed;',
    breaks: 'A block of text begins within one of thinking.',
    suites: [message],
  },
  {
    id: 'input-left-open',
    file: 'machines/answer.anthropic.ts',
    old: `if (missing !== '') frames.unshift(messageEvents.inputJson(index, missing));`,
    now: '',
    breaks: 'The input of a call that was cut is no JSON.',
    suites: [message],
  },
  {
    id: 'numbers-repeated',
    file: 'machines/answer.openai-responses.ts',
    old: `if (error !== null) list = [...list, responseEvents.error(n++, { code: error.code, message })];`,
    now: `if (error !== null) list = [...list, responseEvents.error(n, { code: error.code, message })];`,
    breaks: 'Two events of a response have the same number.',
    suites: [response],
  },
  {
    id: 'cut-answer-complete',
    file: 'machines/answer.openai-responses.ts',
    old: `const status = event.finishReason === 'length' ? 'incomplete' : 'completed';`,
    now: `const status = 'completed' as 'incomplete' | 'completed';`,
    breaks: 'A response that was cut at its limit counts as whole.',
    suites: [response, 'property-tests/responses-client.test.ts'],
  },
];
