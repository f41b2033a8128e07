/** `fetch` for the MCP SDK: through the address guard, and with an end to what an answer may bring. */
import { fetch } from 'undici';
import type { Egress } from '../web/egress.ts';

const answerBytesMax = 32 * 2 ** 20;

export function guardedFetch(egress: Egress): typeof globalThis.fetch {
  const guarded = async (input: string | URL, init: Record<string, unknown> = {}): Promise<unknown> => {
    const answer = await fetch(input, { ...init, dispatcher: egress.dispatcher });
    if (answer.body === null) return answer;
    let bytes = 0;
    const counted = answer.body.pipeThrough(
      new TransformStream({
        transform(piece: Uint8Array, controller) {
          bytes += piece.byteLength;
          if (bytes > answerBytesMax) controller.error(new Error('the answer of the MCP server is too large'));
          else controller.enqueue(piece);
        },
      }),
    );
    return new Response(counted as never, { status: answer.status, headers: [...answer.headers] });
  };
  // The package's own types and Node's, which are made from an older version of it, differ in name only.
  return guarded as typeof globalThis.fetch;
}
