#include "ws_frame.h"

#include "base/hash.h"

/* ---- frames that come ---- */

static enum ws_event bad(struct ws_parser *p, enum ws_close_code code, const char *why)
{
    p->state = WS_AT_BAD;
    p->code = (uint16_t)code;
    p->why = why;
    return WS_BAD;
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* What can be told wrong from the first two bytes; NULL: nothing. */
static const char *first_fault(const struct ws_parser *p)
{
    unsigned op = p->head[0] & 0x0fu, len = p->head[1] & 0x7fu;

    if (p->head[0] & 0x70)
        return "a frame with a reserved bit set";
    if (p->head[1] & 0x80)
        return "a masked frame"; /* section 5.1: a server must not */
    if (op > WS_PONG || (op > WS_BINARY && op < WS_CLOSE))
        return "a frame with a reserved opcode";
    if (op >= WS_CLOSE && !(p->head[0] & 0x80))
        return "a control frame in fragments";
    if (op >= WS_CLOSE && len > WS_CONTROL_MAX)
        return "a control frame of more than 125 bytes";
    if (op == WS_CONTINUED && !p->open)
        return "a fragment that continues nothing";
    if ((op == WS_TEXT || op == WS_BINARY) && p->open)
        return "a message within a message";
    return NULL;
}

static size_t head_length(const struct ws_parser *p)
{
    if (p->head_n < 2)
        return 2;
    unsigned len = p->head[1] & 0x7fu;
    return len == 127 ? 10 : len == 126 ? 4 : 2;
}

static enum ws_event check_close(struct ws_parser *p)
{
    p->code = WS_CODE_NONE;
    if (p->control_n == 0)
        return WS_CONTROL;
    if (p->control_n == 1)
        return bad(p, WS_CODE_PROTOCOL, "a Close frame with half a code");
    uint16_t code = (uint16_t)big_endian(p->control, 2);
    /* section 7.4; 1012 to 1014 came later, by registration */
    if (code < 1000 || code > 4999 || (code > 1003 && code < 1007) || (code > 1014 && code < 3000))
        return bad(p, WS_CODE_PROTOCOL, "a Close frame with a code that may not be sent");
    if (!str_is_utf8(str_n(p->control + 2, p->control_n - 2u)))
        return bad(p, WS_CODE_PROTOCOL, "a Close frame whose text is not UTF-8");
    p->code = code;
    return WS_CONTROL;
}

static enum ws_event end_control(struct ws_parser *p)
{
    p->state = WS_AT_HEAD;
    return p->control_op == WS_CLOSE ? check_close(p) : WS_CONTROL;
}

static enum ws_event begin_control(struct ws_parser *p, enum ws_opcode op)
{
    p->control_op = op;
    p->control_n = 0;
    p->state = WS_AT_CONTROL;
    return p->left ? WS_MORE : end_control(p);
}

/* The head is whole. WS_MORE: nothing to tell. */
static enum ws_event take_head(struct ws_parser *p)
{
    enum ws_opcode op = (enum ws_opcode)(p->head[0] & 0x0f);
    size_t n = p->head_n;
    uint64_t len = n == 2 ? p->head[1] : big_endian(p->head + 2, n - 2);

    p->head_n = 0;
    /* section 5.2: the shortest form, and the top bit is 0 */
    if ((n == 4 && len < 126) || (n == 10 && (len < 65536 || len > INT64_MAX)))
        return bad(p, WS_CODE_PROTOCOL, "a frame whose length is badly written");
    p->left = len;
    if (op >= WS_CLOSE)
        return begin_control(p, op);
    p->got = op == WS_CONTINUED ? p->got : 0;
    if (len > p->message_max || p->got > p->message_max - len)
        return bad(p, WS_CODE_TOO_BIG, "a message that is too large");
    p->got += len;
    p->fin = p->head[0] & 0x80;
    p->state = WS_AT_DATA;
    if (op == WS_CONTINUED)
        return WS_MORE;
    p->open = true;
    p->op = op;
    p->size = p->fin ? len : WS_SIZE_UNKNOWN;
    return WS_BEGIN;
}

static enum ws_event parse_head(struct ws_parser *p, const char **at, const char *end)
{
    const char *fault;

    while (p->head_n < head_length(p)) {
        if (*at == end)
            return WS_MORE;
        p->head[p->head_n++] = (uint8_t) * (*at)++;
        if (p->head_n == 2 && (fault = first_fault(p)) != NULL)
            return bad(p, WS_CODE_PROTOCOL, fault);
    }
    return take_head(p);
}

static enum ws_event parse_data(struct ws_parser *p, const char **at, const char *end)
{
    size_t n = (size_t)(end - *at);

