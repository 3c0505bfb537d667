/* Templates of any kind: what is accepted has at most TEMPLATE_MAX names, all of which can be made. */
#include <assert.h>

#include "base/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct buf name = BUF_INIT(1 << 16);
    char why[256] = "";
    struct template t;

    if (template_parse(&arena, str_n(data, size), &t, why) == ERR_OK) {
        uint64_t last = t.names == UINT64_MAX ? INT64_MAX : t.names - 1;
        assert(t.names > 0 && (t.names == UINT64_MAX || t.names <= TEMPLATE_MAX));
        const uint64_t some[] = {0, last / 2, last};
        for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
            enum err e = template_name(&t, some[i], &name);
            assert(e == ERR_OK ? name.n <= TEMPLATE_NAME_MAX : e == ERR_KEY_TOO_LONG);
        }
        assert(template_name(&t, t.names, &name) == ERR_INVALID_ARGUMENT);
    } else {
        assert(why[0]);
    }
    buf_release(&name);
    arena_release(&arena);
    return 0;
}
