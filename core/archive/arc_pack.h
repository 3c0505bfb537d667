/* arc_pack.h - objects and members, one after the other, as one archive that is streamed.
 *
 * Shape    a source. It asks for entries one by one, opens some ahead, and gives the archive's bytes in the order asked (or as they
 *          become ready). Small content that is ready is read into memory ahead, within window_bytes; large content is passed through at
 *          its turn (of plain TARs file ranges stay file ranges). Compressed formats and ZIP are encoded on the cpu pool.
 * Units    bytes.
 * Owns     what `next` fills in lives until `drop` is told about that entry, or the source is closed.
 * Errors   an entry that fails is told to `done`, which decides: leave it out, put an empty member in its place, or fail the source
 *          with that error. Content that fails or ends after its header was sent fails the source: an archive is never silently short.
 * Thread   the loop's.
 * Source   POSIX.1-2017 pax; APPNOTE.TXT (ZIP64, stored entries, data descriptors); facts of AIStore's get-batch.
 */
#ifndef SLUICE_ARCHIVE_ARC_PACK_H
#define SLUICE_ARCHIVE_ARC_PACK_H

#include "archive/arcs.h"

/* What content passes through on its way into the archive: texts for conf.through. */
struct arc_via {
    struct str name, pipeline, args;
};

struct arc_entry {
    struct str name; /* in the archive that is made */
    struct bucket_id bucket;
    struct str key;
    struct str member;         /* of the archive `key`; empty: the object itself */
    enum arc_format format;    /* of that archive; ARC_NONE: by name, then magic */
    struct range range;        /* of the content; RANGE_ALL */
    uint64_t want;             /* bytes that it must have, else ERR_INVALID_RANGE; 0: any number */
    struct etag if_match;      /* n == 0: any */
    const struct arc_via *via; /* NULL: as it is */
    struct str bytes;          /* p != NULL: this is the content, nothing is read (and bucket is not needed) */
    void *tag;                 /* the caller's */
    struct str text;           /* for `done`: what is to be said of a failure besides its error; empty: nothing */
};

/* Content on its way through something: an object, or (of a member) a body. */
struct arc_through_req {
    struct arena *arena;
    const struct arc_entry *entry;
    struct obj_get_req *object; /* NULL: the body */
    struct source *body;        /* not closed; there until the result is closed */
    uint64_t size;              /* of the body */
};
struct arc_through_res {
    struct obj_head_res head; /* of the object */
    struct source *body;      /* the caller's; its size may be unknown */
    struct str text;          /* of a failure */
};

enum { ARC_RESULT_MAX = 8 << 20 };
enum arc_verdict { ARC_FAIL, ARC_LEAVE_OUT, ARC_EMPTY };

struct arc_pack_conf {
    struct loop *loop;
    struct store *store; /* where objects are read */
    struct arcs *arcs;   /* where members are; NULL: entries with a member fail with ERR_NOT_IMPLEMENTED */
    struct offload *cpu; /* for compressed formats */
    enum arc_format format;
    unsigned window;       /* entries that are open at a time; 0: 16 */
    uint64_t window_bytes; /* of content in memory; 0: 4 MiB */
    bool as_ready;         /* out of order: whatever is ready first */
    /* Passes the content of entries with a `via` through it. NULL: those fail with ERR_NOT_IMPLEMENTED. Results of unknown size are gathered
     * in memory: more than ARC_RESULT_MAX is ERR_TOO_LARGE. */
    void (*through)(void *through_arg, const struct arc_through_req *, struct arc_through_res *, struct call *);
    void *through_arg;
    /* The next entry, or *end. May wait; one call at a time. `out` is zeroed. Closing the source cancels it. */
    void (*next)(void *arg, struct arc_entry *out, bool *end, struct call *call);
    /* The outcome of an entry, in the order in which they are in the archive: before its first byte is given with ERR_OK (size: of the
     * content), or with what kept it out. With ARC_EMPTY an empty member named *name (which `done` may replace) takes its place.
     * May be NULL: all errors fail. */
    enum arc_verdict (*done)(void *arg, const struct arc_entry *e, enum err err, uint64_t size, struct str *name);
    /* The entry's name is needed no more. Not told of those that are under way when the source is closed. May be NULL. */
    void (*drop)(void *arg, const struct arc_entry *e);
    /* All were told to `done`: an error fails the source instead of ending it. May be NULL. */
    enum err (*end)(void *arg);
    /* One more member behind the last, made when all others were told to `done` (a report, for instance). False: none. May be NULL.
     * Both live as long as the source. */
    bool (*last)(void *arg, struct str *name, struct str *bytes);
    /* With the source, or as soon as `next` has ended when that was waiting; nothing is asked or told from then on. May be NULL. */
    void (*close)(void *arg);
    /* Nothing of the source is left: what it had asked of the store has ended. May be later than `close`. May be NULL. */
    void (*gone)(void *arg);
    void *arg;
};
/* `conf` is copied. */
struct source *arc_pack_open(const struct arc_pack_conf *conf);

/* Whether an archive may have a member of this name: not empty, not absolute, without "..", NUL, and not beyond ARC_NAME_MAX. */
bool arc_name_is_safe(struct str name);

/* The header blocks of a TAR member (with a pax header before it where ustar can't say it), for whoever writes TARs piece by piece.
 * ERR_INVALID_ARGUMENT: not such a name. */
MUST_USE enum err arc_tar_head(struct buf *out, struct str name, uint64_t size, int64_t mtime_s);
static inline uint64_t arc_tar_padding(uint64_t size)
{
    return (512 - size % 512) % 512;
}
enum { ARC_TAR_TRAILER = 1024 };

#endif
