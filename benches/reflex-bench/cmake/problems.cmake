# The target reflex-problems: problems of cases/ as calls of the library, for reflex-bench and the tests of the package.
include_guard(GLOBAL)

set(_bench ${CMAKE_CURRENT_LIST_DIR}/..)
set(_generated ${CMAKE_CURRENT_BINARY_DIR}/generated)

# The problems that the library's own tests read.
set(_cases ${_bench}/../../cases)
file(GLOB _case_files CONFIGURE_DEPENDS ${_cases}/*.txt)
add_custom_command(
  OUTPUT ${_generated}/case_texts.h
  COMMAND ${CMAKE_COMMAND} -DCASES=${_cases} -DOUT=${_generated}/case_texts.h -P ${CMAKE_CURRENT_LIST_DIR}/case_texts.cmake
  DEPENDS ${_case_files} ${CMAKE_CURRENT_LIST_DIR}/case_texts.cmake
  VERBATIM)

add_library(reflex-problems STATIC
  ${_generated}/case_texts.h
  ${_bench}/src/attention_problems.cpp ${_bench}/src/case_file.cpp ${_bench}/src/case_run.cpp
  ${_bench}/src/matmul_problems.cpp ${_bench}/src/operands.cpp ${_bench}/src/patterns.cpp ${_bench}/src/problems.cpp)
target_include_directories(reflex-problems PUBLIC ${_bench}/src PRIVATE ${_generated})
target_link_libraries(reflex-problems PUBLIC reflex::infer)
target_compile_features(reflex-problems PUBLIC cxx_std_17)
