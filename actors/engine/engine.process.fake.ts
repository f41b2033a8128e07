/** An engine's process without a model, for tests of how loads end: the model's path says what it does. */
import type { FromEngineProcess, ToEngineProcess } from './engine.messages.ts';

const say = (message: FromEngineProcess): void => void process.send?.(message);

process.on('message', (message: ToEngineProcess) => {
  if (message.type === 'close') process.exit(0);
  if (message.type !== 'load') return;
  const { options, failed } = message;
  const ram = failed === null ? 1000 : failed.ram / 2;
  if (options.modelPath !== 'dies early') say({ type: 'chosen', message: `${ram} bytes`, need: { ram, vram: 0 } });
  switch (options.modelPath) {
    case 'says its options':
      say({ type: 'loadFailed', failure: { code: 'model_load_failed', message: JSON.stringify(options) } });
      break;
    case 'silent':
      break;
    case 'killed once':
      if (failed === null) process.kill(process.pid, 'SIGKILL');
      else say({ type: 'loadFailed', failure: { code: 'model_load_failed', message: 'got this far' } });
      break;
    default:
      process.kill(process.pid, 'SIGKILL');
  }
});
process.on('disconnect', () => process.exit(0));
