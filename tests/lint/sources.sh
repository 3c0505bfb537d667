# Sourced by the checks: sources PATTERN... lists the tree's own files (tracked or about to be), from its top.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
shopt -s globstar nullglob
broken=0

sources()
{
    if git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [ ! -f "$f" ] || echo "$f"; done
    else # an unpacked archive
        find . -path ./build -prune -o -type f -print | sed 's|^\./||' | while read -r f; do
            for pattern in "$@"; do
                # shellcheck disable=SC2053
                [[ $f != $pattern ]] || { echo "$f"; break; }
            done
        done
    fi
}

complain()
{
    echo "$*"
    broken=1
}

finish()
{
    exit "$broken"
}
