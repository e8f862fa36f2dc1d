// What the library was built from and for. In a source of its own without torch's headers, since
// its flags differ from one build to the next.
#pragma once

namespace pyneural {

struct Build {
  const char *version, *cuda, *isas;  // cuda is empty without CUDA, spaces lie between the isas
};

extern const Build kBuild;

}  // namespace pyneural
