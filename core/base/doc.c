#include "doc.h"

#include <stdio.h>
#include <stdlib.h>

#include <yaml.h>

struct level {
    struct doc *node;
    struct doc **tail; /* where its next entry goes */
    bool has_key;      /* of a map: the next event is the value of `key` */
    struct str key;
    unsigned key_line;
};

struct reader {
    struct arena *arena;
    char *why;
    struct doc *root;
    unsigned nodes, depth; /* levels[depth - 1] is the innermost open list or map */
    struct level levels[DOC_DEPTH_MAX];
};

static enum err complain(struct reader *r, size_t line, const char *what)
{
    snprintf(r->why, DOC_WHY_MAX, "line %zu: %s", line + 1, what);
    return ERR_SYNTAX;
}

static bool is_null(struct str text)
{
    return text.n == 0 || str_eq(text, STR("~")) || str_eq(text, STR("null"));
}

/* Takes the scalar as the name of the entry that follows. */
static enum err set_key(struct reader *r, struct level *in, const struct doc *scalar)
{
    if (doc_get(in->node, scalar->text)) {
        snprintf(r->why, DOC_WHY_MAX, "line %u: \"%.*s\" is there twice", scalar->line,
                 scalar->text.n < 64 ? (int)scalar->text.n : 64, scalar->text.p);
        return ERR_SYNTAX;
    }
    in->has_key = true;
    in->key = scalar->text;
    in->key_line = scalar->line;
    return ERR_OK;
}

/* Hangs a node where the reader stands. */
static enum err attach(struct reader *r, struct doc *node)
{
    struct level *in = r->depth ? &r->levels[r->depth - 1] : NULL;

    if (!in) {
        r->root = node;
        return ERR_OK;
    }
    if (in->node->kind == DOC_MAP && !in->has_key) {
        if (node->kind != DOC_SCALAR)
            return complain(r, node->line - 1, "a key must be a plain text");
        return set_key(r, in, node);
    }
    if (in->node->kind == DOC_MAP) {
        node->key = in->key;
        node->line = in->key_line;
        in->has_key = false;
    }
    *in->tail = node;
    in->tail = &node->next;
    in->node->count++;
    return ERR_OK;
}

static enum err open_level(struct reader *r, struct doc *node, size_t line)
{
    enum err e;

    if (r->depth == DOC_DEPTH_MAX)
        return complain(r, line, "nested too deeply");
    if ((e = attach(r, node)) != ERR_OK)
        return e;
    r->levels[r->depth++] = (struct level){.node = node, .tail = &node->first};
    return ERR_OK;
}

static enum err on_event(struct reader *r, const yaml_event_t *event)
{
    size_t line = event->start_mark.line;
    struct doc *node;

    switch (event->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return ERR_OK;
    case YAML_ALIAS_EVENT: /* a few of them nested make a tree of any size */
        return complain(r, line, "aliases (*name) are not taken");
    case YAML_DOCUMENT_START_EVENT:
        return r->root ? complain(r, line, "a second document begins") : ERR_OK;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return ERR_OK;
    case YAML_SCALAR_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        break;
    }
    if (++r->nodes > DOC_NODES_MAX)
        return complain(r, line, "too many entries");
    node = ARENA_NEW(r->arena, struct doc);
    node->line = (unsigned)line + 1;
    if (event->type != YAML_SCALAR_EVENT) {
        node->kind = event->type == YAML_MAPPING_START_EVENT ? DOC_MAP : DOC_LIST;
        return open_level(r, node, line);
    }
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = arena_str(r->arena, str_n(event->data.scalar.value, event->data.scalar.length));
    if (!node->quoted && is_null(node->text))
        node->text.n = 0;
    return attach(r, node);
}

static enum err read_all(struct reader *r, yaml_parser_t *parser)
{
    enum err e = ERR_OK;
    bool more = true;

    while (more && e == ERR_OK) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            size_t line = parser->problem_mark.line ? parser->problem_mark.line : parser->context_mark.line;
            return complain(r, line, parser->problem ? parser->problem : "not YAML");
        }
        more = event.type != YAML_STREAM_END_EVENT;
        e = on_event(r, &event);
        yaml_event_delete(&event);
    }
    return e;
}

enum err doc_parse(struct arena *a, struct str text, struct doc **out, char why[DOC_WHY_MAX])
{
    struct reader r = {.arena = a, .why = why};
    yaml_parser_t parser;
    enum err e;

    if (text.n > DOC_TEXT_MAX) {
        snprintf(why, DOC_WHY_MAX, "larger than %d bytes", DOC_TEXT_MAX);
        return ERR_SYNTAX;
    }
    if (!yaml_parser_initialize(&parser))
        abort(); /* out of memory */
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
    e = read_all(&r, &parser);
    yaml_parser_delete(&parser);
    if (e != ERR_OK)
        return e;
    if (!r.root || (r.root->kind == DOC_SCALAR && !r.root->quoted && r.root->text.n == 0)) {
        r.root = ARENA_NEW(a, struct doc);
        r.root->kind = DOC_MAP;
        r.root->line = 1;
    }
    *out = r.root;
    return ERR_OK;
}

const struct doc *doc_get(const struct doc *map, struct str key)
{
    if (!map || map->kind != DOC_MAP)
        return NULL;
    for (const struct doc *d = map->first; d; d = d->next)
        if (str_eq(d->key, key))
            return d;
    return NULL;
}
