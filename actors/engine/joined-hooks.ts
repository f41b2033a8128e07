/** The hooks of an engine whose model runs elsewhere: they hear a job's news joined, as from the engine's own process. */
import type { JobNews } from './engine.messages.ts';
import type { EngineResult, GenerateHooks } from './engine.ts';
import { joinedNews, processClock } from './joined-news.ts';

/** Runs one job. `hooks` hear all of its news before the outcome is told. */
export function withJoinedNews(
  hooks: GenerateHooks,
  gapMs: number,
  run: (hooks: GenerateHooks) => Promise<EngineResult>,
): Promise<EngineResult> {
  return new Promise((resolve, reject) => {
    let trouble: unknown;
    const hear = (item: JobNews): void => {
      if (item.type === 'piece') hooks.onPiece(item.piece);
      else if (item.type === 'progress') hooks.onProgress(item.progress);
      else if (item.type === 'toolCall') hooks.onToolCall();
      else if (item.type === 'result') resolve(item.result);
      else reject(trouble);
    };
    const tell = joinedNews({ ...processClock, send: news => news.forEach(hear), gapMs: () => gapMs });
    const id = 1;
    run({
      signal: hooks.signal,
      onPiece: piece => tell({ id, type: 'piece', piece }),
      onProgress: progress => tell({ id, type: 'progress', progress }),
      onToolCall: () => tell({ id, type: 'toolCall' }),
    }).then(
      result => tell({ id, type: 'result', result }),
      (error: unknown) => {
        trouble = error;
        // The error itself goes past the news: in this process it need not become a message.
        tell({ id, type: 'error', failure: { code: 'internal_error', message: '' } });
      },
    );
  });
}
