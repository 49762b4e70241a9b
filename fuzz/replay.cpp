// Runs every file of a corpus folder through a fuzz target: the regression half of fuzzing, without libFuzzer.
#include <cstdint>
#include <cstdio>
#include <filesystem>

#include "base/mapped_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  int inputs = 0;
  for (int i = 1; i < argc; ++i)
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      const inkstone::MappedFile file(entry.path());
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(file.bytes().data()), file.bytes().size());
      ++inputs;
    }
  std::printf("%d inputs replayed\n", inputs);
  return inputs > 0 ? 0 : 1;
}
