#!/usr/bin/env bash
# Builds wheel and source archive, checks what package indexes show of them, and runs the installed command
# in a clean environment, away from the checkout.
#
# usage: tools/check/package.sh        (from the root of the project)
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
constraints=$PWD/requirements/constraints.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git clone --quiet "file://$PWD" "$work/source"
"$python" -m venv "$work/tools"
"$work/tools/bin/python" -m pip install --quiet build twine
"$work/tools/bin/python" -m build --outdir "$work/dist" "$work/source"
"$work/tools/bin/python" -m twine check --strict "$work"/dist/*

"$python" -m venv "$work/installed"
wheel=$(echo "$work"/dist/fluoro-*.whl)
"$work/installed/bin/python" -m pip install --quiet --constraint "$constraints" "${wheel}[app]"
mkdir "$work/elsewhere"
cd "$work/elsewhere"
"$work/installed/bin/fluoro" --version
"$work/installed/bin/fluoro" run sweep --frames 10 --set console.enabled=false renderer.device=cpu
"$work/installed/bin/fluoro" validate sweep register_phantom
ls output/sweep-*/run.json
echo "package.sh: wheel, source archive and installed command are in order"
