#define PCRE2_CODE_UNIT_WIDTH 8
#include "arc_member.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { MATCH_LIMIT = 100000, DEPTH_LIMIT = 1000, HEAP_LIMIT_KIB = 8 << 10 };

struct arc_select {
    enum arc_mode mode;
    bool all;
    char pattern[ARC_PATTERN_MAX];
    size_t n;
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
};

bool arc_mode_parse(struct str text, enum arc_mode *out)
{
    static const char *const names[] = {"regexp", "prefix", "suffix", "substr", "wdskey"};

    for (int i = 0; i < 5; i++)
        if (str_eq(text, str_z(names[i]))) {
            *out = (enum arc_mode)i;
            return true;
        }
    return false;
}

struct str arc_wds_key(struct str name)
{
    size_t base = 0;

    for (size_t i = name.n; i > 0 && base == 0; i--)
        if (name.p[i - 1] == '/')
            base = i;
    size_t dot = str_find_char(str_skip(name, base), '.');
    return dot == SIZE_MAX ? name : str_n(name.p, base + dot);
}

static enum err compile(struct arc_select *s, char why[ARC_WHY_MAX])
{
    PCRE2_SIZE at = 0;
    int code = 0;
    unsigned char text[96];

    s->code = pcre2_compile((PCRE2_SPTR)s->pattern, s->n, PCRE2_NEVER_BACKSLASH_C | PCRE2_MATCH_INVALID_UTF, &code, &at,
                            NULL);
    if (!s->code) {
        pcre2_get_error_message(code, text, sizeof(text));
        snprintf(why, ARC_WHY_MAX, "the regular expression is wrong at %zu: %s", (size_t)at, (const char *)text);
        return ERR_INVALID_ARGUMENT;
    }
    s->match = pcre2_match_data_create_from_pattern(s->code, NULL);
    s->limits = pcre2_match_context_create(NULL);
    if (!s->match || !s->limits)
        abort();
    pcre2_set_match_limit(s->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(s->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(s->limits, HEAP_LIMIT_KIB);
    return ERR_OK;
}

enum err arc_select_new(enum arc_mode mode, struct str pattern, struct arc_select **out, char why[ARC_WHY_MAX])
{
    struct arc_select *s;
    enum err e = ERR_OK;

    if (pattern.n > ARC_PATTERN_MAX) {
        snprintf(why, ARC_WHY_MAX, "the pattern is longer than %d bytes", ARC_PATTERN_MAX);
        return ERR_INVALID_ARGUMENT;
    }
    s = NEW(struct arc_select);
    s->mode = mode;
    s->all = pattern.n == 0 || str_eq(pattern, STR("*"));
    s->n = pattern.n;
    if (pattern.n)
        memcpy(s->pattern, pattern.p, pattern.n);
    if (mode == ARC_MODE_REGEXP && !s->all)
        e = compile(s, why);
    if (e != ERR_OK)
        arc_select_free(s);
    else
        *out = s;
    return e;
}

void arc_select_free(void *select)
{
    struct arc_select *s = select;

    if (!s)
        return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->limits);
    pcre2_code_free(s->code);
    free(s);
}

enum err arc_select_match(struct arc_select *s, struct str name, bool *matches)
{
    struct str pattern = str_n(s->pattern, s->n);
    int found;

    *matches = s->all;
    if (s->all)
        return ERR_OK;
    switch (s->mode) {
    case ARC_MODE_PREFIX:
        *matches = str_starts(name, pattern);
        return ERR_OK;
    case ARC_MODE_SUFFIX:
        *matches = str_ends(name, pattern);
        return ERR_OK;
    case ARC_MODE_SUBSTR:
        *matches = str_find(name, pattern) != SIZE_MAX;
        return ERR_OK;
    case ARC_MODE_WDSKEY:
        *matches = str_eq(arc_wds_key(name), pattern);
        return ERR_OK;
    case ARC_MODE_REGEXP:
        break;
    }
    found = pcre2_match(s->code, (PCRE2_SPTR)(name.p ? name.p : ""), name.n, 0, 0, s->match, s->limits);
    *matches = found >= 0;
    return found >= 0 || found == PCRE2_ERROR_NOMATCH ? ERR_OK : ERR_TOO_LARGE;
}
