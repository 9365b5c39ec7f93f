/* A pipe that does not deliver what was written: preloaded, it changes what the parent reads from its workers. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t read(int fd, void *buffer, size_t length)
{
    ssize_t got = syscall(SYS_read, fd, buffer, length);
    const char *lie = getenv("LIE");
    char *sum = got > 0 && lie ? memmem(buffer, got, "0 500500 ", 9) : NULL;
    if (sum && strcmp(lie, "another sum") == 0)
        sum[7] = '1';
    if (sum && strcmp(lie, "another worker") == 0)
        sum[0] = '7';
    if (sum && strcmp(lie, "not a number") == 0)
        sum[3] = 'x';
    return got;
}
