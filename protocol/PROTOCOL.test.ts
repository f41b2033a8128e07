/** The exchanges in PROTOCOL.md are frames that we read and would write just so; the codes there are all that there are. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { closeCodes } from './codes.ts';
import { JobEvent } from './job-events.ts';
import {
  parseRouterFrame,
  parseWorkerFrame,
  routerFrames,
  serialiseFrame,
  workerErrorCodes,
  workerFrames,
} from './worker-frames.ts';

const text = readFileSync(new URL('./PROTOCOL.md', import.meta.url), 'utf8');
const lines = [...text.matchAll(/^(W→R|R→W) (\{.*\})$/gm)].map(([, from, frame]) => ({ from, frame: frame ?? '' }));

test('the worked exchanges are frames that we read and write', () => {
  assert.ok(lines.length > 30, `${lines.length} frames`);
  for (const { from, frame } of lines) {
    const parsed = from === 'W→R' ? parseWorkerFrame(frame) : parseRouterFrame(frame);
    if (!parsed.ok) assert.unreachable(`${parsed.message} in ${frame}`);
    else assert.is(serialiseFrame(parsed.frame), frame);
  }
});
test('every frame type and each of its fields is on the page', () => {
  for (const frames of [workerFrames, routerFrames]) {
    for (const [type, { properties }] of Object.entries(frames)) {
      assert.ok(text.includes(`\`${type}\``), type);
      if (/^(tool_|reload_policy|policy_reloaded|validate_)/.test(type)) continue;
      const rows = text
        .split('\n')
        .filter(line => line.startsWith(`| \`${type}\` |`))
        .join('\n');
      for (const field of Object.keys(properties)) {
        if (field !== 'type') assert.ok(rows.includes(`\`${field}\``), `${type}.${field}`);
      }
    }
  }
});
test('every close code, error code and event of the log is on the page', () => {
  for (const [name, code] of Object.entries(closeCodes)) assert.ok(text.includes(`| ${code} | ${name} |`), name);
  for (const code of workerErrorCodes) assert.ok(text.includes(`\`${code}\``), code);
  for (const { properties } of JobEvent.anyOf)
    assert.ok(text.includes(`| \`${properties.type.const}\` |`), properties.type.const);
});

test.run();
