#include "arc_lz4.h"

enum {
    FLAG_DICT = 1,
    FLAG_CONTENT_SUM = 4,
    FLAG_CONTENT_SIZE = 8,
    FLAG_BLOCK_SUMS = 16,
    FLAG_INDEPENDENT = 32,
    SUM = 4,
};
#define FRAME_MAGIC UINT32_C(0x184d2204)
#define SKIP_MAGIC  UINT32_C(0x184d2a50) /* and the 15 that follow */
#define BLOCK_MAX   (UINT32_C(4) << 20)

static size_t field_size(enum arc_lz4_state state)
{
    return state == WALK_FLAGS ? 1 : 4;
}

static bool is_number(enum arc_lz4_state state)
{
    return state == WALK_MAGIC || state == WALK_FLAGS || state == WALK_BLOCK_HEAD || state == WALK_SKIP_HEAD;
}

static void pass(struct arc_lz4_walk *w, enum arc_lz4_state state, uint64_t n)
{
    w->state = state;
    w->left = n;
}

static void take_flags(struct arc_lz4_walk *w, unsigned flags)
{
    w->block_sums = flags & FLAG_BLOCK_SUMS;
    w->content_sum = flags & FLAG_CONTENT_SUM;
    w->independent = (flags & FLAG_INDEPENDENT) && !w->block_sums && !(flags & FLAG_DICT);
    /* block size, what was announced, the header's sum */
    pass(w, WALK_HEAD_REST, 1 + (flags & FLAG_CONTENT_SIZE ? 8 : 0) + (flags & FLAG_DICT ? 4 : 0) + 1);
}

static void take_block_head(struct arc_lz4_walk *w, uint32_t v)
{
    uint32_t n = v & 0x7fffffff;

    if (v == 0)
        pass(w, w->content_sum ? WALK_SUM : WALK_MAGIC, SUM);
    else if (n == 0 || n > BLOCK_MAX)
        w->state = WALK_LOST;
    else
        pass(w, WALK_BLOCK, n + (w->block_sums ? SUM : 0));
}

static void take_number(struct arc_lz4_walk *w)
{
    uint32_t v = 0;

    for (size_t i = w->field_n; i-- > 0;)
        v = v << 8 | w->field[i];
    w->field_n = 0;
    if (w->state == WALK_FLAGS)
        take_flags(w, v);
    else if (w->state == WALK_BLOCK_HEAD)
        take_block_head(w, v);
    else if (w->state == WALK_SKIP_HEAD)
        pass(w, v ? WALK_SUM : WALK_MAGIC, v);
    else
        w->state = v == FRAME_MAGIC ? WALK_FLAGS : (v & ~UINT32_C(15)) == SKIP_MAGIC ? WALK_SKIP_HEAD : WALK_LOST;
}

/* What was passed over has ended. True: a block may follow. */
static bool passed(struct arc_lz4_walk *w)
{
    bool in_frame = w->state == WALK_HEAD_REST || w->state == WALK_BLOCK;

    w->state = in_frame ? WALK_BLOCK_HEAD : WALK_MAGIC;
    return in_frame && w->independent;
}

size_t arc_lz4_walk(struct arc_lz4_walk *w, const char *p, size_t n, bool *border)
{
    size_t at = 0;

    *border = false;
    while (at < n && w->state != WALK_LOST) {
        if (is_number(w->state)) {
            w->field[w->field_n++] = (unsigned char)p[at++];
            if (w->field_n == field_size(w->state))
                take_number(w);
            continue;
        }
        size_t part = n - at < w->left ? n - at : (size_t)w->left;
        at += part;
        w->left -= part;
        if (w->left == 0 && passed(w)) {
            *border = true;
            return at;
        }
    }
    return n;
}
