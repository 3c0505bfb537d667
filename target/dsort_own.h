/* dsort_own.h - internal to the jobs that make shards: job_dsort.c (which samples there are, in which order) and dsort_create.c (the shards).
 *
 * Shape    files (an object, or a member of an archive) -> sorted by sample (spool `files`) -> samples -> sorted as asked (spool
 *          `samples`) -> shards, one after the other. After a restart the first half is done again, which gives the same order, and shards that
 *          are there already are passed over; `digest` tells whether it was the same.
 * Owns     struct dsort is the job.
 * Errors   the job's.
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_DSORT_OWN_H
#define SLUICE_TARGET_DSORT_OWN_H

#include "archive/arc_pack.h"
#include "base/buf.h"
#include "store/system.h"
#include "target/dsort_spec.h"
#include "target/job_select.h"
#include "target/spool.h"

enum { DSORT_SAMPLE_MAX = SPOOL_ITEM_MAX - 8192, DSORT_FILES_MAX = 10000 };

struct dsort_map; /* an external key map */

/* One shard's sample files, in order. */
struct dsort_file {
    struct str object, member, name;
    uint64_t size;
};

struct unpack;
/* One of a sample's files; false: that is none. */
bool dsort_file_decode(struct unpack *u, struct dsort_file *f);

struct dsort {
    struct job job;
    struct op op;
    struct dsort_spec spec;
    struct bucket from, to;
    struct system_bucket_res system;
    struct spool *files, *samples;
    struct arena arena; /* of the page, archive or sample that is worked on */
    struct arena held;  /* until the end */
    struct arc_select *regex;
    struct dsort_map *map;
    uint64_t sequence, digest;
    /* collecting */
    struct job_select select;
    bool selecting, at_end;
    struct str name;
    struct obj_list_req list_req;
    struct obj_list_res page;
    uint32_t next;
    char last[KEY_MAX];
    size_t last_n;
    struct arcs_look_req look_req;
    struct arcs_look_res look;
    struct buf key, value;
    /* samples */
    struct spool_item item;
    bool end;
    struct buf sample_key; /* of the sample that is being gathered */
    struct buf sample;     /* its files, packed */
    unsigned sample_files;
    char first[8]; /* number of its first file */
    char content[DSORT_CONTENT_MAX];
    size_t content_n, got;
    struct arcs_get_req get_req;
    struct arcs_get_res get;
    struct source_fill fill;
    struct bucket_look_req bucket_req;
    struct bucket_look_res bucket_res;
    struct bucket_create_req create_req;
    struct bucket_create_res created;
    /* the map */
    struct obj_get_req map_req;
    struct obj_get_res map_res;
    char *map_text;
    size_t map_got;
    /* creating: dsort_create.c */
    uint64_t resume_shards, resume_digest;
    bool resumes;
    uint64_t shards, shard_bytes, shard_samples;
    uint32_t map_at; /* template of the map that the shard belongs to */
    uint64_t in_template;
    struct arena shard; /* its files */
    struct dsort_file *list;
    size_t list_n, list_cap, list_at;
    bool held_over; /* `item` is the first sample of the next shard */
    enum err failed;
    struct buf shard_name;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct body_check check;
};

/* Steps of the second half: from the sorted samples to the end of the job. */
step_fn dsort_begin_shards;
/* The job's last step. */
step_fn dsort_end;
/* Writes where the job is to be gone on with. */
void dsort_save(struct dsort *d);

/* ---- external key maps: dsort_map.c ---- */

enum { DSORT_MAP_MAX = 64 << 20, DSORT_MAP_TEMPLATES_MAX = 10000 };
/* From JSON {"template":["name or expression", ...]} or lines of "name<separator>template". A template without an archive's
 * extension gets the specification's. ERR_INVALID_ARGUMENT and a sentence. */
MUST_USE enum err dsort_map_read(struct str text, const struct dsort_spec *spec, struct dsort_map **out,
                                 char why[DSORT_WHY_MAX]);
void dsort_map_free(struct dsort_map *m);
/* Which template a sample belongs to. False: none. */
bool dsort_map_find(struct dsort_map *m, struct str sample, uint32_t *at);
const struct template *dsort_map_template(const struct dsort_map *m, uint32_t at);
enum arc_format dsort_map_format(const struct dsort_map *m, uint32_t at);

#endif
