/* Asks a hook before every call of the system that changes a disk, from whatever language it comes.

   Preloaded (LD_PRELOAD) by crashing_saves.py. The hook gets the call's name, up to two places (an open folder's
   descriptor and a path that starts from it), the open file, and what is to be written; it returns 0, or the error
   with which the call is to fail. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/types.h>

typedef int (*hook_type)(const char *call, int folder, const char *path, int folder_2, const char *path_2, int file,
                         const void *data, size_t size);

static hook_type hook;
static __thread int inside;

void watch_disk(hook_type new_hook) { hook = new_hook; }

static int refused(const char *call, int folder, const char *path, int folder_2, const char *path_2, int file,
                   const void *data, size_t size) {
    if (!hook || inside) return 0;
    inside = 1;
    int error = hook(call, folder, path, folder_2, path_2, file, data, size);
    inside = 0;
    errno = error;
    return error;
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

#define PATH_CALL(name, parameters, arguments, folder, path)                                    \
    int name parameters {                                                                       \
        if (refused(#name, folder, path, AT_FDCWD, NULL, -1, NULL, 0)) return -1;               \
        return REAL(int(*) parameters, #name) arguments;                                        \
    }
PATH_CALL(unlink, (const char *path), (path), AT_FDCWD, path)
PATH_CALL(unlinkat, (int folder, const char *path, int flags), (folder, path, flags), folder, path)
PATH_CALL(rmdir, (const char *path), (path), AT_FDCWD, path)
PATH_CALL(mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
PATH_CALL(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, path)

#define TWO_PATH_CALL(name, parameters, arguments, folder, from, folder_2, to)                  \
    int name parameters {                                                                       \
        if (refused(#name, folder, from, folder_2, to, -1, NULL, 0)) return -1;                 \
        return REAL(int(*) parameters, #name) arguments;                                        \
    }
TWO_PATH_CALL(rename, (const char *from, const char *to), (from, to), AT_FDCWD, from, AT_FDCWD, to)
TWO_PATH_CALL(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), a, from, b, to)
TWO_PATH_CALL(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags), a,
              from, b, to)
TWO_PATH_CALL(link, (const char *from, const char *to), (from, to), AT_FDCWD, from, AT_FDCWD, to)
TWO_PATH_CALL(linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), a, from, b,
              to)

#define FILE_CALL(result, name, parameters, arguments, file, data, size)                        \
    result name parameters {                                                                    \
        if (refused(#name, AT_FDCWD, NULL, AT_FDCWD, NULL, file, data, size)) return -1;        \
        return REAL(result(*) parameters, #name) arguments;                                     \
    }
FILE_CALL(ssize_t, write, (int file, const void *data, size_t size), (file, data, size), file, data, size)
FILE_CALL(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at), file, data, size)
FILE_CALL(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at), file, data,
          size)
FILE_CALL(ssize_t, writev, (int file, const void *parts, int count), (file, parts, count), file, NULL, 0)
FILE_CALL(ssize_t, sendfile, (int file, int from, off_t *at, size_t size), (file, from, at, size), file, NULL, size)
FILE_CALL(ssize_t, sendfile64, (int file, int from, off64_t *at, size_t size), (file, from, at, size), file, NULL, size)
FILE_CALL(ssize_t, copy_file_range, (int from, off64_t *a, int file, off64_t *b, size_t size, unsigned flags),
          (from, a, file, b, size, flags), file, NULL, size)
FILE_CALL(int, ftruncate, (int file, off_t size), (file, size), file, NULL, size)
FILE_CALL(int, ftruncate64, (int file, off64_t size), (file, size), file, NULL, size)

/* Nothing is really synced: that is slow, and only the power could tell. */
int fsync(int file) { return refused("fsync", AT_FDCWD, NULL, AT_FDCWD, NULL, file, NULL, 0) ? -1 : 0; }
int fdatasync(int file) { return refused("fsync", AT_FDCWD, NULL, AT_FDCWD, NULL, file, NULL, 0) ? -1 : 0; }

#define OPEN_CALL(name, parameters, folder, ...)                                                \
    int name parameters {                                                                       \
        va_list rest;                                                                           \
        va_start(rest, flags);                                                                  \
        int mode = va_arg(rest, int);                                                           \
        va_end(rest);                                                                           \
        int changes = (flags & O_TRUNC) || (flags & O_CREAT);                                   \
        if (changes && refused("open", folder, path, AT_FDCWD, NULL, -1, NULL, 0)) return -1;   \
        return REAL(int(*)(__VA_ARGS__), #name)
OPEN_CALL(open, (const char *path, int flags, ...), AT_FDCWD, const char *, int, ...)(path, flags, mode); }
OPEN_CALL(open64, (const char *path, int flags, ...), AT_FDCWD, const char *, int, ...)(path, flags, mode); }
OPEN_CALL(openat, (int folder, const char *path, int flags, ...), folder, int, const char *, int, ...)(folder, path, flags, mode); }
OPEN_CALL(openat64, (int folder, const char *path, int flags, ...), folder, int, const char *, int, ...)(folder, path, flags, mode); }
