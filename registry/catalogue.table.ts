/**
 * The built-in catalogue as a table: a model a line, read by `catalogue.ts`.
 *
 *   name base parameters active context-default context-max more projector tools reasoning license cache variants
 *
 * - base: the repository is `unsloth/<base>-GGUF`; `=` is the name itself.
 * - active: parameters that work on one token, for models of experts; `-` for all others.
 * - more: v vision, k code, i image generation. Chat, tools and reasoning follow from the other columns.
 * - projector: `mmproj-<value>.gguf`. tools, reasoning: how the model writes them. `-`: none, or not known.
 * - cache: `<layers>x<heads>x<dimension>`, `/` another dimension of values, `@` window of sliding layers, `+` other layers.
 * - variants: what the file is really quantized as. `/3`: three parts in a folder of that name; `//3`: in
 *   `<base>-<variant>`; `=path`: a file that follows no rule; `ALL`: the seven of `catalogue.ts`.
 *
 * Only what was seen on the hub is in here. `auxot-router models refresh` adds sizes, hashes and further variants.
 */
export const table = `
Kimi-K2.5 = 1026B 32B 131072 262144 - - kimi think modified-mit 61x1x576/512 BF16/46 Q3_K_S/10 Q4_K_S/13 Q5_K_S/15 Q6_K/18 Q8_0/23 UD-Q8_K_XL/25
Kimi-K2 Kimi-K2-Instruct 1026B 32B 131072 131072 - - kimi - modified-mit 61x1x576/512 BF16/45 Q3_K_S/10 Q4_K_S/13 Q5_K_S/15 Q6_K/18 Q8_0/23 UD-Q8_K_XL/25
DeepSeek-V3.1-Terminus = 671B 37B 8192 163840 - - deepseek think mit 61x1x576/512 BF16/30 Q3_K_S/6 Q4_K_S/8 Q5_K_S/10 Q6_K/12 Q8_0/15 UD-Q8_K_XL/17
DeepSeek-V3.1 = 671B 37B 8192 163840 - - deepseek think mit 61x1x576/512 BF16/30 Q3_K_S/6 Q4_K_S/8 Q5_K_S/10 Q6_K/12 Q8_0/15 UD-Q8_K_XL/17
DeepSeek-R1-0528 = 671B 37B 8192 163840 - - deepseek think mit 61x1x576/512 BF16/30 Q3_K_S/6 Q4_K_S/8 Q5_K_S/10 Q6_K/12 Q8_0/15 UD-Q8_K_XL/16
DeepSeek-R1 = 671B 37B 8192 163840 - - deepseek think-open mit 61x1x576/512 BF16=DeepSeek-R1-BF16/DeepSeek-R1.BF16-00001-of-00030.gguf Q6_K//12 Q8_0=DeepSeek-R1-Q8_0/DeepSeek-R1.Q8_0-00001-of-00015.gguf
DeepSeek-R1-Zero = 671B 37B 8192 163840 - - - think mit 61x1x576/512 Q8_0=DeepSeek-R1-Zero-Q8_0/DeepSeek-R1-Zero-BF16-256x20B-Q8_0-00001-of-00016.gguf
Qwen3-Coder-480B-A35B Qwen3-Coder-480B-A35B-Instruct 480B 35B 32768 262144 k - qwen-xml - apache-2.0 62x8x128 BF16/21 Q3_K_S/5 Q4_K_S/6 Q5_K_S/7 Q6_K/9 Q8_0/11 UD-Q8_K_XL/12
Qwen3-Coder-480B-A35B-Instruct-1M = 480B 35B 32768 1048576 k - qwen-xml - apache-2.0 62x8x128 BF16/21 Q3_K_S/5 Q4_K_S/6 Q5_K_S/7 Q6_K/9 Q8_0/11 UD-Q8_K_XL/12
Llama-4-Maverick-17B-128E Llama-4-Maverick-17B-128E-Instruct 401B 17B 8192 1048576 v F16 pythonic - llama4 12x8x128+36x8x128@8192 BF16/18 Q3_K_S/4 Q4_K_S/5 Q5_K_S/6 Q6_K/7 Q8_0/9 UD-Q8_K_XL/10
Qwen3.5-397B-A17B = 396B 17B 32768 262144 v F16 qwen-xml think-open apache-2.0 15x2x256 BF16/17 Q3_K_S/5 Q4_K_S/6 Q5_K_S/7 Q6_K/8 Q8_0/10 UD-Q8_K_XL/11
Qwen3-VL-235B-A22B-Thinking = 235B 22B 32768 262144 v F16 hermes think-open apache-2.0 94x4x128 BF16/10 Q3_K_S/3 Q4_K_S/3 Q5_K_S/4 Q6_K/4 Q8_0/6 UD-Q8_K_XL/6
Qwen3-VL-235B-A22B Qwen3-VL-235B-A22B-Instruct 235B 22B 32768 262144 v F16 hermes - apache-2.0 94x4x128 BF16/10 Q3_K_S/3 Q4_K_S/3 Q5_K_S/4 Q6_K/4 Q8_0/6 UD-Q8_K_XL/6
Qwen3-VL-235B-A22B-Instruct-1M = 235B 22B 32768 1000000 v F16 hermes - apache-2.0 94x4x128 BF16/10 Q3_K_S/3 Q4_K_S/3 Q5_K_S/4 Q6_K/4 Q8_0/6 UD-Q8_K_XL/6
Qwen3-VL-235B-A22B-Thinking-1M = 235B 22B 32768 1000000 v F16 hermes think-open apache-2.0 94x4x128 BF16/10 Q3_K_S/3 Q4_K_S/3 Q5_K_S/4 Q6_K/4 Q8_0/6 UD-Q8_K_XL/6
Qwen3-235B-A22B-Thinking-2507 = 235B 22B 32768 262144 - - hermes think-open apache-2.0 94x4x128 BF16/10 Q3_K_S/3 Q4_K_S/3 Q5_K_S/4 Q6_K/4 Q8_0/6 UD-Q8_K_XL/6
Qwen3-235B-A22B-Instruct-2507 = 235B 22B 32768 262144 - - hermes - apache-2.0 94x4x128 BF16/10 Q3_K_S/3 Q4_K_S/3 Q5_K_S/4 Q6_K/4 Q8_0/6 UD-Q8_K_XL/6
Qwen3-235B-A22B = 235B 22B 32768 40960 - - hermes think apache-2.0 94x4x128 BF16/10 Q3_K_S/3 Q4_K_S/3 Q5_K_S/4 Q6_K/4 Q8_0/6 UD-Q8_K_XL/6
Qwen3-235B-A22B-128K = 235B 22B 32768 131072 - - hermes think apache-2.0 94x4x128 BF16/10 Q3_K_S/3 Q4_K_S/3 Q5_K_S/4 Q6_K/4 Q8_0/6 UD-Q8_K_XL/6
MiniMax-M2.1 = 229B 10B 8192 196608 - - minimax think-open modified-mit 62x8x128 BF16/10 Q3_K_S/2 Q4_K_S/3 Q5_K_S/4 Q6_K/4 Q8_0/5 UD-Q8_K_XL/6
Qwen3.5-122B-A10B = 122B 10B 32768 262144 v F16 qwen-xml think-open apache-2.0 12x2x256 BF16/5 Q3_K_S/3 Q4_K_S/3 Q5_K_S/3 Q6_K/4 Q8_0/4 UD-Q8_K_XL/4
gpt-oss-120b = 117B 5B 8192 131072 - - harmony harmony apache-2.0 18x8x64+18x8x64@128 Q3_K_S/2 Q4_K_S/2 Q5_K_S/2 Q6_K/2 Q8_0/2 UD-Q8_K_XL/2 F16
gpt-oss-safeguard-120b = 117B 5B 8192 131072 - - harmony harmony apache-2.0 18x8x64+18x8x64@128 Q3_K_S/2 Q4_K_S/2 Q5_K_S/2 Q6_K/2 Q8_0/2 UD-Q8_K_XL/2
Llama-4-Scout-17B-16E Llama-4-Scout-17B-16E-Instruct 108B 17B 8192 10485760 v F16 pythonic - llama4 12x8x128+36x8x128@8192 BF16/5 Q3_K_S Q4_K_S/2 Q5_K_S/2 Q6_K/2 Q8_0/3 UD-Q8_K_XL/3
Qwen3-Coder-Next = 80B 3B 32768 262144 k - qwen-xml - apache-2.0 12x2x256 BF16/4 Q5_K_S/3 Q6_K/3 Q8_0/3 Q3_K_S Q4_K_S UD-Q8_K_XL/3
DeepSeek-R1-Distill-Llama-70B = 71B - 8192 131072 - - - think-open llama3.3 80x8x128 BF16/3 Q3_K_S Q4_K_S Q5_K_S Q6_K//2 Q8_0//2 UD-Q8_K_XL/2
Llama-3.3-70B Llama-3.3-70B-Instruct 71B - 131072 131072 - - llama3 - llama3.3 80x8x128 BF16/3 Q3_K_S Q4_K_S Q5_K_S Q6_K//2 Q8_0//2 UD-Q8_K_XL/2
Qwen3.5-35B-A3B = 35B 3B 32768 262144 v F16 qwen-xml think-open apache-2.0 10x2x256 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3.6-35B-A3B = 35B 3B 32768 262144 v F16 qwen-xml think-open apache-2.0 10x2x256 BF16/2 UD-Q3_K_S UD-Q4_K_S UD-Q5_K_S UD-Q6_K Q8_0 UD-Q8_K_XL
Qwen3-VL-32B Qwen3-VL-32B-Instruct 33B - 32768 262144 v F16 hermes - apache-2.0 64x8x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-VL-32B-Thinking = 33B - 32768 262144 v F16 hermes think-open apache-2.0 64x8x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-VL-32B-Instruct-1M = 33B - 32768 1000000 v F16 hermes - apache-2.0 64x8x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-VL-32B-Thinking-1M = 33B - 32768 1000000 v F16 hermes think-open apache-2.0 64x8x128 BF16/2 Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-32B = 33B - 32768 40960 - - hermes think apache-2.0 64x8x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-32B-128K = 33B - 32768 131072 - - hermes think apache-2.0 64x8x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
DeepSeek-R1-Distill-Qwen-32B = 33B - 32768 131072 - - - think-open mit 64x8x128 F16//2 Q6_K Q8_0
granite-4.0-h-small = 32B 9B 8192 1048576 - - hermes - apache-2.0 4x8x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-VL-30B-A3B Qwen3-VL-30B-A3B-Instruct 31B 3B 32768 262144 v F16 hermes - apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-VL-30B-A3B-Thinking = 31B 3B 32768 262144 v F16 hermes think-open apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-VL-30B-A3B-Instruct-1M = 31B 3B 32768 1000000 v F16 hermes - apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-VL-30B-A3B-Thinking-1M = 31B 3B 32768 1000000 v F16 hermes think-open apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-30B-A3B-Instruct-2507 = 31B 3B 32768 262144 - - hermes - apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-30B-A3B = 31B 3B 32768 40960 - - hermes think apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-30B-A3B-128K = 31B 3B 32768 131072 - - hermes think apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-30B-A3B-Thinking-2507 = 31B 3B 32768 262144 - - hermes think-open apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-Coder-30B-A3B Qwen3-Coder-30B-A3B-Instruct 31B 3B 32768 262144 k - qwen-xml - apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-Coder-30B-A3B-Instruct-1M = 31B 3B 32768 1048576 k - qwen-xml - apache-2.0 48x4x128 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
gemma-4-31B-it = 31B - 131072 262144 v F16 gemma gemma apache-2.0 10x4x512+50x16x256@1024 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3.5-27B = 27B - 32768 262144 v F16 qwen-xml think-open apache-2.0 16x4x256 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
gemma-3-27b-it-qat = 27B - 8192 131072 v F16 - - gemma 10x16x128+52x16x128@1024 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K UD-Q8_K_XL
gemma-3-27b-it = 27B - 8192 131072 v F16 - - gemma 10x16x128+52x16x128@1024 BF16/2 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
gemma-4-26B-A4B-it = 25B 4B 131072 262144 v F16 gemma gemma apache-2.0 5x2x512+25x8x256@1024 BF16/2 Q8_0 UD-Q3_K_S UD-Q4_K_S UD-Q5_K_S UD-Q6_K UD-Q8_K_XL
gpt-oss-20b = 21B 4B 8192 131072 - - harmony harmony apache-2.0 12x8x64+12x8x64@128 F16 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
gpt-oss-safeguard-20b = 21B 4B 8192 131072 - - harmony harmony apache-2.0 12x8x64+12x8x64@128 F16 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-14B = 15B - 32768 40960 - - hermes think apache-2.0 40x8x128 ALL
Qwen3-14B-128K = 15B - 32768 131072 - - hermes think apache-2.0 40x8x128 ALL
DeepSeek-R1-Distill-Qwen-14B = 15B - 32768 131072 - - - think-open mit 48x8x128 F16 Q6_K Q8_0
Ministral-3-14B-Instruct-2512 = 14B - 8192 262144 v F16 mistral - apache-2.0 40x8x128 ALL
Ministral-3-14B-Reasoning-2512 = 14B - 8192 262144 v F16 mistral mistral apache-2.0 40x8x128 ALL
gemma-3-12b-it-qat = 12B - 8192 131072 v F16 - - gemma 8x8x256+40x8x256@1024 ALL
gemma-3-12b-it-qat-int4 = 12B - 8192 131072 v BF16 - - gemma 8x8x256+40x8x256@1024 BF16 Q6_K Q8_0
gemma-3-12b-it = 12B - 8192 131072 v F16 - - gemma 8x8x256+40x8x256@1024 ALL
FLUX.1-schnell = 12B - 4096 4096 i - - - apache-2.0 - Q4_K_S=flux1-schnell-Q4_K_S.gguf
FLUX.2-klein-9B = 9B - 4096 4096 i - - - flux-non-commercial - Q4_K_S=flux-2-klein-9b-Q4_K_S.gguf
Qwen3-VL-8B Qwen3-VL-8B-Instruct 8B - 32768 262144 v F16 hermes - apache-2.0 36x8x128 ALL
Qwen3-VL-8B-Thinking = 8B - 32768 262144 v F16 hermes think-open apache-2.0 36x8x128 ALL
Qwen3-VL-8B-Thinking-1M = 8B - 32768 1000000 v F16 hermes think-open apache-2.0 36x8x128 ALL
Qwen3-VL-8B-Instruct-1M = 8B - 32768 1000000 v F16 hermes - apache-2.0 36x8x128 ALL
Qwen3-8B = 8B - 32768 40960 - - hermes think apache-2.0 36x8x128 ALL
Qwen3-8B-128K = 8B - 32768 131072 - - hermes think apache-2.0 36x8x128 ALL
Ministral-3-8B-Instruct-2512 = 8B - 8192 262144 v F16 mistral - apache-2.0 34x8x128 ALL
Ministral-3-8B-Reasoning-2512 = 8B - 8192 262144 v F16 mistral mistral apache-2.0 34x8x128 ALL
DeepSeek-R1-0528-Qwen3-8B = 8B - 32768 131072 - - - think mit 36x8x128 ALL
DeepSeek-R1-Distill-Llama-8B = 8B - 8192 131072 - - - think-open llama3.1 32x8x128 ALL
DeepSeek-R1-Distill-Qwen-7B = 8B - 32768 131072 - - - think-open mit 28x4x128 F16 Q6_K Q8_0
gemma-4-E4B-it = 8B - 131072 131072 v F16 gemma gemma apache-2.0 - ALL
gemma-3n-E4B-it = 7B - 8192 32768 - - - - gemma 4x2x256+16x2x256@512 F16 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
granite-4.0-h-tiny = 7B 1B 8192 1048576 - - hermes - apache-2.0 4x4x128 ALL
gemma-4-E2B-it = 5B - 131072 131072 v F16 gemma gemma apache-2.0 - ALL
Qwen3-VL-4B Qwen3-VL-4B-Instruct 4B - 32768 262144 v F16 hermes - apache-2.0 36x8x128 ALL
Qwen3-VL-4B-Thinking = 4B - 32768 262144 v F16 hermes think-open apache-2.0 36x8x128 ALL
Qwen3-VL-4B-Instruct-1M = 4B - 32768 1000000 v F16 hermes - apache-2.0 36x8x128 ALL
Qwen3-VL-4B-Thinking-1M = 4B - 32768 1000000 v F16 hermes think-open apache-2.0 36x8x128 ALL
Qwen3-4B-Instruct-2507 = 4B - 32768 262144 - - hermes - apache-2.0 36x8x128 F16 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-4B-Thinking-2507 = 4B - 32768 262144 - - hermes think-open apache-2.0 36x8x128 F16 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
Qwen3-4B = 4B - 32768 40960 - - hermes think apache-2.0 36x8x128 ALL
Qwen3-4B-128K = 4B - 32768 131072 - - hermes think apache-2.0 36x8x128 ALL
gemma-3-4b-it-qat = 4B - 8192 131072 v F16 - - gemma 5x4x256+29x4x256@1024 ALL
gemma-3-4b-it = 4B - 8192 131072 v F16 - - gemma 5x4x256+29x4x256@1024 ALL
gemma-3-4b-it-qat-int4 = 4B - 8192 131072 v BF16 - - gemma 5x4x256+29x4x256@1024 BF16 Q6_K Q8_0
gemma-3n-E2B-it = 4B - 8192 32768 - - - - gemma 4x2x256+16x2x256@512 F16 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
FLUX.2-klein-4B = 4B - 4096 4096 i - - - apache-2.0 - Q4_K_S=flux-2-klein-4b-Q4_K_S.gguf
Ministral-3-3B-Instruct-2512 = 3B - 8192 262144 v F16 mistral - apache-2.0 26x8x128 ALL
Ministral-3-3B-Reasoning-2512 = 3B - 8192 262144 v F16 mistral mistral apache-2.0 26x8x128 ALL
Qwen3-VL-2B Qwen3-VL-2B-Instruct 2B - 32768 262144 v F16 hermes - apache-2.0 28x8x128 ALL
Qwen3-VL-2B-Thinking = 2B - 32768 262144 v F16 hermes think-open apache-2.0 28x8x128 ALL
Qwen3-VL-2B-Thinking-1M = 2B - 32768 1000000 v F16 hermes think-open apache-2.0 28x8x128 ALL
Qwen3-VL-2B-Instruct-1M = 2B - 32768 1000000 v F16 hermes - apache-2.0 28x8x128 ALL
Qwen3-1.7B = 2B - 32768 40960 - - hermes think apache-2.0 28x8x128 ALL
DeepSeek-R1-Distill-Qwen-1.5B = 2B - 32768 131072 - - - think-open mit 28x2x128 BF16 Q6_K Q8_0
gemma-3-1b-it = 1000M - 8192 32768 - - - - gemma 4x1x256+22x1x256@512 ALL
Qwen3-0.6B = 596M - 32768 40960 - - hermes think apache-2.0 28x8x128 ALL
granite-4.0-350m = 352M - 8192 32768 - - hermes - apache-2.0 28x4x64 ALL
granite-4.0-h-350m = 340M - 8192 1048576 - - hermes - apache-2.0 4x4x64 ALL
gemma-3-270m-it = 268M - 8192 32768 - - - - gemma 3x1x256+15x1x256@512 F16 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
gemma-3-270m-it-qat = 268M - 8192 32768 - - - - gemma 3x1x256+15x1x256@512 F16 Q3_K_S Q4_K_S Q5_K_S Q6_K Q8_0 UD-Q8_K_XL
`;
