# SPDX-License-Identifier: Apache-2.0
# Programs that use a GPU, twice: as tests with the label `gpu`, which are skipped where there is none
# (two and three ranks share one), and on the simulated GPU, everywhere.
function(ringleader_gpu_test)
  cmake_parse_arguments(T "" "NAME;RANKS;TARGET" "ARGUMENTS" ${ARGN})
  ringleader_mpi_test(NAME gpu.${T_NAME}.${T_RANKS} RANKS ${T_RANKS} TIMEOUT 600
                      COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/support/one_gpu_rank.sh
                              $<TARGET_FILE:${T_TARGET}> ${T_ARGUMENTS})
  set_tests_properties(gpu.${T_NAME}.${T_RANKS} PROPERTIES LABELS gpu SKIP_RETURN_CODE 77)
  ringleader_mpi_test(NAME sim_gpu.${T_NAME}.${T_RANKS} RANKS ${T_RANKS} TIMEOUT 120
                      COMMAND ${T_TARGET}_sim ${T_ARGUMENTS})
  # Late threads are what it is about, so it may run beside others.
  set_tests_properties(sim_gpu.${T_NAME}.${T_RANKS} PROPERTIES RUN_SERIAL OFF)
endfunction()

# ringleader_gpu_program(NAME SOURCES ... LIBRARIES ...): NAME, and NAME_sim on the simulated GPU.
function(ringleader_gpu_program name)
  cmake_parse_arguments(T "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE ${T_LIBRARIES} CUDA::cudart_static)
  add_executable(${name}_sim ${T_SOURCES})
  target_link_libraries(${name}_sim PRIVATE sim_gpu ${T_LIBRARIES})
endfunction()

ringleader_gpu_program(fusion_kernels_test
  SOURCES collectives/fusion_kernels_test.cc
  LIBRARIES ringleader_ops ringleader catch_runner ringleader_warnings)
ringleader_gpu_test(NAME kernels RANKS 1 TARGET fusion_kernels_test)

ringleader_gpu_program(device_test
  SOURCES ops/device_test.cc
  LIBRARIES ringleader::ringleader catch_runner ringleader_warnings)
ringleader_gpu_program(device_conformance
  SOURCES collectives/mpi_conformance.cc collectives/conformance.cc collectives/shm_stress.cc
  LIBRARIES ringleader ringleader_ops ringleader_warnings fmt::fmt)
# A rank that waits for ever is ended, and leaves without MPI_Finalize.
ringleader_gpu_program(device_abort
  SOURCES ops/device_abort.cc
  LIBRARIES ringleader::ringleader ringleader_warnings)
ringleader_gpu_test(NAME abort RANKS 2 TARGET device_abort)
foreach(test IN ITEMS gpu.abort.2 sim_gpu.abort.2)
  set_tests_properties(${test} PROPERTIES
    PASS_REGULAR_EXPRESSION "ended: rank_lost.*ended: rank_lost"
    FAIL_REGULAR_EXPRESSION "it came to an end"
    ENVIRONMENT "${RINGLEADER_TEST_ENVIRONMENT};RINGLEADER_STALL_ABORT_S=2")
endforeach()
foreach(ranks RANGE 1 3)
  ringleader_gpu_test(NAME conformance RANKS ${ranks} TARGET device_conformance
                      ARGUMENTS nccl device)
  ringleader_gpu_test(NAME ops RANKS ${ranks} TARGET device_test)
endforeach()
ringleader_hosts_test(NAME sim_gpu.conformance.hierarchical.2x2 HOSTS 2 PER_HOST 2 TIMEOUT 180
                      COMMAND ${CMAKE_COMMAND} -E env RINGLEADER_NCCL_HIERARCHICAL=1
                              $<TARGET_FILE:device_conformance_sim> nccl device)
set_tests_properties(sim_gpu.conformance.hierarchical.2x2 PROPERTIES RUN_SERIAL OFF)
