/**
 * A worker as a process of its own: the real line to its router and the real keeping of jobs, with answers from the book.
 *
 *   node --import tsx scripted-worker.process.ts <router urls> <ms between words>
 */
import { ScriptedEngine } from './scripted-engine.ts';
import { runWorker } from './worker-process.ts';

const [routerUrl = '', wordMs = '20'] = process.argv.slice(2);
await runWorker({
  routerUrl,
  modelPath: 'book',
  openEngine: ({ slots }, { onState }) => new ScriptedEngine(slots, Number(wordMs), onState),
});
