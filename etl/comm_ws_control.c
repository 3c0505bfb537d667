#include "base/json.h"
#include "comm_ws_own.h"

/* ---- ours ---- */

static void add(struct buf *b, const char *name, struct str value)
{
    if (value.n)
        js_put_str(b, name, value);
}

/* Sidecars unescape it. */
static void add_fqn(struct buf *b, struct str fqn)
{
    struct buf escaped = BUF_INIT(WS_CONTROL_MESSAGE_MAX);

    for (size_t i = 0; i < fqn.n; i++)
        if (fqn.p[i] == '%')
            buf_add_z(&escaped, "%25");
        else
            buf_add_char(&escaped, fqn.p[i]);
    b->over |= escaped.over;
    add(b, "fqn", buf_str(&escaped));
    buf_release(&escaped);
}

enum err ws_control_write(struct buf *b, const struct etl_comm_req *req, struct etl_comm_res *res)
{
    const struct str all[] = {req->node_url, req->args, req->fqn, req->key};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (!str_is_utf8(all[i])) { /* JSON is: other bytes would be other ones when they arrive */
            res->text = STR("over a WebSocket, names and arguments of objects must be UTF-8");
            return ERR_INVALID_ARGUMENT;
        }
    js_object(b);
    add(b, "pipeline", req->node_url);
    add(b, "etl_args", req->args);
    add_fqn(b, req->fqn);
    add(b, "path", req->key);
    js_end_object(b);
    if (buf_err(b) == ERR_OK)
        return ERR_OK;
    res->text = STR("an object's name and arguments are too long for a WebSocket's control message");
    return ERR_INVALID_ARGUMENT;
}

/* ---- the sidecar's ---- */

/* Absent: *out stays. */
static bool number(const struct doc *map, struct str key, uint64_t *out)
{
    const struct doc *d = doc_get(map, key);

    return !d || (d->kind == DOC_SCALAR && !d->quoted && str_to_u64(d->text, INT64_MAX, out));
}

const char *ws_control_read(struct arena *arena, struct str text, struct ws_told *out)
{
    uint64_t status = 0;
    char why[DOC_WHY_MAX];
    struct doc *d;

    *out = (struct ws_told){.size = SOURCE_SIZE_UNKNOWN};
    if (js_read(arena, text, &d, why) != ERR_OK || d->kind != DOC_MAP)
        return "a control message that is no JSON object";
    if (!number(d, STR("status"), &status) || !number(d, STR("size"), &out->size) ||
        !number(d, STR("stored"), &out->stored))
        return "a control message with a number that is none";
    if (status != 200 && status != 204 && (status < 400 || status > 599))
        return "a control message whose status is none of 200, 204 and 400 to 599";
    const struct doc *error = doc_get(d, STR("error"));
    out->status = (int)status;
    out->error = error && error->text.n ? error->text : STR("the sidecar answered with an error and no text");
    return NULL;
}
