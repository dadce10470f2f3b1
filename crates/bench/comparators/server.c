/* The minimum of a daemon that serves bytes: one thread around epoll that answers each read with
 * the same bytes, and examines neither the request nor the peer.
 * Usage: server SOCKET FILE SKIP
 * The first answer of a connection is FILE, every other one FILE without SKIP bytes. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 65536, BATCH = 1024 };

static char answer[16384];
static unsigned char greeted[MOST];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int count, char **arguments) {
    if (count != 4)
        return 2;
    int file = open(arguments[2], O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, answer, sizeof answer);
    if (length <= 0)
        fail(arguments[2]);
    close(file);
    size_t skip = strtoul(arguments[3], NULL, 10);

    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        fail(arguments[1]);

    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[BATCH];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, BATCH, -1);
        if (ready < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < ready; i++) {
            int peer = events[i].data.fd;
            if (peer == listener) {
                while ((peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    if (peer >= MOST) {
                        close(peer);
                        continue;
                    }
                    greeted[peer] = 0;
                    event.events = EPOLLIN | EPOLLRDHUP;
                    event.data.fd = peer;
                    epoll_ctl(poll, EPOLL_CTL_ADD, peer, &event);
                }
                continue;
            }
            char request[512];
            ssize_t got = read(peer, request, sizeof request);
            if (got < 0 && errno == EAGAIN)
                continue;
            size_t from = greeted[peer] ? skip : 0;
            if (got <= 0 || write(peer, answer + from, length - from) != (ssize_t)(length - from)) {
                close(peer);
                continue;
            }
            greeted[peer] = 1;
        }
    }
}
