// Loaded into an instance (LD_PRELOAD), it notes of each file how much of it was synced: what a power cut would leave.
//
// The notes are a file that the suite has made, mapped into memory, so that they outlast the process and need no room on a full disk:
// a count (8 bytes, then 8 unused), then for each note device, inode and bytes (8 each). The last note about a file counts.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct note {
    uint64_t device, inode, bytes;
};

struct notes {
    _Atomic uint64_t count;
    uint64_t unused;
    struct note notes[];
};

static struct notes *notes;
static uint64_t room;

// Before main; but other libraries' constructors may open files earlier, which are not the application's.
__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MILLSTREAM_SYNCED_BYTES");
    if (path == NULL) {
        return;
    }
    struct stat file;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) != 0) {
        perror(path);
        abort();
    }
    void *mapped = mmap(NULL, (size_t)file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        perror(path);
        abort();
    }
    room = ((uint64_t)file.st_size - sizeof(struct notes)) / sizeof(struct note);
    notes = mapped;
    close(fd);
}

static void note(const struct stat *file, uint64_t bytes) {
    uint64_t place = atomic_fetch_add(&notes->count, 1);
    if (place >= room) {
        fputs("no room for what was synced\n", stderr);
        abort();
    }
    notes->notes[place] = (struct note){file->st_dev, file->st_ino, bytes};
}

static int synced(int fd, const char *name) {
    // What is written while it syncs may or may not be part of it.
    struct stat file;
    int is_file = notes != NULL && fstat(fd, &file) == 0 && S_ISREG(file.st_mode);
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = sync(fd);
    if (result == 0 && is_file) {
        note(&file, (uint64_t)file.st_size);
    }
    return result;
}

int fsync(int fd) {
    return synced(fd, "fsync");
}

int fdatasync(int fd) {
    return synced(fd, "fdatasync");
}

// A file that is new or was emptied: an earlier one may have had its inode.
static int opened(int fd, int flags) {
    struct stat file;
    if (notes != NULL && fd >= 0 && (flags & (O_CREAT | O_TRUNC)) && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
        file.st_size == 0) {
        note(&file, 0);
    }
    return fd;
}

#define OPEN(NAME)                                                                         \
    int NAME(const char *path, int flags, ...) {                                           \
        va_list arguments;                                                                 \
        va_start(arguments, flags);                                                        \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0;     \
        va_end(arguments);                                                                 \
        int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #NAME); \
        return opened(real(path, flags, mode), flags);                                     \
    }

#define OPENAT(NAME)                                                                       \
    int NAME(int folder, const char *path, int flags, ...) {                               \
        va_list arguments;                                                                 \
        va_start(arguments, flags);                                                        \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0;     \
        va_end(arguments);                                                                 \
        int (*real)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #NAME); \
        return opened(real(folder, path, flags, mode), flags);                             \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
