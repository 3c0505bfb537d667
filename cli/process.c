#include "process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

int process_signals(void)
{
    sigset_t set;
    int fd;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        perror("sluice: signalfd");
        abort();
    }
    return fd;
}

enum process_event process_wait(int signals, int ended_fd)
{
    struct pollfd fds[] = {{signals, POLLIN, 0}, {ended_fd, POLLIN, 0}};
    struct signalfd_siginfo info;

    for (;;) {
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            perror("sluice: poll");
            abort();
        }
        if (fds[1].revents & POLLIN)
            return PROCESS_ENDED;
        if (read(signals, &info, sizeof(info)) == sizeof(info))
            return info.ssi_signo == SIGHUP ? PROCESS_RELOAD : PROCESS_STOP;
    }
}

bool process_stopped_within(int signals, uint32_t ms)
{
    struct pollfd fd = {signals, POLLIN, 0};
    struct signalfd_siginfo info;

    return poll(&fd, 1, (int)ms) == 1 && read(signals, &info, sizeof(info)) == sizeof(info) && info.ssi_signo != SIGHUP;
}

void process_raise_file_limit(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files); /* fewer serve too */
    }
}
