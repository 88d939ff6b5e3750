// What Swift cannot call by itself: see the .c files beside it.
#pragma once

#include "audit.h"
