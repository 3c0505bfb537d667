/* inventory_list.h - one inventory of one bucket: its listing as compressed CSV files, then the manifest that names them.
 *
 * Shape    rows are gathered up to INVENTORY_FILE_TEXT bytes, compressed on a thread of the cpu pool, and put as
 *          "[prefix/]bucket/id/data/<uuid>.csv.gz"; at the end "[prefix/]bucket/id/<time>/manifest.json" and "manifest.checksum". Who sees the
 *          latter sees all of it. With all versions, current ones and older ones are merged in the order of keys, newest first.
 * Units    memory: that text, what it is compressed to, and two pages of listings.
 * Owns     embedded in who runs it; zeroed but for the fields above the line, which outlive it.
 * Errors   those of listing and of writing.
 * Thread   the job engine's loop.
 * Source   S3 User Guide, "Amazon S3 Inventory list", "Inventory manifest".
 */
#ifndef SLUICE_TARGET_INVENTORY_LIST_H
#define SLUICE_TARGET_INVENTORY_LIST_H

#include "base/buf.h"
#include "store/inventory.h"
#include "target/job.h"

enum { INVENTORY_FILE_TEXT = 8 << 20, INVENTORY_FILES_TEXT = 16 << 20 };

/* A listing that is merged with another. */
struct inventory_cursor {
    struct arena pages[2]; /* that of a page, and that of the one before: where it goes on */
    unsigned page;
    bool begun, ended;
    struct obj_list_req req;
    struct obj_list_res res;
    uint32_t at;
};

struct inventory_list {
    struct job *job;
    const struct inventory *conf;
    struct bucket_id from, to;
    /* ---- */
    struct op op;
    struct call *whole;
    struct arena arena; /* of a file */
    struct arena keep;  /* of all of it */
    struct str head;    /* "[prefix/]bucket/id/" */
    struct inventory_cursor current, older;
    struct str last_key; /* of which a row was written */
    char last[STORE_KEY_MAX];
    struct buf text, packed, files;
    struct offload_task task;
    struct source *body;
    struct body_check check;
    struct obj_put_req put;
    struct obj_put_res stored;
    struct str key; /* of the file that is put */
    char md5[32];   /* of the manifest */
    int64_t began_ns;
};
void inventory_list_run(struct inventory_list *l, struct call *whole);

#endif
