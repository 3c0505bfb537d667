/* What etcd answers: any of its answers in any place must be read or refused, and a stream cut anywhere gives the same lines. */
#include <assert.h>
#include <stdlib.h>

#include "store/meta_etcd_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_range(const struct etcd_range *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        assert(r->kvs[i].key.n && r->kvs[i].revision);
}

static void read_as_all(struct str text)
{
    struct arena a = ARENA_INIT;
    char why[DOC_WHY_MAX];
    struct etcd_range range;
    struct etcd_txn txn;
    struct etcd_lease lease;
    struct etcd_told told;
    struct str token;

    if (etcd_read_range(&a, text, &range, why) == ERR_OK)
        check_range(&range);
    if (etcd_read_txn(&a, text, &txn, why) == ERR_OK) {
        assert(txn.count <= ETCD_OPS_MAX);
        for (uint32_t i = 0; i < txn.count; i++)
            check_range(&txn.ranges[i]);
    }
    if (etcd_read_told(&a, text, &told, why) == ERR_OK)
        for (uint32_t i = 0; i < told.count; i++)
            assert(told.events[i].kv.key.n && told.events[i].kv.revision);
    (void)!etcd_read_lease(&a, text, &lease, why);
    (void)!etcd_read_login(&a, text, &token, why);
    (void)etcd_read_refusal(&a, text);
    arena_release(&a);
}

static bool on_line(void *arg, struct str line)
{
    struct buf *b = arg;

    buf_add_str(b, line);
    buf_add_char(b, '\n');
    return true;
}

static void cut(struct str text, size_t step, struct buf *out)
{
    struct etcd_lines l;

    etcd_lines_init(&l);
    for (size_t at = 0; at < text.n; at += step)
        assert(etcd_lines_add(&l, str_n(text.p + at, text.n - at < step ? text.n - at : step), on_line, out));
    etcd_lines_release(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n(data, size), rest = text;
    struct buf whole = BUF_INIT(size + 1), pieces = BUF_INIT(size + 1);

    read_as_all(text);
    while (rest.n)
        read_as_all(str_split(&rest, '\n'));
    cut(text, size ? size : 1, &whole);
    cut(text, 3, &pieces);
    assert(str_eq(buf_str(&whole), buf_str(&pieces)));
    buf_release(&whole);
    buf_release(&pieces);
    return 0;
}
