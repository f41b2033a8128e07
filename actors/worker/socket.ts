/** The port of a worker's socket: what the link needs of a WebSocket client, and what a simulation can stand in for. */

export interface Socket {
  send(text: string): void;
  ping(): void;
  /** Says good-bye and ends; `onClosed` follows, soon even when the other side says nothing. */
  close(code: number, reason: string): void;
  /** Ends at once, without a word. */
  terminate(): void;
  /** Accepted by `send`, but not yet taken by the network. */
  readonly bufferedBytes: number;
}

export interface SocketEvents {
  onOpen(): void;
  onText(text: string): void;
  /** The other side lives: it sent a message, a ping or a pong. */
  onAlive(): void;
  /** Once, at the end, also of a dial that failed. `code` is 0 when there was no connection. */
  onClosed(code: number, reason: string): void;
}

export type Dial = (url: string, events: SocketEvents) => Socket;
