/** An error reply of the store: refused words, with the text that a Redis server gives. The same class that ioredis rejects with. */
import { ReplyError as IoredisReplyError } from 'ioredis';

export const ReplyError: new (message: string) => Error = IoredisReplyError;

export const wrongType = (): Error =>
  new ReplyError('WRONGTYPE Operation against a key holding the wrong kind of value');
export const syntaxError = (): Error => new ReplyError('ERR syntax error');
export const wrongNumber = (command: string): Error =>
  new ReplyError(`ERR wrong number of arguments for '${command}' command`);
export const notInteger = (): Error => new ReplyError('ERR value is not an integer or out of range');
