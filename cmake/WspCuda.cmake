# Decides WSP_CUDA from WSP_WITH_CUDA (AUTO, ON, OFF) and says so in one line. AUTO never fails: without an nvcc that
# compiles, nothing of CUDA is built. No card is needed, nothing of it runs unless it is asked for.
set(WSP_CUDA_ARCHITECTURES "" CACHE STRING
    "CUDA architectures, e.g. 75;90; empty: those of the cards present, else 75;80;90")
set(WSP_CUDA OFF)
if(NOT WSP_WITH_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "WSP_WITH_CUDA is '${WSP_WITH_CUDA}': expected AUTO, ON or OFF")
elseif(WSP_WITH_CUDA STREQUAL "OFF")
  set(decision "off, as asked")
else()
  find_program(WSP_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(WSP_NVCC)
    if(NOT DEFINED ENV{CUDACXX})
      set(ENV{CUDACXX} ${WSP_NVCC})
    endif()
    include(CheckLanguage)
    set(CMAKE_MESSAGE_LOG_LEVEL_BEFORE ${CMAKE_MESSAGE_LOG_LEVEL})
    set(CMAKE_MESSAGE_LOG_LEVEL NOTICE)
    check_language(CUDA)
    set(CMAKE_MESSAGE_LOG_LEVEL ${CMAKE_MESSAGE_LOG_LEVEL_BEFORE})
  endif()
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    set(WSP_CUDA ON)
    set(architectures ${WSP_CUDA_ARCHITECTURES})
    if(NOT architectures)
      execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
                      OUTPUT_VARIABLE present ERROR_QUIET RESULT_VARIABLE failed)
      if(failed STREQUAL "0" AND present MATCHES "[0-9]+\\.[0-9]+")
        string(REGEX MATCHALL "[0-9]+\\.[0-9]+" architectures "${present}")
        list(TRANSFORM architectures REPLACE "\\." "")
        list(REMOVE_DUPLICATES architectures)
      else()
        set(architectures 75 80 90)
      endif()
    endif()
    set(WSP_CUDA_TARGETS ${architectures})
    set(decision "on, nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${architectures}")
  elseif(WSP_WITH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "WSP_WITH_CUDA is ON, but no nvcc that compiles was found (nvcc: ${WSP_NVCC}): put it in PATH, "
                        "set CUDACXX or CUDA_HOME, or set WSP_WITH_CUDA=OFF")
  elseif(WSP_NVCC)
    set(decision "off, ${WSP_NVCC} does not compile here (is its host compiler too new?)")
  else()
    set(decision "off, no nvcc found")
  endif()
endif()
if(WSP_CUDA)
  find_package(CUDAToolkit REQUIRED)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # as LibTorch has it: one runtime in a process
  message(STATUS "CUDA kernels: ${decision}")
else()
  # Seen in the log of quickstart and of the tests too: what is not compiled is not tested.
  message(NOTICE "-- CUDA kernels: NOT COMPILED, ${decision}")
endif()

# wsp_cuda_target(TARGET): C++17 device code for the chosen architectures, our warnings for the host pass. -Wconversion is
# not among them: it is the stubs that nvcc writes which would fail it.
function(wsp_cuda_target name)
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/libs)
  set_target_properties(${name} PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF
                                           CUDA_ARCHITECTURES "${WSP_CUDA_TARGETS}")
  target_compile_options(${name} PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wshadow,-Werror;-Werror=all-warnings>")
endfunction()

# wsp_c10_cuda_macros(TARGET): LibTorch's c10/cuda headers include one that its build generates and a package without CUDA
# leaves out.
function(wsp_c10_cuda_macros name)
  find_file(WSP_C10_CUDA_MACROS c10/cuda/impl/cuda_cmake_macros.h PATHS ${TORCH_INCLUDE_DIRS} NO_DEFAULT_PATH)
  if(NOT WSP_C10_CUDA_MACROS)
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/c10_cuda/c10/cuda/impl/cuda_cmake_macros.h
         CONTENT "#pragma once\n#define C10_CUDA_BUILD_SHARED_LIBS\n")
    target_include_directories(${name} SYSTEM PRIVATE ${PROJECT_BINARY_DIR}/c10_cuda)
  endif()
endfunction()
