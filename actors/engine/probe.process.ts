/** Answers one question of probe.ts and ends. */
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';
import { useOf } from './embeddings.ts';
import type { EngineOptions, MachineFacts } from './engine.ts';
import { budgetOf, needs, readModelFacts, wishOf } from './llama-memory.ts';
import { planFitting } from './load-fitting.ts';
import { memoryLimit } from './memory-limit.ts';
import { readModelFile } from './model-file.ts';
import type { Probed } from './probe.ts';

async function probe(options: EngineOptions | null): Promise<MachineFacts> {
  const file = options === null ? null : await readModelFile(options.modelPath);
  const llama = await getLlama({ gpu: 'auto', build: 'never', skipDownload: true, logLevel: LlamaLogLevel.disabled });
  const [ram, vram] = [await llama.getRamState(), await llama.getVramState()];
  const facts = {
    release: llama.llamaCppRelease.release,
    gpu: llama.gpu === false ? '' : llama.gpu,
    gpuNames: llama.gpu === false ? [] : await llama.getGpuDeviceNames(),
    vram: { totalBytes: vram.total, freeBytes: vram.free },
    ram: { totalBytes: ram.total, freeBytes: ram.free },
    limit: memoryLimit(),
  };
  if (options === null || file === null) return { ...facts, fit: null };
  const model = await readModelFacts(llama, options.modelPath);
  const { metadata, architectureMetadata } = model.file;
  const { architecture } = metadata.general;
  const use = useOf(options.embeddings ?? 'auto', { architecture, pooling: architectureMetadata.pooling_type });
  const fit = await planFitting({
    wish: wishOf(options, model, file.bytes, facts.gpu !== ''),
    budget: await budgetOf(llama),
    needOf: needs(model, use),
    gpu: facts.gpu,
    layers: model.layers,
  });
  return { ...facts, fit };
}

// The parent is the same program: what it sends is of this type.
process.on('message', async ({ model }: { readonly model: EngineOptions | null }) => {
  const probed: Probed = await probe(model).then(
    facts => ({ ok: true, facts }),
    error => ({ ok: false, message: error instanceof Error ? error.message : String(error) }),
  );
  process.send?.(probed, () => process.exit(0));
});
process.on('disconnect', () => process.exit(0));
