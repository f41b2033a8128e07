/** Fetches the test's model in a process of its own, which a test can kill: `<hub> <folder>`. */
import { catalogue } from '../../registry/catalogue.ts';
import { fetchModel } from './fetch-model.ts';

const [endpoint = '', folder = ''] = process.argv.slice(2);
const [base] = catalogue();
if (base === undefined) throw new Error('the catalogue is empty');
await fetchModel(
  { ...base, repository: 'me/Tiny-GGUF', file: 'Tiny-Q4_K_S.gguf', projector: null, files: null },
  { folder, hub: { endpoint, token: null, idleMs: 2000 }, offline: false, connections: 4 },
  { signal: new AbortController().signal, onProgress: () => undefined, onTrouble: () => undefined },
  { pieceBytes: 500_000 },
);
