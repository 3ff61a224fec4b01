#!/usr/bin/env bash
# Shows that the tests of repaired faults fail on the sources of an earlier revision.
#
# usage: tools/check/faults_at.sh REV [ITEM]        (from the root of the project, with its environment)
#
# The tests of today (tests/project/test_faults.py lists them by item) run against the sources of REV, in a work
# tree under output/. An item is "seen" when at least one of its tests fails there. Exit code 1 when an
# item passes.
set -euo pipefail
cd "$(dirname "$0")/../.."
rev=${1:?usage: tools/check/faults_at.sh REV [ITEM]}
item=${2:-}
python=$PWD/.venv/bin/python
tree=$PWD/output/faults_at
[ -x "$python" ] || { echo "missing: $python: run make env-dev" >&2; exit 2; }
git rev-parse --verify --quiet "$rev^{commit}" >/dev/null || { echo "unknown revision: $rev" >&2; exit 2; }

cleanup() { git worktree remove --force "$tree" 2>/dev/null || true; }
trap cleanup EXIT
cleanup
git worktree add --quiet --detach "$tree" "$rev"
rm -rf "$tree/tests"
cp -r tests "$tree/tests"
ln -s "$PWD/.venv" "$tree/.venv"
cd "$tree"

passed=0
while IFS=$'\t' read -r name tests; do
    [ -z "$item" ] || [ "$item" = "$name" ] || continue
    # shellcheck disable=SC2086 # several tests on purpose
    result=$("$python" -m pytest -q -p no:cacheprovider $tests 2>&1 | tail -n 1 || true)
    if grep -Eq '[0-9]+ (failed|error)' <<<"$result"; then
        echo "seen    $name: $result"
    else
        echo "PASSES  $name: $result"
        passed=1
    fi
done < <(PYTHONPATH=. "$python" - <<'PYTHON'
from tests.project.test_faults import ITEMS

for name, tests in ITEMS.items():
    print(name, " ".join(f"tests/{test}" for test in tests), sep="\t")
PYTHON
)
exit "$passed"
