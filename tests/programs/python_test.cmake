# SPDX-License-Identifier: Apache-2.0
#
# ringleader_python_test(NAME SCRIPT <file> TIMEOUT <seconds> [BESIDE_OTHERS] [ARGUMENTS ...])
#
# A test written in Python, with the build's facts in its environment (see harness.py). It is skipped
# visibly when the script ends with 77. It runs alone, because it starts ranks, unless it says that
# it may run beside others.
function(ringleader_python_test name)
  cmake_parse_arguments(T "BESIDE_OTHERS" "SCRIPT;TIMEOUT" "ARGUMENTS" ${ARGN})
  add_test(NAME ${name}
           COMMAND ${RINGLEADER_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/${T_SCRIPT} ${T_ARGUMENTS})
  set(environment
    "PYTHONUNBUFFERED=1"
    "PYTHONPATH=${PROJECT_SOURCE_DIR}/tests/programs"
    "RINGLEADER_TEST_SOURCE_DIR=${PROJECT_SOURCE_DIR}"
    "RINGLEADER_TEST_BUILD_DIR=${PROJECT_BINARY_DIR}"
    "RINGLEADER_TEST_COMPILER=${CMAKE_CXX_COMPILER}"
    "RINGLEADER_TEST_SANITIZE=${RINGLEADER_SANITIZE}"
    ${RINGLEADER_TEST_ENVIRONMENT})
  if(RINGLEADER_WITH_MPI)
    list(APPEND environment "RINGLEADER_TEST_MPIRUN=${MPIEXEC_EXECUTABLE}"
                            "RINGLEADER_TEST_MPI_COMPILER=${MPI_CXX_COMPILER}")
  endif()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${environment}" TIMEOUT ${T_TIMEOUT}
                       SKIP_RETURN_CODE 77)
  if(NOT T_BESIDE_OTHERS)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()
