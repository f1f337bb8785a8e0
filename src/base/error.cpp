#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace ostro {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "ostro: internal error: CHECK(%s) failed at %s:%d. Please report this.\n", condition, file,
               line);
  std::abort();
}

}  // namespace ostro
