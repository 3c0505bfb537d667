#include "arc_zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "archive/arc_pack.h"
#include "base/mem.h"

enum {
    END = 22,
    END64 = 56,
    LOCATOR = 20,
    CENTRAL = 46,
    FLAG_ENCRYPTED = 1,
    MODE_LINK = 0120000,
    MODE_TYPE = 0170000,
    RATIO_MAX = 1040, /* more than deflate can do */
};

static uint32_t le(const char *p, int n)
{
    uint32_t v = 0;

    for (int i = n; i-- > 0;)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

static uint64_t le64(const char *p)
{
    return le(p, 4) | (uint64_t)le(p + 4, 4) << 32;
}

static enum err refuse(char why[ARC_WHY_MAX], const char *what)
{
    snprintf(why, ARC_WHY_MAX, "%s", what);
    return ERR_BAD_ARCHIVE;
}

/* ---- the end ---- */

/* Position of the end record in the tail: the last whose comment ends with the file, or with the zeros that fill it up. */
static bool find_end(struct str tail, size_t *at)
{
    size_t solid = tail.n;

    while (solid > 0 && tail.p[solid - 1] == 0)
        solid--;
    for (size_t i = tail.n >= END ? tail.n - END + 1 : 0; i-- > 0;)
        if (memcmp(tail.p + i, "PK\5\6", 4) == 0) {
            size_t stop = i + END + le(tail.p + i + 20, 2);
            if (stop < solid || stop > tail.n)
                continue;
            *at = i;
            return true;
        }
    return false;
}

static bool read_end64(struct str tail, size_t at, uint64_t size, struct arc_zip_end *out, size_t *record)
{
    uint64_t where, begins = size - tail.n;
    size_t found = at - LOCATOR - END64; /* where it is when nothing stands before the file */

    if (at < LOCATOR || memcmp(tail.p + at - LOCATOR, "PK\6\7", 4) != 0)
        return false;
    where = le64(tail.p + at - LOCATOR + 8);
    if (at < LOCATOR + END64 || memcmp(tail.p + found, "PK\6\6", 4) != 0) {
        if (where < begins || where - begins > at || at - (size_t)(where - begins) < END64 ||
            memcmp(tail.p + (where - begins), "PK\6\6", 4) != 0)
            return false;
        found = (size_t)(where - begins);
    }
    const char *p = tail.p + found;
    *record = found;
    out->count = le64(p + 32);
    out->directory_n = le64(p + 40);
    out->directory = le64(p + 48);
    return true;
}

enum err arc_zip_tail(struct str tail, uint64_t size, struct arc_zip_end *out, char why[ARC_WHY_MAX])
{
    size_t at, record;
    uint64_t stop;

    if (!find_end(tail, &at))
        return refuse(why, "there is no end record: the ZIP file is cut off, or none");
    *out = (struct arc_zip_end){le(tail.p + at + 16, 4), le(tail.p + at + 12, 4), le(tail.p + at + 10, 2), 0};
    record = at;
    if (out->count == 0xffff || out->directory_n == 0xffffffff || out->directory == 0xffffffff)
        if (!read_end64(tail, at, size, out, &record) &&
            (out->directory_n == 0xffffffff || out->directory == 0xffffffff))
            return refuse(why, "the ZIP64 end record is missing");
    if (le(tail.p + at + 4, 2) != le(tail.p + at + 6, 2))
        return refuse(why, "the ZIP file is one of several parts");
    stop = size - tail.n + record; /* the directory ends here at the latest */
    if (out->directory_n > stop || out->directory > stop - out->directory_n)
        return refuse(why, "the central directory lies outside of the file");
    if (out->directory_n > ARC_INDEX_MAX || out->count > ARC_MEMBERS_MAX || out->directory_n / CENTRAL < out->count)
        return out->directory_n / CENTRAL < out->count
                   ? refuse(why, "the central directory is too short for its entries")
                   : ERR_TOO_LARGE;
    out->shift = stop - out->directory_n - out->directory;
    out->directory += out->shift;
    return ERR_OK;
}

/* ---- the directory ---- */

struct fields {
    uint64_t stored, size, head;
    int64_t mtime_s;
};

/* Extra fields: ZIP64's numbers in place of those that were too large, and a time in UTC. */
static bool read_extra(struct str extra, struct fields *f)
{
    while (extra.n >= 4) {
        size_t n = le(extra.p + 2, 2);
        struct str body = str_skip(extra, 4);
        if (n > body.n)
            return true; /* not as it should be, but some programs leave such */
        body.n = n;
        if (le(extra.p, 2) == 1) {
            uint64_t *const wanted[] = {&f->size, &f->stored, &f->head};
            for (int i = 0; i < 3; i++) {
                if (*wanted[i] != 0xffffffff)
                    continue;
                if (body.n < 8)
                    return false;
                *wanted[i] = le64(body.p);
                body = str_skip(body, 8);
            }
        } else if (le(extra.p, 2) == 0x5455 && body.n >= 5 && (body.p[0] & 1)) {
            f->mtime_s = (int32_t)le(body.p + 1, 4);
        }
        extra = str_skip(extra, 4 + n);
    }
    return true;
}

/* MS-DOS has no time zone: taken as UTC. */
static int64_t dos_time(uint32_t time, uint32_t date)
{
    struct tm tm = {.tm_sec = (int)(time & 31) * 2,
                    .tm_min = (int)(time >> 5 & 63),
                    .tm_hour = (int)(time >> 11),
                    .tm_mday = (int)(date & 31),
                    .tm_mon = (int)(date >> 5 & 15) - 1,
                    .tm_year = (int)(date >> 9) + 80};

    return timegm(&tm);
}

static struct str without_lead(struct str name)
{
    while (name.n && (name.p[0] == '/' || str_starts(name, STR("./"))))
        name = str_skip(name, name.p[0] == '/' ? 1 : 2);
    return name;
}

/* One entry; returns its bytes in the directory, 0: damaged. */
static size_t read_entry(struct str rest, const struct arc_zip_end *end, struct arc_zip_entry *out)
{
    const char *p = rest.p;
    struct fields f;
    size_t name_n, extra_n, all;
    uint32_t flags, method, mode;

    if (rest.n < CENTRAL || memcmp(p, "PK\1\2", 4) != 0)
        return 0;
    name_n = le(p + 28, 2);
    extra_n = le(p + 30, 2);
    all = CENTRAL + name_n + extra_n + le(p + 32, 2);
    if (all > rest.n)
        return 0;
    f = (struct fields){le(p + 20, 4), le(p + 24, 4), le(p + 42, 4), dos_time(le(p + 12, 2), le(p + 14, 2))};
    if (!read_extra(str_n(p + CENTRAL + name_n, extra_n), &f) || f.head > end->directory - end->shift ||
        f.stored > end->directory || f.size > INT64_MAX / 2)
        return 0;
    flags = le(p + 8, 2);
    method = le(p + 10, 2);
    mode = le(p + 38, 4) >> 16;
    out->name = str_n(p + CENTRAL, name_n);
    out->code = method;
    out->member = (struct arc_member){.name = without_lead(out->name),
                                      .head = f.head + end->shift,
                                      .stored = f.stored,
                                      .size = f.size,
                                      .mtime_s = f.mtime_s,
                                      .crc32 = le(p + 16, 4),
                                      .method = method == 8 ? ARC_DEFLATE : ARC_STORED};
    out->is_member = !(flags & FLAG_ENCRYPTED) && (method == 8 || (method == 0 && f.stored == f.size)) &&
                     (mode & MODE_TYPE) != MODE_LINK && arc_name_is_safe(out->member.name) &&
                     out->member.name.p[out->member.name.n - 1] != '/' && f.size / RATIO_MAX <= f.stored + 1;
    return all;
}

static int by_head(const void *a, const void *b, void *arg)
{
    const struct arc_zip *z = arg;
    uint64_t x = z->entries[*(const uint32_t *)a].member.head, y = z->entries[*(const uint32_t *)b].member.head;

    return x < y ? -1 : x > y;
}

enum err arc_zip_parse(struct str directory, const struct arc_zip_end *end, struct arc_zip *out, char why[ARC_WHY_MAX])
{
    struct arc_zip z = {.end = end->directory};

    z.entries = mem_new((size_t)(end->count + 1) * sizeof(*z.entries));
    z.by_head = mem_new((size_t)(end->count + 1) * sizeof(*z.by_head));
    while (z.count < end->count) {
        size_t n = read_entry(directory, end, &z.entries[z.count]);
        if (n == 0) {
            snprintf(why, ARC_WHY_MAX, "entry %u of the central directory is damaged", z.count + 1);
            arc_zip_release(&z);
            return ERR_BAD_ARCHIVE;
        }
        z.by_head[z.count] = z.count;
        z.count++;
        directory = str_skip(directory, n);
    }
    if (str_starts(directory, STR("PK\1\2"))) { /* programs would disagree about what is in it */
        arc_zip_release(&z);
        return refuse(why, "the central directory has more entries than the end record says");
    }
    if (z.count)
        qsort_r(z.by_head, z.count, sizeof(*z.by_head), by_head, &z);
    *out = z;
    return ERR_OK;
}

void arc_zip_release(struct arc_zip *z)
{
    free(z->entries);
    free(z->by_head);
    *z = (struct arc_zip){.entries = NULL};
}

size_t arc_zip_local_bytes(struct str head)
{
    return ZIP_LOCAL + le(head.p + 26, 2);
}

enum err arc_zip_local(struct arc_zip_entry *e, struct str head, char why[ARC_WHY_MAX])
{
    if (head.n < ZIP_LOCAL || memcmp(head.p, "PK\3\4", 4) != 0 || head.n < arc_zip_local_bytes(head)) {
        snprintf(why, ARC_WHY_MAX, "there is no local header at byte %llu", (unsigned long long)e->member.head);
        return ERR_BAD_ARCHIVE;
    }
    e->member.offset = e->member.head + ZIP_LOCAL + le(head.p + 26, 2) + le(head.p + 28, 2);
    /* what the header calls otherwise than the directory does would be another file to a program that reads from the front */
    if ((le(head.p + 6, 2) & FLAG_ENCRYPTED) || le(head.p + 8, 2) != e->code ||
        !str_eq(str_n(head.p + ZIP_LOCAL, le(head.p + 26, 2)), e->name))
        e->is_member = false;
    return ERR_OK;
}

enum err arc_zip_index(struct arc_zip *z, struct arc_index **out, char why[ARC_WHY_MAX])
{
    struct arc_building *b;
    enum err e = ERR_OK;

    for (uint32_t i = 0; i < z->count; i++) {
        struct arc_member *m = &z->entries[z->by_head[i]].member;
        uint64_t stop = i + 1 < z->count ? z->entries[z->by_head[i + 1]].member.head : z->end;
        if (m->offset > stop || m->stored > stop - m->offset) {
            snprintf(why, ARC_WHY_MAX, "entries overlap at byte %llu", (unsigned long long)stop);
            return ERR_BAD_ARCHIVE;
        }
        m->next = stop;
    }
    b = arc_building_new(ARC_ZIP);
    for (uint32_t i = 0; i < z->count && e == ERR_OK; i++) {
        if (z->entries[i].is_member)
            e = arc_building_add(b, &z->entries[i].member);
        else
            arc_building_left_out(b);
    }
    if (e != ERR_OK) {
        arc_building_free(b);
        return e;
    }
    *out = arc_building_seal(b, z->end);
    return ERR_OK;
}
