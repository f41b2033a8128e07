/**
 * Takes the raw text of a gpt-oss model apart: messages in channels.
 *
 *   <|channel|>analysis<|message|>…<|end|>                                      a thought
 *   <|start|>assistant<|channel|>commentary to=functions.NAME … <|message|>{…}<|call|>   a call
 *   <|start|>assistant<|channel|>final<|message|>…                              the answer
 *
 * An answer that does not begin with a channel (a grammar leads it, or it goes on from its text) is read in the common
 * form. P1 and P2 of output-parser.ts hold here, too.
 */
import { tagStart } from './openings.ts';
import type { Output, OutputParser } from './output-parser.ts';
import { argumentsReader, type CallReader, type CallSoFar, marksIn, type Reading } from './tool-call-text.ts';

const marks = [
  '<|end|>',
  '<|call|>',
  '<|return|>',
  '<|start|>',
  '<|channel|>',
  '<|message|>',
  '<|constrain|>',
] as const;
const message = '<|message|>';
const begins = ['<|channel|>', '<|start|>'] as const;

export function harmonyParser(
  common: OutputParser,
  { startsInThought }: { readonly startsInThought: boolean },
): OutputParser {
  let phase: 'opening' | 'common' | 'header' | 'thought' | 'text' | 'call' | 'broken' = startsInThought
    ? 'thought'
    : 'opening';
  let held = '';
  let out: Output[] = [];
  let call: { readonly name: string; readonly read: CallReader } | null = null;
  let told: number | null = null;
  let callBegun = false;

  const give = (kind: 'text' | 'reasoning', text: string): void => {
    if (text !== '') out.push({ kind, text });
  };

  const tell = (so: CallSoFar): void => {
    if (!callBegun) out.push({ kind: 'callBegun' });
    callBegun = true;
    if (told === null) out.push({ kind: 'callOpened', form: so.form, name: so.name });
    const text = so.arguments.slice(told ?? 0);
    if (text !== '') out.push({ kind: 'callArguments', text });
    told = so.arguments.length;
  };

  const whole = (so: CallSoFar): void => {
    tell(so);
    out.push({ kind: 'call', form: so.form, name: so.name, arguments: so.arguments });
    told = null;
    call = null;
  };

  const step = (ended: boolean): boolean => {
    switch (phase) {
      case 'opening': {
        const start = held.trimStart();
        if (begins.some(mark => start.startsWith(mark))) phase = 'header';
        else if (!ended && begins.some(mark => mark.startsWith(start))) return false;
        else phase = 'common';
        return true;
      }
      case 'common': {
        const [begin] = marksIn(held, 0, begins);
        const sure = begin?.at ?? held.length - (ended ? 0 : tagStart(held, begins));
        out.push(...common.push(held.slice(0, sure)));
        held = held.slice(sure);
        if (begin === undefined) return false;
        out.push(...common.finish());
        phase = 'header';
        return true;
      }
      case 'header': {
        const end = held.indexOf(message);
        if (end === -1) {
          if (ended) held = '';
          return false;
        }
        const header = held.slice(0, end);
        held = held.slice(end + message.length);
        const to = /to=(?:functions\.)?([^\s<]{1,256})/.exec(header)?.[1];
        if (to !== undefined) {
          call = { name: to, read: argumentsReader('json', to, 0, ['<|call|>', '<|end|>']) };
          phase = 'call';
        } else phase = /<\|channel\|>\s*analysis/.test(header) ? 'thought' : 'text';
        return true;
      }
      case 'call': {
        if (call === null) return false;
        // Without arguments a call has none, and no object either.
        if (held.trim() === '' && !ended) return false;
        if (!held.trimStart().startsWith('{')) {
          const end = held.indexOf('<|');
          if (end === -1 && !ended) return false;
          whole({ form: 'json', name: call.name, arguments: '{}' });
          held = end === -1 ? '' : held.slice(end);
          phase = 'header';
          return true;
        }
        const reading = call.read(held, ended);
        if (reading.kind === 'more') {
          if (reading.call !== undefined) tell(reading.call);
          return false;
        }
        if (reading.kind === 'call') {
          whole(reading);
          held = held.slice(reading.length);
          phase = 'header';
          return held !== '';
        }
        if (reading.kind === 'broken' && reading.call !== undefined) tell(reading.call);
        out.push({ kind: 'callBroken', text: `${call.name}: ${held.slice(0, brokenAt(reading))}` });
        call = null;
        told = null;
        phase = 'broken';
        return true;
      }
      case 'broken': {
        const ends = ['<|call|>', '<|end|>', ...begins];
        const [end] = marksIn(held, 0, ends);
        held = end === undefined ? held.slice(held.length - tagStart(held, ends)) : held.slice(end.at);
        if (end === undefined) return false;
        phase = 'header';
        return true;
      }
      default: {
        const kind = phase === 'thought' ? 'reasoning' : 'text';
        const [first] = marksIn(held, 0, marks);
        if (first !== undefined) {
          give(kind, held.slice(0, first.at));
          const begins = first.mark === '<|start|>' || first.mark === '<|channel|>';
          held = held.slice(first.at + (begins ? 0 : first.mark.length));
          if (first.mark !== message && first.mark !== '<|constrain|>') phase = 'header';
          return true;
        }
        const sure = ended ? held.length : held.length - tagStart(held, marks);
        give(kind, held.slice(0, sure));
        held = held.slice(sure);
        return false;
      }
    }
  };

  const run = (ended: boolean, cut = false): Output[] => {
    while (step(ended)) {
      // Each step takes text or changes phase, so this ends.
    }
    if (ended && phase === 'common') out.push(...common.finish(cut));
    const done = out;
    out = [];
    return done;
  };

  return {
    push(text) {
      held += text;
      return run(false);
    },
    finish(cut = false) {
      if (cut && phase === 'call' && call !== null) {
        const reading = held.trimStart().startsWith('{') ? call.read(held, false) : null;
        if (reading?.kind === 'more' && reading.call !== undefined) whole(reading.call);
        const done = out;
        out = [];
        return done;
      }
      return run(true, cut);
    },
    get inThought() {
      return phase === 'thought' || (phase === 'common' && common.inThought);
    },
  };
}

const brokenAt = (reading: Reading): number => (reading.kind === 'broken' ? reading.length : 0);
