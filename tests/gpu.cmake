# SPDX-License-Identifier: Apache-2.0
# Tests that need a GPU: label `gpu`, skipped where there is none. Two and three ranks share one.
function(ringleader_gpu_test name ranks)
  ringleader_mpi_test(NAME ${name} RANKS ${ranks} TIMEOUT 600
                      COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/support/one_gpu_rank.sh ${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS gpu SKIP_RETURN_CODE 77)
endfunction()

add_executable(fusion_kernels_test collectives/fusion_kernels_test.cc)
target_link_libraries(fusion_kernels_test PRIVATE ringleader_nccl ringleader catch_runner
                                                  ringleader_warnings)
ringleader_gpu_test(gpu.kernels 1 $<TARGET_FILE:fusion_kernels_test>)

add_executable(device_test ops/device_test.cc)
target_link_libraries(device_test PRIVATE ringleader::ringleader CUDA::cudart_static catch_runner
                                          ringleader_warnings)
foreach(ranks RANGE 1 3)
  ringleader_gpu_test(gpu.conformance.${ranks} ${ranks}
                      $<TARGET_FILE:mpi_conformance> nccl device)
  ringleader_gpu_test(gpu.ops.${ranks} ${ranks} $<TARGET_FILE:device_test>)
endforeach()
