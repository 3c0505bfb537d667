#!/usr/bin/env bash
# layers: who may include whom. base <- http <- store <- {iam, archive} <- etl <- {s3api, target}, s3api <- gateway, {gateway, target} <- {cli, main.c},
# and each third-party header has one owner.
. "$(dirname "$0")/sources.sh"

# folder of the including file : regular expression of what its quoted includes may be
allowed()
{
    case $1 in
    core/base) echo '^base/' ;;
    core/http) echo '^(base|http)/' ;;
    core/store) echo '^(base|http|store)/' ;;
    core/iam) echo '^(base|store|iam)/' ;;
    core/archive) echo '^(base|http|store|archive)/' ;;
    # of http and store only what a request, a body and a store are
    s3api) echo "^(base/|$1/|archive/|iam/|etl/(door|each|through|view_conf)\.h|http/(message|url)\.h|store/(store|object|meta|announce|buckets|bucket_conf|jobs|inventory|lifecycle|notification|quota|source_chain|verified)\.h)" ;;
    etl) echo '^(base|http|store|archive|etl)/' ;;
    gateway) echo '^(base|http|store|iam|archive|s3api|etl|gateway)/' ;;
    target) echo '^(base|http|store|archive|etl|target)/' ;;
    cli) echo '^(base|http|store|iam|archive|s3api|etl|gateway|target|cli)/' ;;
    *) echo '.' ;; # main.c, role*.c, tests, bench
    esac
}

# third-party header : files that may include it
owners='
^h2o                 core/base/loop\.c
^picohttpparser      nobody
^openssl/            core/base/hash\.[ch]|core/base/(seal|vault)\.c|core/base/token\.c|core/http/tls\.c|s3api/sse\.c|tests/unit/base/test_token\.c|tests/unit/http/(test_tls|cert)\.c
^rocksdb/            core/base/kv\.c
^yaml\.h             core/base/doc\.c
^jansson\.h          core/base/json\.c
^msgpack             core/base/pack\.[ch]
^xxhash\.h           core/base/hash\.c
^isa-l               core/base/(hash|crc64)\.c|core/store/erasure(_coder)?\.c|core/archive/arc_encode\.c
^libxml/             core/base/xml\.c
^curl/               core/http/client\.c|cli/web\.c
^archive(_entry)?\.h core/archive/arc_[a-z_]*\.c|tests/unit/archive/test_arc_[a-z_]*\.c
^(zlib|zstd|lz4(frame)?|bzlib|lzma)\.h core/archive/arc_[a-z_]*\.c
^pcre2\.h             core/archive/arc_select\.c
^cmocka\.h           tests/unit/unit\.h
'

owned=$(awk 'NF { printf "%s%s", between, $1; between = "|" }' <<<"$owners")

mapfile -t files < <(sources 'core/**/*.[ch]' 's3api/*.[ch]' 'etl/*.[ch]' 'gateway/*.[ch]' 'target/*.[ch]' 'cli/*.[ch]' 'main.c' 'role*.[ch]' 'tests/*.[ch]')
former=
while IFS=: read -r f line include; do
    folder=${f%/*}
    [ "$folder" = "$former" ] || may=$(allowed "$folder")
    former=$folder
    path=${include#*[\"<]}
    path=${path%%[\">]*}
    if [[ $include == *\"* ]]; then
        [[ $path == */* ]] || path=${folder#core/}/$path # a bare name is a file of the same folder
        [[ $path =~ $may ]] || complain "$f:$line: $folder may not include \"$path\""
    elif [[ $path =~ $owned ]]; then
        while read -r header owner; do
            [ -n "$header" ] && [[ $path =~ $header ]] || continue
            [[ $f =~ ^($owner)$ ]] || complain "$f:$line: <$path> belongs to $owner"
        done <<<"$owners"
    fi
done < <(grep -nE '^[ 	]*#[ 	]*include[ 	]' -- "${files[@]}")

# the same order for the libraries that CMake links
for folder in core/base core/http core/store core/iam core/archive s3api etl gateway target cli; do
    [ -f "$folder/CMakeLists.txt" ] || continue
    may=$(allowed "$folder")
    for lib in $(sed -n '/target_link_libraries/,/)/p' "$folder/CMakeLists.txt" | tr ' ()' '\n\n\n' | grep -xE 'base|http|store|iam|archive|s3api|etl|gateway|target|cli'); do
        [ "$lib" = "${folder#core/}" ] || [[ $lib/ =~ $may || $may == *"$lib/"* ]] || complain "$folder/CMakeLists.txt: may not link $lib"
    done
done
finish
