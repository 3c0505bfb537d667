#!/usr/bin/env bash
# headers: the lines at the head of a header (Shape, Units, ...) each begin a line; formatters like to flow them together.
. "$(dirname "$0")/sources.sh"

mapfile -t files < <(sources '*.h')
while read -r found; do
    complain "$found"
done < <(grep -nE '^ \* .*[^ ] +(Shape|Units|Owns|Errors|Thread|Source)  +[A-Za-z]' -- "${files[@]}" | cut -c1-120)
finish
