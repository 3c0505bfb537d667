#include "crew.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"

enum { QUEUE_MAX = 256 };

struct thing {
    char *name;
    size_t n;
    uint64_t size;
};
struct worker {
    struct crew *crew;
    struct client client;
    pthread_t thread;
};
struct crew {
    int (*work)(void *arg, struct client *c, struct str thing, uint64_t size);
    void *arg;
    bool goes_on;
    unsigned count;
    struct worker *workers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct { /* guarded by lock */
        struct thing queue[QUEUE_MAX];
        unsigned first, n;
        bool ended;
        int code;
        uint64_t done, failed;
    } locked;
};

static bool take(struct crew *crew, struct thing *out)
{
    bool found;

    pthread_mutex_lock(&crew->lock);
    while (crew->locked.n == 0 && !crew->locked.ended)
        pthread_cond_wait(&crew->changed, &crew->lock);
    found = crew->locked.n > 0;
    if (found) {
        *out = crew->locked.queue[crew->locked.first];
        crew->locked.first = (crew->locked.first + 1) % QUEUE_MAX;
        crew->locked.n--;
        pthread_cond_broadcast(&crew->changed);
    }
    pthread_mutex_unlock(&crew->lock);
    return found;
}

static void tell(struct crew *crew, int code)
{
    pthread_mutex_lock(&crew->lock);
    if (code == 0)
        crew->locked.done++;
    else
        crew->locked.failed++;
    if (crew->locked.code == 0)
        crew->locked.code = code;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
}

static bool has_failed(struct crew *crew)
{
    bool failed;

    pthread_mutex_lock(&crew->lock);
    failed = crew->locked.code != 0 && !crew->goes_on;
    pthread_mutex_unlock(&crew->lock);
    return failed;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct thing t;

    while (take(w->crew, &t)) {
        if (!has_failed(w->crew))
            tell(w->crew, w->crew->work(w->crew->arg, &w->client, str_n(t.name, t.n), t.size));
        free(t.name);
    }
    return NULL;
}

struct crew *crew_begin(struct client *of, unsigned workers, bool goes_on,
                        int (*work)(void *arg, struct client *c, struct str thing, uint64_t size), void *arg)
{
    struct crew *crew = NEW(struct crew);

    crew->work = work;
    crew->arg = arg;
    crew->goes_on = goes_on;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->changed, NULL);
    crew->workers = mem_new(workers * sizeof(*crew->workers));
    for (crew->count = 0; crew->count < workers; crew->count++) {
        struct worker *w = &crew->workers[crew->count];
        w->crew = crew;
        client_again(&w->client, of);
        if (pthread_create(&w->thread, NULL, run, w) != 0) {
            client_close(&w->client);
            break;
        }
    }
    if (crew->count == 0)
        abort(); /* not even one thread */
    return crew;
}

bool crew_add(struct crew *crew, struct str thing, uint64_t size)
{
    struct thing t = {mem_new(thing.n + 1), thing.n, size};

    memcpy(t.name, thing.p, thing.n);
    pthread_mutex_lock(&crew->lock);
    while (crew->locked.n == QUEUE_MAX)
        pthread_cond_wait(&crew->changed, &crew->lock);
    crew->locked.queue[(crew->locked.first + crew->locked.n++) % QUEUE_MAX] = t;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
    return !has_failed(crew);
}

int crew_end(struct crew *crew, uint64_t *done, uint64_t *failed)
{
    int code;

    pthread_mutex_lock(&crew->lock);
    crew->locked.ended = true;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
    for (unsigned i = 0; i < crew->count; i++) {
        pthread_join(crew->workers[i].thread, NULL);
        client_close(&crew->workers[i].client);
    }
    code = crew->locked.code;
    if (done)
        *done = crew->locked.done;
    if (failed)
        *failed = crew->locked.failed;
    pthread_mutex_destroy(&crew->lock);
    pthread_cond_destroy(&crew->changed);
    free(crew->workers);
    free(crew);
    return code;
}
