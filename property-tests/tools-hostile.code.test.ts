/**
 * The tools worker among the malicious: scripts that try to hang it, to fill its memory or to get out of their sandbox. The worker is the real program, and everything is asked
 * of it through its socket; each input has its answer, the worker goes on, and its memory is what it was.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitUntil } from './processes.ts';
import { asker, memoryOf, toolsKey, withRouter, withTools } from './tools-router.ts';

/** Inputs that were answered otherwise than they should be. */
const wrong: string[] = [];
test.after.each(() => void wrong.splice(0));

const scripts: readonly [code: string, answer: RegExp][] = [
  ['while (true);', /took too long/],
  ['for (;;) await 1', /took too long/],
  ['/(a+)+$/.test("a".repeat(50) + "b")', /took too long/],
  ['setInterval(() => 0, 1); await new Promise(() => 0)', /took too long/],
  ['await new Promise(() => 0)', /never happens/],
  ['const f = () => f(); f()', /stack overflow/],
  ['"x".repeat(2 ** 30)', /invalid string length|out of memory/],
  ['const all = []; for (;;) all.push(new Array(1e5).fill(1))', /out of memory/],
  ['const all = []; for (;;) all.push(new Uint8Array(1e6).fill(1))', /out of memory|took too long|invalid array/],
  ['let s = "x"; for (;;) s += s', /out of memory|too long/],
  ['for (;;) console.log("x".repeat(1000))', /took too long.*cut at/s],
  ['Array.from({ length: 1e5 }, () => "aaaaaaa")', /cut at/],
  ['let o = {}; for (let i = 0; i < 1e5; i++) o = { o }; o', /nested too deep|stack overflow|circular/],
  ['({ get x() { for (;;); } })', /took too long|ended/],
  ['({ toJSON() { throw new Error("no") } })', /no/],
  ['JSON.parse("[".repeat(1e6))', /stack overflow|Error/],
  ['this.constructor.constructor("return process")()', /process.*not defined/],
  [
    '(() => {}).constructor("return typeof process + typeof require + typeof fetch + typeof globalThis.WebAssembly")()',
    /undefinedundefinedundefinedundefined/,
  ],
  ['await import("node:fs")', /could not load module|SyntaxError/],
  ['std.exit(1)', /not defined/],
  ['Object.prototype.then = r => r("hi"); 1', /./],
  ['Array.prototype.map = () => { throw 1 }; JSON.stringify = null; Promise = null; console.log({ a: 1 }); 2', /./],
  [
    'try { null.x } catch (e) { e.constructor.prototype.toString = () => "x".repeat(1e6) } throw new TypeError("bad")',
    /bad/,
  ],
  ['throw { name: "x".repeat(1e6), message: { toString: null } }', /./],
  ['throw null', /null/],
  ['console.log.constructor("return this")().x = 1; typeof print + typeof randomBytes', /undefinedundefined/],
  ['new Proxy({}, { get() { for (;;); }, ownKeys() { for (;;); } })', /took too long|ended/],
  ['Array.from({ length: 20000 }, (_, i) => setTimeout(() => 0, i))', /too many timers/],
];

test('scripts: endless, huge, tricky and curious ones are contained, and the next script has its own clean place', () =>
  withRouter(2, router =>
    withTools(['--router-url', router.url], { AUXOT_TOOLS_KEY: toolsKey }, async program => {
      const ask = asker(router);
      await waitUntil(
        () => router.frames.length > 0,
        30_000,
        () => program.output(),
      );
      const round = async (): Promise<number> => {
        for (const [code, answer] of scripts) {
          const { text, ms, frame } = await ask('code_executor', { code, timeout_seconds: 1 });
          if (!answer.test(text)) wrong.push(`${code}: ${text.slice(0, 300)}`);
          assert.is(frame.error, undefined, code);
          assert.ok(ms < 6000, `${code}: ${ms} ms`);
          assert.ok(text.length < 200_000, code);
        }
        const { result } = await ask('code_executor', { code: 'typeof x + JSON.stringify([1].map(a => a + 1))' });
        assert.is(result.return_value, 'undefined[2]');
        return memoryOf(program, 'VmRSS');
      };
      const first = await round();
      assert.equal(wrong, []);
      const second = await round();
      const most = memoryOf(program, 'VmHWM');
      console.log(`scripts: ${first.toFixed(0)} MiB, then ${second.toFixed(0)} MiB, at most ${most.toFixed(0)} MiB`);
      assert.ok(second < first + 60, `memory grew from ${first} to ${second} MiB`);
      assert.ok(most < 700, `${most} MiB`);
    }),
  ));

test.run();
