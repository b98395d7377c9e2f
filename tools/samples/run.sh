#!/bin/sh
# Reads every sample with the given program and scores what came out. The last line is `N passed, N failed`.
set -eu
program=$1
here=examples/decklists
results=$(mktemp)
trap 'rm -f "$results"' EXIT
status=0
"$program" run decklists --catalogue $here/catalogue.csv $here/*.jpg $here/*.png $here/*.webp >"$results" || status=$?
[ $status -eq 1 ] || { echo "the damaged sample must give exit status 1, not $status"; cat "$results"; exit 1; }
python3 tools/samples/score.py $here "$results"
