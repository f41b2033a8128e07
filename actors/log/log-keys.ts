/** The store keys of the event log. On a Redis Cluster a prefix is put before all of them (redis-cluster.ts). */
export const logKey = (jobId: string): string => `auxot:{${jobId}}:log`;
/** Unfinished jobs, in order of submission, each with the boot that writes its log. */
export const readyKey = 'auxot:ready';
/** There while the boot lives. */
export const leaseKey = (boot: string): string => `auxot:lease:${boot}`;
/** The boots that have not been seen to end: a hash, boot to what it says of itself. */
export const bootsKey = 'auxot:boots';
/** Finished logs that are still kept, in the order they ended. */
export const finishedKey = 'auxot:finished';
/** Which job a caller's request key stands for. */
export const requestKey = (key: string): string => `auxot:request:${key}`;
/**
 * Jobs that routers of one pool (those that serve one model) hand to each other. The layout's version is in the key, so
 * that two layouts never meet; the pool is a hash tag, so that one command may read all lines of it.
 */
export const offersKey = (pool: string, line: string): string => `auxot:offers:1:{${pool}}:${line}`;
/** What other routers tell a boot. */
export const inboxKey = (boot: string): string => `auxot:inbox:${boot}`;
/** An entry here ends the boot's blocking read at once. */
export const wakeKey = (boot: string): string => `auxot:wake:${boot}`;
/** Written so that there is something to wait for: it holds nothing. */
export const replicatedKey = 'auxot:replicated';
/** Chat completions that were to be stored, in the order they ended. */
export const completionsKey = 'auxot:completions';
/** What a stored completion's caller has noted on it later. */
export const metadataKey = (jobId: string): string => `auxot:{${jobId}}:metadata`;
