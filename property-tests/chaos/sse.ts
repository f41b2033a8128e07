/** A streamed answer as its caller reads it: whole frames, what they say in each API, and the id to go on from. */

export type StreamApi = 'chat' | 'messages' | 'responses';

export interface Said {
  /** Text that this frame adds. */
  readonly text: string;
  /** The answer is whole. */
  readonly ends: boolean;
  /** What went wrong, in words; null if nothing. */
  readonly error: string | null;
}

export interface Frame {
  /** As it came, with its empty line. */
  readonly raw: string;
  /** null: a comment or a ping, which is no part of the answer. */
  readonly id: string | null;
  readonly data: string | null;
}

/** Takes bytes as they come and gives frames as they become whole. */
export function frameReader(): (bytes: Uint8Array) => Frame[] {
  const decoder = new TextDecoder();
  let rest = '';
  return bytes => {
    rest += decoder.decode(bytes, { stream: true });
    const blocks = rest.split(/(?<=\n\n)/);
    rest = blocks.at(-1)?.endsWith('\n\n') === true ? '' : (blocks.pop() ?? '');
    return blocks.map(raw => ({
      raw,
      id: /^id: (.*)$/m.exec(raw)?.[1] ?? null,
      data: /^data: (.*)$/m.exec(raw)?.[1] ?? null,
    }));
  };
}

const nothing: Said = { text: '', ends: false, error: null };

export function saidBy(api: StreamApi, data: string): Said {
  if (data === '[DONE]') return { ...nothing, ends: true };
  const event = JSON.parse(data);
  if (event.error) return { ...nothing, error: JSON.stringify(event.error) };
  if (api === 'chat') return { ...nothing, text: event.choices?.[0]?.delta?.content ?? '' };
  switch (event.type) {
    case 'content_block_delta':
      return { ...nothing, text: event.delta.text ?? '' };
    case 'response.output_text.delta':
      return { ...nothing, text: event.delta };
    case 'message_stop':
    case 'response.completed':
      return { ...nothing, ends: true };
    case 'error':
      return { ...nothing, error: data };
    case 'response.failed':
    case 'response.incomplete':
      return { ...nothing, error: JSON.stringify(event.response.error ?? event.response.status) };
    default:
      return nothing;
  }
}
