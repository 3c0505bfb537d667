/* What the index holds: records, manifests, uploads, parts and descriptions from a damaged disk. What decodes must stay within the
 * bytes and encode again. */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "target/index.h"
#include "target/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each decoder logs what it refuses. FUZZ_LOUD=1 shows it, and what a fuzzer says about a crash. */
static void be_quiet(void)
{
    static int done;
    int fd = done++ || getenv("FUZZ_LOUD") ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        dup2(fd, 2);
        close(fd);
    }
}

static void object(struct str in)
{
    struct record r;
    struct attr attrs[RECORD_ATTRS_MAX];
    struct buf again = BUF_INIT(2 * RECORD_MAX);

    if (record_decode(in, &r) != ERR_OK)
        return;
    (void)record_class(&r);
    if (record_attrs(&r, attrs)) {
        r.info.attrs = attrs;
        enum err e = record_encode(&again, &r);
        assert(e == ERR_OK || e == ERR_METADATA_TOO_LARGE);
    }
    buf_release(&again);
}

static void manifest(struct str in)
{
    struct manifest m;
    struct part_info info;

    if (manifest_decode(in, &m) != ERR_OK)
        return;
    for (uint32_t i = 0; i < m.count; i++) {
        struct manifest_part p;
        manifest_part(&m, i, &p);
        info = (struct part_info){.size = p.end - manifest_start(&m, i)};
        if (!m.pieces)
            manifest_part_info(&m, i, HASH_CRC64NVME, &info);
        assert(!m.pieces || (info.size && p.offset + info.size <= SEGMENT_SIZE_MAX));
        assert(info.size == 0 || manifest_find(&m, manifest_start(&m, i)) == i);
    }
    assert(manifest_find(&m, manifest_start(&m, m.count)) == m.count);
}

static void key(struct str in)
{
    char unescaped[STORE_KEY_MAX];
    struct index_key again;
    struct str k, rest;
    uint64_t uid;

    if (in.n == 0 || in.p[0] != INDEX_OBJECT || !index_parse(in, unescaped, &uid, &k, &rest))
        return;
    index_object(&again, uid, k);
    assert(again.n + rest.n == in.n && str_starts(in, index_key_str(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_n(data, size);
    struct upload_record u;
    struct part_record p;
    struct description d;

    be_quiet();
    object(in);
    manifest(in);
    key(in);
    if (upload_record_decode(in, &u) == ERR_OK)
        (void)record_class(&u.object);
    (void)!part_record_decode(in, &p);
    if (description_decode(in, &d) == ERR_OK) {
        object(d.record);
        manifest(d.manifest);
    }
    return 0;
}
