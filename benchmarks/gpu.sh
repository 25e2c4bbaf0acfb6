#!/usr/bin/env bash
# On a GPU: the numerical tests, and two benchmarks at the paper's sizes. Under 9 minutes.
# Usage: benchmarks/gpu.sh [PYTHON], in an environment with the extras dev and cuda12 or cuda13.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python}
export XLA_PYTHON_CLIENT_PREALLOCATE=false XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_deterministic_ops=true"

"$python" -c "import jax; print(jax.devices()); assert jax.default_backend() == 'gpu', 'no GPU'"
timeout 200 "$python" -m pytest -q tests/test_numerics.py tests/pseudo tests/projector tests/training
for precision in bf16 tf32 float32; do
    timeout 60 "$python" benchmarks/aggregate.py --queries 16384 --keys 131072 \
        --chunk-keys 8192 --inner 16384 --precision "$precision"
    timeout 60 "$python" benchmarks/train_step.py --batch 4096 --precision "$precision"
done
