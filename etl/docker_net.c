#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "docker_own.h"
#include "http/url.h"

enum { ORDER_MAX = 16 << 10, PATH_MAX_BYTES = 16 << 10, LEFT_MAX = 10000 };

const char docker_label[] = "sluice.node";

/* ---- making one ---- */

static void order(struct docker_runtime *r, const struct docker_net *n, bool open, bool apart, struct buf *b)
{
    js_object(b);
    js_put_str(b, "Name", str_z(n->name));
    js_put_bool(b, "CheckDuplicate", true);
    js_put_str(b, "Driver", STR("bridge"));
    js_put_bool(b, "Internal", !open);
    if (apart) {
        js_key(b, STR("Options"));
        js_object(b);
        js_put_str(b, "com.docker.network.bridge.enable_icc", STR("false")); /* containers reach not one another */
        js_end_object(b);
    }
    js_key(b, STR("Labels"));
    js_object(b);
    js_put_str(b, docker_label, r->label);
    js_end_object(b);
    js_end_object(b);
}

static enum err make(struct docker_runtime *r, struct docker_net *n, bool open, bool apart, char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct buf b = BUF_INIT(ORDER_MAX);
    struct doc *d;

    order(r, n, open, apart, &b);
    enum err e = docker_ask(
        &r->api, &a, &(struct rest_req){.method = "POST", .path = "/networks/create", .body = buf_str(&b)}, &d, why);
    if (e == ERR_OK && !docker_take_id(rest_text(d, "Id"), n->id)) {
        snprintf(why, ETL_WHY_MAX, "the container engine does not tell its network's id");
        e = ERR_UNAVAILABLE;
    }
    buf_release(&b);
    arena_release(&a);
    return e;
}

static bool take_address(struct str s, struct in_addr *out)
{
    char text[INET_ADDRSTRLEN];

    if (s.n == 0 || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return inet_pton(AF_INET, text, out) == 1;
}

/* The engine's, or, where it does not tell it (Podman: "<nil>"), the first address of the network, which is what all engines take. */
static bool take_gateway(const struct doc *row, struct in_addr *out)
{
    struct str subnet = rest_text(row, "Subnet");

    if (take_address(rest_text(row, "Gateway"), out))
        return true;
    if (!take_address(str_split(&subnet, '/'), out))
        return false;
    out->s_addr = htonl(ntohl(out->s_addr) + 1);
    return true;
}

static enum err find_gateway(struct docker_runtime *r, struct docker_net *n, char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct str path = arena_printf(&a, "/networks/%s", n->id);
    struct doc *d;
    enum err e = docker_ask(&r->api, &a, &(struct rest_req){.method = "GET", .path = path.p}, &d, why);
    const struct doc *rows = e == ERR_OK ? rest_at(d, "IPAM.Config") : NULL;
    bool found = false;

    for (const struct doc *row = rows ? rows->first : NULL; row && !found; row = row->next)
        found = take_gateway(row, &n->gateway);
    if (e == ERR_OK && !found) {
        snprintf(why, ETL_WHY_MAX, "the container engine's network has no gateway of IPv4");
        e = ERR_UNAVAILABLE;
    }
    arena_release(&a);
    return e;
}

static void drop(struct docker_runtime *r, const char *id)
{
    struct arena a = ARENA_INIT;
    char why[ETL_WHY_MAX] = "";
    struct str path = arena_printf(&a, "/networks/%s", id);
    enum err e = docker_ask(&r->api, &a, &(struct rest_req){.method = "DELETE", .path = path.p}, NULL, why);

    if (e != ERR_OK && e != ERR_NOT_FOUND)
        log_warn(STR_NONE, "etl network not removed", "network=%s reason=%s", id, log_quote(str_z(why)));
    arena_release(&a);
}

/* The net_lock is held. */
static enum err ensure(struct docker_runtime *r, struct docker_net *n, bool open, char why[ETL_WHY_MAX])
{
    uint8_t raw[6];
    char hex[2 * sizeof(raw)];
    enum err e;

    if (n->id[0])
        return ERR_OK;
    random_bytes(raw, sizeof(raw));
    hex_encode(raw, sizeof(raw), hex);
    snprintf(n->name, sizeof(n->name), "sluice-%.*s-%s", (int)sizeof(hex), hex, open ? "open" : "closed");
    e = make(r, n, open, true, why);
    if (e != ERR_OK && r->podman) /* which has no such option, and may refuse it */
        e = make(r, n, open, false, why);
    if (e == ERR_OK && r->podman)
        log_warn(STR_NONE, "etl containers reach one another", "network=%s reason=\"Podman does not part them\"",
                 n->name);
    if (e != ERR_OK)
        return e;
    if ((e = find_gateway(r, n, why)) != ERR_OK) {
        drop(r, n->id);
        n->id[0] = 0;
    }
    return e;
}

enum err docker_net(struct docker_runtime *r, bool open, const struct docker_net **out, char why[ETL_WHY_MAX])
{
    char reason[ETL_WHY_MAX] = "";

    pthread_mutex_lock(&r->net_lock);
    enum err e = ensure(r, &r->nets[open], open, reason);
    pthread_mutex_unlock(&r->net_lock);
    if (e == ERR_OK)
        *out = &r->nets[open];
    else
        snprintf(why, ETL_WHY_MAX, "its network can't be made: %.400s", reason);
    return e;
}

static enum err not_ours(const struct docker_runtime *r, const struct docker_net *net, int errnum,
                         char why[ETL_WHY_MAX])
{
    char text[INET_ADDRSTRLEN] = "";

    (void)inet_ntop(AF_INET, &net->gateway, text, sizeof(text));
    snprintf(why, ETL_WHY_MAX,
             "can't listen at %s, this machine's address in the containers' network (%s): the server must be in the "
             "network namespace of the container engine's machine%s",
             text, strerror(errnum), r->podman ? ", and Podman's networks must be netavark's, not CNI's" : "");
    return ERR_UNAVAILABLE;
}

static int bound(const struct docker_net *net, bool ahead)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = net->gateway};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    if (fd >= 0 && (!ahead || setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) == 0) &&
        bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return fd;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    errno = errnum;
    return -1;
}

