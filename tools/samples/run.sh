#!/bin/sh
# Read all samples with the program and score them. usage: run.sh PROGRAM [OPTION]... (options of `run decklists`, --workers 2 unless given).
# The last line is "N passed, N failed".
set -eu
here=$(cd "$(dirname "$0")" && pwd)
decks=$here/../../examples/decklists
program=$1
shift
[ $# -gt 0 ] || set -- --workers 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Status 1 says that some item failed, as the damaged one must; more says that the run itself did.
read_all() {
    results=$1
    shift
    status=0
    "$program" run decklists --catalogue "$decks/catalogue.csv" "$@" >"$results" || status=$?
    [ "$status" -le 1 ] || { echo "$program run decklists ended with status $status"; exit 1; }
}

read_all "$folder/pictures.jsonl" "$@" "$decks"/[0-9]*.jpg "$decks"/[0-9]*.png "$decks"/[0-9]*.webp
read_all "$folder/texts.jsonl" "$@" "$decks"/text/*.txt
python3 "$here/score.py" "$decks" "$folder/pictures.jsonl" "$decks/text" "$folder/texts.jsonl"
