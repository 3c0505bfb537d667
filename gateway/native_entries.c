#include "gateway/native_entries.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/pack.h"

enum { PACK_ARRAY_32 = 0xdd, PACK_LENGTH_BYTES = 4 };

void native_entries_begin(struct native_entries *w, struct buf *out, bool msgpack)
{
    *w = (struct native_entries){.out = out, .msgpack = msgpack};
    if (!msgpack) {
        js_object(out);
        js_key(out, STR("entries"));
        js_array(out);
        return;
    }
    pack_map(out, 4);
    pack_str(out, STR("Entries"));
    buf_add_char(out, (char)PACK_ARRAY_32); /* how many is known in the end */
    w->count_at = out->n;
    buf_add(out, "\0\0\0\0", PACK_LENGTH_BYTES);
}

/* ---- one row ---- */

struct text {
    struct str pack, json, value;
};
enum { TEXTS = 5 };

static void texts_of(const struct native_entry *e, struct text out[TEXTS])
{
    out[0] = (struct text){STR("cs"), STR("checksum"), e->checksum};
    out[1] = (struct text){STR("a"), STR("atime"), e->atime};
    out[2] = (struct text){STR("v"), STR("version"), e->version};
    out[3] = (struct text){STR("t"), STR("location"), e->location};
    out[4] = (struct text){STR("m"), STR("custom-md"), e->custom};
}

static void add_packed(struct buf *b, const struct native_entry *e, const struct text texts[TEXTS])
{
    uint32_t n = 1 + (e->size > 0) + (e->copies > 0) + (e->flags > 0);

    for (int i = 0; i < TEXTS; i++)
        n += texts[i].value.n > 0;
    pack_map(b, n);
    pack_str(b, STR("n"));
    pack_str(b, e->name);
    for (int i = 0; i < TEXTS; i++)
        if (texts[i].value.n > 0) {
            pack_str(b, texts[i].pack);
            pack_str(b, texts[i].value);
        }
    if (e->size > 0) {
        pack_str(b, STR("s"));
        pack_uint(b, e->size);
    }
    if (e->copies > 0) {
        pack_str(b, STR("c"));
        pack_uint(b, e->copies);
    }
    if (e->flags > 0) {
        pack_str(b, STR("f"));
        pack_uint(b, e->flags);
    }
}

/* Sizes are texts there: int64 with Go's string tag. */
static void js_size(struct buf *b, uint64_t size)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)size);

    js_str(b, str_n(text, (size_t)n));
}

static void add_json(struct buf *b, const struct native_entry *e, const struct text texts[TEXTS])
{
    js_object(b);
    js_put_str(b, "name", e->name);
    for (int i = 0; i < TEXTS; i++)
        if (texts[i].value.n > 0) {
            js_key(b, texts[i].json);
            js_str(b, texts[i].value);
        }
    if (e->size > 0) {
        js_key(b, STR("size"));
        js_size(b, e->size);
    }
    if (e->copies > 0)
        js_put_u64(b, "copies", e->copies);
    if (e->flags > 0) {
        js_put_u64(b, "flags", e->flags);
    }
    js_end_object(b);
}

void native_entries_add(struct native_entries *w, const struct native_entry *e)
{
    struct text texts[TEXTS];

    texts_of(e, texts);
    if (w->msgpack)
        add_packed(w->out, e, texts);
    else
        add_json(w->out, e, texts);
    w->count++;
}

/* ---- the end ---- */

void native_entries_end(struct native_entries *w, struct str uuid, struct str token, uint32_t flags)
{
    struct buf *b = w->out;

    if (!w->msgpack) {
        js_end_array(b);
        js_put_str(b, "uuid", uuid);
        js_put_str(b, "continuation_token", token);
        js_put_u64(b, "flags", flags);
        js_end_object(b);
        return;
    }
    for (unsigned i = 0; !b->over && i < PACK_LENGTH_BYTES; i++)
        b->p[w->count_at + i] = (char)(w->count >> (24 - 8 * i));
    pack_str(b, STR("UUID"));
    pack_str(b, uuid);
    pack_str(b, STR("ContinuationToken"));
    pack_str(b, token);
    pack_str(b, STR("Flags"));
    pack_uint(b, flags);
}

void native_atime(int64_t ns, char out[NATIVE_ATIME_LEN])
{
    char http[CLOCK_HTTP_LEN]; /* "Sun, 06 Nov 1994 08:49:37 GMT" */

    clock_http(ns, http);
    memcpy(out, http + 5, 7);      /* "06 Nov " */
    memcpy(out + 7, http + 14, 2); /* "94" */
    memcpy(out + 9, http + 16, 6); /* " 08:49" */
    memcpy(out + 15, " UTC", 4);
}
