/** What a dial that failed mostly means, where the libraries' words do not say it. */
export function dialTrouble(message: string): string {
  const [, status] = /^Unexpected server response: (\d+)$/.exec(message) ?? [];
  if (status !== undefined && Number(status) < 500)
    return `HTTP ${status} instead of a WebSocket: that is no router, or a proxy before it that passes no WebSockets on at /ws`;
  if (/wrong version number|packet length too long/i.test(message))
    return 'it does not speak TLS: its address should begin with ws:// or http://';
  return message;
}
