#!/usr/bin/env bash
# size: a file over 800 lines or a function over 80 wants to be two.
. "$(dirname "$0")/sources.sh"

mapfile -t files < <(sources '*.c' '*.h')
while read -r lines file; do
    complain "$file: $lines lines"
done < <(wc -l "${files[@]}" | awk '$2 != "total" && $1 > 800 { print $1, $2 }')
while read -r found; do
    complain "$found"
done < <(awk '
    FNR == 1 { start = 0 }
    /^[a-zA-Z_].*\(/ { head = $0; line = FNR }
    /^\{/ { start = FNR }
    /^\}/ { if (start && FNR - start > 80) print FILENAME ":" line ": " FNR - start " lines: " head; start = 0 }' "${files[@]}")
finish
