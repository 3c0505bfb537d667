#include "err.h"

#include <errno.h>

static const struct {
    const char *name;
    int status;
    const char *code;
    const char *text;
} rows[] = {
#define ERR(name, status, code, text) [ERR_##name] = {#name, status, code, text},
#include "err.def"
#undef ERR
};

static unsigned row(enum err e)
{
    return (unsigned)e < ERR__COUNT ? (unsigned)e : (unsigned)ERR_INTERNAL;
}

const char *err_name(enum err e)
{
    return rows[row(e)].name;
}

int err_status(enum err e)
{
    return rows[row(e)].status;
}

const char *err_code(enum err e)
{
    return rows[row(e)].code;
}

const char *err_text(enum err e)
{
    return rows[row(e)].text;
}

enum err err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return ERR_BUSY;
    default:
        return ERR_IO;
    }
}
