#include "vision/recognise.h"

#include "vision/ink.h"

struct box recogniser_crop(const struct image *image, struct box line, double padding)
{
    int room = (int)(line.height * padding + 0.5);
    return box_within(image, (struct box){line.x - room, line.y - room, line.width + 2 * room, line.height + 2 * room});
}
