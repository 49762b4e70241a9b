// A .jsonl file: one JSON value a line, read line by line from the mapped file; blank lines are skipped.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/json.h"

namespace inkstone {

// Calls use(value, "FILE: line N") for each. Throws Error(not_found), and Error(bad_file) with that place for what is
// not JSON and for a line beyond 64 MiB; passes on what `use` throws.
void for_each_json_line(const std::filesystem::path& file,
                        const std::function<void(const Json& value, const std::string& where)>& use);

}  // namespace inkstone
