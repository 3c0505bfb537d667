#include "role.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/command.h"
#include "cli/private_file.h"
#include "cli/process.h"

enum { IO_QUEUE_MAX = 16384, CPU_QUEUE_MAX = 4096 };

enum err role_open_tls(struct role *r, unsigned i, struct str cert, struct str key, char why[ROLE_WHY_MAX])
{
    return cert.n ? tls_context_new(cert.p, key.p, &r->tls[i], why) : ERR_OK;
}

static void reload(struct role *r)
{
    char why[256];

    for (unsigned i = 0; i < ROLE_TLS_MAX; i++) {
        if (!r->tls[i])
            continue;
        if (tls_context_reload(r->tls[i], why) == ERR_OK)
            log_info(STR_NONE, "certificate reloaded", "%s", "");
        else
            log_error(STR_NONE, "certificate not reloaded", "why=%s", log_quote(str_z(why)));
    }
}

static void run(struct role *r, const struct role_kind *kind)
{
    enum process_event event;
    bool draining = false;

    front_run(r->front);
    kind->serving(r);
    while ((event = process_wait(r->signals, front_fd(r->front))) != PROCESS_ENDED) {
        if (event == PROCESS_RELOAD) {
            reload(r);
            continue;
        }
        if (draining) /* asked twice: at once */
            _exit(EXIT_FAILURE);
        draining = true;
        log_info(STR_NONE, "draining", "timeout_ms=%u", r->settings.drain_timeout_ms);
        if (kind->leave)
            kind->leave(r);
        front_drain(r->front, r->settings.drain_timeout_ms);
    }
}

/* In the reverse order; whatever was opened. */
static void close_all(struct role *r, const struct role_kind *kind)
{
    if (r->front)
        front_close(r->front);
    kind->close(r);
    for (unsigned i = 0; i < ROLE_TLS_MAX; i++)
        if (r->tls[i])
            tls_context_free(r->tls[i]);
    offload_free(r->cpu);
    offload_free(r->io);
    close(r->signals);
}

enum err role_read_keys(struct role *r, const struct keyring **out, char why[ROLE_WHY_MAX])
{
    struct str file = r->settings.encryption_key_file, text = r->settings.encryption_key;
    char reason[PRIVATE_FILE_WHY_MAX], wrong[KEYRING_WHY_MAX];
    struct keyring *k;
    enum err e;

    *out = NULL;
    if (file.n && text.n) {
        snprintf(why, ROLE_WHY_MAX, "encryption.key_file and encryption.key: only one of them can be given");
        return ERR_INVALID_ARGUMENT;
    }
    if (file.n && (e = private_file_read(&r->arena, file.p, &text, reason)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "encryption.key_file: %s", reason);
        return e;
    }
    if (!file.n && !text.n)
        return ERR_OK;
    k = ARENA_NEW(&r->arena, struct keyring);
    if ((e = keyring_parse(text, k, wrong)) == ERR_OK)
        *out = k;
    else
        snprintf(why, ROLE_WHY_MAX, "%s: %s", file.n ? "encryption.key_file" : "encryption.key", wrong);
    return e;
}

int role_main(struct role *r, const struct role_kind *kind, int argc, char **argv)
{
    char why[ROLE_WHY_MAX] = "";
    int code = EXIT_SUCCESS;

    r->arena = (struct arena)ARENA_INIT;
    if (settings_load(&r->settings, argc, argv, why) != ERR_OK)
        return command_usage("%s", why);
    if (kind->check(&r->settings, why) != ERR_OK) {
        settings_free(&r->settings);
        return command_usage("%s", why);
    }
    r->signals = process_signals();
    process_raise_file_limit();
    hash_setup();
    r->io = offload_new("io", r->settings.io_threads, IO_QUEUE_MAX);
    r->cpu = offload_new("cpu", r->settings.cpu_threads, CPU_QUEUE_MAX);
    if (kind->open(r, why) == ERR_OK)
        run(r, kind);
    else
        code = command_fail("%s", why);
    close_all(r, kind);
    settings_free(&r->settings);
    arena_release(&r->arena);
    return code;
}
