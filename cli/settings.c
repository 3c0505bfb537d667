#include "settings.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "s3api/cred.h"

#define F(field) CONFIG_FIELD(struct settings, field)

/* Groups ("limits.") stay together: they are printed as one block. */
static const struct config_option options[] = {
    {"data", CONFIG_LIST, F(data), "",
     "Directories that hold the objects, one per disk. The first one also holds the "
     "bucket records and generated credentials."},
    {"listen", CONFIG_TEXT, F(listen), "127.0.0.1:9000",
     "Address and port to serve on; `:9000` is every address, port 0 any free one. Speaks TLS when `tls.cert` is set "
     "and `tls.listen` is not. May be empty when `tls.listen` is set."},
    {"tls.listen", CONFIG_TEXT, F(tls_listen), "", "A second address that speaks TLS while `listen` stays plain."},
    {"tls.cert", CONFIG_TEXT, F(tls_cert), "", "PEM file with the certificate and its chain. Read again on SIGHUP."},
    {"tls.key", CONFIG_TEXT, F(tls_key), "", "PEM file with the private key."},
    {"auth", CONFIG_CHOICE, F(auth), "signed",
     "`signed` asks every S3 request for a signature; `none` serves everybody as the owner and is refused on "
     "addresses other than loopback.",
     .choices = "signed|none"},
    {"access_key", CONFIG_TEXT, F(access_key), "",
     "The access key that may sign. Without it a pair is generated at the first start and kept in the first data "
     "directory."},
    {"secret_key", CONFIG_TEXT, F(secret_key), "", "The secret of `access_key`. Never printed or logged.",
     .secret = true},
    {"region", CONFIG_TEXT, F(region), "us-east-1",
     "The region that answers name. Any region is accepted in signatures."},
    {"domains", CONFIG_LIST, F(domains), "",
     "Domains for virtual-host style: a request to `BUCKET.DOMAIN` is for that bucket."},
    {"durability", CONFIG_CHOICE, F(store.durability), "sync",
     "`sync` answers once data and index are on disk; `async` survives a crash of the process, but a power cut may "
     "lose "
     "the last seconds of answered writes.",
     .choices = "sync|async"},
    {"threads", CONFIG_COUNT, F(threads), "0", "Event loops that serve connections; 0 = one per core.", .max = 1024},
    {"io_threads", CONFIG_COUNT, F(io_threads), "16", "Threads for disk work that blocks.", .min = 1, .max = 1024},
    {"cpu_threads", CONFIG_COUNT, F(cpu_threads), "0", "Threads for hashing and decoding; 0 = one per core.",
     .max = 1024},
    {"drain_timeout", CONFIG_DURATION_MS, F(drain_timeout_ms), "30s",
     "How long requests may go on after SIGTERM or SIGINT before they are cut.", .max = 86400000},
    {"limits.connections_max", CONFIG_COUNT, F(limits.connections_max), "8192",
     "Open connections per event loop and address; beyond it no more are accepted until some close.", .min = 1},
    {"limits.head_max", CONFIG_SIZE, F(limits.head_max), "64KiB", "Request line and headers: 431 beyond.", .min = 1024,
     .max = 1 << 20},
    {"limits.headers_max", CONFIG_COUNT, F(limits.headers_max), "128", "Number of headers: 431 beyond.", .min = 8,
     .max = 4096},
    {"limits.head_timeout", CONFIG_DURATION_MS, F(limits.head_timeout_ms), "10s",
     "From the first byte of a request to the end of its headers.", .min = 1},
    {"limits.body_timeout", CONFIG_DURATION_MS, F(limits.body_timeout_ms), "60s",
     "Without a byte of a body that is being read.", .min = 1},
    {"limits.idle_timeout", CONFIG_DURATION_MS, F(limits.idle_timeout_ms), "75s",
     "A connection that is kept open between requests.", .min = 1},
    {"limits.send_timeout", CONFIG_DURATION_MS, F(limits.send_timeout_ms), "60s",
     "Without progress while an answer is being sent.", .min = 1},
    {"limits.drain_body_max", CONFIG_SIZE, F(limits.drain_body_max), "256KiB",
     "How much of a refused body is read and dropped to keep the connection; beyond it the connection is closed."},
    {"store.inline_max", CONFIG_SIZE, F(store.inline_max), "16KiB",
     "Objects up to this size live in the index instead of a file of their own.", .max = 65536},
    {"store.cache_bytes", CONFIG_SIZE, F(store.cache_bytes), "64MiB", "Memory for hot records and small bodies."},
    {"store.index_cache_bytes", CONFIG_SIZE, F(store.index_cache_bytes), "64MiB", "Memory for blocks of the index.",
     .min = 1 << 20},
    {"store.open_files_max", CONFIG_COUNT, F(store.open_files_max), "4096", "Content files kept open for reading.",
     .min = 16},
    {"store.full_percent", CONFIG_COUNT, F(store.full_percent), "97",
     "A disk that is fuller refuses writes with InsufficientStorage.", .min = 1, .max = 100},
    {"store.high_percent", CONFIG_COUNT, F(store.high_percent), "90",
     "A disk that is fuller is reported in log and metrics.", .min = 1, .max = 100},
    {"store.orphan_grace", CONFIG_DURATION_S, F(store.orphan_grace_s), "1h",
     "How old a content file that no record names must be before it is removed."},
    {"store.verify_reads", CONFIG_BOOL, F(store.verify_reads), "false",
     "Check block hashes before bytes leave; costs a read of the block for each range."},
    {"log.level", CONFIG_CHOICE, F(log_level), "info", "The most talkative level that is written.",
     .choices = "error|warn|info|debug"},
    {"log.format", CONFIG_CHOICE, F(log_format), "text", "`text` is key=value, `json` one object per line.",
     .choices = "text|json"},
    {"log.access", CONFIG_BOOL, F(log_access), "false", "One line per request."},
};

