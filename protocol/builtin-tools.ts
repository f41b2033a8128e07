/**
 * The tools that every router knows (spec/http-api §5.1): tools workers of version 1 announce names only, and a model must
 * be told what they take. Workers of version 2 describe theirs themselves.
 */
import type { RouterTool } from './job-events.tools.ts';

const text = { type: 'string' };
const whole = (minimum: number, maximum?: number) => ({
  type: 'integer',
  minimum,
  ...(maximum === undefined ? {} : { maximum }),
});
const object = (properties: object, ...required: string[]) => ({ type: 'object', properties, required });

const table: readonly RouterTool[] = [
  {
    name: 'code_executor',
    description: 'Runs JavaScript and gives what it prints and the value of its last expression.',
    parameters: object({ code: text, timeout_seconds: whole(1, 30) }, 'code'),
  },
  {
    name: 'web_fetch',
    description:
      'Reads a web page as Markdown, its links, or a text file, in pages of `limit` characters from `offset`.',
    parameters: object(
      {
        url: text,
        mode: { type: 'string', enum: ['article', 'links', 'full'] },
        offset: whole(0),
        limit: whole(1, 100_000),
        method: { type: 'string', enum: ['GET', 'POST', 'PUT', 'DELETE', 'HEAD'] },
        headers: { type: 'object', additionalProperties: text },
        body: text,
        search: text,
        timeout_seconds: whole(1, 60),
      },
      'url',
    ),
  },
  {
    name: 'web_search',
    description: 'Searches the web and gives titles, addresses and snippets.',
    parameters: object(
      { query: text, count: whole(1, 10), freshness: { type: 'string', enum: ['day', 'week', 'month'] } },
      'query',
    ),
  },
  {
    name: 'web_answers',
    description: 'Answers a question from the web, with sources.',
    parameters: object({ query: text }, 'query'),
  },
  ...[
    'click',
    'console_messages',
    'drag',
    'evaluate',
    'file_upload',
    'fill_form',
    'handle_dialog',
    'hover',
    'navigate',
    'navigate_back',
    'network_requests',
    'press_key',
    'resize',
    'run_code',
    'select_option',
    'snapshot',
    'take_screenshot',
    'type',
    'wait_for',
  ].map(action => ({
    name: `browser_${action}`,
    description: `Drives a browser: ${action.replaceAll('_', ' ')}.`,
    parameters: { type: 'object', additionalProperties: true },
  })),
];

export const builtinTools: ReadonlyMap<string, RouterTool> = new Map(table.map(tool => [tool.name, tool]));
