/**
 * Tools that the caller runs and the Anthropic API describes: a request names only their type. Their parameters are
 * those that the API documents for that type; the descriptions tell a model that was not trained on them what they do.
 */
export interface DescribedTool {
  readonly name: string;
  readonly description: string;
  readonly parameters: object;
}

const text = { type: 'string' } as const;
const lines = {
  type: 'array',
  items: { type: 'integer' },
  minItems: 2,
  maxItems: 2,
  description: 'first and last line to show, counted from 1; -1 as the last means the end',
} as const;
const oneOf = (...names: string[]) => ({ type: 'string', enum: names }) as const;
const parameters = (properties: object, ...required: string[]) => ({ type: 'object', properties, required }) as const;

const fileFields = {
  file_text: { ...text, description: 'for create: the whole content' },
  old_str: { ...text, description: 'for str_replace: the text to replace, which must occur exactly once' },
  new_str: { ...text, description: 'for str_replace: what takes its place' },
  insert_line: { type: 'integer', description: 'for insert: the line after which to insert; 0 for the beginning' },
  view_range: lines,
} as const;
const insertText = { insert_text: { ...text, description: 'for insert: the text to insert' } } as const;

const families: readonly {
  readonly type: RegExp;
  readonly name: string;
  readonly description: string;
  readonly parameters: object;
}[] = [
  {
    type: /^bash_\d{8}$/,
    name: 'bash',
    description: 'Runs a command in a shell that stays open between calls, and returns what it prints.',
    parameters: parameters({
      command: { ...text, description: 'the command; required unless restart is true' },
      restart: { type: 'boolean', description: 'true starts the shell anew instead' },
    }),
  },
  {
    // The two oldest could take a change back, and had no field of its own for the text to insert.
    type: /^text_editor_(20241022|20250124)$/,
    name: 'str_replace_editor',
    description: 'Shows and edits text files.',
    parameters: parameters(
      {
        command: oneOf('view', 'create', 'str_replace', 'insert', 'undo_edit'),
        path: { ...text, description: 'absolute path of the file or folder' },
        ...fileFields,
        new_str: { ...text, description: 'for str_replace: what takes its place; for insert: the text to insert' },
      },
      'command',
      'path',
    ),
  },
  {
    type: /^text_editor_\d{8}$/,
    name: 'str_replace_based_edit_tool',
    description: 'Shows and edits text files.',
    parameters: parameters(
      {
        command: oneOf('view', 'create', 'str_replace', 'insert'),
        path: { ...text, description: 'absolute path of the file or folder' },
        ...fileFields,
        ...insertText,
      },
      'command',
      'path',
    ),
  },
  {
    type: /^memory_\d{8}$/,
    name: 'memory',
    description: 'Keeps notes in files below /memories, to be read in later conversations.',
    parameters: parameters(
      {
        command: oneOf('view', 'create', 'str_replace', 'insert', 'delete', 'rename'),
        path: { ...text, description: 'path of the file or folder, below /memories' },
        ...fileFields,
        ...insertText,
        old_path: { ...text, description: 'for rename: from' },
        new_path: { ...text, description: 'for rename: to' },
      },
      'command',
    ),
  },
];

/** Null for a type that no caller runs, or that is not known. */
export function clientTool(type: string, name: string | undefined): DescribedTool | null {
  const family = families.find(family => family.type.test(type));
  if (family === undefined) return null;
  const { description, parameters } = family;
  return { name: name === undefined || name === '' ? family.name : name, description, parameters };
}