void settings_defaults(struct settings *s)
{
    *s = (struct settings){.limits = HTTP_LIMITS_DEFAULT, .store = LOCAL_CONF_DEFAULT};
    s->config = config_new(options, sizeof(options) / sizeof(*options), "SLUICE_", s);
}

void settings_free(struct settings *s)
{
    config_free(s->config);
    s->config = NULL;
}

/* Cores this process may use. */
static uint32_t cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    return n > 0 ? (uint32_t)n : 1;
}

enum err settings_load(struct settings *s, int argc, char **argv, char why[SETTINGS_WHY_MAX])
{
    enum err e;

    settings_defaults(s);
    if ((e = config_load(s->config, argc, argv, environ)) != ERR_OK) {
        snprintf(why, SETTINGS_WHY_MAX, "%s", config_why(s->config));
        settings_free(s);
        return e;
    }
    if (s->threads == 0)
        s->threads = cores();
    if (s->cpu_threads == 0)
        s->cpu_threads = cores();
    log_setup(s->log_level, s->log_format == LOG_FORMAT_JSON);
    if (config_suspect(s->config))
        log_warn(STR_NONE, "variable is not an option", "name=%s", log_quote(str_z(config_suspect(s->config))));
    return ERR_OK;
}

/* ---- what must hold for a server ---- */

static enum err refuse(char why[SETTINGS_WHY_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static enum err refuse(char why[SETTINGS_WHY_MAX], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, SETTINGS_WHY_MAX, fmt, ap);
    va_end(ap);
    return ERR_INVALID_ARGUMENT;
}

/* 127.0.0.0/8, ::1 and localhost, by their texts: a name that happens to resolve to loopback today is not enough. */
static bool is_loopback(struct str address)
{
    struct in_addr v4;
    struct str host = address;
    char text[INET_ADDRSTRLEN];

    while (host.n && host.p[host.n - 1] != ':')
        host.n--;
    if (host.n)
        host.n--;
    if (str_eq(host, STR("localhost")) || str_eq(host, STR("[::1]")))
        return true;
    if (host.n >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(host));
    return inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static enum err check_addresses(const struct settings *s, char why[SETTINGS_WHY_MAX])
{
    if (s->listen.n == 0 && s->tls_listen.n == 0)
        return refuse(why, "listen and tls.listen are both empty: there is nothing to serve on");
    if ((s->tls_cert.n == 0) != (s->tls_key.n == 0))
        return refuse(why, "tls.cert and tls.key belong together: %s is missing",
                      s->tls_cert.n ? "tls.key" : "tls.cert");
    if (s->tls_listen.n && s->tls_cert.n == 0)
        return refuse(why, "tls.listen needs tls.cert and tls.key");
    return ERR_OK;
}

static enum err check_auth(const struct settings *s, char why[SETTINGS_WHY_MAX])
{
    const struct str addresses[] = {s->listen, s->tls_listen};

    for (size_t i = 0; i < 2 && s->auth == AUTH_NONE; i++)
        if (addresses[i].n && !is_loopback(addresses[i]))
            return refuse(why,
                          "auth: none would let anyone who reaches " STR_FMT
                          " read and delete everything; it is only for loopback addresses such as 127.0.0.1:9000",
                          STR_ARG(addresses[i]));
    if ((s->access_key.n == 0) != (s->secret_key.n == 0))
        return refuse(why, "access_key and secret_key belong together: %s is missing",
                      s->access_key.n ? "secret_key" : "access_key");
    if (s->access_key.n >= ACCESS_KEY_MAX || s->secret_key.n >= SECRET_KEY_MAX)
        return refuse(why, "access_key and secret_key must be shorter than %d bytes", ACCESS_KEY_MAX);
    return ERR_OK;
}

enum err settings_check_serve(const struct settings *s, char why[SETTINGS_WHY_MAX])
{
    enum err e;

    if (s->data.count == 0)
        return refuse(why, "say where the objects shall live: --data DIR, once per disk");
    if ((e = check_addresses(s, why)) != ERR_OK)
        return e;
    if ((e = check_auth(s, why)) != ERR_OK)
        return e;
    if (s->store.high_percent > s->store.full_percent)
        return refuse(why, "store.high_percent must not be above store.full_percent");
    return ERR_OK;
}
