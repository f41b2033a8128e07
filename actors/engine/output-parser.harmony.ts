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
import { outputs } from './output-parser.outputs.ts';
import type { Output, OutputParser } from './output-parser.ts';
import { argumentsReader, type CallReader, marksIn } from './tool-call-text.ts';

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
  let call: { readonly name: string; readonly read: CallReader } | null = null;
  const said = outputs();

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
        said.add(common.push(held.slice(0, sure)));
        held = held.slice(sure);
        if (begin === undefined) return false;
        said.add(common.finish());
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
          said.call({ form: 'json', name: call.name, arguments: '{}' }, '');
          call = null;
          held = end === -1 ? '' : held.slice(end);
          phase = 'header';
          return true;
        }
        const reading = call.read(held, ended);
        if (reading.kind === 'more') {
          if (reading.call !== undefined) said.callSoFar(reading.call);
          return false;
        }
        if (reading.kind === 'call') {
          said.call(reading, '');
          call = null;
          held = held.slice(reading.length);
          phase = 'header';
          return held !== '';
        }
        if (reading.kind === 'broken')
          said.callBroken(reading.call, `${call.name}: ${held.slice(0, reading.length)}`, '');
        call = null;
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
        const give = phase === 'thought' ? said.reasoning : said.text;
        const [first] = marksIn(held, 0, marks);
        if (first !== undefined) {
          give(held.slice(0, first.at));
          const begins = first.mark === '<|start|>' || first.mark === '<|channel|>';
          held = held.slice(first.at + (begins ? 0 : first.mark.length));
          if (first.mark !== message && first.mark !== '<|constrain|>') phase = 'header';
          return true;
        }
        const sure = ended ? held.length : held.length - tagStart(held, marks);
        give(held.slice(0, sure));
        held = held.slice(sure);
        return false;
      }
    }
  };

  const run = (ended: boolean, cut = false): Output[] => {
    while (step(ended)) {
      // Each step takes text or changes phase, so this ends.
    }
    if (ended && phase === 'common') said.add(common.finish(cut));
    return said.take();
  };

  return {
    push(text) {
      held += text;
      return run(false);
    },
    finish(cut = false) {
      if (cut && phase === 'call' && call !== null) {
        const reading = held.trimStart().startsWith('{') ? call.read(held, false) : null;
        if (reading?.kind === 'more' && reading.call !== undefined) said.call(reading.call, '');
        return said.take();
      }
      return run(true, cut);
    },
    get isWhole() {
      return held === '' && (phase !== 'common' || common.isWhole);
    },
    get inThought() {
      return phase === 'thought' || (phase === 'common' && common.inThought);
    },
  };
}
