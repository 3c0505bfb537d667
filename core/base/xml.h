/* xml.h - a bounded reader of XML: a tree of elements and their texts.
 *
 * Shape    attributes, comments and namespaces are dropped, prefixes too.
 * Owns     xml_doc owns its nodes and texts until xml_doc_release(); nothing borrows from the document that was read.
 * Errors   ERR_MALFORMED_XML: not well-formed, any DOCTYPE, not UTF-8, deeper than XML_DEPTH_MAX, more than
 *          XML_NODES_MAX elements.
 * Thread   any; more than 64 KiB belongs on the cpu pool.
 * Source   XML 1.0. The only libxml2 user.
 */
#ifndef SLUICE_BASE_XML_H
#define SLUICE_BASE_XML_H

#include "err.h"
#include "str.h"

enum { XML_DEPTH_MAX = 16, XML_NODES_MAX = 131072 };

struct xml_node {
    struct str name; /* local part */
    struct str text; /* references resolved, nothing trimmed; empty for an element that has children */
    uint32_t depth;  /* root = 0 */
    uint32_t skip;   /* nodes to the one behind this element and its descendants */
};

struct xml_doc {
    struct xml_node *nodes; /* in document order; nodes[0] is the root */
    uint32_t count, cap;
    char *text; /* what names and texts point into; never larger than the document was */
    size_t text_n, text_cap;
};

/* `out` needs no release after an error. */
MUST_USE enum err xml_read(struct str bytes, struct xml_doc *out);
void xml_doc_release(struct xml_doc *d);
static inline const struct xml_node *xml_root(const struct xml_doc *d)
{
    return d->nodes;
}
/* First child element, NULL without. for (c = xml_first(d, n); c; c = xml_next(d, n, c)) */
const struct xml_node *xml_first(const struct xml_doc *d, const struct xml_node *parent);
const struct xml_node *xml_next(const struct xml_doc *d, const struct xml_node *parent, const struct xml_node *child);
/* First child of that name, NULL without. */
const struct xml_node *xml_child(const struct xml_doc *d, const struct xml_node *parent, struct str name);
/* Text of the first child of that name, STR_NONE (p == NULL) without. */
struct str xml_child_text(const struct xml_doc *d, const struct xml_node *parent, struct str name);

#endif
