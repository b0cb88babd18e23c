# SPDX-License-Identifier: Apache-2.0
#
# ringleader_mpi_test(NAME <ctest name> RANKS <n> COMMAND <program> [arguments]
#                     [ENVIRONMENT <VARIABLE=value ...>] [TIMEOUT <seconds>])
#
# Runs a program under mpirun. Tests with ranks run alone, so that they do not take each other's
# cores; ranks beyond the cores share them without spinning.
cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
execute_process(COMMAND ${MPIEXEC_EXECUTABLE} --version OUTPUT_VARIABLE mpiexec_version
                ERROR_VARIABLE mpiexec_version)

# As root, Open MPI must be told twice. The sanitizers' suppressions concern MPI alone; each has its
# reason beside it.
set(suppressions ${CMAKE_CURRENT_SOURCE_DIR}/sanitizers)
set(RINGLEADER_TEST_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  ASAN_OPTIONS=fast_unwind_on_malloc=0  # MPI has no frame pointers to unwind by
  LSAN_OPTIONS=suppressions=${suppressions}/lsan.supp:print_suppressions=0
  TSAN_OPTIONS=suppressions=${suppressions}/tsan.supp:ignore_noninstrumented_modules=1)

function(ringleader_mpi_test)
  cmake_parse_arguments(T "" "NAME;RANKS;TIMEOUT" "COMMAND;ENVIRONMENT" ${ARGN})
  set(flags ${MPIEXEC_NUMPROC_FLAG} ${T_RANKS})
  if(mpiexec_version MATCHES "Open MPI|OpenRTE" AND T_RANKS GREATER cores)
    list(APPEND flags --oversubscribe)
  endif()
  add_test(NAME ${T_NAME} COMMAND ${MPIEXEC_EXECUTABLE} ${flags} ${T_COMMAND})
  set_tests_properties(${T_NAME} PROPERTIES
    ENVIRONMENT "${RINGLEADER_TEST_ENVIRONMENT};${T_ENVIRONMENT}"
    TIMEOUT ${T_TIMEOUT} RUN_SERIAL ON)
endfunction()
