# Kernels: one object per instruction set, compiled from the same kernel sources (cpu/*.inc) with its own flags and
# exporting one table; cpu/select.cpp picks among them at run time.
set(kernel_sets portable avx2 avx512 avx512_bf16 amx amx_soft)
set(kernel_flags_portable "")
set(kernel_flags_avx2 -mavx2 -mfma -mf16c)
set(kernel_flags_avx512 ${kernel_flags_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi
    -mprefer-vector-width=512)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # The products of few rows are long straight lines of code, over which combining more instructions than two takes
  # minutes and makes worse code.
  foreach(set ${kernel_sets})
    list(APPEND kernel_flags_${set} --param max-combine-insns=2)
  endforeach()
  # GCC 12 takes the undefined register inside its own AVX-512 intrinsics for a fault of ours (GCC bug 105593).
  list(APPEND kernel_flags_avx512 -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
set(kernel_flags_avx512_bf16 ${kernel_flags_avx512} -mavx512bf16)
set(kernel_flags_amx ${kernel_flags_avx512} -mamx-tile -mamx-int8 -mamx-bf16)
set(kernel_flags_amx_soft "")

# Only the sets in plain C++, the definition among them, run under the sanitizers: the others would take tens of minutes
# to compile. tests/kernels compares them with the definition, on memory that ends before a forbidden page.
if(OSTRO_SANITIZE)
  foreach(set avx2 avx512 avx512_bf16 amx)
    list(APPEND kernel_flags_${set} -fno-sanitize=all)
  endforeach()
endif()

set(kernel_sources ${PROJECT_SOURCE_DIR}/src/kernels/cpu/select.cpp)
foreach(set ${kernel_sets})
  set(source ${PROJECT_SOURCE_DIR}/src/kernels/cpu/kernels_${set}.cpp)
  list(APPEND kernel_sources ${source})
  # Optimised in every build: without inlining a debug build would be too slow to run a model, and would export the
  # inline functions that only their own instruction set may use.
  set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-O3;-fno-math-errno;${kernel_flags_${set}}")
endforeach()
add_library(ostro_kernels STATIC ${kernel_sources})
target_link_libraries(ostro_kernels PUBLIC ostro_options ostro_tensor)
