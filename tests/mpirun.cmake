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
  # Reading the thread-local storage of modules that MPI has unloaded kills GCC 12's leak checker.
  LSAN_OPTIONS=suppressions=${suppressions}/lsan.supp:print_suppressions=0:use_tls=0
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

# ringleader_netlab_test(NAME <ctest name> HOSTS <n> PER_HOST <n> COMMAND <program> [arguments]
#                        [TIMEOUT <seconds>])
#
# Ranks in network namespaces, with links of 1 Gbit/s. Skipped where they cannot be made.
function(ringleader_netlab_test)
  cmake_parse_arguments(T "" "NAME;HOSTS;PER_HOST;TIMEOUT" "COMMAND" ${ARGN})
  if(NOT mpiexec_version MATCHES "Open MPI|OpenRTE")
    return()
  endif()
  add_test(NAME ${T_NAME} COMMAND ${PROJECT_SOURCE_DIR}/scripts/netlab.sh --hosts ${T_HOSTS}
                                  --per-host ${T_PER_HOST} --rate 1gbit ${T_COMMAND})
  set_tests_properties(${T_NAME} PROPERTIES ENVIRONMENT "${RINGLEADER_TEST_ENVIRONMENT}"
                       TIMEOUT ${T_TIMEOUT} RUN_SERIAL ON SKIP_RETURN_CODE 77)
endfunction()

# ringleader_hosts_test(NAME <ctest name> HOSTS <n> PER_HOST <n> COMMAND <program> [arguments]
#                       [TIMEOUT <seconds>])
#
# The same with ranks that believe they are on several hosts. Open MPI only.
function(ringleader_hosts_test)
  cmake_parse_arguments(T "" "NAME;HOSTS;PER_HOST;TIMEOUT" "COMMAND" ${ARGN})
  if(NOT mpiexec_version MATCHES "Open MPI|OpenRTE")
    return()
  endif()
  math(EXPR ranks "${T_HOSTS} * ${T_PER_HOST}")
  add_test(NAME ${T_NAME}
           COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe ${MPIEXEC_NUMPROC_FLAG} ${ranks}
                   ${PROJECT_SOURCE_DIR}/tests/support/on_hosts.sh ${T_PER_HOST} ${T_COMMAND})
  set_tests_properties(${T_NAME} PROPERTIES ENVIRONMENT "${RINGLEADER_TEST_ENVIRONMENT}"
                       TIMEOUT ${T_TIMEOUT} RUN_SERIAL ON)
endfunction()
