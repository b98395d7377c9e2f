#!/bin/sh
# The same targets under AFL++ (package afl++), in persistent mode, TIME seconds (60) each: all, or those named as arguments. It begins with what is kept; what it
# finds new lies in build-afl/out/TARGET/default/queue, a crash in …/crashes. The last line is `N passed, N failed`.
cd "$(dirname "$0")/../.." || exit 2
here=tests/fuzz build=${FUZZ_BUILD:-build-afl} passed=0 failed=0
export AFL_NO_AFFINITY=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_UI=1 AFL_AUTORESUME=1 AFL_QUIET=1
command -v afl-fuzz >/dev/null || { echo "afl-fuzz is missing: apt-get install afl++" >&2; exit 2; }
[ -f "$build/build.ninja" ] || CC=afl-clang-fast meson setup "$build" -Dfuzz=true -Dfuzz_sanitizers="${SANITIZERS:-undefined}" -Db_lundef=false -Dwerror=false >/dev/null || exit 2
for source in $here/fuzz_*.c; do
    name=$(basename "$source" .c)
    target=${name#fuzz_}
    case " $* " in "  " | *" $target "*) ;; *) continue ;; esac
    ninja -C "$build" --quiet "tests/fuzz/$name" || exit 2
    in=$build/in/$target out=$build/out/$target
    mkdir -p "$in" "$out"
    cp -f $here/corpus/"$target"/* "$in"/
    [ -d "$here/found/$target" ] && cp -f $here/found/"$target"/* "$in"/
    dictionary=
    [ -f "$here/dict/$target.dict" ] && dictionary="-x $here/dict/$target.dict"
    nice -n 10 afl-fuzz -i "$in" -o "$out" -V "${TIME:-60}" -t 20000 -m none $dictionary -- "$build/tests/fuzz/$name" >"$out/log" 2>&1
    stats=$out/default/fuzzer_stats
    crashes=$(sed -n 's/^saved_crashes *: *//p' "$stats" 2>/dev/null)
    echo "$target: $(sed -n 's/^execs_done *: *//p' "$stats" 2>/dev/null) executions, ${crashes:-?} crashes"
    if [ "$crashes" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
