/* Files that a disk has changed: the footer is refused or its lengths agree with the file. */
#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct segment_dir *dir_once(void)
{
    static struct segment_dir *dir;
    char path[] = "/tmp/sluice-fuzz-XXXXXX", sub[64];

    if (dir)
        return dir;
    hash_setup();
    if (!mkdtemp(path) || segment_dir_open(str_z(path), false, &dir) != ERR_OK)
        abort();
    /* only its name is needed from here on */
    snprintf(sub, sizeof(sub), "%s/segments", path);
    rmdir(sub);
    snprintf(sub, sizeof(sub), "%s/staging", path);
    rmdir(sub);
    rmdir(path);
    return dir;
}

/* The id expected is the one in the tail, so that the lengths behind it are reached. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct segment_dir *dir = dir_once();
    struct segment_footer f;
    struct segment_id id = {{0}};
    int fd = memfd_create("segment", MFD_CLOEXEC);

    assert(fd >= 0);
    if (size >= 64)
        memcpy(id.b, data + size - 64, SEGMENT_ID_LEN);
    if (size && write(fd, data, size) != (ssize_t)size)
        abort();
    if (segment_footer_read(dir, fd, &id, &f) == ERR_OK) {
        assert((const uint8_t *)f.desc.p >= (const uint8_t *)(f.blocks + f.block_count));
        assert(f.size + (uint64_t)(f.desc.p - (const char *)f.mem) + f.desc.n + 64 == size);
        (void)!segment_verify(dir, fd, &f, 0, f.size, NULL);
        segment_footer_release(&f);
    }
    close(fd);
    return 0;
}
