/* Access control lists: grants of a header, and behind a NUL byte a document or a kept text. What is read can be written and read again. */
#include <assert.h>

#include "s3api/acl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(struct s3_request *r, const struct acl *acl)
{
    struct str text = acl_encode(r, acl);
    struct buf b = BUF_INIT(1 << 20);
    struct acl again;

    assert(acl->n <= ACL_GRANTS_MAX);
    if (text.n) {
        assert(acl_parse(r->arena, text, &again) && again.n == acl->n);
        assert(str_eq(acl_encode(r, &again), text));
    }
    acl_write(r, &b, acl);
    assert(buf_err(&b) == ERR_OK);
    (void)acl_allows(acl, &(struct iam_principal){.kind = IAM_ANONYMOUS}, STR("s3:GetObject"), true, false);
    buf_release(&b);
}

static void read_document(struct s3_request *r, struct str text)
{
    struct xml_doc doc;
    struct acl acl;

    if (acl_parse(r->arena, text, &acl))
        round_trip(r, &acl);
    if (xml_read(text, &doc) != ERR_OK)
        return;
    if (acl_from_xml(r, &doc, true, &acl) == ERR_OK)
        round_trip(r, &acl);
    xml_doc_release(&doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n(data, size), list = str_split(&text, 0);
    struct arena arena = ARENA_INIT;
    const struct http_header header = {STR("x-amz-grant-read"), list};
    struct http_req http = {.arena = &arena, .headers = &header, .header_count = 1};
    struct s3_request *r = ARENA_NEW(&arena, struct s3_request);
    struct acl acl;
    bool said;

    r->arena = &arena;
    r->http = &http;
    memset(r->owner_id, '0', sizeof(r->owner_id));
    if (acl_from_headers(r, &http, false, &acl, &said) == ERR_OK && said)
        round_trip(r, &acl);
    read_document(r, text);
    arena_release(&arena);
    return 0;
}
