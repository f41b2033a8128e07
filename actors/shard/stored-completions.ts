/** What somebody is told who asks for a chat completion that was made with `store: true`. */
import { chatRefusal } from '../../machines/answer.openai-chat.ts';
import { jsonHeaders, type WholeAnswer } from '../../machines/shown.ts';
import { openStream, type StreamAction, show } from '../../machines/stream.ts';
import type { JobSubmitted } from '../../protocol/job-events.ts';
import { completionDeleted, messagesPage, storedCompletion } from '../../protocol/openai-api.stored.ts';
import type { CompletionLook, LoggedEntry, LookOutcome } from '../../protocol/shard-messages.ts';
import { positioned } from './positioned.ts';

/** `entries`: the job's log; empty when there is none. */
export function lookAtCompletion(look: CompletionLook, entries: readonly LoggedEntry[]): LookOutcome {
  const { jobId } = look;
  const stored = read(entries);
  if (stored === null) {
    const why = 'it was not made with store: true, has not ended, or is not kept any more (AUXOT_LOG_RETENTION)';
    const code = look.what === 'deleteCompletion' ? 'deletion_refused' : 'object_not_found';
    return told(chatRefusal(code, `there is no stored chat completion "${jobId}": ${why}`));
  }
  const { submitted, body } = stored;
  switch (look.what) {
    case 'completion':
      return told(ok(storedCompletion(body, look.metadata ?? metadataOf(submitted))));
    case 'completionMessages': {
      const page = messagesPage(jobId, submitted.request.messages, look.page);
      return told(
        page === null
          ? chatRefusal('invalid_request', `after must be the id of a message of "${jobId}"`, 'after')
          : ok(page),
      );
    }
    case 'deleteCompletion':
      return told(ok(completionDeleted(jobId)), 'remove');
  }
}

/** Null unless it was to be stored and is complete. */
function read(entries: readonly LoggedEntry[]): { submitted: JobSubmitted; body: object } | null {
  const [first, ...events] = positioned(entries);
  const [submitted] = first ?? [];
  if (submitted?.type !== 'job.submitted') return null;
  const { answer } = submitted;
  if (answer.api !== 'openai.chat' || answer.store !== true) return null;
  let stream = openStream({ ...submitted, answer: { ...answer, stream: false } });
  let said: StreamAction | undefined;
  for (const [event, position] of events) {
    const [next, actions] = show(stream, event, position);
    stream = next;
    said ??= actions[0];
  }
  if (said?.type !== 'respond' || said.status !== 200) return null;
  return { submitted, body: JSON.parse(said.body) };
}

const metadataOf = ({ answer }: JobSubmitted): Readonly<Record<string, string>> =>
  (answer.api === 'openai.chat' ? answer.metadata : undefined) ?? {};

const ok = (body: object): WholeAnswer => ({
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
