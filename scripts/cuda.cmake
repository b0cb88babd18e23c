# SPDX-License-Identifier: Apache-2.0
# CUDA and NCCL, where they are wanted and found: sets RINGLEADER_HAS_CUDA. With
# RINGLEADER_WITH_CUDA=OFF nothing is looked for.
set(RINGLEADER_HAS_CUDA OFF)
if(NOT RINGLEADER_WITH_CUDA)
  return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  find_package(CUDAToolkit 12 QUIET)
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR} ${CUDAToolkit_LIBRARY_ROOT}/lib)
endif()
if(NOT CMAKE_CUDA_COMPILER OR NOT CUDAToolkit_FOUND OR NOT NCCL_INCLUDE_DIR OR NOT NCCL_LIBRARY)
  if(RINGLEADER_WITH_CUDA STREQUAL AUTO)
    message(STATUS "CUDA 12 or newer with NCCL was not found: no GPUs in this build")
    return()
  endif()
  message(FATAL_ERROR "RINGLEADER_WITH_CUDA is ON, but CUDA 12 or newer with NCCL was not found")
endif()

# Where nothing else is asked for: machine code for the GPU that is here; or else for A100 and H100 or
# H200, and what a driver can compile for newer ones.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
                  RESULT_VARIABLE failed OUTPUT_VARIABLE capabilities ERROR_QUIET)
  string(REGEX MATCHALL "[0-9]+[.][0-9]" capabilities "${capabilities}")
  if(failed EQUAL 0 AND capabilities)
    list(REMOVE_DUPLICATES capabilities)
    string(REPLACE "." "" CMAKE_CUDA_ARCHITECTURES "${capabilities}")
    list(TRANSFORM CMAKE_CUDA_ARCHITECTURES APPEND -real)
  else()
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
  endif()
endif()
enable_language(CUDA)
# CMake before 3.25.2 does not know that CUDA has C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
add_library(NCCL::nccl UNKNOWN IMPORTED)
set_target_properties(NCCL::nccl PROPERTIES
  IMPORTED_LOCATION ${NCCL_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${NCCL_INCLUDE_DIR})
set(RINGLEADER_HAS_CUDA ON)
