#!/bin/sh
# Runs every fuzz target, or those named as arguments, TIME seconds (60) each, from its seed corpus. What a run finds new is kept in
# build-fuzz/corpus; a crash leaves its input in build-fuzz. The last line is `N passed, N failed`.
cd "$(dirname "$0")/../.." || exit 2
here=tests/fuzz build=build-fuzz passed=0 failed=0
[ -f $build/build.ninja ] || CC=clang meson setup $build -Dfuzz=true -Db_lundef=false >/dev/null || exit 2
for source in $here/fuzz_*.c; do
    name=$(basename "$source" .c)
    target=${name#fuzz_}
    case " $* " in "  " | *" $target "*) ;; *) continue ;; esac
    ninja -C $build --quiet "tests/fuzz/$name" || exit 2
    mkdir -p "$build/corpus/$target"
    if "$build/tests/fuzz/$name" -max_total_time="${TIME:-60}" -max_len=20000 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$build/$target-" "$build/corpus/$target" "$here/corpus/$target" >"$build/$target.log" 2>&1; then
        passed=$((passed + 1))
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log") executions"
    else
        failed=$((failed + 1))
        echo "$target FAILED:"
        tail -n 60 "$build/$target.log"
    fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
