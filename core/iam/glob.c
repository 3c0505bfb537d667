#include "iam/glob.h"

#include <stdio.h>

#include "iam/policy_own.h"

enum { WHY_MAX = POLICY_WHY_MAX, VARIABLES_MAX = 32 };

/* ---- reading ---- */

struct reader {
    struct arena *arena;
    unsigned flags;
    char *why, *to; /* GLOB_MAX bytes */
    size_t n;
    struct glob_variable *variables;
    unsigned variable_count;
    bool over;
};

static void put(struct reader *r, char c)
{
    if (r->n == GLOB_MAX)
        r->over = true;
    else
        r->to[r->n++] = c;
}

static bool is_key(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == '\'' || s.p[i] == '$' || s.p[i] == '{')
            return false;
    return s.n > 0 && s.n < POLICY_KEY_MAX;
}

/* Behind "${" and before "}": a key, or a key, a comma and a quoted text. */
static enum err read_variable(struct reader *r, struct str inside)
{
    struct str key = str_trim(str_split(&inside, ',')), rest = str_trim(inside);
    struct glob_variable *v;

    if (!is_key(key) || (rest.n && (rest.n < 2 || rest.p[0] != '\'' || rest.p[rest.n - 1] != '\''))) {
        snprintf(r->why, WHY_MAX, "Invalid variable: ${%.*s}", key.n > 100 ? 100 : (int)key.n, key.n ? key.p : "");
        return ERR_SYNTAX;
    }
    if (r->variable_count == VARIABLES_MAX) {
        snprintf(r->why, WHY_MAX, "More than %d variables in one text", VARIABLES_MAX);
        return ERR_SYNTAX;
    }
    if (!r->variables)
        r->variables = arena_new(r->arena, VARIABLES_MAX * sizeof(*r->variables));
    v = &r->variables[r->variable_count];
    v->key = policy_key(r->arena, key);
    v->fallback = rest.n ? arena_str(r->arena, str_n(rest.p + 1, rest.n - 2)) : STR_NONE;
    put(r, (char)GLOB_VARIABLE);
    put(r, (char)r->variable_count++);
    return ERR_OK;
}

/* "${*}", "${?}" and "${$}" are those characters themselves. Returns how long the whole is; 0: it has no end. */
static size_t read_dollar(struct reader *r, struct str at, enum err *e)
{
    size_t end = str_find_char(at, '}');

    if (end == SIZE_MAX) {
        snprintf(r->why, WHY_MAX, "A variable has no end: %.100s", at.p); /* texts of documents are terminated */
        *e = ERR_SYNTAX;
        return at.n;
    }
    if (end == 3 && (at.p[2] == '*' || at.p[2] == '?' || at.p[2] == '$'))
        put(r, at.p[2]);
    else
        *e = read_variable(r, str_n(at.p + 2, end - 2));
    return end + 1;
}

static void put_plain(struct reader *r, char c)
{
    bool any = r->flags & GLOB_STARS && c == '*', one = r->flags & GLOB_STARS && c == '?';

    if (any && r->n && (unsigned char)r->to[r->n - 1] == GLOB_ANY)
        return; /* two are one; no number of a variable looks like one */
    if (any || one)
        c = (char)(any ? GLOB_ANY : GLOB_ONE);
    else if (r->flags & GLOB_LOWER && c >= 'A' && c <= 'Z')
        c = (char)(c - 'A' + 'a');
    put(r, c);
}

static bool has_long_mixed_piece(struct str p)
{
    for (str_split(&p, (char)GLOB_ANY); p.n;) { /* the first piece has its place */
        struct str piece = str_split(&p, (char)GLOB_ANY);
        if (p.n && piece.n > GLOB_MIXED_MAX && memchr(piece.p, GLOB_ONE, piece.n))
            return true;
    }
    return false;
}

enum err glob_read(struct arena *a, struct str text, unsigned flags, struct glob *out, char *why)
{
    char to[GLOB_MAX];
    struct reader r = {.arena = a, .flags = flags, .why = why, .to = to};
    enum err e = ERR_OK;

    for (size_t i = 0; i < text.n && e == ERR_OK;) {
        if (flags & GLOB_VARIABLES && str_starts(str_skip(text, i), STR("${")))
            i += read_dollar(&r, str_skip(text, i), &e);
        else
            put_plain(&r, text.p[i++]);
    }
    if (e != ERR_OK)
        return e;
    if (r.over || has_long_mixed_piece(str_n(to, r.n))) {
        snprintf(why, WHY_MAX,
                 r.over ? "A text is longer than %d bytes" : "More than %d bytes with '?' between two '*'",
                 r.over ? GLOB_MAX : GLOB_MIXED_MAX);
        return ERR_SYNTAX;
    }
    *out = (struct glob){arena_str(a, str_n(to, r.n)), r.variables, r.variable_count};
    return ERR_OK;
}

