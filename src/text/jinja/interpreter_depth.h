// The stack guard of the interpreter's recursive functions.
#pragma once

#include "text/jinja/interpreter.h"

namespace inkstone::jinja {

class Interpreter::Depth {
 public:
  explicit Depth(Interpreter& interpreter) : interpreter_(interpreter) {
    constexpr int kMaxDepth = 1200;
    interpreter.budget_.step(1);
    if (++interpreter.depth_ > kMaxDepth) raise("the template recurses too deep");
  }
  ~Depth() { --interpreter_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  Interpreter& interpreter_;
};

}  // namespace inkstone::jinja
