#!/usr/bin/env bash
# The package on a GPU: results against the CPU's, times against a copy on the device, training steps.
#
#   bash benchmarks/gpu/run.sh --json gpu.json
#   bash benchmarks/gpu/run.sh --small --device cpu    # tries the script where there is no GPU
#
# At most six minutes. Needs torch, NumPy and SciPy alone; the checkout need not be installed.
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")" "$@"
