/** The flags of `npm run conformance`, and what is said about them. */
import type { FlagKind } from '../../actors/config/flags.ts';

export const conformanceFlags = {
  router: 'value',
  key: 'value',
  'api-key': 'value',
  worker: 'switch',
  listen: 'value',
  model: 'value',
  quantization: 'value',
  only: 'value',
  reference: 'switch',
  list: 'switch',
  json: 'switch',
  help: 'switch',
} as const satisfies Record<string, FlagKind>;

export const conformanceHelp = `Usage: npm run conformance -- --router URL --key KEY [--api-key KEY]
       npm run conformance -- --worker [--listen HOST:PORT]

Asks a router or a worker from outside whether it keeps the worker protocol (protocol/PROTOCOL.md), and a router
whether it keeps the HTTP surface as far as routing, keys and odd bodies go.

  --router URL        a router to test: ws://host:8080, http://host:8080 and the like; it must have no workers
  --key KEY           the key that GPU workers show to it (AUXOT_GPU_KEY)
  --api-key KEY       the key that callers show to it (AUXOT_API_KEY); without it the cases about jobs are skipped

  --worker            a GPU worker to test: listens as a router does, says where and for which key, and waits for it
  --listen HOST:PORT  where to listen (127.0.0.1, a free port)
  --key KEY           the key that the worker must show (AUXOT_GPU_KEY; one is made)
  --model NAME        the model that the worker is told to run (conformance); workers that fetch models need a real name
  --quantization Q    its quantization

  --only WORDS        only cases whose id contains one of these words, by commas
  --reference         failures that are expected of a reference peer do not count
  --list              the cases (of one side with --router or --worker), and do nothing
  --json              the results as JSON on standard output
  --help              this text

Cases that end a worker (worker/refused/…) run only when --only names them.
Exit code: 0 nothing failed, 1 something failed, 2 the peer could not be asked.
Keys in the environment do not show in the process list.
`;
