/* A machine that contradicts the lesson: preloaded, it makes one call answer what it should not. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int lie(const char *name)
{
    const char *told = getenv("LIE");
    return told && strcmp(told, name) == 0;
}

/* Anonymous, without access at first, and anywhere: the pages that the program shows. */
void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    if (flags & MAP_ANONYMOUS && prot == PROT_NONE && addr == NULL) {
        if (lie("private memory is shared"))
            flags = (flags & ~MAP_PRIVATE) | MAP_SHARED;
        if (lie("shared memory is private"))
            flags = (flags & ~MAP_SHARED) | MAP_PRIVATE;
    }
    return (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
}

void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return mmap(addr, length, prot, flags, fd, offset);
}

ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long locals, const struct iovec *remote,
                         unsigned long remotes, unsigned long flags)
{
    ssize_t length = syscall(SYS_process_vm_readv, pid, local, locals, remote, remotes, flags);
    if (lie("everybody may read") && length < 0 && errno == EPERM)
        return local->iov_len;
    if (lie("nobody may read")) {
        errno = EPERM;
        return -1;
    }
    return length;
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    pid_t ended = syscall(SYS_wait4, pid, status, options, NULL);
    if (lie("the kernel is open") && status && WIFSIGNALED(*status) && WTERMSIG(*status) == SIGSEGV)
        *status = 0;
    return ended;
}

/* What a child tells of an address on its stack. */
ssize_t recv(int fd, void *buffer, size_t length, int flags)
{
    ssize_t got = syscall(SYS_recvfrom, fd, buffer, length, flags, NULL, NULL);
    uint64_t word;
    if (got == sizeof word && lie("the child's variable is elsewhere")) {
        memcpy(&word, buffer, sizeof word);
        word += word > UINT32_MAX ? 4 : 0;
        memcpy(buffer, &word, sizeof word);
    }
    return got;
}
