#!/usr/bin/env bash
# A host with and without the plug-in on a GPU, at ten times the steps of docs/host-study.md.
#
#   bash benchmarks/gpu/host_study.sh --host UniMatch --data ../voc-animals --labelled 24 \
#       --scores seem-like --classes 0 8 10 12 13 15 17
#
# At most eight minutes: trials of one and two epochs say how many fit. Downloads nothing: the clone's
# pretrained/ holds the weights of its backbone, and torch, torchvision, NumPy, SciPy, Pillow, PyYAML,
# tqdm and tensorboard are there. The checkout need not be installed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")
package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT
cp -r "$root/conformal_plugin" "$package/"
cp -r "$root/adapters" "$package/conformal_plugin/"
export PYTHONPATH="$package:$root/examples${PYTHONPATH:+:$PYTHONPATH}"
export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 # hosts go on at checkpoints of their own
"${PYTHON:-python3}" "$here/longer_host_study.py" "$@"
