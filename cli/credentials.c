#include "credentials.h"

#include <stdio.h>

#include "base/doc.h"
#include "base/hash.h"
#include "private_file.h"

enum { MADE_ACCESS_LEN = 20, MADE_SECRET_LEN = 40 };

static enum err fail(char why[CREDENTIALS_WHY_MAX], const char *file, const char *what)
{
    snprintf(why, CREDENTIALS_WHY_MAX, "%s: %s", file, what);
    return ERR_IO;
}

/* ---- reading ---- */

static enum err parse(struct arena *a, struct str text, struct credentials *out, char why[CREDENTIALS_WHY_MAX])
{
    static const char expected[] = "expected the two lines \"access_key: ...\" and \"secret_key: ...\"";
    const struct doc *access, *secret;
    char doc_why[DOC_WHY_MAX];
    struct doc *root;

    if (doc_parse(a, text, &root, doc_why) != ERR_OK)
        return fail(why, out->file.p, expected);
    access = doc_get(root, STR("access_key"));
    secret = doc_get(root, STR("secret_key"));
    if (!access || !secret || access->kind != DOC_SCALAR || secret->kind != DOC_SCALAR || !access->text.n ||
        !secret->text.n)
        return fail(why, out->file.p, expected);
    out->from = CREDENTIALS_FILE;
    out->access_key = access->text;
    out->secret_key = secret->text;
    return ERR_OK;
}

/* ---- making ---- */

/* Letters and digits only: nothing that a shell or a URL would want quoted. `alphabet` has at most 64. */
static struct str random_text(struct arena *a, size_t n, struct str alphabet)
{
    char *p = arena_alloc(a, n + 1);

    for (size_t i = 0; i < n;) {
        uint8_t byte;
        random_bytes(&byte, 1);
        if ((byte & 63) < alphabet.n) /* others are dropped, so that all are equally likely */
            p[i++] = alphabet.p[byte & 63];
    }
    p[n] = 0;
    return str_n(p, n);
}

enum err credentials_get(struct arena *a, struct str access_key, struct str secret_key, struct str dir,
                         struct credentials *out, char why[CREDENTIALS_WHY_MAX])
{
    struct credentials c = {CREDENTIALS_SETTINGS, access_key, secret_key, STR_NONE};
    struct str text;
    enum err e;

    if (access_key.n) {
        *out = c;
        return ERR_OK;
    }
    c.file = arena_printf(a, STR_FMT "/credentials", STR_ARG(dir));
    if ((e = private_file_read(a, c.file.p, &text, why)) == ERR_OK) {
        e = parse(a, text, &c, why);
    } else if (e == ERR_NOT_FOUND) {
        c.from = CREDENTIALS_MADE;
        c.access_key = random_text(a, MADE_ACCESS_LEN, STR("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"));
        c.secret_key =
            random_text(a, MADE_SECRET_LEN, STR("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"));
        text = arena_printf(a, "access_key: \"" STR_FMT "\"\nsecret_key: \"" STR_FMT "\"\n", STR_ARG(c.access_key),
                            STR_ARG(c.secret_key));
        e = private_file_write(a, dir, c.file.p, text, why);
    }
    if (e == ERR_OK)
        *out = c;
    return e;
}
