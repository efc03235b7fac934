# Installs the library, its headers, and the CMake and pkg-config packages. All of it may be moved afterwards.

include(CMakePackageConfigHelpers)
set(_reflex_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/reflex-infer")

install(PROGRAMS "${_reflex_lib_dir}/${_reflex_shared}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT Runtime)
install(FILES "${_reflex_lib_dir}/${_reflex_soname}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT Runtime)
install(FILES "${_reflex_lib_dir}/libreflex_infer.so" "${_reflex_lib_dir}/${_reflex_static}"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT Development)
install(FILES include/reflex/infer.h include/reflex/infer.hpp include/reflex/api.json
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/reflex" COMPONENT Development)
# What the header refers to, and what stands beside it.
install(FILES docs/abi.md docs/jetson.md docs/numerics.md docs/packed-weights.md docs/telemetry.md
        DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT Development)
install(FILES LICENSE-MIT LICENSE-APACHE DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/reflex-infer" COMPONENT Runtime)

set(REFLEX_LIBDIR "${CMAKE_INSTALL_LIBDIR}")
set(REFLEX_INCLUDEDIR "${CMAKE_INSTALL_INCLUDEDIR}")
configure_package_config_file(
  cmake/reflex-infer-config.cmake.in reflex-infer-config.cmake
  INSTALL_DESTINATION "${_reflex_cmake_dir}"
  PATH_VARS REFLEX_LIBDIR REFLEX_INCLUDEDIR)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(_reflex_compatibility SameMinorVersion)
else()
  set(_reflex_compatibility SameMajorVersion)
endif()
write_basic_package_version_file(reflex-infer-config-version.cmake COMPATIBILITY ${_reflex_compatibility})
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/reflex-infer-config.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/reflex-infer-config-version.cmake"
        DESTINATION "${_reflex_cmake_dir}" COMPONENT Development)

# pkg-config finds the prefix from where the .pc file lies.
file(RELATIVE_PATH REFLEX_PC_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" /prefix)
string(REGEX REPLACE "/$" "" REFLEX_PC_PREFIX "${REFLEX_PC_PREFIX}")
list(TRANSFORM _reflex_system_libs PREPEND -l OUTPUT_VARIABLE REFLEX_PC_PRIVATE)
list(JOIN REFLEX_PC_PRIVATE " " REFLEX_PC_PRIVATE)
configure_file(cmake/reflex-infer.pc.in reflex-infer.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/reflex-infer.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
        COMPONENT Development)
