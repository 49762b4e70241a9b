#include "base/error.h"

namespace inkstone {

int exit_code(Errc code) {
  switch (code) {
    case Errc::internal: return 1;
    case Errc::usage: return 2;
    case Errc::not_found: return 3;
    case Errc::bad_file: return 4;
    case Errc::unsupported: return 5;
    case Errc::out_of_memory: return 6;
    case Errc::context_length: return 7;
    case Errc::template_error: return 8;
    case Errc::io: return 9;
    case Errc::interrupted: return 130;
  }
  return 1;
}

void check_failed(const char* expression, const char* file, int line) {
  throw Error(Errc::internal, fmt::format("internal error: {}:{}: {} does not hold", file, line, expression));
}

}  // namespace inkstone
