/** Faults of tools workers; whether the fault is one of these. */
import type { Cluster } from './cluster.ts';
import type { PlannedFault } from './plan.ts';

export function injectTool(cluster: Cluster, { kind, pick: [who, how, more] }: PlannedFault): boolean {
  const { clock, tally, timeline } = cluster;
  const alive = cluster.toolsWorkers.filter(({ node }) => !node.dead);
  const worker = alive[Math.floor(who * alive.length)];
  switch (kind) {
    case 'tools worker killed':
      if (worker === undefined) return true;
      timeline?.fault(kind, worker.node.name);
      if (!cluster.killWorker(worker, how < 0.3)) return true;
      tally.fault(kind, clock.now);
      clock.after(100 + more * 5000, null, () => worker.start());
      return true;
    case 'tools worker stopped': {
      if (worker === undefined || worker.node.frozen) return true;
      tally.fault(kind, clock.now);
      timeline?.fault(kind, worker.node.name);
      const { node } = worker;
      const over = (): void => {
        if (worker.node !== node || !cluster.killWorker(worker, false)) return;
        clock.after(100 + more * 2000, null, () => worker.start());
      };
      clock.after(0, node, () => worker.stop(over));
      // Whoever runs it kills it when it takes too long.
      clock.after(15_000, null, over);
      return true;
    }
    case 'tools worker frozen': {
      const node = worker?.node;
      if (node?.freeze() !== true) return true;
      tally.fault(kind, clock.now);
      timeline?.fault(kind, node.name);
      clock.after(100 + how * how * 12_000, null, () => node.thaw());
      return true;
    }
    case 'tool result nonsense':
      if (worker === undefined || worker.nonsense > 0) return true;
      worker.nonsense = 1;
      tally.fault(kind, clock.now);
      timeline?.fault(kind, worker.node.name);
      return true;
    case 'tools slow':
      if (worker === undefined) return true;
      worker.callMs = worker.usualCallMs * (2 + how * 30);
      tally.delay(kind);
      timeline?.fault(kind, worker.node.name);
      clock.after(500 + more * 6000, null, () => {
        worker.callMs = worker.usualCallMs;
      });
      return true;
    default:
      return false;
  }
}
