#include "proc_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct proc {
    pid_t pid, parent;
    uint64_t own, waited; /* ticks */
    uint64_t pages;
    uint32_t depth; /* below the root; 0: not */
};
struct procs {
    struct proc *p;
    size_t n, cap;
};

/* Fields by their numbers in proc(5); the name may hold spaces and parentheses. */
static bool read_one(int dir, const char *name, struct proc *out)
{
    char path[300], text[1024];
    unsigned long utime, stime;
    long cutime, cstime, rss;
    int parent;

    snprintf(path, sizeof(path), "%s/stat", name);
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    const char *after = strrchr(text, ')');
    if (!after ||
        sscanf(after + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %*d %*d %*u %*u %ld",
               &parent, &utime, &stime, &cutime, &cstime, &rss) != 6)
        return false;
    *out = (struct proc){(pid_t)strtol(name, NULL, 10), parent, utime + stime, (uint64_t)(cutime + cstime),
                         rss > 0 ? (uint64_t)rss : 0,   0};
    return true;
}

static void read_all(struct procs *all)
{
    DIR *d = opendir("/proc");
    struct dirent *e;

    while (d && (e = readdir(d))) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9')
            continue;
        if (all->n == all->cap)
            all->p = mem_realloc(all->p, (all->cap = all->cap * 2 + 256) * sizeof(*all->p));
        if (read_one(dirfd(d), e->d_name, &all->p[all->n]))
            all->n++;
    }
    if (d)
        closedir(d);
}

/* The children of one, and theirs. */
static void find_depths(struct procs *all, pid_t root)
{
    size_t *found = mem_new((all->n + 1) * sizeof(*found)), count = 0;
    pid_t parent = root;
    uint32_t depth = 1;

    for (size_t next = 0;; next++) {
        for (size_t i = 0; i < all->n; i++)
            if (all->p[i].parent == parent && all->p[i].depth == 0 && all->p[i].pid != root) {
                all->p[i].depth = depth;
                found[count++] = i;
            }
        if (next == count)
            break;
        parent = all->p[found[next]].pid;
        depth = all->p[found[next]].depth + 1;
    }
    free(found);
}

struct proc_sum proc_tree_sum(pid_t root, uint32_t depth)
{
    struct procs all = {0};
    struct proc_sum sum = {0};
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    read_all(&all);
    find_depths(&all, root);
    for (size_t i = 0; i < all.n; i++) {
        const struct proc *p = &all.p[i];
        if (p->depth == 0 && p->pid != root)
            continue;
        if (p->depth + 1 >= depth)
            sum.cpu_ticks += p->waited;
        if (p->depth < depth)
            continue;
        sum.cpu_ticks += p->own;
        sum.memory += p->pages * page;
        sum.processes++;
    }
    free(all.p);
    return sum;
}

void proc_tree_kill(pid_t root)
{
    struct procs all = {0};

    read_all(&all);
    find_depths(&all, root);
    for (size_t i = 0; i < all.n; i++)
        if (all.p[i].depth)
            kill(all.p[i].pid, SIGKILL);
    free(all.p);
}
