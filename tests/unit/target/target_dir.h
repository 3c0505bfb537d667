/* target_dir.h - a directory of its own for a test that needs a mountpath, and content to put there. */
#ifndef SLUICE_TESTS_TARGET_DIR_H
#define SLUICE_TESTS_TARGET_DIR_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

struct test_dir {
    char path[256];
};

static inline void test_dir_make(struct test_dir *t)
{
    const char *base = getenv("TMPDIR");

    snprintf(t->path, sizeof(t->path), "%s/sluice-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(t->path)) {
        perror("mkdtemp");
        abort();
    }
}

static inline int test_dir_remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline void test_dir_remove(struct test_dir *t)
{
    nftw(t->path, test_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Regular files at or below `path`. */
static inline int test_files_below(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    int n = 0;

    if (!d)
        return 0;
    while ((e = readdir(d)) != NULL) {
        char sub[512];
        if (e->d_name[0] == '.' || snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) >= (int)sizeof(sub))
            continue;
        n += e->d_type == DT_DIR ? test_files_below(sub) : 1;
    }
    closedir(d);
    return n;
}

static inline int test_open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* n bytes that do not repeat early; the caller frees. */
static inline char *test_content(size_t n, uint64_t seed)
{
    char *p = mem_alloc(n);
    uint64_t x = seed * 2 + 1;

    for (size_t i = 0; i < n; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        p[i] = (char)(x >> 56);
    }
    return p;
}

#endif
