/**
 * The tools worker among the malicious: MCP servers that hang, crash, flood and lie. The worker is the real program, and everything is asked
 * of it through its socket; each input has its answer, the worker goes on, and its memory is what it was.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitUntil } from './processes.ts';
import { asker, type Frame, memoryOf, toolsKey, withRouter, withTools } from './tools-router.ts';

const folder = mkdtempSync(join(tmpdir(), 'auxot-hostile-'));
const hostileMcp = fileURLToPath(new URL('hostile-mcp.mjs', import.meta.url));
const pids = join(folder, 'pids');

const modes = [
  'hang-start',
  'crash-start',
  'hang-call',
  'freeze-call',
  'crash-call',
  'flood',
  'long-line',
  'babble',
  'lie',
  'endless-list',
  'nag',
  'deep',
  'good',
];

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('MCP servers that hang, crash, flood or lie are contained, and the good one beside them is not disturbed', async () => {
  const mcpServers = Object.fromEntries(
    modes.map(mode => [
      mode,
      {
        command: process.execPath,
        args: [hostileMcp, mode, pids],
        timeout_seconds: 2,
        env: { TOKEN: `token-of-${mode}` },
      },
    ]),
  );
  const file = join(folder, 'mcp.json');
  writeFileSync(file, JSON.stringify({ mcpServers }));
  await withRouter(2, router =>
    withTools(
      ['--router-url', router.url],
      { AUXOT_TOOLS_KEY: toolsKey, AUXOT_MCP_CONFIG: file, AUXOT_TOOLS_GOOD__SECRET: 'only-for-good' },
      async program => {
        const ask = asker(router);
        const named = (): string =>
          JSON.stringify(router.frames.filter(({ type }) => type === 'tools_changed').at(-1) ?? {});
        await waitUntil(
          () =>
            ['good', 'lie', 'flood', 'nag', 'hang_call', 'freeze_call', 'crash_call', 'long_line', 'deep'].every(name =>
              named().includes(`${name}__do`),
            ),
          60_000,
          () => `${named().slice(0, 2000)}\n${program.output()}`,
        );
        const before = memoryOf(program, 'VmRSS');
        const round = async (isFirst: boolean): Promise<number> => {
          for (const [tool, answer] of [
            ['hang_call__do', /did not answer within 2 s/],
            ['freeze_call__do', /did not answer within 2 s/],
            ['crash_call__do', /ended during the call/],
            ['flood__do', /ended during the call.*floods|did not answer/],
            ['long_line__do', /ended during the call.*too large|did not answer/],
            ['deep__do', /too deep|not answer/],
          ] as const) {
            const { frame, ms } = await ask(tool, {});
            // Later some of them rest between two starts.
            assert.match(String(frame.error), isFirst ? answer : /MCP server|too deep/, tool);
            assert.ok(ms < 15_000, `${tool}: ${ms} ms`);
          }
          return memoryOf(program, 'VmRSS');
        };
        const first = await round(true);
        await new Promise(resolve => setTimeout(resolve, 2500)); // servers that ended may be started again then
        const second = await round(false);
        assert.ok(second < first + 80, `memory grew from ${first} to ${second} MiB`);
        // The tools of one of these servers are too many for a greeting: what is left out is said after it.
        router.drop();
        const hellos = (): Frame[] => router.frames.filter(({ type }) => type === 'hello');
        await waitUntil(
          () =>
            hellos().length > 1 &&
            router.frames.findLast(({ type }) => type === 'tools_changed' || type === 'hello')?.type !== 'hello',
          20_000,
          () => 'no redial',
        );
        assert.ok(JSON.stringify(hellos().at(-1)).length < 2 ** 20);
        assert.match(named(), 'endless_list__tool_0_0');
        for (let n = 0; n < 6; n++) assert.ok((await ask('lie__do', {})).frame.type === 'tool_result');
        assert.match(String((await ask('hang_start__do', {})).frame.error), 'hang_start');
        const { text } = await ask('good__do', {});
        assert.match(text, 'SECRET TOKEN');
        assert.not.match(text, 'AUXOT_');
        const { output } = program;
        for (const mode of modes) assert.not.match(output(), `token-of-${mode}`, 'a secret is in the log');
        const after = memoryOf(program, 'VmRSS');
        console.log(`MCP servers: ${before.toFixed(0)} MiB, then ${after.toFixed(0)} MiB`);
        assert.ok(after < before + 200, `memory grew from ${before} to ${after} MiB`);
        program.kill('SIGTERM');
        assert.is((await program.ended).status, 0);
        await new Promise(resolve => setTimeout(resolve, 300));
        const left = readFileSync(pids, 'utf8').trim().split('\n').map(Number).filter(isAlive);
        assert.equal(left, [], 'processes of MCP servers live on');
      },
    ),
  );
});

test.after(() => rmSync(folder, { recursive: true, force: true }));

test.run();
