#include "front.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

enum { BOUND_MAX = 64 };

struct lane { /* one thread */
    struct front *front;
    unsigned index;
    pthread_t thread;
    struct loop *loop;
    int fds[FRONT_LISTENERS]; /* until a server takes them */
    void *role_lane;
    struct http_server *servers[FRONT_LISTENERS]; /* NULL = none */
    struct post drain;                            /* from main */
    struct call drained;
    struct call_group group; /* of the drain */
    struct group_call drains[FRONT_LISTENERS];
};

struct front {
    struct front_conf conf;
    struct control *control;
    struct loop **loops; /* of the lanes, as control wants them */
    char bound[FRONT_LISTENERS][BOUND_MAX];
    uint32_t drain_timeout_ms;
    atomic_uint running;
    bool started;
    int ended_fd; /* eventfd */
    struct lane lanes[];
};

/* ---- a lane's thread ---- */

static void on_drained(struct call *c)
{
    loop_stop(c->loop);
}

static void on_drain(struct post *p)
{
    struct lane *l = CONTAINER(p, struct lane, drain);

    call_begin(&l->drained, l->loop, on_drained);
    call_group_init(&l->group, &l->drained);
    for (unsigned i = 0; i < FRONT_LISTENERS; i++)
        if (l->servers[i])
            http_server_drain(l->servers[i], l->front->drain_timeout_ms, group_call(&l->group, &l->drains[i]));
    call_group_seal(&l->group);
}

static void lane_open(struct lane *l)
{
    const struct front_conf *conf = &l->front->conf;
    struct http_handler *handler;

    l->role_lane = conf->role.open(conf->role.arg, l->loop, l->front->control, &handler);
    for (unsigned i = 0; i < FRONT_LISTENERS; i++) {
        if (l->fds[i] < 0)
            continue;
        l->servers[i] = http_server_new(&(struct http_server_conf){.loop = l->loop,
                                                                   .handler = handler,
                                                                   .limits = conf->limits,
                                                                   .tls = conf->listen[i].tls,
                                                                   .listen_fd = l->fds[i]});
        l->fds[i] = -1;
    }
}

static void lane_close(struct lane *l)
{
    for (unsigned i = 0; i < FRONT_LISTENERS; i++)
        if (l->servers[i])
            http_server_free(l->servers[i]);
    l->front->conf.role.close(l->role_lane);
}

static void *lane_main(void *arg)
{
    struct lane *l = arg;
    struct front *f = l->front;
    uint64_t one = 1;

    loop_adopt(l->loop);
    lane_open(l);
    loop_run(l->loop);
    lane_close(l);
    if (atomic_fetch_sub(&f->running, 1) == 1 && write(f->ended_fd, &one, sizeof(one)) < 0)
        abort(); /* an eventfd that was never written can't be full */
    return NULL;
}

/* ---- listening ---- */

/* Binds listener i in every lane; a port 0 is chosen by the first one. */
static enum err listen_all(struct front *f, unsigned i, char why[FRONT_WHY_MAX])
{
    struct str address = f->conf.listen[i].address;
    char bound[BOUND_MAX];
    enum err e = ERR_OK;

    for (unsigned k = 0; k < f->conf.threads && address.n && e == ERR_OK; k++) {
        e = http_listen(address, &f->lanes[k].fds[i], bound, why);
        if (e == ERR_OK && k == 0) {
            memcpy(f->bound[i], bound, sizeof(bound));
            address = str_z(f->bound[i]);
        }
    }
    return e;
}

/* ---- life ---- */

enum err front_open(const struct front_conf *conf, struct front **out, char why[FRONT_WHY_MAX])
{
    struct front *f = mem_new(sizeof(*f) + conf->threads * sizeof(*f->lanes));
    enum err e = ERR_OK;

    f->conf = *conf;
    f->ended_fd = eventfd(0, EFD_CLOEXEC);
    if (f->ended_fd < 0) {
        perror("sluice: eventfd");
        abort();
    }
    f->loops = mem_new(conf->threads * sizeof(*f->loops));
    for (unsigned k = 0; k < conf->threads; k++) {
        struct lane *l = &f->lanes[k];
        l->front = f;
        l->index = k;
        l->drain.fn = on_drain;
        l->loop = f->loops[k] = loop_new();
        for (unsigned i = 0; i < FRONT_LISTENERS; i++)
            l->fds[i] = -1;
    }
    f->control = control_new(&(struct control_conf){conf->io, conf->cpu, f->loops, conf->threads, conf->control});
    for (unsigned i = 0; i < FRONT_LISTENERS && e == ERR_OK; i++)
        e = listen_all(f, i, why);
    if (e != ERR_OK) {
        front_close(f);
        return e;
    }
    *out = f;
    return ERR_OK;
}

const char *front_bound(const struct front *f, unsigned i)
{
    return f->bound[i];
}

void front_run(struct front *f)
{
    f->started = true;
    f->running = f->conf.threads;
    for (unsigned k = 0; k < f->conf.threads; k++) {
        char name[16];
        if (pthread_create(&f->lanes[k].thread, NULL, lane_main, &f->lanes[k]) != 0) {
            perror("sluice: pthread_create");
            abort();
        }
        snprintf(name, sizeof(name), "loop-%u", k % 100000);
        pthread_setname_np(f->lanes[k].thread, name);
    }
}

void front_drain(struct front *f, uint32_t timeout_ms)
{
    f->drain_timeout_ms = timeout_ms;
    control_set_draining(f->control);
    for (unsigned k = 0; k < f->conf.threads; k++)
        loop_post(f->lanes[k].loop, &f->lanes[k].drain);
}

int front_fd(const struct front *f)
{
    return f->ended_fd;
}

void front_close(struct front *f)
{
    for (unsigned k = 0; k < f->conf.threads && f->started; k++)
        pthread_join(f->lanes[k].thread, NULL);
    for (unsigned k = 0; k < f->conf.threads; k++) {
        for (unsigned i = 0; i < FRONT_LISTENERS; i++)
            if (f->lanes[k].fds[i] >= 0)
                close(f->lanes[k].fds[i]);
        loop_free(f->lanes[k].loop);
    }
    control_free(f->control);
    close(f->ended_fd);
    free(f->loops);
    free(f);
}
