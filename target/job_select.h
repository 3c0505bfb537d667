/* job_select.h - which objects of a bucket a job is about: a list, a template or a prefix, in the order asked for.
 *
 * Shape    in a job's spec: {"bucket":"b", one of "names":[...] | "names_in":"<key in the system bucket>" (job_names.h) |
 *          "template":"s-{0..9}.tar" (one without ranges is a prefix, "*" and "" are all objects) | "prefix":"p"}. An iterator gives name after name;
 *          prefixes are listed page by page from the whole cluster: who wants only those that this target leads asks job_leads().
 * Owns     embedded in the kind's struct, zeroed; names live until the next call.
 * Errors   ERR_INVALID_ARGUMENT: not such a selection (`why`); ERR_NO_SUCH_BUCKET; those of the store.
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_SELECT_H
#define SLUICE_TARGET_JOB_SELECT_H

#include "base/template.h"
#include "store/system.h"
#include "target/job.h"

enum { JOB_SELECT_MAX = 10 * 1000 * 1000, JOB_SELECT_AT_MAX = 1 + 2 * KEY_MAX + 1 };

struct job_select {
    struct job *job;
    struct bucket bucket; /* the one of the spec */
    bool cached; /* prefixes: only what is here of a bucket with a backend (backend.h). Set after job_select_open() */
    bool lists;  /* names come from a listing or a template: missing ones are no failures */
    uint64_t position; /* names given so far */
    /* ---- */
    const struct doc *names; /* the next of a list */
    struct template template;
    struct str text; /* what is left of names_in */
    uint64_t skip;   /* names of it to pass over */
    struct str names_in, prefix;
    bool by_text, by_template, by_prefix, last_page;
    struct arena arena, page_arena; /* of the selection; of the page or the name */
    struct op op;
    struct call *whole;
    struct str *out;
    bool *end;
    struct bucket_look_req look_req;
    struct bucket_look_res looked;
    struct bucket_id system;
    struct obj_list_req list_req;
    struct obj_list_res page;
    uint32_t page_next;
    char last[KEY_MAX]; /* the name given last, of a listing */
    size_t last_n;
    struct obj_get_req get_req;
    struct obj_get_res got;
    struct source_fill fill;
    char *buf;
    size_t buf_n;
    struct buf name; /* made from a template */
};
/* Only looks whether the spec is one. Members that are not of a selection are the kind's. */
MUST_USE enum err job_select_check(const struct doc *spec, char why[256]);
/* Finds the bucket and opens the list. `position`: how many names to pass over (for a prefix: see job_select_resume()). */
void job_select_open(struct job_select *s, struct job *job, const struct doc *spec, uint64_t position,
                     struct call *call);
/* The next name, or *end. */
void job_select_next(struct job_select *s, struct str *name, bool *end, struct call *call);
/* Where the selection is, as text; and back to there after job_select_open(), before the first name. A text that is none: from the
 * beginning. */
void job_select_at(const struct job_select *s, char out[JOB_SELECT_AT_MAX]);
void job_select_resume(struct job_select *s, struct str at);
/* No call outstanding. */
void job_select_close(struct job_select *s);

/* Whether this node is the one that works on the key, of all that run the job. One machine: always. */
bool job_leads(const struct job_env *env, struct bucket_id bucket, struct str key);

#endif
