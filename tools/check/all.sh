#!/usr/bin/env bash
# Runs the checks that are too heavy for continuous integration, and prints a table.
#
# usage: tools/check/all.sh [NAME ...]        (from the root of the project, on Debian or Ubuntu)
#
# Without names all run, one after the other: several hours on 2 cores. Logs are in output/check/. Put the
# table, with its date, into docs/validation.md. Exit code 1 when a check fails.
set -uo pipefail
cd "$(dirname "$0")/../.."
logs=output/check
python=.venv/bin/python

# Name and command of each check.
declare -A checks=(
    [debian12]="tools/check/minimal_root.sh bookworm"
    [debian13]="tools/check/minimal_root.sh trixie"
    [library]="tools/check/minimal_root.sh sid library"
    [schema]="env FLUORO_EXAMPLES=20000 $python -m pytest -q --timeout 3600 tests/config/test_schema.py"
    [slow-tests]="make test-all"
    [faults]="tools/check/faults_at.sh 1c687ac"
    [cuda-compile]="make cuda-check"
    [stand-in]="tools/check/stand_in.sh"
    [peers]="make peers"
    [peers-rtk]="make peers-rtk"
    [arm-wheels]="$python tools/check/arm_wheels.py"
    [package]="tools/check/package.sh"
    [ros2]="$python -m pytest -q -rs tests/interop/test_ros2_nodes.py tests/interop/test_igtl_library.py"
)
order=(debian12 debian13 library schema slow-tests faults cuda-compile stand-in peers peers-rtk arm-wheels package ros2)

run() {
    local name=$1 begun=$SECONDS result=passed
    bash -c "${checks[$name]}" >"$logs/$name.log" 2>&1 || result=FAILED
    printf '%-14s %-7s %6d s  %s\n' "$name" "$result" "$((SECONDS - begun))" "$(tail -n 1 "$logs/$name.log" | cut -c 1-90)"
    [ "$result" = passed ]
}

names=("$@")
[ ${#names[@]} -gt 0 ] || names=("${order[@]}")
for name in "${names[@]}"; do
    [ -n "${checks[$name]:-}" ] || { echo "unknown check: $name (one of: ${order[*]})" >&2; exit 2; }
done
mkdir -p "$logs"
echo "$(date -u '+%Y-%m-%d %H:%M UTC'), $(git rev-parse --short HEAD), $(nproc) cores"
failed=0
for name in "${names[@]}"; do run "$name" || failed=1; done
exit "$failed"
