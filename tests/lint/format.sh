#!/usr/bin/env bash
# format: every source looks as .clang-format says (`make format` does it).
. "$(dirname "$0")/sources.sh"

mapfile -t files < <(sources '*.c' '*.h')
while read -r found; do
    complain "$found"
done < <(clang-format-14 --dry-run "${files[@]}" 2>&1 | grep 'warning:' | cut -d: -f1 | sort | uniq -c | awk '{ print $2 ": " $1 " places are not formatted (make format)" }')
finish
