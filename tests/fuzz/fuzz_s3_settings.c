/* Documents that configure buckets: what is accepted and kept can be read again, or a bucket would lose its rules with the next start. */
#include <assert.h>

#include "s3api/route.h"
#include "s3api/settings.h"
#include "s3api/website.h"
#include "store/inventory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct setting *row_of(struct str root)
{
    for (unsigned i = 0; i < SUB_COUNT; i++) {
        const struct setting *row = setting_find(UINT64_C(1) << i);
        if (row && row->read && str_eq(row->root, root))
            return row;
    }
    return NULL;
}

/* Where a website's rules lead is one line of a header. */
static void follow(struct arena *a, const struct website *w)
{
    for (size_t i = 0; i < w->rule_count; i++) {
        const struct website_rule *rule = website_rule(w, w->rules[i].prefix, w->rules[i].error);
        struct str to = website_location(a, &rule->to, rule->prefix, rule->prefix, STR("h"), false);
        assert(str_starts(to, STR("http")));
        for (size_t k = 0; k < to.n; k++)
            assert((unsigned char)to.p[k] > 0x20);
    }
}

/* Not one of the settings' table: a bucket has several. */
static void read_inventory(struct arena *a, const struct xml_doc *doc)
{
    char why[INVENTORY_WHY_MAX];
    struct inventory *made;

    if (inventory_read(a, doc, &made, why) == ERR_OK)
        assert(inventory_is_id(made->id) && made->bucket.n > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = ARENA_INIT;
    struct xml_doc first, again;
    const struct setting *row;

    if (size > 64 << 10 || xml_read(str_n((const char *)data, size), &first) != ERR_OK)
        return 0;
    struct setting_read read = {.arena = &a, .doc = &first};
    read_inventory(&a, &first);
    if ((row = row_of(xml_root(&first)->name)) && row->read(&read) == ERR_OK) {
        struct str kept = setting_text(&a, &first);
        assert(xml_read(kept, &again) == ERR_OK);
        struct setting_read second = {.arena = &a, .doc = &again};
        assert(row->read(&second) == ERR_OK && second.unset == read.unset);
        assert(str_eq(setting_text(&a, &again), kept));
        if (row->sub == SUB(WEBSITE))
            follow(&a, second.made);
        xml_doc_release(&again);
    }
    xml_doc_release(&first);
    arena_release(&a);
    return 0;
}
