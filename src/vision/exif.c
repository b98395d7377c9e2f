#include "vision/exif.h"

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, IFD_ENTRIES_MAX = 512 };

struct reader {
    struct bytes tiff;
    bool big_endian;
};

/* A number of `count` bytes at `offset`; 0 beyond the end. */
static uint32_t number(const struct reader *reader, uint64_t offset, int count)
{
    const unsigned char *at = (const unsigned char *)reader->tiff.at;
    uint32_t value = 0;
    if (offset + (uint64_t)count > reader->tiff.count)
        return 0;
    for (int i = 0; i < count; i++)
        value = value << 8 | at[offset + (uint64_t)(reader->big_endian ? i : count - 1 - i)];
    return value;
}

int exif_orientation(struct bytes tiff)
{
    struct reader reader = {tiff, bytes_start(tiff, BYTES("MM"))};
    if (tiff.count < 8 || (!reader.big_endian && !bytes_start(tiff, BYTES("II"))) || number(&reader, 2, 2) != 42)
        return 1;
    uint64_t directory = number(&reader, 4, 4);
    uint32_t entries = number(&reader, directory, 2);
    if (entries > IFD_ENTRIES_MAX)
        entries = IFD_ENTRIES_MAX;
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t entry = directory + 2 + (uint64_t)i * 12;
        if (number(&reader, entry, 2) != TAG_ORIENTATION || number(&reader, entry + 2, 2) != TYPE_SHORT)
            continue;
        uint32_t value = number(&reader, entry + 8, 2);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
