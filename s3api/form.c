#include "s3api/form.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { DELIMITER_MAX = FORM_BOUNDARY_MAX + 4, READ_STEP = 64 << 10 };

/* ---- heads ---- */

/* The next parameter of a header's value: "; name=value" or "; name=\"value\"". False: there is none. */
static bool next_parameter(struct str *rest, struct str *name, struct str *value, struct arena *a)
{
    *rest = str_trim(*rest);
    if (!rest->n || rest->p[0] != ';')
        return false;
    *rest = str_trim(str_skip(*rest, 1));
    size_t at = str_find_char(*rest, '=');
    if (at == SIZE_MAX)
        return false;
    *name = str_trim(str_n(rest->p, at));
    *rest = str_skip(*rest, at + 1);
    if (!rest->n || rest->p[0] != '"') {
        at = str_find_char(*rest, ';');
        *value = str_trim(at == SIZE_MAX ? *rest : str_n(rest->p, at));
        *rest = at == SIZE_MAX ? STR("") : str_skip(*rest, at);
        return true;
    }
    /* Only a quote is escaped: Windows' names have backslashes of their own. */
    char *p = arena_alloc(a, rest->n + 1);
    size_t n = 0, i = 1;
    for (; i < rest->n && rest->p[i] != '"'; i++) {
        if (rest->p[i] == '\\' && i + 1 < rest->n && rest->p[i + 1] == '"')
            i++;
        p[n++] = rest->p[i];
    }
    if (i == rest->n)
        return false; /* no closing quote */
    *value = str_n(p, n);
    *rest = str_skip(*rest, i + 1);
    return true;
}

static bool is_boundary(struct str s)
{
    if (s.n == 0 || s.n > FORM_BOUNDARY_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7E)
            return false;
    return s.p[s.n - 1] != ' ';
}

bool form_boundary(struct str content_type, struct str *out)
{
    struct str rest = content_type, type, name, value;
    struct arena a = ARENA_INIT;
    bool found = false;

    type = str_split(&rest, ';');
    if (!str_eq_nocase(str_trim(type), STR("multipart/form-data")))
        return false;
    rest = str_skip(content_type, type.n);
    while (!found && next_parameter(&rest, &name, &value, &a)) {
        if (!str_eq_nocase(name, STR("boundary")) || !is_boundary(value))
            continue;
        size_t at = str_find(content_type, value); /* boundaries have no escapes: the very bytes are there */
        found = at != SIZE_MAX;
        if (found)
            *out = str_n(content_type.p + at, value.n);
    }
    arena_release(&a);
    return found;
}

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);

    for (size_t i = 0; i < s.n; i++)
        p[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 32 : s.p[i]);
    return str_n(p, s.n);
}

/* Old browsers send a whole path. */
static struct str last_segment(struct str s)
{
    for (size_t i = s.n; i > 0; i--)
        if (s.p[i - 1] == '/' || s.p[i - 1] == '\\')
            return str_skip(s, i);
    return s;
}

struct part {
    struct str name, filename; /* name.n == 0: it has none */
};

static enum err read_disposition(struct str value, struct arena *a, struct part *out)
{
    struct str rest = value, type = str_split(&rest, ';'), name, v;

    if (!str_eq_nocase(str_trim(type), STR("form-data")))
        return ERR_MALFORMED_POST;
    rest = str_skip(value, type.n);
    while (next_parameter(&rest, &name, &v, a)) {
        if (str_eq_nocase(name, STR("name")))
            out->name = lower(a, v);
        else if (str_eq_nocase(name, STR("filename")))
            out->filename = last_segment(v);
    }
    return str_trim(rest).n ? ERR_MALFORMED_POST : ERR_OK;
}

/* The header lines of a part; *used: up to its first byte. */
static enum err read_part_head(struct str bytes, struct arena *a, struct part *out, size_t *used)
{
    struct str rest = bytes;

