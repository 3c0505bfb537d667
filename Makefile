# Thin names over CMake and scripts/. `make` alone builds.
DATA ?= ./sluice-data
ARGS ?=
SECONDS_PER_TARGET ?= 60

.PHONY: all build run cluster test bench fuzz soak setup format clean
all: build

setup:
	@scripts/setup build

build: setup
	@scripts/build release:sluice

# Ctrl-C stops the server gracefully. Options go through ARGS or SLUICE_* variables.
run: build
	@exec build/release/sluice serve --data "$(DATA)" $(ARGS)

# Two gateways, four targets and etcd as processes on this machine, until Ctrl-C. ARGS: --dir DIR, --targets N, ...
cluster: build
	@scripts/setup cluster
	@exec scripts/cluster $(ARGS)

test:
	@scripts/setup build test cluster
	@scripts/test

bench:
	@scripts/setup build bench
	@scripts/build release
	@bench/run

fuzz:
	@scripts/setup build fuzz
	@scripts/fuzz $(SECONDS_PER_TARGET)

# Everything random or long, much longer than in `make test`.
soak:
	@scripts/setup build test docker fuzz cluster
	@scripts/soak

format:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

clean:
	rm -rf build
