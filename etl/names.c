#include "etl/names.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/doc.h"
#include "base/json.h"
#include "base/mem.h"
#include "etl/builtin.h"

#define RECORDS STR("etl/")

struct named {
    struct named *next;
    char name[ETL_NAME_MAX + 1], id[ETL_ID_MAX];
};
struct etl_names {
    pthread_mutex_t lock;
    struct named *list; /* guarded by it; some dozens at most */
};

static struct named **find(struct etl_names *n, struct str name)
{
    struct named **at = &n->list;

    while (*at && !str_eq(str_z((*at)->name), name))
        at = &(*at)->next;
    return at;
}

static bool read_id(struct str record, char id[ETL_ID_MAX])
{
    struct arena arena = {0};
    char why[DOC_WHY_MAX];
    struct doc *d;
    const struct doc *text;
    bool good = js_read(&arena, record, &d, why) == ERR_OK && (text = doc_get(d, STR("id"))) != NULL && text->text.n &&
                text->text.n < ETL_ID_MAX;

    if (good)
        snprintf(id, ETL_ID_MAX, STR_FMT, STR_ARG(text->text));
    arena_release(&arena);
    return good;
}

static void told(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    struct etl_names *n = arg;
    struct str name = str_skip(key, RECORDS.n);
    char id[ETL_ID_MAX] = "";

    (void)revision;
    if (name.n > ETL_NAME_MAX || (!removed && !read_id(value, id)))
        return;
    pthread_mutex_lock(&n->lock);
    struct named **at = find(n, name), *gone = *at;
    if (removed && gone) {
        *at = gone->next;
        free(gone);
    } else if (!removed) {
        if (!gone) {
            *at = NEW(struct named);
            snprintf((*at)->name, sizeof((*at)->name), STR_FMT, STR_ARG(name));
        }
        memcpy((*at)->id, id, sizeof(id));
    }
    pthread_mutex_unlock(&n->lock);
}

enum err etl_names_open(struct meta *meta, struct etl_names **out)
{
    struct etl_names *n = NEW(struct etl_names);
    enum err e;

    pthread_mutex_init(&n->lock, NULL);
    if ((e = meta_watch(meta, RECORDS, told, n)) != ERR_OK) {
        etl_names_free(n);
        return e;
    }
    *out = n;
    return ERR_OK;
}

void etl_names_free(struct etl_names *n)
{
    struct named *at;

    if (!n)
        return;
    while ((at = n->list) != NULL) {
        n->list = at->next;
        free(at);
    }
    pthread_mutex_destroy(&n->lock);
    free(n);
}

bool etl_names_find(struct etl_names *n, struct str name, char id[ETL_ID_MAX])
{
    bool found = false;

    if (etl_builtin_is(name)) {
        snprintf(id, ETL_ID_MAX, "1");
        return true;
    }
    pthread_mutex_lock(&n->lock);
    const struct named *at = *find(n, name);
    if (at) {
        found = true;
        memcpy(id, at->id, ETL_ID_MAX);
    }
    pthread_mutex_unlock(&n->lock);
    return found;
}
