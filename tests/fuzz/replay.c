/* replay.c - runs a fuzz target without a fuzzer: every file of a corpus as it is, cut short and with changed bytes.
 *
 * Shape    fuzz_<name> CORPUS_DIR_OR_FILE... [-m MUTATIONS]; the same changes every time.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t mutations = 200, state = 1;

static size_t random_below(size_t n)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return n ? (size_t)(state >> 33) % n : 0;
}

/* On a block of its very size, so that a read behind its end is seen. */
static void run(const uint8_t *p, size_t n)
{
    uint8_t *copy = mem_alloc(n + !n);

    if (n)
        memcpy(copy, p, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void run_mutations(uint8_t *p, size_t n)
{
    run(p, n);
    for (uint64_t i = 0; i < mutations && n; i++) {
        size_t at = random_below(n);
        uint8_t old = p[at];
        p[at] = (uint8_t)(i % 4 ? random_below(256) : p[at] ^ 1u << random_below(8));
        run(p, i % 8 ? n : random_below(n));
        if (i % 3) /* the others pile up */
            p[at] = old;
    }
}

static int run_file(const char *path)
{
    enum { FILE_MAX = 1 << 20 };
    uint8_t *p = mem_alloc(FILE_MAX);
    FILE *f = fopen(path, "rb");

    if (!f) {
        perror(path);
        free(p);
        return 1;
    }
    size_t n = fread(p, 1, FILE_MAX, f);
    fclose(f);
    run_mutations(p, n);
    free(p);
    return 0;
}

static int run_dir(const char *path, DIR *dir)
{
    struct dirent *entry;
    int failed = 0;

    while ((entry = readdir(dir)) != NULL) {
        char file[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        failed |= run_file(file);
    }
    closedir(dir);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;

    run(NULL, 0);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-m") == 0 && i + 1 < argc) {
            if (!str_to_u64(str_z(argv[++i]), UINT32_MAX, &mutations))
                return 2;
            continue;
        }
        DIR *dir = opendir(argv[i]);
        failed |= dir ? run_dir(argv[i], dir) : run_file(argv[i]);
    }
    return failed;
}
