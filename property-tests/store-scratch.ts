import fc from 'fast-check';
import { openEmbedded } from '../actors/log/embedded-redis.ts';
import { openStore } from '../actors/log/redis.ts';
import { startRedis } from './redis-server.ts';
import { command, comparable, plainCommand } from './store-commands.ts';
import { replyOf } from './store-replies.ts';

const server = await startRedis();
if (!server) throw 1;
const real = await openStore({ redisUrl: server.url, dataDir: null });
const seen = new Map<string, string>();
let n = 0;
const seqs = fc.sample(fc.array(fc.oneof(command, plainCommand), { minLength: 1, maxLength: 60, size: 'max' }), {
  numRuns: Number(process.argv[2] ?? 300),
  seed: Number(process.argv[3] ?? 1),
});
for (const commands of seqs) {
  await real.flushall();
  const e = await openEmbedded({ directory: null });
  const hist: string[] = [];
  for (const w of commands) {
    n++;
    const sh = w.map(x => (Buffer.isBuffer(x) ? '0x' + x.toString('hex') : x)).join(' ');
    hist.push(sh);
    const a = JSON.stringify(comparable(w, await replyOf(e, w))),
      b = JSON.stringify(comparable(w, await replyOf(real, w)));
    if (a !== b) {
      const k =
        w[0] + ' ' + (a.includes('error') ? a.slice(0, 50) : 'v') + (b.includes('error') ? b.slice(0, 50) : 'v');
      if (!seen.has(k))
        seen.set(k, sh + '\n   e ' + a + '\n   r ' + b + '\n   after ' + hist.slice(-6, -1).join(' | '));
      break;
    }
  }
  await e.quit();
}
console.log(n, 'commands');
for (const [k, v] of seen) console.log(v);
await real.quit();
await server.stop();
