/* ZIP files: an index is made only when all entries lie within the file, none over another. */
#include <assert.h>

#include "archive/arc_pack.h"
#include "archive/arc_zip.h"
#include "base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err read_locals(struct arc_zip *z, struct str file, char why[ARC_WHY_MAX])
{
    for (uint32_t i = 0; i < z->count; i++) {
        struct arc_zip_entry *entry = &z->entries[z->by_head[i]];
        assert(entry->member.head <= file.n);
        enum err e = arc_zip_local(entry, str_skip(file, (size_t)entry->member.head), why);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static void check(const struct arc_index *x, uint64_t size)
{
    assert(x->end <= size);
    for (uint32_t i = 0; i < x->count; i++) {
        struct arc_member m;
        arc_index_member(x, i, &m);
        assert(arc_name_is_safe(m.name) && m.offset >= m.head + ZIP_LOCAL && m.offset <= x->end);
        assert(m.stored <= x->end - m.offset && m.next <= x->end && m.next >= m.offset + m.stored);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct str file = str_n((const char *)data, size);
    struct arc_zip_end end;
    struct arc_zip z;
    struct arc_index *x;
    char why[ARC_WHY_MAX] = "";

    if (!ready)
        hash_setup();
    ready = true;
    struct str tail = str_skip(file, size > ZIP_TAIL_MAX ? size - ZIP_TAIL_MAX : 0);
    if (arc_zip_tail(tail, size, &end, why) != ERR_OK)
        return 0;
    assert(end.directory <= size && end.directory_n <= size - end.directory);
    struct str directory = str_n(file.p + end.directory, (size_t)end.directory_n);
    if (arc_zip_parse(directory, &end, &z, why) != ERR_OK)
        return 0;
    if (read_locals(&z, file, why) == ERR_OK && arc_zip_index(&z, &x, why) == ERR_OK) {
        check(x, size);
        arc_index_unref(x);
    }
    arc_zip_release(&z);
    return 0;
}