    if (p->left == 0) {
        p->state = WS_AT_HEAD;
        p->open = !p->fin;
        return p->fin ? WS_END : WS_MORE;
    }
    if (n == 0)
        return WS_MORE;
    n = n < p->left ? n : (size_t)p->left;
    p->data = str_n(*at, n);
    p->left -= n;
    *at += n;
    return WS_DATA;
}

static enum ws_event parse_control(struct ws_parser *p, const char **at, const char *end)
{
    size_t n = (size_t)(end - *at);

    if (n == 0)
        return WS_MORE;
    n = n < p->left ? n : (size_t)p->left;
    memcpy(p->control + p->control_n, *at, n); /* fits: first_fault() */
    p->control_n = (uint8_t)(p->control_n + n);
    p->left -= n;
    *at += n;
    return p->left ? WS_MORE : end_control(p);
}

static enum ws_event step(struct ws_parser *p, const char **at, const char *end)
{
    switch (p->state) {
    case WS_AT_HEAD:
        return parse_head(p, at, end);
    case WS_AT_DATA:
        return parse_data(p, at, end);
    case WS_AT_CONTROL:
        return parse_control(p, at, end);
    case WS_AT_BAD:
        break;
    }
    return WS_BAD;
}

enum ws_event ws_parse(struct ws_parser *p, const char *bytes, size_t n, size_t *used)
{
    const char *at = bytes, *end = bytes + n;
    enum ws_event event;
    enum ws_parse_state before;

    do { /* a fragment's end is nothing to tell, nor that of its head */
        before = p->state;
        event = step(p, &at, end);
    } while (event == WS_MORE && (at < end || p->state != before));
    *used = (size_t)(at - bytes);
    return event;
}

/* ---- frames that go ---- */

size_t ws_head(char out[WS_HEAD_MAX], enum ws_opcode op, bool fin, uint64_t n, const uint8_t mask[4])
{
    size_t wide = n < 126 ? 0 : n < 65536 ? 2 : 8;

    out[0] = (char)((fin ? 0x80u : 0u) | (unsigned)op);
    out[1] = (char)((mask ? 0x80u : 0u) | (wide == 0 ? (unsigned)n : wide == 2 ? 126u : 127u));
    for (size_t i = 0; i < wide; i++)
        out[2 + i] = (char)(n >> 8 * (wide - 1 - i));
    if (!mask)
        return 2 + wide;
    memcpy(out + 2 + wide, mask, 4);
    return 6 + wide;
}

void ws_mask(void *bytes, size_t n, const uint8_t mask[4])
{
    uint8_t *p = bytes;
    uint64_t word, wide;
    uint32_t half;

    memcpy(&half, mask, 4);
    wide = (uint64_t)half << 32 | half;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        word ^= wide;
        memcpy(p, &word, 8);
    }
    for (size_t i = 0; i < n; i++)
        p[i] ^= mask[i % 4];
}

/* ---- the handshake ---- */

void ws_key(char out[WS_KEY_LEN])
{
    uint8_t random[16];

    random_bytes(random, sizeof(random));
    base64_encode(random, sizeof(random), out);
}

void ws_accept(const char key[WS_KEY_LEN], char out[WS_ACCEPT_LEN])
{
    struct str guid = STR("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    struct hash h;
    struct digest d;

    hash_init(&h, HASH_SHA1);
    hash_update(&h, key, WS_KEY_LEN);
    hash_update(&h, guid.p, guid.n);
    hash_final(&h, &d);
    base64_encode(d.b, d.n, out);
}

static struct str header(const struct http_response_head *head, struct str name)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (str_eq(head->headers[i].name, name))
            return head->headers[i].value;
    return STR_NONE;
}

/* Of a list with commas, which may be in many headers. */
static bool has_token(const struct http_response_head *head, struct str name, struct str token)
{
    for (size_t i = 0; i < head->header_count; i++) {
        struct str list = head->headers[i].value;
        if (!str_eq(head->headers[i].name, name))
            continue;
        while (list.n)
            if (str_eq_nocase(str_trim(str_split(&list, ',')), token))
                return true;
    }
    return false;
}

const char *ws_handshake_fault(const struct http_response_head *head, const char key[WS_KEY_LEN])
{
    char accept[WS_ACCEPT_LEN];

    ws_accept(key, accept);
    if (!has_token(head, STR("upgrade"), STR("websocket")))
        return "no \"Upgrade: websocket\"";
    if (!has_token(head, STR("connection"), STR("upgrade")))
        return "no \"Connection: Upgrade\"";
    if (!str_eq(header(head, STR("sec-websocket-accept")), str_n(accept, sizeof(accept))))
        return "another Sec-WebSocket-Accept than the one that was asked for";
    if (header(head, STR("sec-websocket-extensions")).n)
        return "an extension that was not offered";
    if (header(head, STR("sec-websocket-protocol")).n)
        return "a subprotocol that was not offered";
    return NULL;
}
