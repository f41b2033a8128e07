/**
 * Pure steps of a machine: a snapshot and an event in, the next snapshot and the named actions out.
 *
 * The same as XState's `initialTransition` and `transition` (pure.test.ts holds it to them), at about a third of the
 * cost: those make an actor, and with it the machine's initial state, for each step. One inert actor serves all steps of
 * a machine here, which is safe because none of ours has children.
 */
import {
  type ActorScope,
  type AnyStateMachine,
  createActor,
  type EventFromLogic,
  type InputFrom,
  type SnapshotFrom,
} from 'xstate';

/** An action that a machine asks for by name; built-in ones have run. */
export interface AskedAction {
  readonly type: string;
  readonly params: unknown;
}

export interface PureMachine<M extends AnyStateMachine> {
  initial(input: InputFrom<M>): [SnapshotFrom<M>, AskedAction[]];
  next(snapshot: SnapshotFrom<M>, event: EventFromLogic<M>): [SnapshotFrom<M>, AskedAction[]];
}

export function pure<M extends AnyStateMachine>(machine: M): PureMachine<M> {
  const self = createActor(machine);
  let asked: AskedAction[] = [];
  const ignore = (): void => undefined;
  const scope = {
    self,
    id: '',
    sessionId: '',
    system: self.system,
    logger: ignore,
    defer: ignore,
    emit: ignore,
    stopChild: ignore,
    actionExecutor: ({ type, params }: AskedAction) => {
      if (!type.startsWith('xstate.')) asked.push({ type, params });
    },
    // The scope's type names the actor's own snapshot and event types, which are those of `machine`.
  } as unknown as ActorScope<SnapshotFrom<M>, EventFromLogic<M>>;

  function step(run: () => unknown): [SnapshotFrom<M>, AskedAction[]] {
    const before = asked;
    asked = [];
    try {
      const snapshot = run() as SnapshotFrom<M>;
      return [snapshot, asked];
    } finally {
      asked = before;
    }
  }

  return {
    initial: input => step(() => machine.getInitialSnapshot(scope, input)),
    next: (snapshot, event) => step(() => machine.transition(snapshot, event, scope)),
  };
}
