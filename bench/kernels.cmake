find_package(benchmark REQUIRED)
add_executable(augment_bench augment_bench.cpp)
target_link_libraries(augment_bench PRIVATE wsp_options wsp_kernels TBB::tbb benchmark::benchmark)
