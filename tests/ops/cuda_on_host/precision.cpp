// csrc/common/float32_precision.h behind a function that ctypes can call.
#include "csrc/common/float32_precision.h"

extern "C" int allows_tf32() { return pyneural::allows_tf32(); }
