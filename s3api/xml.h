/* xml.h - the documents of S3: an escaping writer and a bounded reader.
 *
 * Shape    the writer appends to a buf, element by element. The reader makes a tree of elements and their texts;
 *          attributes, comments and namespaces are dropped, prefixes too.
 * Owns     xml_doc owns its nodes and texts until xml_doc_release(); nothing borrows from the document that was read.
 * Errors   ERR_MALFORMED_XML: not well-formed, any DOCTYPE, not UTF-8, deeper than XML_DEPTH_MAX, more than
 *          XML_NODES_MAX elements. The writer's buf keeps its own error.
 * Thread   any; xml_read() of more than 64 KiB belongs on the cpu pool (s3_read_xml() does that).
 * Source   S3 API reference; XML 1.0. The only libxml2 user.
 */
#ifndef SLUICE_S3API_XML_H
#define SLUICE_S3API_XML_H

#include "base/buf.h"
#include "store/object.h"

enum { XML_DEPTH_MAX = 16, XML_NODES_MAX = 131072 };

/* ---- writing ---- */

/* Declaration and the root with S3's namespace. */
void xml_begin(struct buf *b, struct str root);
/* The same without a namespace: <Error>. */
void xml_begin_bare(struct buf *b, struct str root);
void xml_open(struct buf *b, struct str name);
void xml_close(struct buf *b, struct str name);
/* <Name>escaped text</Name>; an empty text makes <Name></Name>. Control bytes become &#xN;, so CR survives parsers. */
void xml_str(struct buf *b, struct str name, struct str text);
/* With `url` the text is percent-encoded first, "/" kept: encoding-type=url. */
void xml_key(struct buf *b, struct str name, struct str text, bool url);
void xml_u64(struct buf *b, struct str name, uint64_t v);
void xml_bool(struct buf *b, struct str name, bool v);
/* ISO 8601 with .000Z. */
void xml_time(struct buf *b, struct str name, int64_t ns);
/* Quoted: <ETag>&quot;hex&quot;</ETag>. */
void xml_etag(struct buf *b, const struct etag *etag);
/* <ChecksumCRC32>base64[-N]</ChecksumCRC32>; nothing for HASH_NONE. */
void xml_checksum(struct buf *b, const struct checksum *c);
/* <Name><ID/><DisplayName/></Name>: Owner, Initiator. */
void xml_owner(struct buf *b, struct str name, struct str id);
/* Its two elements alone, for a Grantee. */
void xml_owner_parts(struct buf *b, struct str id);
/* Escaped text alone. */
void xml_escape(struct buf *b, struct str text);

/* ---- reading ---- */

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
