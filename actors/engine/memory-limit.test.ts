import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { memoryLimit } from './memory-limit.ts';

const reader = (files: Readonly<Record<string, string>>) => (path: string) => files[path] ?? null;

test('the limit of a container (version 2), with what the kernel keeps of files counted as free', () => {
  const limit = memoryLimit(
    reader({
      '/proc/self/cgroup': '0::/\n',
      '/sys/fs/cgroup/memory.max': '4000000000\n',
      '/sys/fs/cgroup/memory.current': '1500000000\n',
      '/sys/fs/cgroup/memory.stat': 'anon 1\ninactive_file 500000000\nactive_file 7\n',
    }),
  );
  assert.equal(limit, { totalBytes: 4_000_000_000, freeBytes: 3_000_000_000 });
});

test('of nested groups the one with the least left counts', () => {
  const limit = memoryLimit(
    reader({
      '/proc/self/cgroup': '0::/system.slice/auxot.service\n',
      '/sys/fs/cgroup/system.slice/auxot.service/memory.max': 'max\n',
      '/sys/fs/cgroup/system.slice/auxot.service/memory.current': '10\n',
      '/sys/fs/cgroup/system.slice/memory.max': '1000\n',
      '/sys/fs/cgroup/system.slice/memory.current': '900\n',
      '/sys/fs/cgroup/memory.max': '9000\n',
      '/sys/fs/cgroup/memory.current': '100\n',
    }),
  );
  assert.equal(limit, { totalBytes: 1000, freeBytes: 100 });
});

test('version 1, whose group of a container is not where its path says but at the top', () => {
  const limit = memoryLimit(
    reader({
      '/proc/self/cgroup': '5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '2000\n',
      '/sys/fs/cgroup/memory/memory.usage_in_bytes': '1500\n',
      '/sys/fs/cgroup/memory/memory.stat': 'inactive_file 1\ntotal_inactive_file 400\n',
    }),
  );
  assert.equal(limit, { totalBytes: 2000, freeBytes: 900 });
});

test('no limit, no groups, and no Linux', () => {
  assert.is(memoryLimit(reader({})), null);
  assert.is(memoryLimit(reader({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': 'max\n' })), null);
  const boundless = {
    '/proc/self/cgroup': '4:memory:/x\n',
    '/sys/fs/cgroup/memory/x/memory.limit_in_bytes': '9223372036854771712\n',
    '/sys/fs/cgroup/memory/x/memory.usage_in_bytes': '1\n',
  };
  assert.is(memoryLimit(reader(boundless)), null);
  memoryLimit(); // whatever this machine has, it is read without an error
});

test.run();
