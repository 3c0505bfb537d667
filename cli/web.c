#include "web.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { CONNECT_S = 10, STALL_S = 300, URL_MAX = 32 << 10, HEADERS_TEXT_MAX = 256 << 10, BUFFER = 256 << 10 };

struct web {
    struct web_conf conf;
    CURL *curl;
    struct buf url, text, headers;
    const struct web_req *req; /* the one under way */
    bool broken;               /* a function of the caller's said no */
};

struct web *web_open(const struct web_conf *conf)
{
    struct web *w = NEW(struct web);

    curl_global_init(CURL_GLOBAL_DEFAULT);
    w->conf = *conf;
    w->curl = curl_easy_init();
    if (!w->curl) {
        fputs("sluice: libcurl can't be used\n", stderr);
        abort();
    }
    buf_init(&w->url, URL_MAX);
    buf_init(&w->text, WEB_TEXT_MAX);
    buf_init(&w->headers, HEADERS_TEXT_MAX);
    return w;
}

void web_close(struct web *w)
{
    if (!w)
        return;
    curl_easy_cleanup(w->curl);
    buf_release(&w->url);
    buf_release(&w->text);
    buf_release(&w->headers);
    free(w);
}

void web_encode(struct buf *out, struct str s, bool slashes)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
        if (c && (plain || (c == '/' && !slashes))) {
            buf_add_char(out, (char)c);
        } else {
            char hex[3] = {'%', digits[c >> 4], digits[c & 15]};
            buf_add(out, hex, sizeof(hex));
        }
    }
}

/* ---- libcurl's callbacks ---- */

static size_t on_read(char *p, size_t size, size_t count, void *arg)
{
    struct web *w = arg;
    size_t n = 0;

    if (w->req->read(w->req->arg, p, size * count, &n))
        return n;
    w->broken = true;
    return CURL_READFUNC_ABORT;
}

static bool takes_body(struct web *w)
{
    long status = 0;

    curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &status);
    return w->req->write && status >= 200 && status < 300;
}

static size_t on_write(char *p, size_t size, size_t count, void *arg)
{
    struct web *w = arg;
    size_t n = size * count;

    if (takes_body(w)) {
        w->broken = !w->req->write(w->req->arg, p, n);
        return w->broken ? 0 : n;
    }
    buf_add(&w->text, p, n);
    return w->text.over ? 0 : n;
}

/* Of the final answer only: each status line begins anew. */
static size_t on_header(char *p, size_t size, size_t count, void *arg)
{
    struct web *w = arg;
    size_t n = size * count;

    if (n > 5 && memcmp(p, "HTTP/", 5) == 0)
        buf_reset(&w->headers);
    buf_add(&w->headers, p, n);
    return w->headers.over ? 0 : n;
}

struct str web_header(const struct web *w, const char *name)
{
    struct str rest = buf_str(&w->headers);

    while (rest.n) {
        struct str value = str_split(&rest, '\n'), key = str_split(&value, ':');
        if (str_eq_nocase(str_trim(key), str_z(name))) {
            if (value.n && value.p[value.n - 1] == '\r')
                value.n--;
            return str_trim(value);
        }
    }
    return STR_NONE;
}

/* ---- a request ---- */

static struct curl_slist *add_header(struct curl_slist *list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(list, line);

    if (!longer)
        abort();
    return longer;
}

static struct curl_slist *make_headers(const struct web *w, const struct web_req *req)
{
    struct curl_slist *list = add_header(NULL, "User-Agent: sluice/" SLUICE_VERSION);
    struct buf line = BUF_INIT(URL_MAX);

    list = add_header(list, "Expect:");
    if (req->json.p)
        list = add_header(list, "Content-Type: application/json");
    if (req->read && req->body_size == WEB_SIZE_UNKNOWN)
        list = add_header(list, "Transfer-Encoding: chunked");
    for (size_t i = 0; i < WEB_HEADERS_MAX && req->headers[i]; i++)
        list = add_header(list, req->headers[i]);
    if (w->conf.token) {
        buf_addf(&line, "Authorization: Bearer %s", w->conf.token);
        buf_add_char(&line, '\0');
        list = add_header(list, line.p);
    }
    buf_release(&line);
    return list;
}

static bool make_url(struct web *w, const struct web_req *req)
{
    buf_reset(&w->url);
    buf_add_z(&w->url, w->conf.endpoint);
    buf_add_str(&w->url, req->path);
    if (req->query.n) {
        buf_add_char(&w->url, '?');
        buf_add_str(&w->url, req->query);
    }
    buf_add_char(&w->url, '\0');
    return !w->url.over;
}

static void set_body(CURL *c, const struct web_req *req)
{
    if (req->read) {
        curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        if (req->body_size != WEB_SIZE_UNKNOWN)
            curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_size);
        curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER);
    } else if (req->json.p) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->json.n);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, req->json.p);
    } else if (strcmp(req->method, "HEAD") == 0) {
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    }
    if (strcmp(req->method, "HEAD") != 0)
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, req->method);
}

static void set_up(struct web *w, const struct web_req *req, struct curl_slist *headers, char *why)
{
    CURL *c = w->curl;

    curl_easy_reset(c); /* the connection is kept */
    curl_easy_setopt(c, CURLOPT_URL, w->url.p);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L); /* names may have ".." in them */
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)(w->conf.timeout_s ? w->conf.timeout_s : STALL_S));
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)BUFFER);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(c, CURLOPT_READDATA, w);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, w);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, w);
    if (w->conf.ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, w->conf.ca_file);
    if (w->conf.insecure) {
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    set_body(c, req);
}

static void fill(struct web *w, struct web_res *res)
{
    curl_off_t length = -1;
    long status = 0;

    curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(w->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    res->status = (int)status;
    res->length = length < 0 ? WEB_SIZE_UNKNOWN : (uint64_t)length;
    res->text = buf_str(&w->text);
}

bool web_ask(struct web *w, const struct web_req *req, struct web_res *res)
{
    struct curl_slist *headers = make_headers(w, req);
    char why[CURL_ERROR_SIZE] = "";
    CURLcode code = CURLE_OK;
    bool done = false;

    *res = (struct web_res){.status = 0};
    w->req = req;
    w->broken = false;
    buf_reset(&w->text);
    buf_reset(&w->headers);
    if (!make_url(w, req)) {
        snprintf(res->why, sizeof(res->why), "the name is too long");
    } else {
        set_up(w, req, headers, why);
        code = curl_easy_perform(w->curl);
        fill(w, res);
        /* an answer that came before all was sent counts: it says what is wrong */
        done = code == CURLE_OK || (!w->broken && res->status >= 300 && code == CURLE_SEND_ERROR);
        if (!done && !w->broken)
            snprintf(res->why, sizeof(res->why), "%s: %s", w->conf.endpoint, why[0] ? why : curl_easy_strerror(code));
    }
    curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    w->req = NULL;
    return done;
}
