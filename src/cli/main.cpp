#include <cstdio>

#include "base/error.h"

int main() {
  std::puts("inkstone");
  return 0;
}
