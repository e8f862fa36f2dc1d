#include "build.h"

namespace pyneural {

const Build kBuild = {PYNEURAL_VERSION, PYNEURAL_CUDA, PYNEURAL_ISAS};

}  // namespace pyneural
