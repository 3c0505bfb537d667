#include "banner.h"

#include <stdio.h>
#include <unistd.h>

/* "http://HOST:PORT" that a client on this machine can use: the any-address becomes localhost. */
static struct str endpoint(struct arena *a, const char *scheme, const char *bound)
{
    struct str address = str_z(bound);

    if (str_starts(address, STR("0.0.0.0:")))
        address = arena_printf(a, "localhost:%s", bound + strlen("0.0.0.0:"));
    else if (str_starts(address, STR("[::]:")))
        address = arena_printf(a, "localhost:%s", bound + strlen("[::]:"));
    return arena_printf(a, "%s://" STR_FMT, scheme, STR_ARG(address));
}

static void print_keys(const struct banner *b)
{
    const struct credentials *c = b->credentials;

    if (!c) {
        puts("export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any  # auth: none");
        return;
    }
    printf("export AWS_ACCESS_KEY_ID=" STR_FMT "\n", STR_ARG(c->access_key));
    if (c->from == CREDENTIALS_SETTINGS)
        puts("export AWS_SECRET_ACCESS_KEY=...  # the secret_key that you set");
    else if (c->from == CREDENTIALS_MADE || isatty(STDOUT_FILENO))
        printf("export AWS_SECRET_ACCESS_KEY=" STR_FMT "\n", STR_ARG(c->secret_key));
    else
        printf("export AWS_SECRET_ACCESS_KEY=\"$(awk -F'\"' '/^secret_key/ {print $2}' '" STR_FMT "')\"\n",
               STR_ARG(c->file));
}

static void log_start(const struct banner *b)
{
    const struct settings *s = b->settings;

    log_info(STR_NONE, "serving", "version=%s listen=%s tls_listen=%s threads=%u disks=%zu", SLUICE_VERSION,
             log_quote(str_z(b->plain)), log_quote(str_z(b->tls)), s->threads, s->data.count);
    if (s->store.durability == DURABILITY_ASYNC)
        log_warn(STR_NONE, "durability is async: a power cut may lose the last seconds of answered writes", "%s", "");
    if (s->auth == AUTH_NONE)
        log_warn(STR_NONE, "auth is none: everybody who reaches the address is the owner", "%s", "");
}

void banner_print(const struct banner *b)
{
    struct arena arena = ARENA_INIT;
    bool plain_is_tls = b->settings->tls_cert.n && !b->settings->tls_listen.n;
    struct str first = STR_NONE, second = STR_NONE;

    if (b->plain[0])
        first = endpoint(&arena, plain_is_tls ? "https" : "http", b->plain);
    if (b->tls[0])
        *(first.n ? &second : &first) = endpoint(&arena, "https", b->tls);
    printf("sluice %s serves S3 at " STR_FMT "%s" STR_FMT "\n\n", SLUICE_VERSION, STR_ARG(first),
           second.n ? " and " : "", STR_ARG(second));
    print_keys(b);
    printf("export AWS_DEFAULT_REGION=" STR_FMT " AWS_ENDPOINT_URL=" STR_FMT "\n", STR_ARG(b->settings->region),
           STR_ARG(first));
    printf("aws --endpoint-url " STR_FMT " s3 mb s3://demo\n\n", STR_ARG(first));
    printf("import boto3\ns3 = boto3.client(\"s3\", endpoint_url=\"" STR_FMT "\")\n\n", STR_ARG(first));
    if (b->credentials && b->credentials->file.n)
        printf("The keys are kept in " STR_FMT ".\n", STR_ARG(b->credentials->file));
    fflush(stdout);
    log_start(b);
    arena_release(&arena);
}
