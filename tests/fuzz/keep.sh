#!/bin/sh
# Keeps what was found: adds to tests/fuzz/corpus/TARGET the smallest set of inputs of at most 4 KiB that covers what it covers together with build-fuzz/corpus (and
# what AFL++ has queued). All targets, or those named as arguments. About KEEP files (60) of each, small and large ones.
cd "$(dirname "$0")/../.." || exit 2
here=tests/fuzz build=${FUZZ_BUILD:-build-fuzz} afl=build-afl
for source in $here/fuzz_*.c; do
    name=$(basename "$source" .c)
    target=${name#fuzz_}
    case " $* " in "  " | *" $target "*) ;; *) continue ;; esac
    new=$build/kept/$target
    rm -rf "$new"
    mkdir -p "$new" "$build/corpus/$target"
    more=
    [ -d "$afl/out/$target/default/queue" ] && more=$afl/out/$target/default/queue
    nice -n "${NICE:-10}" "$build/tests/fuzz/$name" -merge=1 -max_len=4096 -timeout=20 "$new" "$here/corpus/$target" "$build/corpus/$target" $more >"$build/log/$target-merge.log" 2>&1 || { echo "$target: see $build/log/$target-merge.log"; continue; }
    all=$(find "$new" -type f | wc -l)
    find "$new" -type f -size -4097c -printf '%s %p\n' | sort -n | awk -v step=$((all / ${KEEP:-60} + 1)) 'NR % step == 0' | cut -d' ' -f2- | while read -r file; do
        hash=$(basename "$file" | cut -c1-12)
        [ -f "$here/corpus/$target/$hash" ] || cp "$file" "$here/corpus/$target/$hash"
    done
    echo "$target: $(ls "$here/corpus/$target" | wc -l) files"
done
du -sb "$here/corpus" | cut -f1
