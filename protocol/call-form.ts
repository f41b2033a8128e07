/**
 * How calls of tools are written in an answer. Every reader knows the common form; a family of models has one of its own
 * besides, and is led into that one, because what a model was trained on it does best.
 */

/** Parameters with a tag each, in the place of a JSON object. */
export interface ParameterTags {
  /** `isText`: the value is the text itself, and no JSON. */
  readonly before: (key: string, isText: boolean) => string;
  /** Ends a value; no text holds it. */
  readonly end: string;
  /** Before the end of a value that is JSON. A text brings its own line break, or none. */
  readonly lead: string;
  readonly gap: string;
}

export interface CallForm {
  /** Before the first call, between two, behind the last. */
  readonly open: string;
  readonly between: string;
  readonly close: string;
  /** What stands around the arguments. `callIndex` in it is the place of the call among the answer's, from 0. */
  readonly around: (name: string) => readonly [before: string, behind: string];
  /** null: the arguments are one JSON object. */
  readonly parameters: ParameterTags | null;
  /** Calls that one answer may hold. */
  readonly callsMax: number;
  /** It is a call only where no text stands before it. */
  readonly isFirst: boolean;
  readonly thought: readonly [open: string, close: string];
  /** What the model writes between its thought and the rest. */
  readonly afterThought: string;
  /** What may stand before an answer that is JSON. */
  readonly answers: readonly string[];
}

/** A character that stands in no answer. */
export const callIndex = '\u0000';

export const callsMax = 16;

export const commonForm: CallForm = {
  open: '',
  between: '\n',
  close: '',
  around: name => [`<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": `, '}\n</tool_call>'],
  parameters: null,
  callsMax,
  isFirst: false,
  thought: ['<think>', '</think>'],
  afterThought: '',
  answers: [''],
};