enum err docker_net_listen(const struct docker_runtime *r, const struct docker_net *net, int *out, uint16_t *port,
                           char why[ETL_WHY_MAX])
{
    struct sockaddr_in sa;
    socklen_t len = sizeof(sa);
    int fd = bound(net, r->podman); /* whose networks come into being with their first container */

    if (fd >= 0 && listen(fd, SOMAXCONN) == 0 && getsockname(fd, (struct sockaddr *)&sa, &len) == 0) {
        *out = fd;
        *port = ntohs(sa.sin_port);
        return ERR_OK;
    }
    enum err e = not_ours(r, net, errno, why);
    if (fd >= 0)
        close(fd);
    return e;
}

enum err docker_net_check(const struct docker_runtime *r, const struct docker_net *net, char why[ETL_WHY_MAX])
{
    int fd = bound(net, false);

    if (fd < 0)
        return not_ours(r, net, errno, why);
    close(fd);
    return ERR_OK;
}

/* ---- what is left of an earlier process, or of us ---- */

/* `kind`: "/containers/json?all=true&" or "/networks?" */
static void clear(struct docker_runtime *r, const char *kind, void (*remove)(struct docker_runtime *, const char *))
{
    struct arena a = ARENA_INIT;
    struct buf filter = BUF_INIT(ORDER_MAX), path = BUF_INIT(PATH_MAX_BYTES);
    struct doc *d = NULL;
    char why[ETL_WHY_MAX] = "", id[DOCKER_ID_MAX + 1];
    unsigned n = 0;

    js_object(&filter);
    js_key(&filter, STR("label"));
    js_array(&filter);
    js_str(&filter, arena_printf(&a, "%s=" STR_FMT, docker_label, STR_ARG(r->label)));
    js_end_array(&filter);
    js_end_object(&filter);
    buf_addf(&path, "%sfilters=", kind);
    url_encode(&path, buf_str(&filter), false);
    buf_add_char(&path, 0);
    if (path.over || docker_ask(&r->api, &a, &(struct rest_req){.method = "GET", .path = path.p}, &d, why) != ERR_OK)
        log_warn(STR_NONE, "etl containers not listed", "reason=%s", log_quote(str_z(why)));
    for (const struct doc *row = d ? d->first : NULL; row && n < LEFT_MAX; row = row->next, n++)
        if (docker_take_id(rest_text(row, "Id"), id))
            remove(r, id);
    buf_release(&filter);
    buf_release(&path);
    arena_release(&a);
}

static void remove_one(struct docker_runtime *r, const char *id)
{
    (void)docker_remove(r, id);
}

void docker_clear(struct docker_runtime *r)
{
    clear(r, "/containers/json?all=true&", remove_one);
    clear(r, "/networks?", drop);
}
