/* ws_frame.h - WebSocket frames as a client sees them: heads out, frames in, and the check of the handshake.
 *
 * Shape    ws_parse() is fed bytes as they come, in pieces of any size, and tells one event after the other: a message's begin, pieces of it, its end,
 *          and control frames, also those between the fragments of a message. It copies nothing but control frames.
 * Units    bytes.
 * Owns     nothing: data of an event points into the bytes that were fed.
 * Errors   WS_BAD, for good: `why` is a static sentence, `code` what a Close frame would say.
 * Thread   any. Pure.
 * Source   RFC 6455. Extensions are not offered, so that the reserved bits are 0.
 */
#ifndef SLUICE_ETL_WS_FRAME_H
#define SLUICE_ETL_WS_FRAME_H

#include "http/parse.h"

enum ws_opcode { WS_CONTINUED = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum {
    WS_HEAD_MAX = 14,
    WS_CONTROL_MAX = 125, /* bytes of a control frame's content: section 5.5 */
    WS_KEY_LEN = 24,
    WS_ACCEPT_LEN = 28,
};
#define WS_SIZE_UNKNOWN UINT64_MAX

enum ws_close_code { /* section 7.4 */
                     WS_CODE_NORMAL = 1000,
                     WS_CODE_GOING_AWAY = 1001,
                     WS_CODE_PROTOCOL = 1002,
                     WS_CODE_NONE = 1005,
                     WS_CODE_TOO_BIG = 1009,
                     WS_CODE_RESTART = 1012,
                     WS_CODE_TRY_LATER = 1013,
};

enum ws_event {
    WS_MORE,    /* everything was taken; more is needed */
    WS_BEGIN,   /* a message: `op`, `size` */
    WS_DATA,    /* `data` of it */
    WS_END,     /* it is complete */
    WS_CONTROL, /* a whole control frame: `control_op`, `control`; of a Close frame also `code`, and its text is control behind two bytes */
    WS_BAD,
};

enum ws_parse_state { WS_AT_HEAD, WS_AT_DATA, WS_AT_CONTROL, WS_AT_BAD };

/* Zeroed but for message_max = at the beginning. */
struct ws_parser {
    uint64_t message_max; /* bytes of a message that are allowed */
    /* of the last event */
    enum ws_opcode op, control_op;
    uint64_t size; /* of the message; WS_SIZE_UNKNOWN: it is in fragments */
    struct str data;
    uint8_t control_n;
    uint8_t control[WS_CONTROL_MAX];
    uint16_t code; /* WS_CODE_NONE: the Close frame told none */
    const char *why;
    /* where it stands */
    enum ws_parse_state state;
    bool fin;  /* this frame is its message's last */
    bool open; /* within a message */
    uint8_t head_n;
    uint8_t head[10];
    uint64_t left; /* of this frame */
    uint64_t got;  /* of this message, with this frame */
};

/* Takes *used of the n bytes. Feed it again what is left, also when that is nothing, until WS_MORE. */
enum ws_event ws_parse(struct ws_parser *p, const char *bytes, size_t n, size_t *used);

/* Length of the head of a frame with n bytes. mask NULL: none, as servers send. */
size_t ws_head(char out[WS_HEAD_MAX], enum ws_opcode op, bool fin, uint64_t n, const uint8_t mask[4]);
/* In place; undone by doing it again. */
void ws_mask(void *bytes, size_t n, const uint8_t mask[4]);

/* A Sec-WebSocket-Key, of random bytes; not terminated, as the next. */
void ws_key(char out[WS_KEY_LEN]);
/* The Sec-WebSocket-Accept that answers it. */
void ws_accept(const char key[WS_KEY_LEN], char out[WS_ACCEPT_LEN]);
/* Whether a response with status 101 opens a WebSocket. NULL: it does; else a static sentence. */
const char *ws_handshake_fault(const struct http_response_head *head, const char key[WS_KEY_LEN]);

#endif
