/** The flags of `npm run conformance`, and what is said about them. */
import type { FlagKind } from '../../actors/config/flags.ts';

export const conformanceFlags = {
  router: 'value',
  key: 'value',
  'api-key': 'value',
  only: 'value',
  reference: 'switch',
  list: 'switch',
  json: 'switch',
  help: 'switch',
} as const satisfies Record<string, FlagKind>;

export const conformanceHelp = `Usage: npm run conformance -- --router URL --key KEY [--api-key KEY]

Asks a router, by its address, whether it keeps the worker protocol (protocol/PROTOCOL.md) and its HTTP surface.

  --router URL      a router to test: ws://host:8080, http://host:8080 and the like; it must have no workers
  --key KEY         the key that GPU workers show to it (AUXOT_GPU_KEY)
  --api-key KEY     the key that callers show to it (AUXOT_API_KEY); without it the cases about jobs are skipped
  --only WORDS      only cases whose id contains one of these words, by commas
  --reference       failures that are expected of a reference peer do not count
  --list            the cases, and do nothing
  --json            the results as JSON
  --help            this text

Exit code: 0 nothing failed, 1 something failed, 2 the peer could not be asked.
Keep keys out of the process list: give them in AUXOT_GPU_KEY and AUXOT_API_KEY.
`;
