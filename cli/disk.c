/* `sluice disk`: looks at and changes the data directories of a running server. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "command.h"
#include "settings.h"
#include "target/disks_socket.h"

enum { TEXT_LEN_MAX = 256 << 10 };

static int say(struct str data, int *fd)
{
    struct sockaddr_un name;
    int dir = open(data.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return command_fail("can't open the data directory %s: %s", data.p, strerror(errno));
    *fd = disk_socket(dir, &name);
    int done = *fd < 0 ? -1 : connect(*fd, (struct sockaddr *)&name, sizeof(name));
    int errnum = errno;
    close(dir);
    if (done == 0)
        return EXIT_SUCCESS;
    return command_fail("no server answers at %s/%s (%s): is it running, and is this its first data directory?", data.p,
                        DISK_SOCKET, strerror(errnum));
}

static int hear(int fd)
{
    struct buf text = BUF_INIT(TEXT_LEN_MAX);
    char piece[4096];
    ssize_t n;
    int code = EXIT_SUCCESS;

    while ((n = read(fd, piece, sizeof(piece))) > 0)
        buf_add(&text, piece, (size_t)n);
    struct str rest = buf_str(&text), first = str_split(&rest, '\n');
    if (str_eq(first, STR("ok")))
        printf(STR_FMT, STR_ARG(rest));
    else
        code = EXIT_FAILURE;
    if (code != EXIT_SUCCESS && str_eq(first, STR("error"))) {
        first = str_split(&rest, '\n');
        command_fail(STR_FMT, STR_ARG(first));
    } else if (code != EXIT_SUCCESS) {
        command_fail("the server ended before it answered");
    }
    buf_release(&text);
    return code;
}

static int ask(struct str data, const char *verb, const char *dir)
{
    char line[PATH_MAX + 32];
    int fd = -1, code, n;

    n = dir ? snprintf(line, sizeof(line), "%s %s\n", verb, dir) : snprintf(line, sizeof(line), "%s\n", verb);
    if (n >= (int)sizeof(line))
        return command_usage("the directory's name is too long");
    if ((code = say(data, &fd)) == EXIT_SUCCESS) {
        if (send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
            code = command_fail("the server does not listen: %s", strerror(errno));
        else
            code = hear(fd);
    }
    if (fd >= 0)
        close(fd);
    return code;
}

/* The server's working directory is another one. */
static const char *absolute(const char *dir, char out[PATH_MAX])
{
    char here[PATH_MAX];
    int n;

    if (dir[0] == '/' || !getcwd(here, sizeof(here)))
        return dir;
    n = snprintf(out, PATH_MAX, "%s/%s", here, dir);
    return n < PATH_MAX ? out : dir;
}

static bool takes_dir(const char *verb)
{
    static const char *const all[] = {"attach", "detach", "disable", "enable"};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(verb, all[i]) == 0)
            return true;
    return false;
}

int command_disk(int argc, char **argv)
{
    bool lost = command_switch(&argc, argv, "--lost");
    const char *verb = argc > 0 ? argv[0] : "", *dir = NULL;
    char path[PATH_MAX], why[SETTINGS_WHY_MAX];
    struct settings s;
    int code;

    if (strcmp(verb, "list") != 0 && !takes_dir(verb))
        return command_usage("say what to do: sluice disk list, attach, detach, disable or enable");
    argc--, argv++;
    if (takes_dir(verb)) {
        if (argc < 1 || argv[0][0] == '-')
            return command_usage("say which directory: sluice disk %s DIR --data FIRST-DATA-DIR", verb);
        dir = absolute(argv[0], path);
        argc--, argv++;
    }
    if (lost && strcmp(verb, "detach") != 0)
        return command_usage("--lost goes with detach only");
    if (settings_load(&s, argc, argv, why) != ERR_OK)
        return command_usage("%s", why);
    if (s.data.count == 0)
        code = command_usage("say which server: --data and its first data directory");
    else
        code = ask(s.data.items[0], lost ? "detach-lost" : verb, dir);
    settings_free(&s);
    return code;
}
