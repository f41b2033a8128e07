/** The story of one world for a person to read: who said what to whom, what was broken, what came of it. */
import type { VirtualClock } from './clock.ts';

const linesMax = 200_000;
const lineCharsMax = 400;

export class Timeline {
  readonly lines: string[] = [];
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  fault(kind: string, what: string): void {
    this.#add(`!! ${kind}: ${what}`);
  }

  sent(from: string, to: string, what: string): void {
    this.#add(`${from} → ${to}  ${what}`);
  }

  note(who: string, what: string): void {
    this.#add(`${who}: ${what}`);
  }

  #add(line: string): void {
    if (this.lines.length >= linesMax) return;
    const seconds = ((this.#clock.now - this.#clock.startedAt) / 1000).toFixed(4).padStart(10);
    this.lines.push(`${seconds}  ${line.replaceAll('\n', '⏎').replaceAll('\u0000', '␀').slice(0, lineCharsMax)}`);
  }
}
