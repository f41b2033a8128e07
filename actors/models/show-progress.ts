/** A download as people see it: a bar on a terminal, a line now and then everywhere else. */
import { Presets, SingleBar } from 'cli-progress';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { FetchProgress } from './fetch-model.ts';

export interface ProgressView {
  show(progress: FetchProgress): void;
  /** Takes the bar away. */
  end(): void;
}

const lineEveryShare = 0.05;
const lineEveryMs = 30_000;

export function progressView(
  name: string,
  { terminal, diagnostics, now }: { terminal: NodeJS.WriteStream; diagnostics: Diagnostics; now: () => number },
): ProgressView {
  return terminal.isTTY ? bar(name, terminal) : lines(name, diagnostics, now);
}

export const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(bytes < 10 * 2 ** 30 ? 2 : 1)} GiB`;

/** `1.25 of 4.50 GiB`. */
export function amount({ doneBytes, totalBytes }: FetchProgress): string {
  return totalBytes === null ? gib(doneBytes) : `${gib(doneBytes)} of ${gib(totalBytes)}`;
}

function bar(name: string, terminal: NodeJS.WriteStream): ProgressView {
  let shown: SingleBar | null = null;
  return {
    show(progress) {
      const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
      if (shown === null) {
        shown = new SingleBar(
          { stream: terminal, format: `${name} {bar} {percentage}% {value}/{total} MiB {eta_formatted} {phase}` },
          Presets.shades_classic,
        );
        shown.start(mib(progress.totalBytes ?? 0), 0, { phase: '' });
      }
      if (progress.totalBytes !== null) shown.setTotal(mib(progress.totalBytes));
      shown.update(mib(progress.doneBytes), { phase: progress.phase });
    },
    end() {
      shown?.stop();
      shown = null;
    },
  };
}

function lines(name: string, diagnostics: Diagnostics, now: () => number): ProgressView {
  let last: { share: number; at: number; phase: string } | null = null;
  return {
    show(progress) {
      const { phase, doneBytes, totalBytes } = progress;
      const share = totalBytes ? doneBytes / totalBytes : 0;
      const due =
        last === null || phase !== last.phase || share - last.share >= lineEveryShare || now() - last.at >= lineEveryMs;
      if (!due) return;
      last = { share, at: now(), phase };
      diagnostics.info(`${phase} ${name}: ${Math.floor(share * 100)} %, ${amount(progress)}`);
    },
    end: () => undefined,
  };
}
