#!/usr/bin/env bash
# paths: nothing in the tree may depend on the machine it was written on.
. "$(dirname "$0")/sources.sh"

mapfile -t files < <(sources '*')
patterns=(-e "$PWD/" -e '/home/[a-z]+/')
[ "${HOME:-/}" = / ] || patterns+=(-e "$HOME/")
while read -r found; do
    complain "$found"
done < <(grep -InE "${patterns[@]}" -- "${files[@]}" | grep -v '^tests/lint/paths.sh:' | cut -c1-200)
finish
