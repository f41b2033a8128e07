/**
 * The images of a conversation as llama-server takes them: a mark in the prompt for each, and beside the prompt the files,
 * in the same order.
 */
import { isRecord } from '../../protocol/record.ts';
import { EngineError, type EngineJob } from './engine.ts';

export interface WithImages {
  readonly messages: EngineJob['messages'];
  /** Base64, in the order of the marks. */
  readonly images: readonly string[];
}

/** `marker` null: the model sees no images, and the parts stay for the template to refuse. */
export function takeImages(messages: EngineJob['messages'], marker: string | null): WithImages {
  if (marker === null || !messages.some(({ content }) => Array.isArray(content) && content.some(isImage)))
    return { messages, images: [] };
  const images: string[] = [];
  const marked = messages.map((message, index) => {
    const { content } = message;
    if (typeof content === 'string') return { ...message, content: unmarked(content, marker) };
    if (!Array.isArray(content)) return message;
    const parts = content.map((part: unknown, at) => {
      if (typeof part === 'string') return unmarked(part, marker);
      if (!isRecord(part)) return part;
      if (isImage(part)) {
        images.push(dataOf(part.image_url, `messages[${index}].content[${at}]`));
        return { type: 'text', text: marker };
      }
      return typeof part.text === 'string' ? { ...part, text: unmarked(part.text, marker) } : part;
    });
    return { ...message, content: parts };
  });
  return { messages: marked, images };
}

const isImage = (part: unknown): boolean => isRecord(part) && part.type === 'image_url';

/** What a caller wrote is not taken for an image, whatever it says. */
const unmarked = (text: string, marker: string): string => text.replaceAll(marker, '');

/** `given`: `{url}`, or the URL alone. Nothing is fetched from here: a model's worker often stands where a caller may not look. */
function dataOf(given: unknown, path: string): string {
  const url = isRecord(given) ? given.url : given;
  const found = typeof url === 'string' ? /^data:([^;,]*)((?:;[^;,]*)*),(.*)$/s.exec(url) : null;
  if (found === null)
    throw new EngineError(
      'invalid_request',
      `${path}.image_url: this worker takes images as data URLs (data:image/png;base64,…) and fetches none`,
    );
  const [, , options = '', data = ''] = found;
  if (!options.toLowerCase().endsWith(';base64'))
    throw new EngineError('invalid_request', `${path}.image_url: the data URL must be base64`);
  return data.replace(/\s/g, '');
}
