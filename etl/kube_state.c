/* What the status of a Pod means. Its words are Kubernetes' own: who asks why a sidecar does not run looks for them. */
#include <stdio.h>

#include "kube_own.h"

enum { SIGNALED = 128, SIGNAL_MAX = 64, KILLED = 9, WORDS_MAX = ETL_WHY_MAX - 160 };

/* "REASON: MESSAGE", for a sentence. */
static void say(char out[ETL_WHY_MAX], struct str name, const char *what, struct str reason, struct str message)
{
    char text[ETL_WHY_MAX];
    size_t n = message.n < WORDS_MAX ? message.n : WORDS_MAX;

    snprintf(text, sizeof(text), "%s%.63s%s%s%.80s%s%.*s", name.n ? "init container " : "", name.n ? name.p : "",
             name.n ? ": " : "", what, reason.n ? reason.p : "", reason.n && n ? ": " : "", (int)n, n ? message.p : "");
    rest_say(out, "", str_z(text));
}

static bool is_one_of(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (str_eq(s, str_z(*words)))
            return true;
    return false;
}

static const struct doc *container_in(const struct doc *pod, const char *list, struct str name)
{
    const struct doc *d = rest_at(pod, list);

    for (d = d && d->kind == DOC_LIST ? d->first : NULL; d; d = d->next)
        if (str_eq(rest_text(d, "name"), name))
            return d;
    return NULL;
}

/* ---- containers ---- */

/* How one ended; `name`: that of an init container, or empty. */
static void fate(const struct doc *end, struct str name, char why[ETL_WHY_MAX])
{
    struct str reason = rest_text(end, "reason"), message = rest_text(end, "message");
    bool starved = str_eq(reason, STR("OOMKilled"));
    uint64_t code = 0;
    char how[80];

    (void)str_to_u64(rest_text(end, "exitCode"), 255, &code);
    if (starved)
        snprintf(how, sizeof(how), "OOMKilled: it needed more memory than its limit");
    else if (code > SIGNALED && code <= SIGNALED + SIGNAL_MAX)
        snprintf(how, sizeof(how), "killed by signal %d", (int)code - SIGNALED);
    else
        snprintf(how, sizeof(how), "exit status %d", (int)code);
    /* of one that could not even begin the message tells why; of others it is the end of the log, which is kept elsewhere */
    if (starved || str_eq(reason, STR("Error")) || str_eq(reason, STR("Completed")))
        message = reason = STR_NONE;
    else if (message.n || reason.n)
        snprintf(how, sizeof(how), "exit status %d, ", (int)code);
    say(why, name, how, reason, message);
}

/* What it waits for; true: it waits in vain. */
static bool waits(const struct doc *waiting, struct str name, struct kube_state *s)
{
    static const char *const vain[] = {"CrashLoopBackOff",   "CreateContainerConfigError", "CreateContainerError",
                                       "ErrImageNeverPull",  "ImagePullBackOff",           "InvalidImageName",
                                       "PostStartHookError", "RunContainerError",          NULL};
    static const char *const pull[] = {"ErrImagePull", "ImageInspectError", "RegistryUnavailable",
                                       "SignatureValidationFailed", NULL};
    struct str reason = rest_text(waiting, "reason"), message = rest_text(waiting, "message");

    if (is_one_of(reason, pull)) {
        say(s->why, name, "", reason, message);
        memcpy(s->pull, s->why, sizeof(s->pull));
        return false;
    }
    s->wants_root =
        str_eq(reason, STR("CreateContainerConfigError")) && str_find(message, STR("runAsNonRoot")) != SIZE_MAX;
    if (str_eq(reason, STR("ImagePullBackOff")) && s->pull[0])
        say(s->why, STR_NONE, "ImagePullBackOff, after ", STR_NONE, str_z(s->pull));
    else
        say(s->why, name, "", reason, message);
    return is_one_of(reason, vain);
}

/* Whether this one settles the matter. */
static bool judge_container(const struct doc *c, bool init, struct kube_state *s)
{
    struct str own = rest_text(c, "name"), name = init ? own : STR_NONE;
    const struct doc *end = rest_at(c, "state.terminated"), *waiting = rest_at(c, "state.waiting");

    if (end && end->kind == DOC_MAP && !(init && str_eq(rest_text(end, "exitCode"), STR("0")))) {
        fate(end, name, s->why);
        s->ended = true;
    } else if (waiting && waiting->kind == DOC_MAP) {
        s->ended = waits(waiting, name, s);
    } else if (init && rest_at(c, "state.running")) {
        say(s->why, name, "it runs", STR_NONE, STR_NONE);
    } else {
        return false;
    }
    /* one that waits has not written anything */
    if (init && (!waiting || s->ended) && own.n <= KUBE_NAME_MAX)
        snprintf(s->log, sizeof(s->log), STR_FMT, STR_ARG(own));
    return true;
}

static bool judge_init(const struct doc *pod, struct kube_state *s)
{
    const struct doc *list = rest_at(pod, "status.initContainerStatuses");

    for (const struct doc *c = list && list->kind == DOC_LIST ? list->first : NULL; c; c = c->next)
        if (judge_container(c, true, s))
            return true;
    return false;
}

/* ---- the Pod ---- */

/* "Unschedulable: 0/3 nodes are available: ..." */
static void judge_schedule(const struct doc *pod, struct kube_state *s)
{
    const struct doc *list = rest_at(pod, "status.conditions");

    for (const struct doc *c = list && list->kind == DOC_LIST ? list->first : NULL; c; c = c->next)
        if (str_eq(rest_text(c, "type"), STR("PodScheduled")) && str_eq(rest_text(c, "status"), STR("False")))
            say(s->why, STR_NONE, "", rest_text(c, "reason"), rest_text(c, "message"));
}

static void take_address(const struct doc *pod, struct kube_state *s)
{
    struct str ip = rest_text(pod, "status.podIP");

    if (ip.n && ip.n < sizeof(s->address))
        snprintf(s->address, sizeof(s->address), STR_FMT, STR_ARG(ip));
}

void kube_judge(const struct doc *pod, const char *main, struct kube_state *s)
{
    struct str phase = rest_text(pod, "status.phase"), reason = rest_text(pod, "status.reason");
    const struct doc *c = container_in(pod, "status.containerStatuses", str_z(main));
    bool over = str_eq(phase, STR("Failed")) || str_eq(phase, STR("Succeeded"));

    s->why[0] = 0;
    s->ended = s->wants_root = false;
    snprintf(s->log, sizeof(s->log), "%.*s", KUBE_NAME_MAX, main);
    take_address(pod, s);
    if (over && reason.n) { /* "Evicted", "Preempting", "UnexpectedAdmissionError", ... */
        say(s->why, STR_NONE, "", reason, rest_text(pod, "status.message"));
    } else if (!judge_init(pod, s) && !(c && judge_container(c, false, s)) && !over && !c) {
        snprintf(s->why, sizeof(s->why), "its Pod is %.20s", phase.n ? phase.p : "new");
        judge_schedule(pod, s);
    }
    if (over && !s->why[0])
        snprintf(s->why, sizeof(s->why), "its Pod has %s; Kubernetes does not tell why",
                 str_eq(phase, STR("Failed")) ? "failed" : "ended");
    s->ended |= over;
}
