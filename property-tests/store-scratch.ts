import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { openEmbedded } from '../actors/log/embedded-redis.ts';

for (const directory of [null, mkdtempSync('/tmp/store-')]) {
  const store = await openEmbedded({ directory, say: console.log });
  const jobs = 200;
  const json = JSON.stringify([
    {
      type: 'output.appended',
      at: 1795374771808,
      attempt: 1,
      kind: 'text',
      text: 'hello world, this is a batch of text'.repeat(3),
      tokens: 3,
      seq: 12,
    },
  ]);
  console.log('json bytes', json.length);
  for (let j = 0; j < jobs; j++) await store.xadd(`auxot:{job-${j}}:log`, '1-1', 'v', '1', 'e', '[]');
  let seq = 2;
  for (let round = 0; round < 4; round++) {
    const rounds = 1000;
    const cpu0 = process.cpuUsage(),
      t0 = performance.now();
    let syncMs = 0;
    for (let r = 0; r < rounds; r++) {
      const s = String(seq++);
      const words: [string, ...string[]][] = [];
      for (let j = 0; j < jobs; j++)
        words.push(['xadd', `auxot:{job-${j}}:log`, 'NOMKSTREAM', '1-' + s, 'v', '1', 'e', json]);
      const a = performance.now();
      const p = store.pipeline(words).exec();
      syncMs += performance.now() - a;
      const res = await p;
      if (res?.[0]?.[0]) throw res[0][0];
    }
    const cpu = process.cpuUsage(cpu0);
    const n = rounds * jobs;
    console.log(
      directory ? 'file' : 'mem',
      'wall µs/xadd',
      (((performance.now() - t0) * 1000) / n).toFixed(2),
      'cpu µs/xadd',
      ((cpu.user + cpu.system) / n).toFixed(2),
      'sync',
      ((syncMs * 1000) / n).toFixed(2),
      'rss MB',
      (process.memoryUsage().rss / 1e6).toFixed(0),
    );
  }
  await store.quit();
  if (directory) {
    console.log(statSync(directory + '/auxot.aof').size / 1e6);
    rmSync(directory, { recursive: true });
  }
}
