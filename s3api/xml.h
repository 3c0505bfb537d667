/* xml.h - the documents of S3: an escaping writer. The reader is base/xml.h.
 *
 * Shape    the writer appends to a buf, element by element.
 * Errors   the writer's buf keeps its own error.
 * Thread   any; xml_read() of more than 64 KiB belongs on the cpu pool (s3_read_xml() does that).
 * Source   S3 API reference; XML 1.0.
 */
#ifndef SLUICE_S3API_XML_H
#define SLUICE_S3API_XML_H

#include "base/buf.h"
#include "base/xml.h"
#include "store/object.h"

/* Declaration and the root with S3's namespace, or another one. */
void xml_begin(struct buf *b, struct str root);
void xml_begin_in(struct buf *b, struct str root, struct str xmlns);
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

#endif
