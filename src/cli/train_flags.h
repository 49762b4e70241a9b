// The flags of training, named as mlx_lm's, over a configuration file named by -c.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "train/train_config.h"

namespace CLI {
class App;
}

namespace inkstone {

class TrainFlags {
 public:
  void add_to(CLI::App& verb);
  // The configuration file, if any, with what the command line says instead. Throws as load_train_config and
  // TrainConfig::validate.
  TrainConfig config() const;

 private:
  std::string file_;                                        // -c
  std::vector<std::function<void(TrainConfig&)>> changes_;  // in the order of the command line
};

}  // namespace inkstone
