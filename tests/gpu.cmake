# SPDX-License-Identifier: Apache-2.0
# Programs that use a GPU, twice: as tests with the label `gpu`, which are skipped where there is none
# (two and three ranks share one), and on the simulated GPU, everywhere.
function(ringleader_gpu_test)
  cmake_parse_arguments(T "" "NAME;RANKS;TARGET" "ARGUMENTS;SIM_ARGUMENTS" ${ARGN})
  ringleader_mpi_test(NAME gpu.${T_NAME}.${T_RANKS} RANKS ${T_RANKS} TIMEOUT 600
                      COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/support/one_gpu_rank.sh
                              $<TARGET_FILE:${T_TARGET}> ${T_ARGUMENTS})
  set_tests_properties(gpu.${T_NAME}.${T_RANKS} PROPERTIES LABELS gpu SKIP_RETURN_CODE 77)
  ringleader_mpi_test(NAME sim_gpu.${T_NAME}.${T_RANKS} RANKS ${T_RANKS} TIMEOUT 120
                      COMMAND ${T_TARGET}_sim ${T_SIM_ARGUMENTS})
  # Late threads are what it is about, so it may run beside others.
  set_tests_properties(sim_gpu.${T_NAME}.${T_RANKS} PROPERTIES RUN_SERIAL OFF)
endfunction()

# ringleader_gpu_program(NAME SOURCES ... LIBRARIES ...): NAME, and NAME_sim on the simulated GPU.
function(ringleader_gpu_program name)
  cmake_parse_arguments(T "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_library(${name}_parts OBJECT ${T_SOURCES})
  target_link_libraries(${name}_parts PUBLIC ${T_LIBRARIES} PRIVATE ringleader_warnings
                                             CUDA::cudart_static)
  add_executable(${name})
  target_link_libraries(${name} PRIVATE ${name}_parts ${T_LIBRARIES} CUDA::cudart_static)
  add_executable(${name}_sim)
  target_link_libraries(${name}_sim PRIVATE sim_gpu ${name}_parts ${T_LIBRARIES})
endfunction()

ringleader_gpu_program(fusion_kernels_test
  SOURCES collectives/fusion_kernels_test.cc
  LIBRARIES ringleader_world ringleader catch_runner)
ringleader_gpu_test(NAME kernels RANKS 1 TARGET fusion_kernels_test)

ringleader_gpu_program(device_test
  SOURCES ops/device_test.cc ops/device_trace_test.cc
  LIBRARIES ringleader::ringleader catch_runner)
add_executable(mpi_conformance_sim)
target_link_libraries(mpi_conformance_sim PRIVATE sim_gpu mpi_conformance_parts ringleader_ops)
# A rank that waits for ever is ended, and leaves without MPI_Finalize.
ringleader_gpu_program(device_abort
  SOURCES ops/device_abort.cc
  LIBRARIES ringleader::ringleader)
ringleader_gpu_test(NAME abort RANKS 2 TARGET device_abort ARGUMENTS 40 SIM_ARGUMENTS 8)
set_tests_properties(gpu.abort.2 sim_gpu.abort.2 PROPERTIES
  PASS_REGULAR_EXPRESSION "ended: rank_lost.*ended: rank_lost"
  FAIL_REGULAR_EXPRESSION "it came to an end")
# It must not be taken for a stall that ranks begin, and NCCL connects, one after another.
set_tests_properties(gpu.abort.2 PROPERTIES ENVIRONMENT
  "${RINGLEADER_TEST_ENVIRONMENT};RINGLEADER_STALL_ABORT_S=15")
set_tests_properties(sim_gpu.abort.2 PROPERTIES ENVIRONMENT
  "${RINGLEADER_TEST_ENVIRONMENT};RINGLEADER_STALL_ABORT_S=2")
foreach(ranks RANGE 1 3)
  ringleader_gpu_test(NAME conformance RANKS ${ranks} TARGET mpi_conformance
                      ARGUMENTS nccl device SIM_ARGUMENTS nccl device)
  ringleader_gpu_test(NAME ops RANKS ${ranks} TARGET device_test)
endforeach()
ringleader_hosts_test(NAME sim_gpu.conformance.hierarchical.2x2 HOSTS 2 PER_HOST 2 TIMEOUT 180
                      COMMAND ${CMAKE_COMMAND} -E env RINGLEADER_NCCL_HIERARCHICAL=1
                              $<TARGET_FILE:mpi_conformance_sim> nccl device)
set_tests_properties(sim_gpu.conformance.hierarchical.2x2 PROPERTIES RUN_SERIAL OFF)
