# The front door over meson and ninja. `make help` lists the targets; `./demo` and `./check` install what is missing first.
# Settings: B=DIR another build folder, J=N parallel compilers, N=… SEED=… for the simulator.
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
B ?= build
J ?= $(shell nproc 2>/dev/null || echo 2)
MESON ?= meson
NINJA = ninja -j $(J)
N ?= 2000
SEED ?= 1
export UBSAN_OPTIONS ?= halt_on_error=1:print_stacktrace=1
export ASAN_OPTIONS ?= detect_stack_use_after_return=1:strict_string_checks=1
export TSAN_OPTIONS ?= halt_on_error=1
QUICK_SEEDS ?= 50
PREFIX ?= /usr/local

# Only the last line of what passes, everything of what fails.
told = { $(1) >$(B)/told.log 2>&1 && tail -n 1 $(B)/told.log; } || { cat $(B)/told.log; exit 1; }

.PHONY: install deb help build quick check trust cover demo sim fuzz bench unit samples asan tsan sanitize clang clean

help:       ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | while IFS='	' read -r target words; do printf '  make %-8s %s\n' "$$target" "$$words"; done

# A build folder is set up once; ninja itself sees when a meson.build has changed.
$(B)/build.ninja:
	@$(MESON) setup $(B) >$(B).setup.log 2>&1 || { cat $(B).setup.log; exit 1; }
	@rm -f $(B).setup.log
# Under the sanitizers gcc warns of things that are not so; the plain builds are where a warning is an error.
build-asan/build.ninja:
	@$(MESON) setup build-asan -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=false >/dev/null
build-tsan/build.ninja:
	@$(MESON) setup build-tsan -Db_sanitize=thread -Db_lundef=false -Dwerror=false >/dev/null
# Of valgrind the program knows nothing by itself: what it leaves away under a sanitizer it is told to leave away here.
build-valgrind/build.ninja:
	@$(MESON) setup build-valgrind -Dc_args=-DSANITIZED=1 >/dev/null
build-clang/build.ninja:
	@CC=clang $(MESON) setup build-clang >/dev/null

build: $(B)/build.ninja      ## the program, at build/rivulet
	@$(NINJA) -C $(B) --quiet

unit: build     ## the unit tests; T=PART for those whose file or name contains it
	@$(B)/unit $(T)

quick: build    ## in seconds: build, unit tests, layers, a few lives of the simulator
	@$(call told,$(B)/unit --quick)
	@$(call told,python3 tools/layers.py)
	@if [ -x $(B)/sim ]; then $(call told,$(B)/sim --seeds $(QUICK_SEEDS)); fi

check:          ## everything, with a table and `N passed, N failed` at the end; S=SUITE for one suite
	@python3 tools/check.py --jobs $(J) $(S)

trust: build    ## the scorecard of docs/TRUST.md, up to an hour; PART=NAME for one, WRITE=1 to put the figures into the paper
	@RIVULET_BUILD=$(B) python3 tools/trust.py $(if $(WRITE),--write) $(PART)

cover:          ## how much of the core, the parsers and the fence the tests go through (needs gcovr); ALL=1 lists every missed branch
	@python3 tools/cover.py $(if $(ALL),--all)

demo: build     ## the sample screenshots, then a pipeline file on recorded answers, results as they come
	@python3 tools/demo.py $(B)/rivulet

sim: build      ## the simulator: N lives (2000) from seed SEED (1)
	@$(B)/sim --seeds $(N) --seed $(SEED)

fuzz: build     ## the fuzz targets, TIME seconds (60) each
	@TIME=$(or $(TIME),60) sh tests/fuzz/run.sh

bench: build    ## the measurements of bench/README.md
	@sh bench/run.sh $(B)

samples:        ## draws examples/decklists anew (needs python3-pil and fonts-noto-cjk)
	@python3 tools/samples/render.py

asan: build-asan/build.ninja     ## unit tests under the address and undefined behaviour sanitizers
	@$(NINJA) -C build-asan --quiet
	@build-asan/unit

tsan: build-tsan/build.ninja     ## unit tests under the thread sanitizer
	@$(NINJA) -C build-tsan --quiet
	@build-tsan/unit

sanitize:       ## every suite under a sanitizer: TOOL=asan (address and undefined behaviour), tsan or valgrind; SUITE=NAME for one
	@python3 tools/sanitize.py --jobs $(J) --tool $(or $(TOOL),asan) $(SUITE)

clang: build-clang/build.ninja   ## a build by clang, every warning an error
	@$(NINJA) -C build-clang --quiet

install:        ## the program, its manual, documents, examples and units; PREFIX (/usr/local) and DESTDIR say where
	@$(MESON) setup build-install --prefix=$(PREFIX) --buildtype=release -Dtests=false >/dev/null || $(MESON) configure build-install -Dprefix=$(PREFIX)
	@$(NINJA) -C build-install --quiet
	@$(MESON) install -C build-install --no-rebuild --quiet $(if $(DESTDIR),--destdir=$(abspath $(DESTDIR)))

deb:            ## Debian packages for this release, in build/deb
	@packaging/build-deb.sh $(B)/deb

clean:          ## removes every build folder
	rm -rf build build-*
