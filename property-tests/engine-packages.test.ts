/** Where the engine's native code comes from: npm packages, one for each kind of machine, held by the lock file. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('..', import.meta.url));

interface Locked {
  readonly integrity?: string;
  readonly optional?: boolean;
}

const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Locked>;
};
const native = Object.entries(packages).flatMap(([path, locked]) => {
  const [, name] = /node_modules\/@node-llama-cpp\/([^/]+)$/.exec(path) ?? [];
  return name === undefined ? [] : [{ name, ...locked }];
});

test('native code is held by a checksum, and none is downloaded or compiled at run time (G10)', () => {
  assert.ok(native.length > 0);
  // Of other systems npm writes down the version only, when it cannot look there.
  for (const { name, integrity } of native)
    if (/^linux-(x64|arm64)/.test(name)) assert.match(integrity ?? '', /^sha512-/, name);
  const folder = join(root, 'actors/engine');
  const sources = readdirSync(folder).filter(name => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  let opened = 0;
  for (const source of sources) {
    const calls = readFileSync(join(folder, source), 'utf8').match(/getLlama\(\{[\s\S]*?\}\)/g) ?? [];
    opened += calls.length;
    for (const call of calls) {
      assert.match(call, "build: 'never'", source);
      assert.match(call, 'skipDownload: true', source);
    }
  }
  assert.ok(opened > 0);
});

test('there is code for CUDA, Vulkan and Metal, and for processors of either kind (G11)', () => {
  const names = native.map(({ name }) => name);
  const wanted = ['linux-x64-cuda', 'linux-x64-vulkan', 'linux-x64', 'linux-arm64', 'mac-arm64-metal', 'win-x64-cuda'];
  assert.equal(
    wanted.filter(name => !names.includes(name)),
    [],
  );
});

test.run();
