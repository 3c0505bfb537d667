/* WebSocket frames: the same is told whatever the pieces that the bytes came in, and what is told fits together. The first byte chooses the size of
 * the pieces, the second the limit of a message. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "etl/ws_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    struct ws_parser parser;
    uint64_t told; /* of this message */
    size_t at, data_n, messages, controls;
    uint64_t sum;
    bool open, bad;
};

static void note(struct outcome *o, const void *p, size_t n)
{
    const uint8_t *bytes = p;

    for (size_t i = 0; i < n; i++)
        o->sum = o->sum * 31 + bytes[i];
}

static void tell(struct outcome *o, enum ws_event event)
{
    const struct ws_parser *p = &o->parser;

    if (event == WS_BEGIN) {
        assert(!o->open && (p->op == WS_TEXT || p->op == WS_BINARY));
        o->open = true;
        o->told = 0;
        note(o, &p->size, sizeof(p->size));
    } else if (event == WS_DATA) {
        assert(o->open && p->data.n > 0);
        o->told += p->data.n;
        o->data_n += p->data.n;
        note(o, p->data.p, p->data.n);
        assert(o->told <= p->message_max);
    } else if (event == WS_END) {
        assert(o->open && (p->size == WS_SIZE_UNKNOWN || p->size == o->told));
        o->open = false;
        o->messages++;
    } else if (event == WS_CONTROL) {
        assert(p->control_op >= WS_CLOSE && p->control_op <= WS_PONG && p->control_n <= WS_CONTROL_MAX);
        o->controls++;
        note(o, p->control, p->control_n);
    } else if (event == WS_BAD) {
        assert(p->why && p->code);
        o->bad = true;
    }
}

static void run(struct outcome *o, const uint8_t *data, size_t size, size_t step, uint64_t max)
{
    *o = (struct outcome){.parser = {.message_max = max}};
    while (!o->bad) {
        size_t n = size - o->at < step ? size - o->at : step, used, taken = 0;
        char *piece = mem_alloc(n + 1);
        enum ws_event event;
        memcpy(piece, data + o->at, n);
        piece = mem_realloc(piece, n + !n);
        do {
            event = ws_parse(&o->parser, piece + taken, n - taken, &used);
            assert(used <= n - taken);
            taken += used;
            tell(o, event);
        } while (event != WS_MORE && event != WS_BAD);
        assert(o->bad || taken == n);
        o->at += taken;
        free(piece);
        if (n == 0)
            break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome a, b;

    if (size < 2)
        return 0;
    uint64_t max = data[1] == 255 ? UINT64_MAX : data[1] * UINT64_C(1000);
    run(&a, data + 2, size - 2, size, max);
    run(&b, data + 2, size - 2, data[0] % 16 + 1u, max);
    assert(a.bad == b.bad && a.at == b.at && a.data_n == b.data_n && a.messages == b.messages);
    assert(a.controls == b.controls && a.sum == b.sum && a.open == b.open);
    return 0;
}
