/* slices_kit.h - a cluster of memory stores, whose bodies break where a test wants it, and one node of it that works with slices.
 *
 * Shape    one at a time; slices_open() between cmocka's tests. The node is the cluster's first.
 */
#ifndef SLUICE_TESTS_TARGET_SLICES_KIT_H
#define SLUICE_TESTS_TARGET_SLICES_KIT_H

#include "../store/cluster_kit.h"
#include "store/erasure.h"
#include "target/slices.h"

struct slices_kit {
    struct kit kit; /* its bucket is cut: ec */
    struct slices_env env;
    struct str key, layout; /* of the object that was written last */
    struct str content;
};
extern struct slices_kit sk;

void slices_open(struct loop *loop, unsigned nodes, unsigned data, unsigned parity);
void slices_close(void);

/* From now on bodies that this node gives fail after so many bytes; SIZE_MAX: none. */
void slices_break(unsigned node, size_t at, enum err e);
/* Index of the node that slice i belongs to now. */
unsigned slices_node(unsigned slice);
/* The slice as that node has it; NULL: it hasn't. */
struct memobject *slices_on(unsigned node, unsigned slice);
/* All slices on all nodes. */
unsigned slices_count(void);
/* As if nobody had ever written it there. */
void slices_lose(unsigned node, unsigned slice);
/* Changes a byte without telling anybody. */
void slices_damage(unsigned node, unsigned slice);

/* Writes `size` bytes as sk.key by a gate, and keeps its layout. */
enum err slices_put(size_t size, uint64_t seed);
enum err slices_get(uint64_t offset, uint64_t len, struct source **body);
/* The range is right, by spans or copies. */
void slices_expect(uint64_t offset, uint64_t len, bool peek);
enum err slices_mend(bool verify, struct slices_settle_res *res);
/* Each slice is where it belongs, right, and nowhere else. */
void slices_expect_in_place(void);

#endif
