cmake_minimum_required(VERSION 3.20)
# Writes OUT, a header with the commit of SOURCE: "unknown" outside a repository, with "-dirty" where files differ.
set(commit "unknown")
find_package(Git QUIET)
if(GIT_FOUND)
  execute_process(
    COMMAND ${GIT_EXECUTABLE} -C ${SOURCE} describe --always --dirty --abbrev=40 --exclude=*
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(status EQUAL 0)
    set(commit "${found}")
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "constexpr const char build_commit[] = \"@commit@\";\n" @ONLY)