bool glob_is_plain(const struct glob *g)
{
    return !g->variable_count && !(g->pattern.n && (memchr(g->pattern.p, GLOB_ANY, g->pattern.n) ||
                                                    memchr(g->pattern.p, GLOB_ONE, g->pattern.n)));
}

/* ---- matching ---- */

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* A piece without stars at the beginning of `text`: how much of it; SIZE_MAX: not there. */
static size_t match_here(struct str piece, struct str text)
{
    size_t at = 0;

    for (size_t i = 0; i < piece.n; i++) {
        if (at == text.n)
            return SIZE_MAX;
        if ((unsigned char)piece.p[i] == GLOB_ONE) {
            for (at++; at < text.n && is_continuation(text.p[at]);)
                at++;
        } else if (piece.p[i] != text.p[at++]) {
            return SIZE_MAX;
        }
    }
    return at;
}

/* The same at the end. */
static size_t match_tail(struct str piece, struct str text)
{
    size_t left = text.n;

    for (size_t i = piece.n; i-- > 0;) {
        if (left == 0)
            return SIZE_MAX;
        if ((unsigned char)piece.p[i] == GLOB_ONE) {
            for (left--; left > 0 && is_continuation(text.p[left]);)
                left--;
        } else if (piece.p[i] != text.p[--left]) {
            return SIZE_MAX;
        }
    }
    return text.n - left;
}

/* The first place of a piece: moves `text` behind it. memmem() is linear; a piece with '?' is short. */
static bool match_somewhere(struct str piece, struct str *text)
{
    if (piece.n == 0)
        return true;
    if (!memchr(piece.p, GLOB_ONE, piece.n)) {
        const char *found = text->n ? memmem(text->p, text->n, piece.p, piece.n) : NULL;
        if (found)
            *text = str_skip(*text, (size_t)(found - text->p) + piece.n);
        return found;
    }
    for (size_t i = 0; i < text->n; i++) {
        size_t n = is_continuation(text->p[i]) ? SIZE_MAX : match_here(piece, str_skip(*text, i));
        if (n != SIZE_MAX) {
            *text = str_skip(*text, i + n);
            return true;
        }
    }
    return false;
}

bool glob_match(struct str pattern, struct str text)
{
    const char *first = pattern.n ? memchr(pattern.p, GLOB_ANY, pattern.n) : NULL;

    if (!first)
        return match_here(pattern, text) == text.n;
    const char *last = memrchr(pattern.p, GLOB_ANY, pattern.n);
    size_t head = match_here(str_n(pattern.p, (size_t)(first - pattern.p)), text);
    if (head == SIZE_MAX)
        return false;
    text = str_skip(text, head);
    size_t tail = match_tail(str_n(last + 1, pattern.n - (size_t)(last + 1 - pattern.p)), text);
    if (tail == SIZE_MAX)
        return false;
    text.n -= tail;
    for (struct str middle = str_n(first, (size_t)(last - first)); middle.n;)
        if (!match_somewhere(str_split(&middle, (char)GLOB_ANY), &text))
            return false;
    return true;
}

/* ---- what a pattern can reach ---- */

static size_t width_at(struct str p, size_t i)
{
    return (unsigned char)p.p[i] == GLOB_VARIABLE ? 2 : 1;
}

static bool repeats_at(struct str p, size_t i)
{
    return (unsigned char)p.p[i] == GLOB_ANY || (unsigned char)p.p[i] == GLOB_VARIABLE;
}

/* What repeats may be nothing: what follows it is live as well. */
static void close_over(struct str p, bool *live)
{
    for (size_t i = 0; i < p.n; i += width_at(p, i))
        if (live[i] && repeats_at(p, i))
            live[i + width_at(p, i)] = true;
}

static bool step_over(struct str p, const bool *live, char c, bool *next)
{
    bool any = false;

    memset(next, 0, p.n + 1);
    for (size_t i = 0; i < p.n; i += width_at(p, i)) {
        if (!live[i])
            continue;
        if (repeats_at(p, i))
            any = next[i] = true;
        else if ((unsigned char)p.p[i] == GLOB_ONE || p.p[i] == c)
            any = next[i + 1] = true;
    }
    close_over(p, next);
    return any;
}

static bool reaches(struct str pattern, struct str root, bool below)
{
    bool rows[2][GLOB_MAX + 1], *live = rows[0], *next = rows[1];

    memset(live, 0, pattern.n + 1);
    live[0] = true;
    close_over(pattern, live);
    for (size_t i = 0; i < root.n; i++) {
        bool *other = live;
        if (!step_over(pattern, live, root.p[i], next))
            return false;
        live = next;
        next = other;
    }
    return (!below && live[pattern.n]) || step_over(pattern, live, '/', next);
}

bool glob_reaches(struct str pattern, struct str root)
{
    return reaches(pattern, root, false);
}

bool glob_reaches_below(struct str pattern, struct str root)
{
    return reaches(pattern, root, true);
}
