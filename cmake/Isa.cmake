# One translation unit for each ISA, each with its own flags, exporting one Kernels table and nothing else.
# tools/check_isa_objects asserts that no weak symbol leaves them: the linker might keep the AVX-512 copy for everybody.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(isa_flags_scalar "")
  set(isa_flags_avx2 -mavx2 -mfma -mf16c)
  set(isa_flags_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c)
  # What AMX shares with AVX-512 it includes, too, and does not use all of it.
  set(isa_flags_amx ${isa_flags_avx512} -mavx512bf16 -mamx-tile -mamx-bf16 -Wno-unused-function)
  # GCC 12's own AVX-512 header starts from variables that it leaves undefined on purpose.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND isa_flags_avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
    list(APPEND isa_flags_amx -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
  if(INKSTONE_EMULATE_ISA)
    # Their intrinsics in plain code over AVX2. Optimised more, it takes minutes to compile.
    set(isa_flags_avx512 ${isa_flags_avx2} -I${CMAKE_SOURCE_DIR}/tests/emulation -Wno-psabi -O1 -g1)
    set(isa_flags_amx ${isa_flags_avx512} -Wno-unused-function)
  endif()
  set(isas scalar avx2 avx512 amx peaks_x86)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(isa_flags_scalar "")
  set(isa_flags_neon "")
  # What neon_bf16 shares with NEON it includes, too, and does not use all of it.
  set(isa_flags_neon_bf16 -march=armv8.2-a+bf16 -Wno-unused-function)
  set(isas scalar neon neon_bf16 peaks_arm)
else()
  set(isas scalar peaks_plain)
endif()

foreach(isa ${isas})
  set(source ${CMAKE_SOURCE_DIR}/src/cpu/isa/${isa}.cpp)
  if(EXISTS ${source})
    add_library(inkstone_isa_${isa} OBJECT ${source})
    target_compile_options(inkstone_isa_${isa} PRIVATE ${isa_flags_${isa}} -fno-exceptions -fno-rtti)
    target_sources(inkstone_cpu PRIVATE $<TARGET_OBJECTS:inkstone_isa_${isa}>)
    string(TOUPPER ${isa} isa_upper)
    target_compile_definitions(inkstone_cpu PRIVATE INKSTONE_HAVE_${isa_upper})
  endif()
endforeach()

# What dispatch.cpp counts as supported.
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/cpu/dispatch.cpp PROPERTIES
                            COMPILE_DEFINITIONS INKSTONE_EMULATE_ISA=$<BOOL:${INKSTONE_EMULATE_ISA}>)
