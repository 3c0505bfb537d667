/* native_page.h - one page of names: objects of a bucket and, when asked, what is in its archives, in one order.
 *
 * Shape    one asynchronous call that gives rows to a sink, bytewise by name. Objects come from the store, LIST_MAX at a time; each archive
 *          among them is a stream of its own once the order reaches "<archive>/", so that members, objects between them and archives within
 *          archives' names stay sorted, and a page can end anywhere.
 * Owns     rows are borrowed: good until the sink returns.
 * Errors   those of store_obj_list(), arcs_list(); ERR_TOO_LARGE: more than NATIVE_STREAMS_MAX archives of nested names. An archive that can't
 *          be read has no members.
 * Thread   the loop's.
 */
#ifndef SLUICE_GATEWAY_NATIVE_PAGE_H
#define SLUICE_GATEWAY_NATIVE_PAGE_H

#include "archive/arcs.h"
#include "store/store.h"

/* As AIStore's entries have them in "f". */
enum {
    ROW_CACHED = 64,   /* is here: always, but for objects that only a remote bucket has */
    ROW_MEMBER = 128,  /* in an archive */
    ROW_DIR = 256,     /* no object: names go on behind this one, which ends in '/' */
    ROW_ARCHIVE = 512, /* its members follow */
};
struct native_row {
    struct str name;
    uint64_t size;
    int64_t mtime_ns;
    unsigned flags;
    const struct object_info *info; /* of a HEAD, when that was asked and it is an object that is here */
};

enum { NATIVE_STREAMS_MAX = 64, NATIVE_MEMBERS_PAGE = 256, NATIVE_HEADS_MAX = 32 };

struct native_page_req {
    struct arena *arena;
    struct store *store;
    bool (*is_archive)(struct str name); /* by its name; of an expanded listing */
    struct arcs *arcs;
    void (*members)(struct arcs *, const struct arcs_list_req *, struct arcs_list_res *,
                    struct call *); /* arcs_list(), or a test's */
    struct bucket_id bucket;
    struct str prefix, after;
    uint32_t max;            /* rows */
    bool one_level;          /* what goes on behind a '/' after the prefix is one row */
    bool expand;             /* archives are followed by their members */
    enum list_cached cached; /* of a bucket with a backend */
    bool absent_only;        /* with LIST_TELL_CACHED: only what just the remote has */
    bool heads;              /* rows have info: a request to the store for each object, NATIVE_HEADS_MAX at a time */
    /* False: that was enough for one page. */
    bool (*row)(void *arg, const struct native_row *row);
    void *arg;
};
struct native_page_res {
    struct str last; /* name to go on behind; empty at the end */
};
void native_page(const struct native_page_req *req, struct native_page_res *res, struct call *call);

#endif
