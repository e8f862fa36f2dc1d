// attention.cpp as on sm_90a.
#define PYNEURAL_HAS_WARPGROUPS 1
#include "attention.cpp"
