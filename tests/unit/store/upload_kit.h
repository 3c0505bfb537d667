/* upload_kit.h - tools for tests of multipart uploads. */
#ifndef SLUICE_TESTS_STORE_UPLOAD_KIT_H
#define SLUICE_TESTS_STORE_UPLOAD_KIT_H

#include "contract_parts.h"

/* An upload with the parts that were put and how to complete it. */
struct upload {
    struct kit *k;
    struct str key, id;
    struct str content[8]; /* by order of completion */
    struct part_info stored[8];
    struct complete_part asked[8];
    uint32_t n;
};

struct upload upload_begin(struct kit *k, struct str key, enum hash_alg alg, enum checksum_type type);
enum err upload_put(struct upload *u, uint32_t number, struct str content, struct part_info *out);
/* Puts a part that must succeed and appends it to those to complete with. */
void upload_add(struct upload *u, uint32_t number, struct str content);
struct upload_complete_req upload_complete_req(struct upload *u);
/* Must succeed. */
struct object_info upload_complete(struct upload *u);
enum err upload_abort(struct upload *u);
/* The contents one behind the other. */
struct str upload_content(struct upload *u);
/* 5 MiB, made once: the least a part but the last may have. */
struct str full_part(uint64_t seed);

#endif
