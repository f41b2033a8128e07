/** Bugs of the CLI worker: what its programs are given, how they are ended, and what is made of what they say. */
import type { Mutation } from './mutation.ts';

const whole = 'property-tests/cli-worker.test.ts';
const conversation = 'actors/cli/conversation.test.ts';
const engine = 'actors/cli/engine.cli.ts';

export const cliMutations: readonly Mutation[] = [
  {
    id: 'whole-environment-passed',
    file: 'actors/cli/environment.ts',
    old: 'if ([...common, ...driver.passes].some(pattern => pattern.test(name))) passed[name] = value;',
    now: 'passed[name] = value;',
    breaks: 'A program is given the secrets of others.',
    suites: [conversation, whole],
  },
  {
    id: 'program-outlives-caller',
    file: engine,
    old: `  hooks.signal.addEventListener('abort', kill, { once: true });\n`,
    now: '',
    breaks: 'A program goes on with a job that was ended.',
    suites: [whole],
  },
  {
    id: 'cut-answer-is-whole',
    file: engine,
    old: 'if (!heard.over) {\n    const how',
    now: 'if (!heard.over && end.status === -1) {\n    const how',
    breaks: 'A program that dies in the middle of its answer has answered.',
    suites: [whole, 'property-tests/cli-cursor.test.ts'],
  },
  {
    id: 'stop-string-told',
    file: engine,
    old: 'this.#stops = stopStrings(job.stop ?? []);',
    now: 'this.#stops = stopStrings([]);',
    breaks: 'An answer goes on behind its stop string.',
    suites: ['property-tests/cli-cursor.test.ts', whole],
  },
  {
    id: 'leftovers-left',
    file: 'actors/cli/places.ts',
    old: '  clearLeftovers(base);\n',
    now: '',
    breaks: 'What a killed worker left stays for ever.',
    suites: [conversation, whole],
  },
  {
    id: 'job-folder-left',
    file: engine,
    old: 'return await run(job, hooks, at, (job.tools ?? []).map(toolOf));\n      } finally {\n        at.remove();\n      }',
    now: 'return await run(job, hooks, at, (job.tools ?? []).map(toolOf));\n      } finally {\n      }',
    breaks: 'The folder of a job stays until the worker stops.',
    suites: [whole],
  },
  {
    id: 'limit-forgotten',
    file: engine,
    old: `if (error instanceof EngineError && error.code === 'server_overloaded') limited(error.retryAfterMs);`,
    now: '',
    breaks: 'A program whose provider refuses is given the next job at once.',
    suites: ['property-tests/cli-cursor.test.ts', whole],
  },
];
