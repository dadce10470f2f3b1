/* clock_gettime with offsets from a file, for LD_PRELOAD: the first number is the seconds by which
   the wall clock is ahead, the second one those of the boot-time clock. Other clocks are exact. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long seconds_ahead(clockid_t clock) {
    char text[64] = "", *boot;
    const char *path = getenv("STSD_STORY_CLOCKS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
    close(file);
    long long wall = strtoll(text, &boot, 10);
    return clock == CLOCK_REALTIME ? wall : strtoll(boot, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME))
        time->tv_sec += seconds_ahead(clock);
    return (int)result;
}
