#include "gateway/native_shared.h"

#include <stdlib.h>

#include "base/mem.h"
#include "gateway/native_counts.h"

struct native_shared *native_shared_new(void)
{
    struct native_shared *s = NEW(struct native_shared);

    s->counts = native_counts_new();
    return s;
}

void native_shared_free(struct native_shared *s)
{
    if (!s)
        return;
    native_counts_free(s->counts);
    free(s);
}
