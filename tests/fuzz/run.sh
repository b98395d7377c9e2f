#!/bin/sh
# Runs every fuzz target under libFuzzer, or those named as arguments, TIME seconds (60) each, from what is kept of it. What a run finds new goes to
# build-fuzz/corpus; a crash leaves its input in build-fuzz/crash. The last line is `N passed, N failed`.
#   keep.sh       keeps the smallest of what was found in corpus/
#   afl.sh        the same targets under AFL++
cd "$(dirname "$0")/../.." || exit 2
here=tests/fuzz build=${FUZZ_BUILD:-build-fuzz} passed=0 failed=0
[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" -Dfuzz=true -Db_lundef=false -Dwerror=false >/dev/null || exit 2
mkdir -p "$build/crash" "$build/log"
for source in $here/fuzz_*.c; do
    name=$(basename "$source" .c)
    target=${name#fuzz_}
    case " $* " in "  " | *" $target "*) ;; *) continue ;; esac
    ninja -C "$build" --quiet "tests/fuzz/$name" || exit 2
    mkdir -p "$build/corpus/$target" "$here/found/$target"
    dictionary=
    [ -f "$here/dict/$target.dict" ] && dictionary="-dict=$here/dict/$target.dict"
    if nice -n 10 "$build/tests/fuzz/$name" -max_total_time="${TIME:-60}" -max_len=4096 -timeout=20 -rss_limit_mb=1500 -print_final_stats=1 $dictionary \
        -artifact_prefix="$build/crash/$target-" "$build/corpus/$target" "$here/corpus/$target" "$here/found/$target" >"$build/log/$target.log" 2>&1; then
        passed=$((passed + 1))
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/log/$target.log") executions"
    else
        failed=$((failed + 1))
        echo "$target FAILED:"
        tail -n 60 "$build/log/$target.log"
    fi
done
rmdir "$here"/found/* 2>/dev/null
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