    *out = (struct part){STR(""), STR("")};
    for (;;) {
        size_t at = str_find(rest, STR("\r\n"));
        if (at == SIZE_MAX)
            return ERR_AGAIN;
        struct str value = str_n(rest.p, at);
        rest = str_skip(rest, at + 2);
        if (at == 0)
            break;
        struct str name = str_split(&value, ':');
        if (name.n == at)
            return ERR_MALFORMED_POST;
        if (str_eq_nocase(str_trim(name), STR("content-disposition"))) {
            enum err e = read_disposition(str_trim(value), a, out);
            if (e != ERR_OK)
                return e;
        }
    }
    *used = bytes.n - rest.n;
    return out->name.n ? ERR_OK : ERR_MALFORMED_POST;
}

/* ---- the form ---- */

struct reader {
    struct str bytes, delimiter; /* "\r\n--boundary" */
    size_t at, values;
    struct arena *arena;
    struct form *form;
};

/* Behind a delimiter: the end of its line. ERR_INVALID_ARGUMENT: it was the last one. */
static enum err pass_delimiter(struct reader *r)
{
    struct str rest = str_skip(r->bytes, r->at);
    size_t blanks = 0;

    if (str_starts(rest, STR("--")))
        return ERR_INVALID_ARGUMENT;
    while (blanks < rest.n && (rest.p[blanks] == ' ' || rest.p[blanks] == '\t'))
        blanks++;
    if (rest.n < blanks + 2)
        return ERR_AGAIN;
    if (!str_starts(str_skip(rest, blanks), STR("\r\n")))
        return ERR_MALFORMED_POST;
    r->at += blanks + 2;
    return ERR_OK;
}

static enum err pass_first(struct reader *r)
{
    struct str dashes = str_skip(r->delimiter, 2);

    if (str_eq(r->bytes, STR("\r")))
        return ERR_AGAIN;
    if (str_starts(r->bytes, STR("\r\n")))
        r->at = 2;
    struct str rest = str_skip(r->bytes, r->at);
    if (rest.n < dashes.n)
        return str_starts(dashes, rest) || rest.n == 0 ? ERR_AGAIN : ERR_MALFORMED_POST;
    if (!str_starts(rest, dashes))
        return ERR_MALFORMED_POST;
    r->at += dashes.n;
    return ERR_OK;
}

static enum err read_field(struct reader *r, const struct part *part)
{
    struct str rest = str_skip(r->bytes, r->at);
    size_t end = str_find(rest, r->delimiter);

    if (end == SIZE_MAX)
        return ERR_AGAIN;
    r->values += part->name.n + end;
    if (r->values > FORM_VALUES_MAX || r->form->count == FORM_FIELDS_MAX)
        return ERR_POST_FIELDS;
    r->form->fields[r->form->count++] = (struct form_field){part->name, str_n(rest.p, end)};
    r->at += end + r->delimiter.n;
    return ERR_OK;
}

static enum err read_all(struct reader *r)
{
    struct part part;
    size_t used = 0;
    enum err e;

    if ((e = pass_first(r)) != ERR_OK)
        return e;
    for (;;) {
        if ((e = pass_delimiter(r)) != ERR_OK ||
            (e = read_part_head(str_skip(r->bytes, r->at), r->arena, &part, &used)) != ERR_OK)
            return e;
        r->at += used;
        if (str_eq(part.name, STR("file")))
            break;
        if ((e = read_field(r, &part)) != ERR_OK)
            return e;
    }
    r->form->filename = part.filename;
    r->form->file_at = r->at;
    return ERR_OK;
}

static struct str delimiter_of(struct str boundary, char room[DELIMITER_MAX])
{
    memcpy(room, "\r\n--", 4);
    memcpy(room + 4, boundary.p, boundary.n);
    return str_n(room, boundary.n + 4);
}

enum err form_read(struct str bytes, struct str boundary, struct arena *a, struct form *out)
{
    char room[DELIMITER_MAX];
    struct reader r = {.bytes = bytes, .delimiter = delimiter_of(boundary, room), .arena = a, .form = out};
    enum err e;

    out->count = 0;
    e = read_all(&r);
    return e == ERR_AGAIN && bytes.n >= FORM_HEAD_MAX ? ERR_POST_FIELDS : e;
}

