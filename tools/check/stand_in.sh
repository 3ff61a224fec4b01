#!/usr/bin/env bash
# Runs every test marked `gpu`, those of the first touch of a GPU and a rehearsal of `make gpu` on the stand-in for an NVIDIA
# driver (tests/stand_in): the CUDA source of every kernel, compiled for the host. No GPU runs anything.
#
# usage: tools/check/stand_in.sh        (from the root of the project, after make env-dev)
set -euo pipefail
cd "$(dirname "$0")/../.."
python=.venv/bin/python
$python -m pytest -q tests/rendering/test_nvidia.py tests/rendering/test_stand_in.py tests/operators/test_doctor.py
$python -m pytest -q --timeout 3000 -m slow tests/project/test_gpu_script.py
exec $python -m tests.stand_in.build "$PWD/$python" -m pytest -p tests.stand_in.plugin -m gpu -q --timeout 900 "$@"
