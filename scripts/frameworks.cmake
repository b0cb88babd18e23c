# SPDX-License-Identifier: Apache-2.0
#
# Frameworks for which there are adapters, as targets that exist if the framework does:
#
#   ringleader_torch   LibTorch's C++ frontend. Debian's package is found by its files, because its
#                      own CMake package asks for much that is not installed with it; another one by
#                      its CMake package (-DCMAKE_PREFIX_PATH=.../libtorch).
#   ringleader_dlib    dlib, and BLAS, which its headers call.
find_path(RINGLEADER_TORCH_API torch/torch.h PATH_SUFFIXES torch/csrc/api/include)
find_path(RINGLEADER_TORCH_INCLUDE torch/csrc/autograd/variable.h)
foreach(part IN ITEMS torch torch_cpu c10)
  find_library(RINGLEADER_TORCH_${part} ${part})
  mark_as_advanced(RINGLEADER_TORCH_${part})
endforeach()
mark_as_advanced(RINGLEADER_TORCH_API RINGLEADER_TORCH_INCLUDE)

if(RINGLEADER_TORCH_API AND RINGLEADER_TORCH_INCLUDE AND RINGLEADER_TORCH_torch
   AND RINGLEADER_TORCH_torch_cpu AND RINGLEADER_TORCH_c10)
  add_library(ringleader_torch INTERFACE)
  target_include_directories(ringleader_torch SYSTEM INTERFACE
    ${RINGLEADER_TORCH_API} ${RINGLEADER_TORCH_INCLUDE})
  target_link_libraries(ringleader_torch INTERFACE
    ${RINGLEADER_TORCH_torch} ${RINGLEADER_TORCH_torch_cpu} ${RINGLEADER_TORCH_c10})
  # Its headers call what its libraries call: Debian's log with glog.
  target_link_options(ringleader_torch INTERFACE LINKER:--copy-dt-needed-entries)
else()
  find_package(Torch QUIET)
  if(Torch_FOUND)
    add_library(ringleader_torch INTERFACE)
    target_include_directories(ringleader_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
    target_link_libraries(ringleader_torch INTERFACE ${TORCH_LIBRARIES})
  endif()
endif()
if(TARGET ringleader_torch)
  # Its headers warn where they are inlined.
  target_compile_options(ringleader_torch INTERFACE -Wno-conversion -Wno-shadow -Wno-pedantic)
endif()

find_library(RINGLEADER_DLIB dlib)
find_library(RINGLEADER_BLAS blas)
find_path(RINGLEADER_DLIB_INCLUDE dlib/dnn.h)
mark_as_advanced(RINGLEADER_DLIB RINGLEADER_BLAS RINGLEADER_DLIB_INCLUDE)
if(RINGLEADER_DLIB AND RINGLEADER_BLAS AND RINGLEADER_DLIB_INCLUDE)
  add_library(ringleader_dlib INTERFACE)
  target_include_directories(ringleader_dlib SYSTEM INTERFACE ${RINGLEADER_DLIB_INCLUDE})
  target_link_libraries(ringleader_dlib INTERFACE ${RINGLEADER_DLIB} ${RINGLEADER_BLAS})
endif()
