/**
 * Keeps a job's answer to its grammar while it is sampled. What an earlier worker said is taken as said, so that an answer
 * that moves goes on in the middle of its grammar.
 */
import {
  type Llama,
  type LlamaGrammar,
  LlamaGrammarEvaluationState,
  type LlamaModel,
  type Token,
} from 'node-llama-cpp';
import { answerGrammar } from '../../protocol/answer-grammar.ts';
import { formToGoOnIn } from './continuation.ts';
import { common } from './dialects.table.ts';
import type { Dialect } from './dialects.ts';
import { EngineError, type EngineJob } from './engine.ts';

export interface Guide {
  /** What the next token is sampled along; the sampler advances it. */
  readonly state: LlamaGrammarEvaluationState;
  /** Takes in tokens that another worker sampled. */
  hear(tokens: readonly Token[]): void;
}

/** Grammars of the last jobs: a caller that asks for a form once mostly asks for it again. */
const keptMax = 32;

export type Guides = (job: EngineJob, startsInThought: boolean, dialect?: Dialect) => Promise<Guide | null>;

/** Null for a job whose answer is free. */
export function openGuides(llama: Llama, model: LlamaModel): Guides {
  const kept = new Map<string, LlamaGrammar>();

  const grammarOf = async (text: string): Promise<LlamaGrammar> => {
    const known = kept.get(text);
    if (known !== undefined) return known;
    let grammar: LlamaGrammar;
    try {
      grammar = await llama.createGrammar({ grammar: text, rootRuleName: 'root' });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new EngineError('invalid_request', `this form of an answer is too much for the engine: ${why}`, error);
    }
    const [oldest] = kept.keys();
    if (kept.size >= keptMax && oldest !== undefined) kept.delete(oldest);
    kept.set(text, grammar);
    return grammar;
  };

  return async (job, startsInThought, dialect = common) => {
    const mayThink = job.reasoningEffort?.toLowerCase() === 'none' ? 'none' : 'may';
    const written = job.resume === undefined ? dialect.calls : formToGoOnIn(job.resume, dialect);
    const form = answerGrammar(job, startsInThought ? 'open' : mayThink, written);
    if (!form.ok) throw new EngineError('invalid_request', `${form.param} ${form.why}`);
    if (form.text === null) return null;
    const grammar = await grammarOf(form.text);
    return guide(model, new LlamaGrammarEvaluationState({ model, grammar }));
  };
}

function guide(model: LlamaModel, state: LlamaGrammarEvaluationState): Guide {
  return {
    state,
    hear(tokens) {
      if (tokens.length === 0) return;
      const { accept, mayFollow } = internals(model);
      for (const token of tokens) {
        if (!mayFollow(state, token))
          throw new EngineError('internal_error', 'the answer so far does not have the form that was asked for');
        accept(state, token);
      }
    },
  };
}

interface Internals {
  readonly accept: (state: LlamaGrammarEvaluationState, token: Token) => void;
  readonly mayFollow: (state: LlamaGrammarEvaluationState, token: Token) => boolean;
}

/** The library samples along a grammar and has no door for tokens that somebody else sampled; its native part does. */
function internals(model: LlamaModel): Internals {
  // Not in the library's types; what is used of it is checked here.
  const { _bindings: bindings } = model.llama as unknown as {
    readonly _bindings?: {
      readonly AddonSampler?: {
        acceptGrammarEvaluationStateToken?(state: unknown, token: Token): void;
        canBeNextTokenForGrammarEvaluationState?(state: unknown, token: Token): boolean;
      };
    };
  };
  const sampler = bindings?.AddonSampler;
  if (!sampler?.acceptGrammarEvaluationStateToken || !sampler.canBeNextTokenForGrammarEvaluationState)
    throw new EngineError('internal_error', 'this version of node-llama-cpp cannot advance a grammar over said tokens');
  const native = (state: LlamaGrammarEvaluationState): unknown =>
    (state as unknown as { readonly _state: unknown })._state;
  return {
    accept: (state, token) => sampler.acceptGrammarEvaluationStateToken?.(native(state), token),
    mayFollow: (state, token) => sampler.canBeNextTokenForGrammarEvaluationState?.(native(state), token) === true,
  };
}
