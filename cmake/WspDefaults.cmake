# Language, build type, warnings, sanitizers, compiler cache.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(WSP_CCACHE ccache)
if(WSP_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # A precompiled header is cached when its defines and times may be taken as they are.
  # Through the environment: ccache before 4.8 (Debian 12) takes no settings on its command line.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${WSP_CCACHE})
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()

# Ten sources of a target as one: the whole in half the time, as headers are read and templates made once. What is
# written daily is better compiled file by file (preset dev), which also shows a missing #include.
option(WSP_UNITY "Compile the sources of a target together" OFF)
if(WSP_UNITY)
  set(CMAKE_UNITY_BUILD ON)
  set(CMAKE_UNITY_BUILD_BATCH_SIZE 10)
endif()

add_library(wsp_options INTERFACE)
target_compile_options(wsp_options INTERFACE -Wall -Wextra -Wshadow -Wconversion
  # A type of a file's own may stand within a type of the same file.
  # Of files made one, GCC knows only the first.
  $<$<BOOL:${WSP_UNITY}>:-Wno-subobject-linkage>
  $<$<NOT:$<BOOL:${WSP_FUZZ}>>:-Werror>)  # clang, which fuzzes, warns of more
# GCC 12 and 13 warn of overlaps in std::string's own operator+ (GCC bug 105651).
target_compile_options(wsp_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
# What GCC infers after inlining changes with its version and with sanitizers (vectors of arrays, std::regex), and is
# wrong as often as right: shown, but no reason to fail somebody's build.
foreach(warning array-bounds stringop-overflow stringop-overread maybe-uninitialized)
  target_compile_options(wsp_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-error=${warning}>)
endforeach()
if(WSP_SANITIZE STREQUAL "address")
  # Without vptr: it probes memory through a pipe, which the cage of a worker process refuses.
  target_compile_options(wsp_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
                                               -fno-sanitize=vptr -fno-omit-frame-pointer)
  target_link_options(wsp_options INTERFACE -fsanitize=address,undefined)
elseif(WSP_SANITIZE STREQUAL "thread")
  target_compile_options(wsp_options INTERFACE -fsanitize=thread)
  target_link_options(wsp_options INTERFACE -fsanitize=thread)
elseif(WSP_SANITIZE)
  message(FATAL_ERROR "WSP_SANITIZE is '${WSP_SANITIZE}': expected empty, address or thread")
endif()
