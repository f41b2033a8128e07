import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { catalogue } from '../../registry/catalogue.ts';
import { openRegistry } from '../../registry/load.ts';
import { ConfigError, type Env } from './env.ts';
import { resolvePolicy } from './model-config.ts';
import { readRouterConfig } from './router-config.ts';

const hash = '$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$I8jhLgl/jZENuvZmuKdZPDmHD0H5CCSVF/067VVZlao';
const given = (env: Env) => readRouterConfig({ AUXOT_ADMIN_KEY_HASH: hash, AUXOT_API_KEY_HASH: hash, ...env }).policy;
const resolved = (env: Env) => resolvePolicy(given(env), () => openRegistry(null));

const noRegistry = (): never => {
  throw new Error('the registry was asked');
};

function refusal(env: Env): ConfigError {
  try {
    resolved(env);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

test('CF3: an exact id beats the quantization, names are found in any case, and one is chosen', () => {
  const byId = resolved({ AUXOT_MODEL: 'qwen3-8b-q6-k', AUXOT_QUANTIZATION: 'Q8_0' });
  assert.equal([byId.policy.model, byId.policy.quantization], ['Qwen3-8B', 'Q6_K']);
  assert.match(String(byId.note), 'Q8_0 is ignored');
  const byBoth = resolved({ AUXOT_MODEL: 'qWEN3-8b', AUXOT_QUANTIZATION: 'q8_0' });
  assert.equal([byBoth.policy.model, byBoth.policy.quantization, byBoth.note], ['Qwen3-8B', 'Q8_0', null]);
  assert.is(resolved({}).policy.quantization, 'Q4_K_S');
});

test('workers are told the word that a reference worker knows too', () => {
  assert.is(resolved({ AUXOT_MODEL: 'Qwen3-8B', AUXOT_QUANTIZATION: 'BF16' }).policy.quantization, 'F16');
  assert.is(resolved({ AUXOT_MODEL: 'Qwen3-8B', AUXOT_QUANTIZATION: 'F16' }).policy.quantization, 'F16');
});

test('CF4: the model caps the context, and its own capabilities are told; CLI mode looks nothing up', () => {
  const { policy } = resolved({ AUXOT_MODEL: 'Qwen3-8B' });
  assert.equal([policy.ctxSize, policy.contextMax], [40_960, 40_960]);
  assert.equal(policy.capabilities, ['chat', 'reasoning', 'tools']);
  assert.is(resolved({ AUXOT_MODEL: 'Qwen3-8B', AUXOT_CTX_SIZE: '4096' }).policy.ctxSize, 4096);
  const cli = given({ AUXOT_WORKER_TYPE: 'cli', AUXOT_MODEL: 'sonnet' });
  assert.is(resolvePolicy(cli, noRegistry).policy, cli);
});

test('CF2: an unknown model or quantization is an error with suggestions', () => {
  const noModel = refusal({ AUXOT_MODEL: 'Qwen3-9B' });
  assert.is(noModel.variable, 'AUXOT_MODEL');
  assert.match(noModel.message, /Did you mean AUXOT_MODEL=Qwen3-.B/);
  const noVariant = refusal({ AUXOT_MODEL: 'Qwen3-8B', AUXOT_QUANTIZATION: 'Q2_K' });
  assert.is(noVariant.variable, 'AUXOT_QUANTIZATION');
  assert.match(noVariant.message, 'AUXOT_QUANTIZATION=Q4_K_S');
});

test('a file of the workers’ own and the demo model are not looked up', () => {
  for (const [asked, model] of [
    ['my-model.gguf', 'my-model'],
    ['/models/My.Model-Q4.GGUF', 'My.Model-Q4'],
    ['auxot-demo', 'auxot-demo'],
  ])
    assert.is(resolvePolicy(given({ AUXOT_MODEL: asked }), noRegistry).policy.model, model);
});

test('a registry file that cannot be read is named by its variable', () => {
  const policy = given({ AUXOT_REGISTRY_FILE: '/nowhere/r.json' });
  try {
    resolvePolicy(policy, () => openRegistry(policy.registryFile));
    assert.unreachable();
  } catch (error) {
    assert.ok(error instanceof ConfigError && error.variable === 'AUXOT_REGISTRY_FILE', String(error));
  }
});

test('every entry of the registry can be the model of a router', () => {
  for (const { name, quantization, label } of catalogue()) {
    const { policy } = resolved({ AUXOT_MODEL: name, AUXOT_QUANTIZATION: quantization });
    assert.equal([policy.model, policy.quantization], [name, label]);
  }
});

test.run();
