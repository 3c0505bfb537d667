#!/usr/bin/env bash
# configuration SLUICE: docs/configuration.md is what the program says of its options.
set -u
diff -u "$(dirname "$0")/../../docs/configuration.md" <("$1" config --markdown) ||
    { echo 'make it anew: build/release/sluice config --markdown > docs/configuration.md'; exit 1; }
