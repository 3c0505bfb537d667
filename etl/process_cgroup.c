#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "process_own.h"

/* The kernel lets a group have limits for its children only when no process is in the group itself; we move to a child of ours for that. */
#define OUR_GROUP "sluice"
#define NEEDED    "+memory +pids +cpu"

enum {
    CPU_PERIOD_US = 100000,
    REMOVE_TRIES = 500, /* its processes are gone for wait(2), but not at once for the group */
    REMOVE_TRY_US = 2000,
};

/* 0 on error, too. */
static size_t read_text(const char *dir, const char *name, char *out, size_t size)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s%s%s", dir, name[0] ? "/" : "", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, size - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

static bool write_text(const char *dir, const char *name, const char *text)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    errno = errnum;
    return ok;
}

static bool has_word(const char *text, const char *word)
{
    struct str rest = str_trim(str_z(text));

    if (str_ends(rest, STR("\n")))
        rest.n--;
    while (rest.n)
        if (str_eq(str_split(&rest, ' '), str_z(word)))
            return true;
    return false;
}

/* Only we are in it: nobody else is moved. */
static bool is_ours_alone(const char *dir)
{
    char text[256], own[32];

    snprintf(own, sizeof(own), "%d\n", (int)getpid());
    return read_text(dir, "cgroup.procs", text, sizeof(text)) && strcmp(text, own) == 0;
}

static bool enable(const char *dir)
{
    char ours[600], text[1024];

    read_text(dir, "cgroup.controllers", text, sizeof(text));
    if (!has_word(text, "memory") || !has_word(text, "pids") || !has_word(text, "cpu"))
        return false;
    if (write_text(dir, "cgroup.subtree_control", NEEDED))
        return true;
    if (errno != EBUSY || !is_ours_alone(dir))
        return false;
    snprintf(ours, sizeof(ours), "%s/" OUR_GROUP, dir);
    if ((mkdir(ours, 0755) != 0 && errno != EEXIST) || !write_text(ours, "cgroup.procs", "0"))
        return false;
    if (write_text(dir, "cgroup.subtree_control", NEEDED))
        return true;
    (void)!write_text(dir, "cgroup.procs", "0");
    (void)rmdir(ours);
    return false;
}

/* "36 35 98:0 /root /mount/point OPTIONS - cgroup2 ..." of proc(5). */
static bool find_mount(const char *mounts, char *out, size_t size)
{
    FILE *f = fopen(mounts, "re");
    char line[2048], root[512], point[512];
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f)) {
        found = strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s %511s %511s", root, point) == 2;
        if (found)
            snprintf(out, size, "%s", point);
    }
    if (f)
        fclose(f);
    return found;
}

void process_cgroup_find(const char *mounts, const char *own, char *out, size_t size)
{
    char text[4096], mount[512];

    out[0] = 0;
    if (!read_text(own, "", text, sizeof(text)) || !find_mount(mounts, mount, sizeof(mount)))
        return;
    struct str rest = str_z(text);
    while (rest.n) {
        struct str line = str_split(&rest, '\n');
        if (!str_starts(line, STR("0::/")))
            continue;
        line = str_skip(line, 3);
        if (str_ends(line, STR("/" OUR_GROUP))) /* of a runtime that was open before */
            line.n -= sizeof("/" OUR_GROUP) - 1;
        if (line.n == 1)
            line.n = 0;
        if (snprintf(out, size, "%s" STR_FMT, mount, STR_ARG(line)) >= (int)size || !enable(out))
            out[0] = 0;
        return;
    }
}

enum err process_cgroup_make(const char *dir, const struct process_limits *limits)
{
    char text[64];
    bool ok = mkdir(dir, 0755) == 0;

    if (ok && limits->memory) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)limits->memory);
        ok = write_text(dir, "memory.max", text);
        (void)!write_text(dir, "memory.swap.max", "0"); /* where the kernel counts it */
    }
    if (ok && limits->processes) {
        snprintf(text, sizeof(text), "%u", limits->processes);
        ok = write_text(dir, "pids.max", text);
    }
    if (ok && limits->cpu) {
        snprintf(text, sizeof(text), "%llu %d", (unsigned long long)limits->cpu * CPU_PERIOD_US / 1000, CPU_PERIOD_US);
        ok = write_text(dir, "cpu.max", text);
    }
    if (ok)
        return ERR_OK;
    enum err e = err_from_errno(errno);
    log_error(STR_NONE, "etl control group not made", "dir=%s errno=%d", log_quote(str_z(dir)), errno);
    (void)rmdir(dir);
    return e;
}

void process_cgroup_remove(const char *dir)
{
    (void)!write_text(dir, "cgroup.kill", "1");
    for (int i = 0; i < REMOVE_TRIES; i++) {
        if (rmdir(dir) == 0 || errno != EBUSY)
            return;
        usleep(REMOVE_TRY_US);
    }
    log_error(STR_NONE, "etl control group not removed", "dir=%s", log_quote(str_z(dir)));
}

/* The number behind "NAME " in a file of such lines. */
static bool read_field(const char *dir, const char *file, const char *name, uint64_t *out)
{
    char text[4096];
    size_t n = strlen(name);

    read_text(dir, file, text, sizeof(text));
    struct str rest = str_z(text);
    while (rest.n) {
        struct str line = str_split(&rest, '\n');
        if (n == 0)
            return str_to_u64(line, UINT64_MAX, out);
        if (line.n > n && line.p[n] == ' ' && memcmp(line.p, name, n) == 0)
            return str_to_u64(str_skip(line, n + 1), UINT64_MAX, out);
    }
    return false;
}

bool process_cgroup_starved(const char *dir)
{
    uint64_t n = 0;

    return read_field(dir, "memory.events", "oom_kill", &n) && n;
}

enum err process_cgroup_usage(const char *dir, struct etl_usage *out)
{
    uint64_t us, memory, processes;

    if (!read_field(dir, "cpu.stat", "usage_usec", &us) || !read_field(dir, "memory.current", "", &memory) ||
        !read_field(dir, "pids.current", "", &processes))
        return ERR_UNAVAILABLE;
    *out = (struct etl_usage){(double)us / 1e6, memory, (uint32_t)processes};
    return ERR_OK;
}
