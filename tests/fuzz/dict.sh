#!/bin/sh
# Writes dict/pipeline.dict anew: the keys and words that `rivulet check --keys` tells of, and what YAML is made of. `dict.sh [PROGRAM]`, build/rivulet by default.
cd "$(dirname "$0")/../.." || exit 2
{
    "${1:-build/rivulet}" check --keys | grep -o '`[a-zA-Z_$!.0-9/-]\{2,24\}`' | tr -d '`' | sort -u | while read -r word; do printf '"%s: "\n"- %s"\n' "$word" "$word"; done
    printf '"%s"\n' 'stages:\x0a  - ' 'name: p\x0a' '{ ' ' }' '[' ']' '|\x0a    ' '>\x0a    ' '&a ' '*a' '<<: *a' '!env NAME' '!env NAME default' '\\(.a)' '$params.top' '30s' '1s..30s' \
        '10MiB' '500/min' '429' '5xx' 'continue' 'drop_record' 'fail_job' 'use: 1' 'legs' 'each: record'
} >tests/fuzz/dict/pipeline.dict
