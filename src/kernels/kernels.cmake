# Kernels: one object per instruction set, each compiled from the same kernel sources with its own flags and exporting
# one table; select.cpp picks among them at run time.
add_library(ostro_kernels INTERFACE)
target_link_libraries(ostro_kernels INTERFACE ostro_options ostro_tensor)
