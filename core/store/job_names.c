#include "store/job_names.h"

#include "http/url.h"

void job_names_add(struct buf *b, struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c == '%' || c == '\r' || c == '\n' || c == 0)
            buf_addf(b, "%%%02X", c);
        else
            buf_add_char(b, (char)c);
    }
    buf_add_char(b, '\n');
}

enum err job_names_next(struct str *text, struct arena *a, struct str *name, bool *end)
{
    struct str line;

    *end = false;
    while (text->n) {
        line = str_split(text, '\n');
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n)
            return url_decode(line, a, false, name) ? ERR_OK : ERR_CORRUPT;
    }
    *end = true;
    return ERR_OK;
}
