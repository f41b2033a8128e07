/** As much of a model hub's own API as is read: a repository, and the files in it. Unknown fields are ignored. */
import Type, { type Static } from 'typebox';
import { check } from './schema.ts';

const { Optional } = Type;
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** `GET /api/models/<owner>/<repository>` */
export const HubRepository = Type.Object({
  /** The commit of the branch that was asked for. */
  sha: Type.String({ pattern: '^[0-9a-f]{7,64}$' }),
  cardData: Optional(Type.Object({ license: Optional(Type.Unknown()) })),
  gguf: Optional(Type.Object({ total: Optional(Count), context_length: Optional(Count) })),
});

/** `GET /api/models/<owner>/<repository>/tree/<commit>?recursive=true` */
export const HubTree = Type.Array(
  Type.Object({
    type: Type.String(),
    path: Type.String(),
    size: Optional(Count),
    /** Of large files: `oid` is the SHA-256. */
    lfs: Optional(Type.Object({ oid: Type.String(), size: Count })),
  }),
);

export type HubRepository = Static<typeof HubRepository>;
export type HubTree = Static<typeof HubTree>;

export const checkHubRepository = check(HubRepository);
export const checkHubTree = check(HubTree);
