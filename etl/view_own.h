/* view_own.h - internal to view*.c: the store of one loop, and how a result is brought about.
 *
 * Thread   the store's loop.
 */
#ifndef SLUICE_ETL_VIEW_OWN_H
#define SLUICE_ETL_VIEW_OWN_H

#include "base/op.h"
#include "etl/view.h"
#include "store/turns.h"

struct views {
    struct buckets *buckets;
    struct etl_names *names;
    struct turns turns;
};
struct view {
    struct store store;
    struct view_env env;
};
static inline struct view *view_of(struct store *s)
{
    return CONTAINER(s, struct view, store);
}

enum { VIEW_MARK_LEN = 64 };

/* One request on a view: its settings, and where it comes from. */
struct view_at {
    struct view *v;
    struct arena *arena;
    struct bucket_id bucket;
    struct view_conf conf;
    struct bucket source;
    char ids[ETL_STAGES_MAX][ETL_ID_MAX];
};
/* ERR_NO_SUCH_BUCKET: the view, or its source; ERR_NO_SUCH_ETL; ERR_NOT_IMPLEMENTED: nobody transforms here. */
MUST_USE enum err view_find(struct view *v, struct arena *arena, struct bucket_id bucket, struct view_at *out);
/* What a result is known by: made of this version of the source, by these ETLs. */
void view_mark(const struct view_at *at, const struct etag *source, char mark[VIEW_MARK_LEN]);
/* Whether the stored object is that result; takes the mark off its attributes. */
bool view_unmark(struct arena *arena, struct object_info *info, const char mark[VIEW_MARK_LEN]);

/* Makes the result of a key if it is not there: done when it is. ERR_NO_SUCH_KEY: the source has none. */
struct view_make_req {
    const struct view_at *at;
    struct arena *arena;
    struct str key;
};
struct view_make_res {
    struct object_info info;  /* of the result */
    char mark[VIEW_MARK_LEN]; /* that it has */
};
void view_make(const struct view_make_req *req, struct view_make_res *res, struct call *call);

void view_obj_head(struct store *, const struct obj_head_req *, struct obj_head_res *, struct call *);
void view_obj_get(struct store *, const struct obj_get_req *, struct obj_get_res *, struct call *);
void view_obj_list(struct store *, const struct obj_list_req *, struct obj_list_res *, struct call *);

#endif
