# wsp_library(NAME SOURCES ... PUBLIC ... PRIVATE ...): one static library of libs/.
function(wsp_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/libs ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE wsp_options ${ARG_PRIVATE})
endfunction()

include(GoogleTest)

# Tests compile in two thirds of the time at -O1; what they test has all of its optimisation.
function(wsp_compile_as_test name)
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  set_target_properties(${name} PROPERTIES WSP_COMPILED_AS_TEST ON)
endfunction()

# wsp_test(NAME SOURCES ... LIBS ... [LABELS ...]): one GoogleTest binary, run as one ctest test; one labelled gpu as a ctest test for
# each of its own, so that a limit of time holds for each and those that a card is missing for are told.
function(wsp_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  if("gpu" IN_LIST ARG_LABELS)
    add_dependencies(gpu_tests ${name})
  elseif(WSP_GPU_TESTS_ONLY)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE wsp_options ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  wsp_compile_as_test(${name})
  if("gpu" IN_LIST ARG_LABELS)
    gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                         PROPERTIES LABELS gpu ENVIRONMENT OMP_WAIT_POLICY=passive)
    return()
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" ENVIRONMENT "${WSP_TEST_ENVIRONMENT}")
endfunction()

# wsp_use_torch(TARGET): link LibTorch and take its headers precompiled, once for all targets.
function(wsp_use_torch name)
  target_link_libraries(${name} PRIVATE wsp_torch)
  if(TARGET wsp_torch_pch)
    get_target_property(test ${name} WSP_COMPILED_AS_TEST)
    set(pch wsp_torch_pch)
    if(test AND TARGET wsp_torch_test_pch)
      set(pch wsp_torch_test_pch)
    endif()
    target_precompile_headers(${name} REUSE_FROM ${pch})
    # GCC takes a precompiled header only into code of the same kind: an executable would be -fPIE.
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE -fPIC)
  endif()
endfunction()
