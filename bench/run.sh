#!/bin/sh
# All measurements of bench/README.md, one after the other. usage: run.sh [BUILD]
# DECKLISTS=DIR names real screenshots with their catalogue (see bench/batch.py); the project's own samples without it. Status 1: a bar was missed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-$here/../build}" && pwd)
failed=0
python3 "$here/engine.py" --build "$build" || failed=1
python3 "$here/batch.py" ${DECKLISTS:+"$DECKLISTS"} --build "$build" || failed=1
python3 "$here/fanout.py" --build "$build" || failed=1
python3 "$here/serve.py" ${DECKLISTS:+"$DECKLISTS"} --build "$build" || failed=1
python3 "$here/intake.py" --build "$build" || failed=1
python3 "$here/proxies.py" --build "$build" || failed=1
python3 "$here/exec.py" --build "$build" || failed=1
if [ -n "${DECKLISTS:-}" ]; then
    python3 "$here/decklists.py" "$DECKLISTS" --program "$build/bench/read-decklists" || failed=1
fi
exit $failed
