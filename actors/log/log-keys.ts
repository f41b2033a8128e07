/** The store keys of the event log. All keys of one job share a hash tag, so that they live on one node of a cluster. */
export const logKey = (jobId: string): string => `auxot:{${jobId}}:log`;
/** Unfinished jobs, in order of submission, each with the boot that writes its log. */
export const readyKey = 'auxot:ready';
/** There while the boot lives. */
export const leaseKey = (boot: string): string => `auxot:lease:${boot}`;
/** The boots that have not been seen to end: a hash, boot to what it says of itself. */
export const bootsKey = 'auxot:boots';
/** Finished logs that are still kept, in the order they ended. */
export const finishedKey = 'auxot:finished';
