#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/command.h"

enum { DEPTH_MAX = 64 };

static void add(struct files *f, const char *name, const struct stat *st)
{
    size_t n = strlen(name) + 1;
    struct file_entry e = {mem_new(n), (uint64_t)st->st_size, st->st_mtime};

    memcpy(e.name, name, n);
    if (f->count == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 256;
        f->all = mem_realloc(f->all, f->cap * sizeof(*f->all));
    }
    f->all[f->count++] = e;
    f->bytes += e.size;
}

static int walk(struct files *f, const char *dir, const char *below, unsigned depth)
{
    char path[PATH_MAX], name[PATH_MAX];
    int code = 0;
    DIR *d;

    if (snprintf(path, sizeof(path), "%s%s%s", dir, *below ? "/" : "", below) >= (int)sizeof(path) || depth > DEPTH_MAX)
        return command_fail("%s/%s: too deep", dir, below);
    if ((d = opendir(path)) == NULL)
        return command_fail("%s: %s", path, strerror(errno));
    for (const struct dirent *e; code == 0 && (e = readdir(d)) != NULL;) {
        struct stat st, own;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (snprintf(name, sizeof(name), "%s%s%s", below, *below ? "/" : "", e->d_name) >= (int)sizeof(name))
            code = command_fail("%s/%s: the name is too long", path, e->d_name);
        else if (fstatat(dirfd(d), e->d_name, &st, 0) != 0 ||
                 fstatat(dirfd(d), e->d_name, &own, AT_SYMLINK_NOFOLLOW) != 0)
            code = command_fail("%s/%s: %s", path, e->d_name, strerror(errno));
        else if (S_ISREG(st.st_mode))
            add(f, name, &st);
        else if (S_ISDIR(own.st_mode))
            code = walk(f, dir, name, depth + 1);
    }
    closedir(d);
    return code;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct file_entry *)a)->name, ((const struct file_entry *)b)->name);
}

int files_read(struct files *f, const char *dir)
{
    int code;

    *f = (struct files){.all = NULL};
    code = walk(f, dir, "", 0);
    if (code == 0 && f->count)
        qsort(f->all, f->count, sizeof(*f->all), by_name);
    return code;
}

void files_release(struct files *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->all[i].name);
    free(f->all);
}
