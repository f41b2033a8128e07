/**
 * The text of one answer, which a program may write in several messages: between two of them (it used a tool of its own in
 * between) stands an empty line. None stands before the first, behind the last, or for a message without text.
 */
import type { CliSaying } from './cli.ts';

export class SaidText {
  #said = false;
  #newMessage = false;

  /** The program begins a message. */
  messageBegins(): void {
    this.#newMessage = this.#said;
  }

  /** More text of the message. */
  say(text: string): CliSaying[] {
    if (text === '') return [];
    const gap = this.#newMessage ? '\n\n' : '';
    this.#newMessage = false;
    this.#said = true;
    return [{ kind: 'text', text: gap + text }];
  }
}
