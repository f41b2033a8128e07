#!/usr/bin/env node
/** Stands in for Cursor in tests: the same arguments, and lines as its documentation has them for stream-json. */
const args = process.argv.slice(2);
if (args[0] === '--version') {
  process.stdout.write('2026.01.01-abc\n');
  process.exit(0);
}
if (args[0] === '--help') {
  process.stdout.write(
    'Usage: cursor-agent [--print] [--output-format <format>] [--stream-partial-output] [--force]\n',
  );
  process.exit(0);
}
for (const flag of ['--print', '--output-format', '--stream-partial-output'])
  if (!args.includes(flag)) throw new Error(`${flag} is missing`);
const prompt = args.at(-1);
const say = event => process.stdout.write(`${JSON.stringify({ ...event, session_id: 's' })}\n`);
const assistant = text => say({ type: 'assistant', message: { role: 'assistant', content: [{ type: 'text', text }] } });

say({
  type: 'system',
  subtype: 'init',
  apiKeySource: 'env',
  cwd: process.cwd(),
  model: 'm',
  permissionMode: 'default',
});
say({ type: 'user', message: { role: 'user', content: [{ type: 'text', text: prompt }] } });
if (prompt.includes('hang')) setInterval(() => undefined, 1000);
else if (prompt.includes('limit')) say({ type: 'result', subtype: 'error', is_error: true, result: 'rate limit' });
else {
  for (const piece of ['You', ' asked: ', prompt.slice(0, 20)]) assistant(piece);
  assistant(`You asked: ${prompt.slice(0, 20)}`);
  say({ type: 'result', subtype: 'success', is_error: false, result: 'done', duration_ms: 5 });
}
