/* Preloaded, it changes what the parent reads from its workers, or takes a system call away. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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

ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long locals, const struct iovec *remote,
                         unsigned long remotes, unsigned long flags)
{
    const char *lie = getenv("LIE");
    if (lie && strcmp(lie, "an old kernel") == 0) {
        errno = ENOSYS;
        return -1;
    }
    return syscall(SYS_process_vm_readv, pid, local, locals, remote, remotes, flags);
}
