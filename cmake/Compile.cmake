# Flags every file of ours gets. No -ffast-math anywhere, no LTO: see HACKING.md on ISA dispatch.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-restrict)  # GCC 12 sees overlaps in its own std::string at -O3 (its bug 105651)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    add_compile_options(-Wno-maybe-uninitialized)  # and, for Arm only, parts of a moved std::variant that nobody reads
  endif()
endif()
# The scalar kernels are the oracle: a*b+c stays two roundings wherever it is compiled.
add_compile_options(-ffp-contract=off)
include_directories(${CMAKE_SOURCE_DIR}/src)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

if(INKSTONE_SANITIZE)
  add_compile_options(-fsanitize=${INKSTONE_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${INKSTONE_SANITIZE})
endif()
if(INKSTONE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
