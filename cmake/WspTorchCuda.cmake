# wsp_cuda_of_torch(OUT FOLDER): the major version of the CUDA runtime that the LibTorch in FOLDER was linked with, read
# from its smallest CUDA library; empty where that does not say.
function(wsp_cuda_of_torch out folder)
  set(${out} "" PARENT_SCOPE)
  if(NOT EXISTS ${folder}/libc10_cuda.so)
    return()
  endif()
  file(STRINGS ${folder}/libc10_cuda.so named REGEX "libcudart(-[0-9a-f]+)?\\.so\\.[0-9]+")
  if(named MATCHES "libcudart(-[0-9a-f]+)?\\.so\\.([0-9]+)")
    set(${out} ${CMAKE_MATCH_2} PARENT_SCOPE)
  endif()
endfunction()
