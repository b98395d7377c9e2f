#include "stage/input.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int input_read(int fd, struct buf *ret, int64_t *ret_size, struct problem *problem)
{
    struct stat about;
    int rc = file_look(fd, &about);
    if (rc)
        return problem_set(problem, "The file cannot be read: %s.", strerror(-rc));
    *ret_size = about.st_size;
    if (about.st_size < 0 || (uint64_t)about.st_size > ret->max)
        return INPUT_TOO_LARGE;
    if (!buf_reserve(ret, (size_t)about.st_size))
        return problem_set(problem, "No memory for a file of %lld bytes.", (long long)about.st_size);
    while (ret->count < (size_t)about.st_size) {
        ssize_t count = pread(fd, ret->at + ret->count, (size_t)about.st_size - ret->count, (off_t)ret->count);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return problem_set(problem, "The file cannot be read: %s.", strerror(errno));
        if (count == 0)
            return problem_set(problem, "The file became shorter while it was read.");
        ret->count += (size_t)count;
    }
    return 0;
}

int input_file(int fd, const char *path, const char *what, struct buf *ret, struct problem *problem)
{
    int64_t size;
    struct problem why = {0};
    if (fd < 0 && !path)
        return problem_set(problem, "No %s was given.", what);
    int own = fd < 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 && own < 0)
        return problem_set(problem, "The %s %s cannot be opened: %s.", what, path, strerror(errno));
    int answer = input_read(fd < 0 ? own : fd, ret, &size, &why);
    if (own >= 0)
        close(own);
    if (answer == INPUT_TOO_LARGE)
        return problem_set(problem, "The %s %s has %lld bytes; %zu are the maximum.", what, path ? path : "", (long long)size, ret->max);
    if (answer < 0)
        return problem_set(problem, "The %s %s is of no use: %s", what, path ? path : "", why.text);
    return answer;
}
