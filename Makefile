# SPDX-License-Identifier: Apache-2.0
# A thin front: what happens is in meson.build and in scripts/.
# A target's line after ## is what `make` prints about it.

SEEDS ?= 300
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 60

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
	    awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

deps: ## fetch what the build needs (Debian)
	@scripts/deps

dev-deps:
	@scripts/deps --dev

build/build.ninja: | deps
	meson setup build

all: deps build/build.ninja ## build everything
	ninja -C build

demo: deps build/build.ninja ## two people talk through a server that is killed
	@ninja -C build src/server/sottod src/cli/sotto
	@scripts/demo

test: dev-deps ## both builds, all tests, lint; the last line counts them
	@scripts/test-all

check-all: dev-deps ## test, and what takes long: slow suites, mutants, fuzzing
	@scripts/test-all --slow
	@scripts/mutants
	@scripts/fuzz --seconds $(FUZZ_SECONDS)

ct: dev-deps ## no branch on a secret: both compilers at -O1, -O2, -Os (Valgrind)
	@scripts/test-all --ct

test-bare: ## make demo and make test on fresh Debian 12 and 13 (root)
	@scripts/test-bare

sim: dev-deps build/build.ninja ## SEEDS= random worlds of many clients
	@ninja -C build tests/sim/sim
	@build/tests/sim/sim -n $(SEEDS)

interop: deps build/build.ninja ## groups with other implementations of MLS (Node, npm)
	@scripts/deps --interop
	@ninja -C build tests/interop/mls_bridge
	@cd tests/interop && npm ci --silent
	@node tests/interop/interop.js build/tests/interop/mls_bridge

mutants: dev-deps ## every planted fault is found by the test that it names
	@scripts/mutants

fuzz: dev-deps ## each fuzz target for FUZZ_SECONDS, and its planted bug
	@scripts/fuzz --seconds $(FUZZ_SECONDS)

soak: all ## the server under faults and strangers, each for SOAK_SECONDS
	@tests/soak/soak.py build $(SOAK_SECONDS)
	@scripts/with-postgres --standby tests/soak/soak.py build $(SOAK_SECONDS) soak
	@scripts/with-postgres tests/soak/soak.py build $(SOAK_SECONDS) calendar

lint: dev-deps ## the rules of the style that a script can check
	@scripts/lint

format: dev-deps ## lay out all C files
	@git ls-files '*.c' '*.h' | xargs clang-format-19 -i

bench: all ## a line per figure: name, value, unit (some minutes)
	@for name in crypto mls server; do \
	    SOTTOD=build/src/server/sottod build/bench/bench_$$name || exit 1; \
	done

bench-server: all ## the server beside a bare relay and a peer, and the targets
	@scripts/bench-server

bench-mls: build/build.ninja ## what MLS costs in groups of 2 to 50,000, and the targets
	@ninja -C build bench/bench_mls
	@build/bench/bench_mls

install: all ## install the programs and man pages (DESTDIR= for a package)
	meson install -C build --no-rebuild

clean: ## remove the build folders
	rm -rf build build-asan build-fuzz build-mutants

.PHONY: help deps dev-deps all demo test check-all ct test-bare sim interop mutants fuzz \
	lint bench bench-mls bench-server soak format install clean
