#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "kube_own.h"

enum { HOST_BYTES = 256, TEXT_MAX = 1 << 20 };
#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount/"

/* What is set, or else what the environment says; STR_NONE: neither. */
static struct str set_or_env(struct arena *a, struct str set, const char *name)
{
    const char *env = name ? getenv(name) : NULL;

    return set.n ? arena_str(a, set) : env && env[0] ? arena_str(a, str_z(env)) : STR_NONE;
}

/* ---- the API server ---- */

static enum err know_server(struct kube_runtime *r, struct str set, char why[ETL_WHY_MAX])
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    struct str url = set;

    if (!url.n && (!host || !host[0])) {
        snprintf(why, ETL_WHY_MAX,
                 "this is no Pod (KUBERNETES_SERVICE_HOST is not set), and etl.kube_server does not say where the "
                 "Kubernetes API server is");
        return ERR_INVALID_ARGUMENT;
    }
    if (!url.n && strchr(host, ':'))
        url = arena_printf(&r->arena, "https://[%.255s]:%.8s", host, port && port[0] ? port : "443");
    else if (!url.n)
        url = arena_printf(&r->arena, "https://%.255s:%.8s", host, port && port[0] ? port : "443");
    return kube_server(&r->arena, url, &r->api, why);
}

static bool is_name(struct str s, size_t max)
{
    bool ok = s.n && s.n <= max;

    for (size_t i = 0; ok && i < s.n; i++)
        ok = (s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-' || s.p[i] == '.';
    return ok;
}

static enum err know_namespace(struct kube_runtime *r, struct str set, char why[ETL_WHY_MAX])
{
    enum err e = ERR_OK;

    r->api.namespace = arena_str(&r->arena, set);
    if (!set.n && (e = kube_file(&r->arena, ACCOUNT "namespace", &r->api.namespace, why)) != ERR_OK) {
        snprintf(why, ETL_WHY_MAX, "in which namespace sidecars are to be is not known: set etl.kube_namespace");
        return e;
    }
    if (is_name(r->api.namespace, KUBE_NAME_MAX))
        return ERR_OK;
    rest_say(why, "this is not the name of a namespace: ", r->api.namespace);
    return ERR_INVALID_ARGUMENT;
}

static enum err know_api(struct kube_runtime *r, const struct etl_kube_conf *conf, char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct str token;
    enum err e;

    r->api.token_file = arena_str(&r->arena, conf->token_file.n ? conf->token_file : STR(ACCOUNT "token"));
    r->api.ca_file = arena_str(&r->arena, conf->ca_file.n ? conf->ca_file : STR(ACCOUNT "ca.crt"));
    if ((e = know_server(r, conf->server, why)) == ERR_OK && (e = know_namespace(r, conf->namespace, why)) == ERR_OK)
        e = kube_file(&a, r->api.token_file.p, &token, why);
    arena_release(&a);
    return e;
}

/* ---- our own Pod ---- */

static struct str json_of(struct kube_runtime *r, const struct doc *d)
{
    struct buf b = BUF_INIT(TEXT_MAX);
    struct str text = STR_NONE;

    if (d && d->kind == DOC_LIST && d->count) {
        js_doc(&b, d);
        text = b.over ? STR_NONE : arena_str(&r->arena, buf_str(&b));
    }
    buf_release(&b);
    return text;
}

/* What it has to be fetched with, and the node's taints that it bears, are good for sidecars, too. */
static void take_own(struct kube_runtime *r, const struct doc *pod)
{
    r->uid = arena_str(&r->arena, rest_text(pod, "metadata.uid"));
    r->pull_secrets = json_of(r, rest_at(pod, "spec.imagePullSecrets"));
    r->tolerations = json_of(r, rest_at(pod, "spec.tolerations"));
    if (!r->node.n)
        r->node = arena_str(&r->arena, rest_text(pod, "spec.nodeName"));
}

/* Of other namespaces than our own we may not ask after our Pod, nor may theirs belong to it. */
static bool is_elsewhere(const struct kube_runtime *r, struct arena *a)
{
    char why[ETL_WHY_MAX];
    struct str own;

    return kube_file(a, ACCOUNT "namespace", &own, why) == ERR_OK && !str_eq(own, r->api.namespace);
}

/* Who is in a Pod, and was not told its name, is called as it is; unless that is a coincidence, or it is on its node's network. */
static enum err know_self(struct kube_runtime *r, struct str set, struct str *ip, char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    char host[HOST_BYTES] = "";
    struct doc *d;
    bool guess;

    if (is_elsewhere(r, &a)) {
        arena_release(&a);
        return ERR_OK;
    }
    r->pod = set_or_env(&r->arena, set, "POD_NAME");
    guess = !r->pod.n;
    if (guess && getenv("KUBERNETES_SERVICE_HOST") && gethostname(host, sizeof(host) - 1) == 0)
        r->pod = arena_str(&r->arena, str_z(host));
    if (!is_name(r->pod, HOST_BYTES)) {
        arena_release(&a);
        if (!guess)
            rest_say(why, "etl.kube_pod is not the name of a Pod: ", r->pod);
        r->pod = STR_NONE;
        return guess ? ERR_OK : ERR_INVALID_ARGUMENT;
    }
    struct str path = arena_printf(&a, "/pods/" STR_FMT, STR_ARG(r->pod));
    enum err e = kube_ask(
        &r->api, &a, &(struct kube_req){.method = "GET", .verb = "get", .resource = "pods", .path = path.p}, &d, why);
    if (e == ERR_OK) {
        take_own(r, d);
        *ip = arena_str(&r->arena, rest_text(d, "status.podIP"));
    } else if (guess && e == ERR_NOT_FOUND) {
        r->pod = STR_NONE;
        e = ERR_OK;
    }
    arena_release(&a);
    return e;
}

/* ---- our address ---- */

static bool parse_address(struct str text, struct sockaddr_storage *out, socklen_t *len)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char z[INET6_ADDRSTRLEN];

    if (!text.n || text.n >= sizeof(z))
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = 0;
    if (inet_pton(AF_INET, z, &v4.sin_addr) == 1) {
        memcpy(out, &v4, sizeof(v4));
        *len = sizeof(v4);
        return true;
    }
    memcpy(out, &v6, sizeof(v6));
    *len = sizeof(v6);
    return inet_pton(AF_INET6, z, &((struct sockaddr_in6 *)out)->sin6_addr) == 1;
}

