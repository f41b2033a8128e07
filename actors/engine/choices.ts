/**
 * The answers that a job asks for, one after another on its slot: the prompt is evaluated once, and each goes on from it.
 *
 * A job that moves names the choices that have begun; those that are over are not begun again.
 */
import type { EngineJob, EngineResult, GenerateHooks, ResumePoint } from './engine.ts';

/** Answers one choice of the job. */
export type RunChoice = (
  job: EngineJob,
  resume: ResumePoint | undefined,
  hooks: GenerateHooks,
) => Promise<EngineResult>;

export async function runChoices(job: EngineJob, hooks: GenerateHooks, run: RunChoice): Promise<EngineResult> {
  const { choices = 1, resume, seed } = job;
  if (choices === 1) return run(job, resume, hooks);
  let whole: EngineResult | null = null;
  for (let choice = 0; choice < choices; choice += 1) {
    const said = choice === 0 ? resume : resume?.others?.[choice - 1];
    const result = said?.ended === true ? over(said) : await run(seeded(job, seed, choice), said, at(hooks, choice));
    if (said?.ended !== true) {
      const { finishReason, toolCalls } = result;
      hooks.onPiece({ kind: 'text', text: '', ids: [], choice, end: { finishReason, toolCalls } });
    }
    whole = whole === null ? result : together(whole, result);
  }
  if (whole === null) throw new Error('a job has at least one choice');
  return whole;
}

/** Every choice is another answer, and each the same one again for the same seed. */
const seeded = (job: EngineJob, seed: number | undefined, choice: number): EngineJob =>
  seed === undefined || seed < 0 || choice === 0 ? job : { ...job, seed: (seed + Math.imul(choice, 0x85ebca6b)) >>> 0 };

const at = (hooks: GenerateHooks, choice: number): GenerateHooks => ({
  ...hooks,
  onPiece: piece => hooks.onPiece({ ...piece, choice }),
});

/** The prompt is counted with the first choice, which has read it. */
const together = (first: EngineResult, other: EngineResult): EngineResult => ({
  ...first,
  usage: {
    ...first.usage,
    output: first.usage.output + other.usage.output,
    reasoning: first.usage.reasoning + other.usage.reasoning,
  },
  durationMs: first.durationMs + other.durationMs,
});

/** How it ended was said where it ended. */
const over = ({ text, reasoning, tokens, reasoningTokens }: ResumePoint): EngineResult => ({
  finishReason: 'stop',
  usage: { input: 0, cached: 0, output: tokens, reasoning: reasoningTokens },
  text,
  reasoning,
  toolCalls: [],
  durationMs: 0,
});
