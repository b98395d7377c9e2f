#!/bin/sh
# Read all samples with the program and score them. usage: run.sh [--fallback] PROGRAM [OPTION]... (options of `run decklists`, --workers 2
# unless given). --fallback reads with Tesseract and scores accordingly, as happens by itself where the accurate recogniser is not.
# The last line is "N passed, N failed".
set -eu
here=$(cd "$(dirname "$0")" && pwd)
decks=$here/../../examples/decklists
fallback=
if [ "$1" = --fallback ]; then
    fallback=--fallback
    shift
elif ! sh "$here/../fetch-models.sh" --cached; then
    echo 'the accurate recogniser is not here: its accuracy is not tested'
    fallback=--fallback
fi
program=$1
shift
[ $# -gt 0 ] || set -- --workers 2
[ -z "$fallback" ] || set -- --engine tesseract "$@"
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
python3 "$here/score.py" $fallback "$decks" "$folder/pictures.jsonl" "$decks/text" "$folder/texts.jsonl"
