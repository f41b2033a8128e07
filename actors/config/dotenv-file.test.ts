import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DotenvError, loadDotenv, parseDotenv } from './dotenv-file.ts';

const dotenv = suite<{ dir: string }>('dotenv-file');
dotenv.before.each(context => {
  context.dir = mkdtempSync(join(tmpdir(), 'auxot-dotenv-'));
});
dotenv.after.each(({ dir }) => rmSync(dir, { recursive: true, force: true }));

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 1000),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};
const read = (text: string): Record<string, string> => Object.fromEntries(parseDotenv(text));
const hash = '$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$ZnB1oatUQjePKQDALFHM/X1BOk/A/epSmfHivYWn+H8';

dotenv('CF7: keys, separators, export, blanks and comments', () => {
  const text = `\uFEFF# first\n\nA=1\n  export B = two \nC: three\nD=x#y\nE=e # note\nF=\nG=# note\nH= #note\nI=#data\nJ.k_1=dots # x # y\n# last`;
  assert.equal(read(text), {
    A: '1',
    B: 'two',
    C: 'three',
    D: 'x#y',
    E: 'e',
    F: '',
    G: '# note',
    H: '',
    I: '#data',
    'J.k_1': 'dots',
  });
});

dotenv('CF7: single quotes are literal, so a hash stays intact', () => {
  assert.equal(read(`H='${hash}' # the key\nX='a\\nb $H'\nY='two\nlines'\nZ=''`), {
    H: hash,
    X: 'a\\nb $H',
    Y: 'two\nlines',
    Z: '',
  });
});

dotenv('CF7: double quotes take escapes, expansion and several lines', () => {
  assert.equal(read(`A=one\nB="x\\n\\"$A\\" \\$A \\\\ \${A}s"\nC="two\nlines" # note\nD="it's"`), {
    A: 'one',
    B: 'x\n"one" $A \\ ones',
    C: 'two\nlines',
    D: "it's",
  });
});

dotenv('CF7: CRLF files read like others', () => {
  assert.equal(read('A=1\r\nB=\'x\'\r\nC="y"\r\n# c\r\nD: z\r\n'), { A: '1', B: 'x', C: 'y', D: 'z' });
});

dotenv('CF8: unquoted values expand only earlier capital names, which is what damages an unquoted hash', () => {
  assert.equal(read(`A=1\nB=$A\${A}$NOPE$lower\${lower}$\nC=\\$A\nD=$E\nE=5\nF=C:\\new\\dir`), {
    A: '1',
    B: `11$lower\${lower}$`,
    C: '$A',
    D: '',
    E: '5',
    F: 'C:\\new\\dir',
  });
  assert.is(read(`H=${hash}`).H, hash.replace('$AAECA', '').replace('$Z', ''));
});

dotenv('a line that cannot be read is an error with its number', () => {
  for (const [text, line] of [
    ['A=1\nno separator\nB=2', 2],
    ['A-B=1', 1],
    ['=1', 1],
    ["A=1\n\nB='open\nC=2", 3],
    ['A="open', 1],
    ["A='x' y", 1],
    ['export', 1],
  ] as const) {
    try {
      parseDotenv(text);
      assert.unreachable(text);
    } catch (error) {
      assert.instance(error, DotenvError, text);
      assert.is((error as DotenvError).line, line, text);
    }
  }
});

dotenv('whatever the text, the answer is values or a DotenvError', () => {
  const piece = fc.constantFrom("'", '"', '\n', '\\', '$', '{', 'A', 'b', '=', ':', '#', ' ', '\r', 'export ');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece, { maxLength: 30 }).map(pieces => pieces.join('')),
      ),
      text => {
        try {
          parseDotenv(text);
        } catch (error) {
          assert.instance(error, DotenvError);
        }
      },
    ),
    runs,
  );
});

dotenv('any text in single quotes that holds none comes back as it was', () => {
  fc.assert(
    fc.property(
      fc.string().filter(text => !/['\r]/.test(text)),
      text => assert.equal(read(`A='${text}'`), { A: text }),
    ),
    runs,
  );
});

dotenv('CF7: the environment wins, even where it is empty', ({ dir }) => {
  writeFileSync(join(dir, '.env'), 'A=file\nB=file\nC=file');
  const { env, warning } = loadDotenv({ A: 'set', B: '' }, dir);
  assert.equal({ ...env }, { A: 'set', B: '', C: 'file' });
  assert.is(warning, null);
});

dotenv('no file is fine; one that is broken or cannot be read is left out with a warning', ({ dir }) => {
  assert.equal(loadDotenv({ A: '1' }, dir), { env: { A: '1' }, warning: null });
  writeFileSync(join(dir, '.env'), 'B=2\nbroken');
  const broken = loadDotenv({ A: '1' }, dir);
  assert.equal({ ...broken.env }, { A: '1' });
  assert.match(broken.warning ?? '', /\.env is ignored as a whole: line 2: /);
  rmSync(join(dir, '.env'));
  mkdirSync(join(dir, '.env'));
  assert.match(loadDotenv({}, dir).warning ?? '', /cannot be read and is ignored/);
});

dotenv.run();
