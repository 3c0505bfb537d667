/* arc_pack_own.h - internal to arc_pack*.c and arc_encode.c.
 *
 * Shape    slots hold the entries that are open, `order` says in which order they were asked for. arc_pack_slot.c opens and reads ahead,
 *          arc_pack.c puts what is ready into the stream, arc_pack_zip.c and arc_tar.c write what stands between the contents.
 * Owns     a slot's memory is its arena; what the store is asked for is copied there, because it may go on after the request has ended.
 * Thread   the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARC_PACK_OWN_H
#define SLUICE_ARCHIVE_ARC_PACK_OWN_H

#include "archive/arc_pack.h"
#include "base/buf.h"

enum {
    PACK_WINDOW = 16,
    PACK_WINDOW_MAX = 256,
    PACK_WINDOW_BYTES = 4 << 20,
    PACK_COPY_MAX = 64 << 10, /* content up to this is copied behind its header; more is passed through */
    PACK_OUT = 256 << 10,     /* about as much is put together into one piece */
};

enum slot_state {
    SLOT_FREE,
    SLOT_ASKS,
    SLOT_OPENS,
    SLOT_GATHERS,
    SLOT_WARMS,
    SLOT_FILLS,
    SLOT_CHECKS,
    SLOT_READY,
    SLOT_LATER
};

struct pack;
struct pack_slot {
    struct pack *pack;
    enum slot_state state;
    bool is_last;           /* the one made by conf.last */
    struct arc_entry entry; /* as `next` gave it */
    struct arena arena;
    struct call call;
    struct obj_get_req get;
    struct obj_get_res got;
    struct arcs_get_req member;
    struct arcs_get_res member_got;
    struct arc_through_req through;
    struct arc_through_res passed;
    struct source *inner; /* the member that passes through */
    struct source_fill fill;
    struct source *body;
    char *bytes; /* being filled */
    size_t bytes_n;
    char probe;
    /* known when READY */
    enum err err;
    uint64_t size;
    int64_t mtime_s;
    struct etag etag;
    bool crc_known;
    uint32_t crc;
    uint64_t held; /* of the window's bytes */
};

/* ZIP: what is known of the members so far. */
struct pack_zip {
    struct buf central;
    uint64_t count;
};
struct pack_zip_item {
    struct str name;
    uint64_t size, at; /* at: where its local header is */
    int64_t mtime_s;
    uint32_t crc;
    bool crc_known; /* else it comes behind the content */
};
MUST_USE enum err pack_zip_head(struct buf *out, const struct pack_zip_item *it);
/* Behind the content, when the CRC is known. */
MUST_USE enum err pack_zip_tail(struct pack_zip *z, struct buf *out, const struct pack_zip_item *it);
/* The central directory and what ends it; `at`: where it begins. */
MUST_USE enum err pack_zip_end(struct pack_zip *z, uint64_t at);

struct pack {
    struct source source;
    struct arc_pack_conf conf;
    struct pack_slot *slots, **order, **spare;
    unsigned window, count, spares; /* count: of order */
    uint64_t held, guess, ready_bytes;
    unsigned outstanding; /* calls, and the post */
    bool asking, asked_all, last_asked, ended, stopped, closed, conf_closed;
    bool asked_end; /* what `next` said */
    struct pack_slot *asks;
    struct call next_call;
    enum err err; /* sticky */
    /* the stream */
    struct buf out;
    size_t out_at;
    uint64_t made; /* bytes put into the stream, the content of `cur` included */
    struct pack_slot *cur;
    uint64_t left; /* of its content */
    bool ending;   /* all of it was given, whether it ended cleanly is not known yet */
    struct pack_zip_item item;
    struct hash crc;
    struct pack_zip zip;
    size_t zip_at; /* of its directory given */
    char *staged;  /* small content out of a file */
    char probe;
    size_t probe_n;
    /* who waits */
    struct call *waiter;
    void *buf; /* NULL: a prepare */
    size_t len, *n;
    struct call inner;
    bool inner_runs, probing;
    size_t inner_n;
    /* waking */
    struct post post;
    bool poking;
    unsigned progress, seen, hops, idle; /* idle: hops in a row that brought nothing */
};

/* ---- arc_pack_slot.c ---- */

/* Asks for entries and opens them as far as the window goes. */
void pack_run_ahead(struct pack *p);
/* The slot that can be put into the stream now, or NULL. */
struct pack_slot *pack_ready(const struct pack *p);
/* Out of the order; no calls of it are outstanding. */
void pack_slot_free(struct pack *p, struct pack_slot *s);
void pack_slots_cancel(struct pack *p);

/* ---- arc_pack.c ---- */

/* Something has changed: who waits may go on. */
void pack_poke(struct pack *p);
/* A call has ended; frees what was closed when it was the last. True: it is gone or going, nothing more is to be done. */
bool pack_call_ended(struct pack *p);

/* Before it is closed, while a pull is outstanding: nothing is asked or told any more. */
void pack_stop(struct source *pack);

/* ---- arc_encode.c ---- */

/* Compresses `inner` (taken, of arc_pack.c) on the pool; ARC_TGZ, ARC_TAR_LZ4, ARC_TAR_ZST. */
struct source *arc_encode(struct loop *loop, struct offload *cpu, enum arc_format format, struct source *inner);

#endif
