/* The one thing that we want from EXIF: how the camera was held. */
#pragma once
#include "base/bytes.h"

/* The orientation tag (1 … 8) of a TIFF block, which is what JPEG has behind "Exif\0\0" and PNG and WebP in a chunk;
 * 1 when there is none or the block is damaged. */
int exif_orientation(struct bytes tiff);
