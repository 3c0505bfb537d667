#include "xml.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <limits.h>
#include <pthread.h>

#include "base/mem.h"

/* libxml2 pushes SAX events; no tree of its own is made. Names and texts are copied out as they come: each stands in
 * the document at least as long as here, so one block of the document's size holds them all and never moves. */
struct reading {
    xmlParserCtxtPtr parser;
    struct xml_doc doc;
    uint32_t open[XML_DEPTH_MAX]; /* indices of the elements that are open */
    uint32_t depth;               /* how many */
    bool refused;
};

static void refuse(struct reading *g)
{
    g->refused = true;
    xmlStopParser(g->parser);
}

static struct str keep(struct reading *g, const void *p, size_t n)
{
    struct xml_doc *d = &g->doc;
    char *at = d->text + d->text_n;

    if (n > d->text_cap - d->text_n) {
        refuse(g); /* only a re-encoded document can grow */
        return STR_NONE;
    }
    memcpy(at, p, n);
    d->text_n += n;
    return str_n(at, n);
}

static struct xml_node *add_node(struct reading *g)
{
    struct xml_doc *d = &g->doc;

    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 32;
        d->nodes = mem_realloc(d->nodes, d->cap * sizeof(*d->nodes));
    }
    d->nodes[d->count] = (struct xml_node){.depth = g->depth, .skip = 1};
    return &d->nodes[d->count++];
}

static void on_start(void *arg, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int namespaces,
                     const xmlChar **ns, int attributes, int defaulted, const xmlChar **values)
{
    struct reading *g = arg;
    struct xml_node *node;
    struct str kept;

    (void)prefix, (void)uri, (void)namespaces, (void)ns, (void)attributes, (void)defaulted, (void)values;
    if (g->refused)
        return;
    if (g->depth == XML_DEPTH_MAX || g->doc.count == XML_NODES_MAX) {
        refuse(g);
        return;
    }
    if (g->depth > 0) /* what stood between the parent's tags so far was layout */
        g->doc.nodes[g->open[g->depth - 1]].text = STR_NONE;
    kept = keep(g, name, strlen((const char *)name));
    node = add_node(g);
    node->name = kept;
    node->text = str_n(g->doc.text + g->doc.text_n, 0);
    g->open[g->depth++] = g->doc.count - 1;
}

static void on_end(void *arg, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    struct reading *g = arg;
    uint32_t i;

    (void)name, (void)prefix, (void)uri;
    if (g->refused || g->depth == 0)
        return;
    i = g->open[--g->depth];
    g->doc.nodes[i].skip = g->doc.count - i;
}

static void on_text(void *arg, const xmlChar *p, int n)
{
    struct reading *g = arg;
    struct xml_node *node;

    if (g->refused || g->depth == 0 || n <= 0)
        return;
    if (g->open[g->depth - 1] != g->doc.count - 1)
        return; /* behind a child: layout */
    node = &g->doc.nodes[g->doc.count - 1];
    if (keep(g, p, (size_t)n).p)
        node->text.n += (size_t)n;
}

/* Entities are how a small document becomes a large one or reads files; S3 knows none. */
static void on_doctype(void *arg, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
    (void)name, (void)external, (void)system;
    refuse(arg);
}

static void setup(void)
{
    xmlInitParser();
}

static bool parse(struct reading *g)
{
    bool good;

    memset(g->parser->sax, 0, sizeof(*g->parser->sax));
    g->parser->sax->initialized = XML_SAX2_MAGIC;
    g->parser->sax->startElementNs = on_start;
    g->parser->sax->endElementNs = on_end;
    g->parser->sax->characters = on_text;
    g->parser->sax->cdataBlock = on_text;
    g->parser->sax->internalSubset = on_doctype;
    g->parser->sax->externalSubset = on_doctype;
    g->parser->userData = g;
    xmlCtxtUseOptions(g->parser, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlParseDocument(g->parser);
    good = g->parser->wellFormed && !g->refused && g->doc.count > 0 && g->depth == 0;
    if (g->parser->myDoc)
        xmlFreeDoc(g->parser->myDoc);
    g->parser->myDoc = NULL;
    return good;
}

enum err xml_read(struct str bytes, struct xml_doc *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct reading g = {0};
    bool good;

    if (bytes.n == 0 || bytes.n > INT_MAX || !str_is_utf8(bytes))
        return ERR_MALFORMED_XML;
    pthread_once(&once, setup);
    g.parser = xmlCreateMemoryParserCtxt(bytes.p, (int)bytes.n);
    if (!g.parser)
        return ERR_MALFORMED_XML;
    g.doc.text = mem_alloc(bytes.n);
    g.doc.text_cap = bytes.n;
    good = parse(&g);
    xmlFreeParserCtxt(g.parser);
    if (!good) {
        xml_doc_release(&g.doc);
        return ERR_MALFORMED_XML;
    }
    *out = g.doc;
    return ERR_OK;
}

const struct xml_node *xml_first(const struct xml_doc *d, const struct xml_node *parent)
{
    (void)d;
    return parent->skip > 1 ? parent + 1 : NULL;
}

const struct xml_node *xml_next(const struct xml_doc *d, const struct xml_node *parent, const struct xml_node *child)
{
    const struct xml_node *next = child + child->skip;

    (void)d;
    return next < parent + parent->skip ? next : NULL;
}

const struct xml_node *xml_child(const struct xml_doc *d, const struct xml_node *parent, struct str name)
{
    for (const struct xml_node *c = xml_first(d, parent); c; c = xml_next(d, parent, c))
        if (str_eq(c->name, name))
            return c;
    return NULL;
}

struct str xml_child_text(const struct xml_doc *d, const struct xml_node *parent, struct str name)
{
    const struct xml_node *c = xml_child(d, parent, name);

    return c ? c->text : STR_NONE;
}

void xml_doc_release(struct xml_doc *d)
{
    free(d->nodes);
    free(d->text);
    *d = (struct xml_doc){0};
}
