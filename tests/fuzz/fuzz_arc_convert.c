/* Archives as they pass: a coder never stands still, and what is converted is an archive that is read again. The first two bytes tell what
 * to do and in which pieces. */
#include <assert.h>
#include <stdlib.h>

#include "archive/arc_convert.h"
#include "archive/arc_scan.h"
#include "base/hash.h"
#include "base/mem.h"

enum { OUT_MAX = 4 << 20, PIECE = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err run(struct arc_coder *c, struct str in, size_t step, struct buf *out)
{
    char *room = mem_alloc(PIECE);
    enum err e = ERR_OK;
    bool ended = false;
    unsigned idle = 0;

    while (e == ERR_OK && !ended && !out->over) {
        struct arc_coder_io io = {
            .in = in.p, .in_n = in.n < step ? in.n : step, .in_ended = in.n <= step, .out = room, .out_n = PIECE};
        e = arc_coder_run(c, &io);
        assert(io.in_used <= io.in_n && io.out_made <= io.out_n);
        idle = io.in_used || io.out_made ? 0 : idle + 1;
        assert(idle < 3 || e != ERR_OK || io.ended);
        buf_add(out, room, io.out_made);
        in = str_skip(in, io.in_used);
        ended = io.ended;
    }
    free(room);
    return out->over ? ERR_TOO_LARGE : e;
}

static void check_tar(struct str tar)
{
    struct arc_scan *s = arc_scan_new(ARC_TAR);
    struct arc_index *x = NULL;

    assert(arc_scan_feed(s, tar.p, tar.n) == ERR_OK && arc_scan_end(s, &x) == ERR_OK);
    assert(x->left_out == 0);
    arc_index_unref(x);
    arc_scan_free(s);
}

static void convert(struct str in, size_t step, enum arc_format format, struct buf *out)
{
    struct arc_coder *c = arc_converter(format);
    enum err e = run(c, in, step, out);

    if (e == ERR_OK && format == ARC_TAR) {
        check_tar(buf_str(out));
    } else if (e == ERR_OK) {
        struct arc_coder *back = arc_converter(ARC_TAR);
        struct buf tar = BUF_INIT(OUT_MAX + (1 << 20));
        e = run(back, buf_str(out), PIECE, &tar);
        assert(e == ERR_OK || e == ERR_TOO_LARGE);
        buf_release(&tar);
        arc_coder_free(back);
    }
    arc_coder_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT(OUT_MAX);

    if (size < 2)
        return 0;
    hash_setup();
    struct str in = str_n(data + 2, size - 2);
    size_t step = (size_t)data[1] * 16 + 1;
    if (data[0] % 3 == 2) {
        struct arc_coder *c = arc_extractor(STR("a"));
        (void)!run(c, in, step, &out);
        arc_coder_free(c);
    } else {
        convert(in, step, data[0] % 3 ? ARC_ZIP : ARC_TAR, &out);
    }
    buf_release(&out);
    return 0;
}
