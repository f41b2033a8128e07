/** A tools worker that is ended by SIGKILL takes with it what it had started, however that behaves. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitUntil } from './processes.ts';
import { job, toolsKey, withRouter, withTools } from './tools-router.ts';

const hostileMcp = fileURLToPath(new URL('hostile-mcp.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'auxot-killed-'));
const pidFile = join(folder, 'pids');

const pidsIn = (file: string): number[] => {
  try {
    return readFileSync(file, 'utf8').trim().split('\n').map(Number);
  } catch {
    return [];
  }
};

function commandOf(pid: number): string | null {
  try {
    const isZombie = /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return isZombie ? null : readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return null;
  }
}

/** Processes whose parent that is. */
const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

function setUp(): { env: Record<string, string> } {
  mkdirSync(join(folder, 'tools'), { recursive: true });
  const about = { name: 'stubborn', description: 'stays', parameters: { type: 'object' }, timeout_seconds: 600 };
  writeFileSync(join(folder, 'tools', 'stubborn.tool.json'), JSON.stringify(about));
  // It hears no signal that can be left unheard, reads no input, and has a child that does not either.
  const script = `#!/bin/sh\ntrap '' HUP INT TERM PIPE\nsleep 600 &\necho $$ >> ${pidFile}\necho $! >> ${pidFile}\nwait\nsleep 600\n`;
  writeFileSync(join(folder, 'tools', 'stubborn.sh'), script, { mode: 0o755 });
  const mcpServers = { stays: { command: process.execPath, args: [hostileMcp, 'stay', pidFile], timeout_seconds: 60 } };
  writeFileSync(join(folder, 'mcp.json'), JSON.stringify({ mcpServers }));
  const env = {
    AUXOT_TOOLS_KEY: toolsKey,
    AUXOT_TOOLS_DIR: join(folder, 'tools'),
    AUXOT_MCP_CONFIG: join(folder, 'mcp.json'),
  };
  return { env };
}

for (const first of ['the tools worker', 'the watchdog'] as const)
  test(`a shell tool, an MCP server and their children end with the program when ${first} is killed first`, () =>
    withRouter(2, async router => {
      rmSync(pidFile, { force: true });
      await withTools(['--router-url', router.url], setUp().env, async program => {
        await waitUntil(
          () => JSON.stringify(router.frames).includes('stays__do'),
          30_000,
          () => program.output(),
        );
        router.send(job('j1', 'stubborn', {}));
        router.send(job('j2', 'stays__do', {}));
        await waitUntil(
          () => pidsIn(pidFile).length >= 4,
          20_000,
          () => `only ${pidsIn(pidFile)} started: ${program.output()}`,
        );
        const pids = pidsIn(pidFile);
        for (const pid of pids) assert.is.not(commandOf(pid), null, `${pid} does not run`);
        const isWatchdog = (pid: number): boolean => commandOf(pid)?.includes('read -r sign group') === true;
        const watchdogs = childrenOf(program.pid).filter(isWatchdog);
        assert.is(watchdogs.length, 1);
        let [watchdog = 0] = watchdogs;
        if (first === 'the watchdog') {
          process.kill(watchdog, 'SIGKILL');
          const killed = watchdog;
          await waitUntil(
            () => childrenOf(program.pid).some(pid => pid !== killed && isWatchdog(pid)),
            5000,
            () => 'no other watchdog came',
          );
          watchdog = childrenOf(program.pid).find(pid => pid !== killed && isWatchdog(pid)) ?? 0;
        }
        program.kill('SIGKILL');
        await program.ended;
        await waitUntil(
          () => [...pids, watchdog].every(pid => commandOf(pid) === null),
          5000,
          () => `${[...pids, watchdog].map(pid => commandOf(pid)).filter(Boolean)} outlive the program`,
        );
      });
    }));

test.after(() => {
  for (const pid of pidsIn(pidFile)) {
    try {
      if (commandOf(pid) !== null) process.kill(pid, 'SIGKILL');
    } catch {
      // It is gone, as it should be.
    }
  }
  rmSync(folder, { recursive: true, force: true });
});

test.run();
