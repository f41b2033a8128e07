/** What somebody is told who asks for a stored response by its id, or wants something done with it. */
import { chatRefusal } from '../../machines/answer.openai-chat.ts';
import { responseNow } from '../../machines/answer.openai-responses.ts';
import {
  cursorAfter,
  historyOf,
  inputItems,
  isOver,
  storedResponse,
} from '../../machines/answer.openai-responses.views.ts';
import { ReplayError, replay } from '../../machines/job.ts';
import { jsonHeaders, type WholeAnswer } from '../../machines/shown.ts';
import { responseIdOf } from '../../protocol/responses-api.ids.ts';
import { inputItemsPage } from '../../protocol/responses-api.input-items.ts';
import { type Histories, type History, responseDeleted } from '../../protocol/responses-api.ts';
import type { JobHistory, LoggedEntry, Look, LookOutcome } from '../../protocol/shard-messages.ts';
import { positioned } from './positioned.ts';
import { lookAtCompletion } from './stored-completions.ts';

/** `entries`: the job's log, as far as it goes; empty when there is none. */
export function lookAt(look: Look, entries: readonly LoggedEntry[]): LookOutcome {
  if (look.what === 'completion' || look.what === 'completionMessages' || look.what === 'deleteCompletion')
    return lookAtCompletion(look, entries);
  const log = [...positioned(entries)];
  const response = storedResponse(log);
  const id = responseIdOf(look.jobId);
  if (response === null) {
    const why = 'it was not stored, or is not kept any more (AUXOT_LOG_RETENTION)';
    return told(chatRefusal('object_not_found', `there is no response "${id}": ${why}`));
  }
  switch (look.what) {
    case 'response':
      return told(answer(responseNow(response)));
    case 'stream':
      return { do: 'follow', cursor: cursorAfter(log, look.after) };
    case 'inputItems': {
      const page = inputItemsPage(inputItems(response), look.page);
      return told(
        page === null
          ? chatRefusal('invalid_request', `after must be the id of an item of "${id}"`, 'after')
          : answer(page),
      );
    }
    case 'cancel': {
      if (response.shape.background !== true) {
        const message = `only a response with background can be cancelled: to end "${id}", close its connection`;
        return told(chatRefusal('invalid_request', message));
      }
      return isOver(response) ? told(answer(responseNow(response))) : { do: 'end' };
    }
    case 'delete':
      if (isOver(response)) return told(answer(responseDeleted(id)), 'remove');
      return look.ended
        ? told(chatRefusal('deletion_refused', `"${id}" has not ended yet: cancel it first`))
        : { do: 'end' };
  }
}

/** What other responses bring to a request that goes on from them. */
export function historiesOf(logs: readonly JobHistory[]): Histories {
  const histories = new Map<string, History | string>();
  for (const { jobId, entries } of logs) {
    const log = [...positioned(entries)];
    const response = storedResponse(log);
    if (response === null) continue;
    try {
      histories.set(responseIdOf(jobId), historyOf(response, replay(log.map(([event]) => event))));
    } catch (error) {
      // A log that cannot be: nothing can go on from it, and the caller is told that there is no such response.
      if (!(error instanceof ReplayError)) throw error;
    }
  }
  return histories;
}

const answer = (body: object): WholeAnswer => ({
  kind: 'whole',
  status: 200,
  headers: jsonHeaders,
  body: JSON.stringify(body),
});

const told = ({ status, headers, body }: WholeAnswer, what: 'answer' | 'remove' = 'answer'): LookOutcome => ({
  do: what,
  status,
  headers,
  body,
});
