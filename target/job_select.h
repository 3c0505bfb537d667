/* job_select.h - which objects of a bucket a job is about: a list, a template or a prefix, in the order asked for.
 *
 * Shape    in a job's spec: {"bucket":"b", one of "names":[...] | "names_in":"<key in the system bucket>" (one name a line, percent-encoded where
 *          a byte is '%', CR or LF) | "template":"s-{0..9}.tar" | "prefix":"p"}. An iterator gives name after name; prefixes are listed page by page.
 * Owns     embedded in the kind's struct; names live until the next call.
 * Errors   ERR_INVALID_ARGUMENT: not such a selection (`why`); those of the store.
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_SELECT_H
#define SLUICE_TARGET_JOB_SELECT_H

#include "base/template.h"
#include "target/job.h"

enum { JOB_SELECT_MAX = 10 * 1000 * 1000 };

struct job_select {
    struct job *job;
    struct bucket bucket; /* the one of the spec */
    bool lists;           /* names come from a listing or a template: missing ones are no failures */
    /* ---- */
    const struct doc *names; /* the next of a list */
    struct template template;
    struct str text; /* what is left of names_in */
    struct str prefix;
    bool by_prefix, at_end;
    uint64_t position; /* names given so far; where to go on after a restart */
    struct arena arena, page_arena;
    struct op op;
    struct call *whole;
    struct str *out;
    bool *end;
    struct obj_list_req list_req;
    struct obj_list_res page;
    uint32_t page_next;
    struct obj_get_req get_req;
    struct obj_get_res got;
    struct source_fill fill;
    char *buf;
    size_t buf_n;
};
/* Only looks whether the spec is one. */
MUST_USE enum err job_select_check(const struct doc *spec, char why[256]);
/* Finds the bucket and opens the list. `position`: how many names to pass over (resumed work). */
void job_select_open(struct job_select *s, struct job *job, const struct doc *spec, uint64_t position,
                     struct call *call);
/* The next name, or *end. */
void job_select_next(struct job_select *s, struct str *name, bool *end, struct call *call);
void job_select_close(struct job_select *s);

#endif