/* The address of ours with which the API server is reached. */
static bool find_address(struct kube_runtime *r)
{
    struct sockaddr_storage to;
    socklen_t len;
    bool ok = false;

    if (!parse_address(str_z(r->api.host), &to, &len))
        return false;
    ((struct sockaddr_in *)&to)->sin_port = htons(r->api.port); /* the same place in both families */
    int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, len) == 0) { /* sends nothing */
        r->address_len = sizeof(r->address);
        ok = getsockname(fd, (struct sockaddr *)&r->address, &r->address_len) == 0;
        ((struct sockaddr_in *)&r->address)->sin_port = 0;
    }
    if (fd >= 0)
        close(fd);
    return ok;
}

static enum err know_address(struct kube_runtime *r, struct str set, struct str own, char why[ETL_WHY_MAX])
{
    struct str text = set_or_env(&r->arena, set, "POD_IP");

    if (!text.n)
        text = own;
    if (!text.n && find_address(r))
        return ERR_OK;
    if (!text.n) {
        snprintf(why, ETL_WHY_MAX,
                 "at which address Pods reach this server is not known: set etl.kube_address, or POD_IP");
        return ERR_INVALID_ARGUMENT;
    }
    if (parse_address(text, &r->address, &r->address_len))
        return ERR_OK;
    rest_say(why, "etl.kube_address must be an IP address, and is ", text);
    return ERR_INVALID_ARGUMENT;
}

static void address_text(const struct sockaddr_storage *sa, char out[INET6_ADDRSTRLEN])
{
    const void *from = sa->ss_family == AF_INET ? (const void *)&((const struct sockaddr_in *)sa)->sin_addr
                                                : (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr;

    if (!inet_ntop(sa->ss_family, from, out, INET6_ADDRSTRLEN))
        out[0] = 0;
}

enum err kube_listen(const struct kube_runtime *r, int *out, struct str path, struct arena *a, struct str *url,
                     char why[ETL_WHY_MAX])
{
    struct sockaddr_storage sa = r->address;
    socklen_t len = r->address_len;
    char text[INET6_ADDRSTRLEN];
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool v6 = sa.ss_family == AF_INET6;

    address_text(&sa, text);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&sa, &len) != 0) {
        snprintf(why, ETL_WHY_MAX,
                 "can't listen at %s, where Pods are to reach this server (%s): etl.kube_address must be an address of "
                 "its own",
                 text, strerror(errno));
        if (fd >= 0)
            close(fd);
        return ERR_UNAVAILABLE;
    }
    *out = fd;
    *url = arena_printf(a, "http://%s%s%s:%u" STR_FMT, v6 ? "[" : "", text, v6 ? "]" : "",
                        ntohs(((struct sockaddr_in *)&sa)->sin_port), STR_ARG(path));
    return ERR_OK;
}

/* ---- all of it ---- */

void kube_label_value(struct str text, char out[KUBE_NAME_MAX + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < text.n && n < KUBE_NAME_MAX; i++) {
        char c = text.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (word || n > 0) /* it begins and ends with one of them */
            out[n++] = word || c == '.' || c == '_' ? c : '-';
    }
    while (n && strchr("-._", out[n - 1]))
        n--;
    out[n] = 0;
}

enum err kube_know(struct kube_runtime *r, const struct etl_kube_conf *conf, char why[ETL_WHY_MAX])
{
    struct str ip = STR_NONE;
    char text[INET6_ADDRSTRLEN];
    enum err e;

    r->target = arena_str(&r->arena, conf->label);
    r->node = set_or_env(&r->arena, conf->node, "NODE_NAME");
    if ((e = know_api(r, conf, why)) != ERR_OK || (e = know_self(r, conf->pod, &ip, why)) != ERR_OK ||
        (e = know_address(r, conf->address, ip, why)) != ERR_OK)
        return e;
    if (!r->node.n) {
        snprintf(why, ETL_WHY_MAX,
                 "which node of Kubernetes this is is not known: set etl.kube_node, or NODE_NAME, or etl.kube_pod");
        return ERR_INVALID_ARGUMENT;
    }
    address_text(&r->address, text);
    log_info(STR_NONE, "etl sidecars are pods", "server=%s port=%u namespace=%s node=%s address=%s", r->api.host,
             r->api.port, log_quote(r->api.namespace), log_quote(r->node), text);
    return ERR_OK;
}
