/* The shapes of what the API takes and gives, as the OpenAPI document names them: a JSON object. Written down in schemas.json. */
#pragma once
#include "base/bytes.h"

extern const struct bytes schemas;
