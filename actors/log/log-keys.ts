/** The store keys of the event log. All keys of one job share a hash tag, so that they live on one node of a cluster. */
export const logKey = (jobId: string): string => `auxot:{${jobId}}:log`;
/** Unfinished jobs, in order of submission. */
export const readyKey = 'auxot:ready';
/** Finished logs that are still kept, in the order they ended. */
export const finishedKey = 'auxot:finished';