struct str form_get(const struct form *f, struct str name)
{
    for (size_t i = 0; i < f->count; i++)
        if (str_eq(f->fields[i].name, name))
            return f->fields[i].value.p ? f->fields[i].value : STR("");
    return STR_NONE;
}

/* ---- the file ---- */

struct file {
    struct source source;
    struct loop *loop;
    struct source *body; /* borrowed; NULL: all is in `ahead` */
    struct buf ahead;    /* read, not yet given */
    size_t clean;        /* bytes of it of which no delimiter begins */
    size_t delimiter_n;
    char delimiter[DELIMITER_MAX];
    uint64_t given, min;
    bool ended;
    enum err err;
    /* a read */
    void *buf;
    size_t len, *n, got;
    struct call *whole;
    struct call call;
};

static void finish(struct file *f, enum err e)
{
    struct call *whole = f->whole;

    f->whole = NULL;
    f->err = e;
    call_finish(whole, e);
}

/* How many bytes can be given; *ends: the file's end is right behind them. */
static size_t look(struct file *f, bool *ends)
{
    struct str unseen = str_skip(buf_str(&f->ahead), f->clean);
    struct str delimiter = str_n(f->delimiter, f->delimiter_n);
    size_t at = unseen.n >= delimiter.n ? str_find(unseen, delimiter) : SIZE_MAX;

    *ends = at != SIZE_MAX;
    if (*ends)
        f->clean += at;
    else if (unseen.n >= delimiter.n)
        f->clean = f->ahead.n - (delimiter.n - 1);
    return f->clean;
}

static void on_more(struct call *call);

static void give(struct file *f)
{
    bool ends;
    size_t n = look(f, &ends);

    if (n > 0) {
        n = n < f->len ? n : f->len;
        memcpy(f->buf, f->ahead.p, n);
        buf_consume(&f->ahead, n);
        f->clean -= n;
        f->given += n;
        *f->n = n;
        finish(f, ERR_OK);
    } else if (ends) {
        f->ended = true;
        finish(f, f->given < f->min ? ERR_ENTITY_TOO_SMALL : ERR_OK);
    } else if (!f->body) {
        finish(f, ERR_MALFORMED_POST);
    } else {
        char *room = buf_reserve(&f->ahead, READ_STEP);
        call_begin(&f->call, f->loop, on_more);
        source_read(f->body, room, READ_STEP, &f->got, &f->call);
    }
}

static void on_more(struct call *call)
{
    struct file *f = CONTAINER(call, struct file, call);

    if (call->err != ERR_OK) {
        finish(f, call->err);
    } else if (f->got == 0) {
        finish(f, ERR_MALFORMED_POST); /* the client says that this is all, and there is no end */
    } else {
        buf_commit(&f->ahead, f->got);
        give(f);
    }
}

static void on_cancel(void *arg)
{
    struct file *f = arg;

    if (f->whole)
        call_cancel(&f->call);
}

static void file_read(struct source *s, void *buf, size_t len, size_t *n, struct call *whole)
{
    struct file *f = CONTAINER(s, struct file, source);

    *n = 0;
    if (f->ended || f->err != ERR_OK) {
        call_finish(whole, f->err);
        return;
    }
    f->buf = buf;
    f->len = len;
    f->n = n;
    f->whole = whole;
    call_on_cancel(whole, on_cancel, f);
    give(f);
}

static void file_close(struct source *s)
{
    struct file *f = CONTAINER(s, struct file, source);

    buf_release(&f->ahead);
    free(f);
}

struct source *form_file(struct loop *loop, struct str boundary, struct str begun, struct source *body, uint64_t min)
{
    static const struct source_ops ops = {"form file", NULL, NULL, NULL, file_read, file_close};
    struct file *f = NEW(struct file);

    f->source = (struct source){&ops, SOURCE_SIZE_UNKNOWN};
    f->loop = loop;
    f->body = body;
    f->min = min;
    f->delimiter_n = delimiter_of(boundary, f->delimiter).n;
    buf_init(&f->ahead, FORM_HEAD_MAX + 2 * READ_STEP);
    buf_add_str(&f->ahead, begun);
    return &f->source;
}
