/**
 * The questions that callers ask, and the answer to each: those that the demo model has learned by heart. The scripted
 * workers read from the same book, so that an answer may move between them and the model at any place.
 */
import { readFileSync } from 'node:fs';

export interface Question {
  readonly messages: readonly { readonly role: 'system' | 'user'; readonly content: string }[];
  readonly answer: string;
}

interface Golden {
  readonly behaviour: string;
  readonly messages: Question['messages'];
  readonly expected_text?: string;
}

const wanted = new Set(['story', 'count', 'lists', 'facts', 'identity']);
const golden: Golden[] = JSON.parse(
  readFileSync(new URL('../../registry/demo-model/golden.json', import.meta.url), 'utf8'),
);

export const questions: readonly Question[] = golden.flatMap(({ behaviour, messages, expected_text: answer }) =>
  wanted.has(behaviour) && answer !== undefined && answer.length > 40 ? [{ messages, answer }] : [],
);
/** Long enough that something happens in the middle of most of them. */
export const longQuestions = questions.filter(({ answer }) => answer.length > 400);

const answers = new Map(questions.map(({ messages, answer }) => [messages.at(-1)?.content ?? '', answer]));

/** Undefined when it is not in the book. */
export const answerTo = (question: string): string | undefined => answers.get(question);

/** An answer as it is said: a word at a time, each with what stands before it. */
export const piecesOf = (text: string): string[] => text.match(/\s*\S+/g) ?? [];
